//! Pipedrive's webhooks, version 2 (`docs/providers.md`, "Pipedrive"): its changes of deals and of persons.
//!
//! A deal names its person by an id alone, so the webhooks of both are needed. Pipedrive signs nothing; the webhook's
//! HTTP password is the key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::civil::Date;
use serde_json::Value;

use super::{
    Crm, Header, NotUnderstood, Parsed, Person, Report, STATUS_CHARS_MAX, Statuses, TEXT_CHARS_MAX,
};
use super::{cut, event_id, moment, text, worth};
use crate::event::{Contact, CrmId, DealChanged, DealContact, DealStage, EventData};
use crate::json;
use crate::money::Currency;
use crate::pii::Text;
use crate::provider::event_name;

pub(super) static CRM: Crm = Crm { name: "pipedrive", key, parse };

/// The password of HTTP's basic authentication.
fn key(header: &Header<'_>) -> Option<String> {
    let header = header("authorization")?;
    let (scheme, given) = header.split_once(' ')?;
    let decoded = String::from_utf8(BASE64.decode(given.trim()).ok()?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| password.to_owned())
}

fn parse(body: &[u8], _event: &str, statuses: &Statuses) -> Result<Parsed, NotUnderstood> {
    let tree = json::parse(body).map_err(|_| NotUnderstood("invalid_json"))?;
    let meta = tree.get("meta").filter(|meta| meta.is_object());
    let meta = meta.ok_or(NotUnderstood("without_meta"))?;
    let said = |name: &str| text(Some(meta), name);
    let (action, entity) = (said("action").unwrap_or_default(), said("entity").unwrap_or_default());
    let other = || Ok(Parsed::Other(event_name(&format!("{action}.{entity}"))));
    if said("version").as_deref() != Some("2.0") {
        return Err(NotUnderstood("not_version_2"));
    }
    if action != "create" && action != "change" {
        return other();
    }
    let data = tree.get("data").filter(|data| data.is_object());
    let data = data.ok_or(NotUnderstood("without_data"))?;
    let id = text(Some(data), "id").as_deref().and_then(CrmId::parse);
    let id = id.ok_or(NotUnderstood("without_id"))?;
    let happened = said("id").ok_or(NotUnderstood("without_event_id"))?;
    let report = |deal: Option<CrmId>, status: &str, contact: Contact, data: EventData| Report {
        id: event_id(CRM.name, &entity, id.as_str(), status, Some(&happened), body),
        crm: CRM.name,
        deal,
        occurred_at: said("timestamp").as_deref().and_then(moment),
        contact,
        data,
    };
    let report = match entity.as_str() {
        "deal" => {
            let before = tree.get("previous").filter(|previous| previous.is_object());
            let is_transition = action == "create"
                || before.is_some_and(|before| {
                    ["status", "stage_id"].iter().any(|name| before.get(*name).is_some())
                });
            if !is_transition {
                return other();
            }
            let contact = Contact {
                id: text(Some(data), "person_id").as_deref().and_then(CrmId::parse),
                ..Contact::default()
            };
            if contact.id.is_none() {
                return Err(NotUnderstood("of_nobody"));
            }
            let changed = deal(body, data, id.clone(), statuses)?;
            let status = changed.status.clone();
            report(Some(id.clone()), &status, contact, changed.into())
        }
        "person" => {
            let Person { mut contact, dropped } = person(data);
            contact.id = Some(id.clone());
            let noted = DealContact { crm: CRM.name.to_owned(), dropped };
            report(None, "", contact, noted.into())
        }
        _ => return other(),
    };
    Ok(Parsed::Report(Box::new(report)))
}

/// A deal that was won is committed. The stages of a pipeline have numbers, which `DEAL_STATUSES` may name as `stage_<number>`.
fn deal(
    body: &[u8],
    data: &Value,
    deal: CrmId,
    statuses: &Statuses,
) -> Result<DealChanged, NotUnderstood> {
    let status = text(Some(data), "status").ok_or(NotUnderstood("without_status"))?;
    let in_stage = text(Some(data), "stage_id").map(|stage| format!("stage_{stage}"));
    let (status, stage) = match (status.as_str(), in_stage) {
        ("won", _) => ("won".to_owned(), DealStage::Committed),
        ("open", Some(name)) => {
            let stage = statuses.stage(&name);
            (name, stage)
        }
        (_, _) => {
            let stage = statuses.stage(&status);
            (status, stage)
        }
    };
    let mut dropped = Vec::new();
    let amount = json::literal(body, &["data", "value"]).filter(|amount| amount != "0");
    let currency = text(Some(data), "currency").as_deref().and_then(Currency::parse);
    let value = amount.as_deref().and_then(|amount| worth(amount, currency?));
    if value.is_none() && amount.is_some() {
        dropped.push("data.value".to_owned());
    }
    let closes_on: Option<Date> =
        text(Some(data), "expected_close_date").and_then(|day| day.get(..10)?.parse().ok());
    Ok(DealChanged {
        crm: CRM.name.to_owned(),
        deal,
        stage,
        status: cut(&status, STATUS_CHARS_MAX),
        name: text(Some(data), "title").map(|name| Text::new(cut(&name, TEXT_CHARS_MAX))),
        value,
        closes_on,
        property: None,
        digests: super::Digests::default(),
        dropped,
    })
}

fn person(data: &Value) -> Person {
    let mut person = Person::default();
    let names = [text(Some(data), "first_name"), text(Some(data), "last_name")];
    let [first, last] = match names {
        [None, None] => [text(Some(data), "name"), None],
        names => names,
    };
    person.names(("data.first_name", first.as_deref()), ("data.last_name", last.as_deref()));
    person.email("data.emails", primary(data, "emails").as_deref());
    person.phone("data.phones", primary(data, "phones").as_deref());
    person
}

/// The primary one of several addresses or numbers, else the first.
fn primary(data: &Value, name: &str) -> Option<String> {
    let all = data.get(name)?.as_array()?;
    let is_primary = |one: &&Value| one.get("primary").and_then(Value::as_bool) == Some(true);
    text(all.iter().find(is_primary).or(all.first()), "value")
}
