//! Contact2Sale's webhook: what it reports of its leads, one by one or several at once.
//!
//! Owns how a request proves itself, the three shapes of an event, and what identifies one. The facts, and that no
//! page of the vendor could be read, are in `docs/providers.md` ("Contact2Sale"). This module must not know whose lead
//! it is, nor what becomes of a report.

use jiff::Timestamp;
use serde_json::Value;

use super::{NotSigned, NotUnderstood, Verified};
use crate::contact::{Cpf, Email, Phone};
use crate::event::{Contact, CrmId, CrmLead, CrmLeadAction};
use crate::hash::sha256_hex;
use crate::id::EventId;
use crate::json;
use crate::pii::Text;
use crate::settings::Secret;

/// The CRM's name in receipts, event ids, the quarantine and the journey.
pub const NAME: &str = "c2s";
/// The header with the token, for whoever can set one.
pub const TOKEN_HEADER: &str = "x-webhook-token";
/// The parameter of the address with the token: Contact2Sale itself can set no header.
pub const TOKEN_PARAMETER: &str = "token";
/// The actions that Contact2Sale can be asked to report, each by itself.
pub const ACTIONS: [&str; 3] = ["on_create_lead", "on_update_lead", "on_close_lead"];
/// The most events in one request.
pub const EVENTS_MAX: usize = 500;

/// The longest name of an action and of a status, in characters.
const NAME_CHARS_MAX: usize = 60;
/// The longest text that is looked at or kept, in characters.
const TEXT_CHARS_MAX: usize = 500;
/// The longest description in which a CPF is looked for, in characters.
const DESCRIPTION_CHARS_MAX: usize = 10_000;
/// Fields that may hold a CPF, of the customer and of the lead.
const CPF_FIELDS: [&str; 4] = ["cpf", "document", "documento", "cpf_cnpj"];
/// Texts in which a CPF may stand.
const CPF_TEXTS: [&str; 2] = ["description", "notes"];
/// Fields that may hold the number: the first that can be read counts.
const PHONE_FIELDS: [&str; 3] = ["phone_global", "phone", "phone2"];

/// Verifies that a request carries one of the tokens.
pub fn verify<'b>(
    body: &'b [u8],
    given: Option<&str>,
    tokens: &[Secret],
) -> Result<Verified<'b>, NotSigned> {
    let given = given.unwrap_or_default();
    if Secret::is_one_of(given, tokens) { Ok(Verified(body)) } else { Err(NotSigned) }
}

/// An event of a request, in its place.
#[derive(Clone, Debug)]
pub struct Part {
    /// What Contact2Sale calls its lead, where that could be read.
    pub lead: Option<CrmId>,
    /// What it did, by Contact2Sale's name, where that could be read.
    pub action: Option<String>,
    /// The event, or why it is none.
    pub event: Result<Box<Report>, NotUnderstood>,
    /// The event as it came, for a person.
    pub raw: Text,
}

/// Something that Contact2Sale reported of a lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What identifies it: the lead, the action and the time.
    pub id: EventId,
    /// Who the lead is.
    pub contact: Contact,
    /// What happened.
    pub lead: CrmLead,
}

/// Parses a verified body: one event or a list of them, each by itself.
pub fn parse(Verified(body): Verified<'_>) -> Result<Vec<Part>, NotUnderstood> {
    let tree = json::parse(body).map_err(|_| NotUnderstood("invalid_json"))?;
    match tree {
        Value::Array(events) if events.is_empty() => Err(NotUnderstood("no_events")),
        Value::Array(events) => Ok(events.iter().map(part).collect()),
        Value::Object(_) => Ok(vec![part(&tree)]),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(NotUnderstood("no_events"))
        }
    }
}

/// Reads one event. Its lead stands in `lead`, in `data`, or is the event itself; its fields stand in `attributes`, or
/// beside the id.
fn part(event: &Value) -> Part {
    let lead =
        ["lead", "data"].iter().filter_map(|name| event.get(name)).find(|one| one.is_object());
    let lead = lead.unwrap_or(event);
    let attributes = lead.get("attributes").filter(|one| one.is_object()).unwrap_or(lead);
    let id = text(lead, "id").or_else(|| text(lead, "lead_id"));
    let id = id.as_deref().and_then(CrmId::parse);
    let action = text(event, "hook_action").map(|action| plain_name(&action));
    let action = action.filter(|action| !action.is_empty());
    let event_of = || {
        let id = id.clone().ok_or(NotUnderstood("without_id"))?;
        let action = action.clone().ok_or(NotUnderstood("without_action"))?;
        let at = text(attributes, "updated_at").or_else(|| text(event, "updated_at"));
        let at = at.ok_or(NotUnderstood("without_updated_at"))?;
        let at: Timestamp = at.parse().map_err(|_| NotUnderstood("bad_updated_at"))?;
        Ok(Box::new(report(id, &action, at, attributes)))
    };
    let (read, raw) = (event_of(), Text::new(event.to_string()));
    Part { lead: id, action, event: read, raw }
}

fn report(lead: CrmId, action: &str, updated_at: Timestamp, attributes: &Value) -> Report {
    let mut dropped = Vec::new();
    let nothing = Value::Null;
    let customer = attributes.get("customer").unwrap_or(&nothing);
    let mut contact = Contact {
        name: text(customer, "name").map(|name| Text::new(cut(&name, TEXT_CHARS_MAX))),
        ..Contact::default()
    };
    if let Some(text) = text(customer, "email") {
        contact.email = Email::parse(&text).ok();
        if contact.email.is_none() {
            dropped.push("customer.email".to_owned());
        }
    }
    for name in PHONE_FIELDS {
        let Some(text) = text(customer, name).filter(|_| contact.phone.is_none()) else { continue };
        contact.phone = read_phone(&text);
        if contact.phone.is_none() {
            dropped.push(format!("customer.{name}"));
        }
    }
    let status = attributes.pointer("/lead_status").unwrap_or(&nothing);
    let status = text(status, "alias").or_else(|| text(status, "name"));
    let known = match action {
        "on_create_lead" => CrmLeadAction::Created,
        "on_update_lead" => CrmLeadAction::Updated,
        "on_close_lead" => CrmLeadAction::Closed,
        _ => CrmLeadAction::Other,
    };
    let identity = format!("{}:{action};{updated_at}", action.len());
    let digest = sha256_hex(identity.as_bytes());
    Report {
        id: EventId::of_provider(NAME, &format!("{}:{}", lead.as_str(), &digest[..16])),
        contact,
        lead: CrmLead {
            crm: NAME.to_owned(),
            lead,
            action: known,
            updated_at,
            status: status.map(|status| cut(&status, NAME_CHARS_MAX)),
            cpf: cpf(customer, attributes),
            not_before: None,
            dropped,
        },
    }
}

/// The person's CPF: of a field that is made for it, else the only one in a text.
fn cpf(customer: &Value, attributes: &Value) -> Option<Cpf> {
    let places = [customer, attributes];
    let fields = CPF_FIELDS.iter().flat_map(|name| places.map(|place| text(place, name)));
    let of_fields = fields.flatten().find_map(|text| Cpf::parse(&text).ok());
    of_fields.or_else(|| {
        let texts = CPF_TEXTS.iter().filter_map(|name| text(attributes, name));
        texts.into_iter().find_map(|text| Cpf::find(&cut(&text, DESCRIPTION_CHARS_MAX)))
    })
}

/// Contact2Sale writes numbers with their country's code and without a plus sign.
fn read_phone(text: &str) -> Option<Phone> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let is_brazilian = digits.starts_with("55") && matches!(digits.len(), 12 | 13);
    let with_code = is_brazilian.then(|| format!("+{digits}"));
    with_code.and_then(|text| Phone::parse(&text).ok()).or_else(|| Phone::parse(text).ok())
}

/// The trimmed text of a field, or its number as text. Absent, null and blank fields are `None`.
fn text(object: &Value, name: &str) -> Option<String> {
    let text = match object.get(name)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().filter(|c| !c.is_control() || c.is_whitespace()).take(chars_max).collect()
}

/// A name with only characters that are safe in a log line.
fn plain_name(text: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    text.chars().filter(is_plain).take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attributes() -> Value {
        json!({
            "customer": {"name": " Ana Exemplo ", "email": "Ana@Example.com", "phone": "5511987654321"},
            "lead_status": {"id": 1, "alias": "novo", "name": "Novo"},
            "description": "Quero visitar. CPF: 529.982.247-25",
            "updated_at": "2026-11-30T08:00:00-03:00",
        })
    }

    fn read(body: &Value) -> Vec<Part> {
        parse(Verified(body.to_string().as_bytes())).unwrap()
    }

    fn one(body: &Value) -> Report {
        let mut parts = read(body);
        assert_eq!(parts.len(), 1);
        *parts.remove(0).event.unwrap()
    }

    #[test]
    fn the_shapes_say_the_same() {
        let action = "on_create_lead";
        let direct = one(&json!({"id": "a1", "hook_action": action, "attributes": attributes()}));
        let mut flat = attributes();
        flat["id"] = json!("a1");
        for other in [
            json!({"hook_action": action, "lead": {"id": "a1", "attributes": attributes()}}),
            json!({"hook_action": action, "timestamp": "2026-11-30T11:00:09Z",
                   "data": {"type": "lead", "id": "a1", "attributes": attributes()}}),
            json!({"hook_action": action, "data": flat}),
            json!([{"id": "a1", "hook_action": action, "attributes": attributes()}]),
        ] {
            assert_eq!(one(&other), direct, "{other}");
        }
        assert_eq!(direct.contact.name.unwrap().expose(), "Ana Exemplo");
        assert_eq!(direct.contact.email.unwrap().as_str(), "ana@example.com");
        assert_eq!(direct.contact.phone.unwrap().as_str(), "+5511987654321");
        assert_eq!(direct.lead.cpf.unwrap().as_str(), "52998224725");
        assert_eq!(direct.lead.status.as_deref(), Some("novo"));
        assert_eq!(direct.lead.updated_at.to_string(), "2026-11-30T11:00:00Z");
    }

    #[test]
    fn an_event_is_its_lead_its_action_and_its_time_in_utc() {
        let event = |id: &str, action: &str, at: &str| {
            let attributes = json!({"updated_at": at});
            one(&json!({"id": id, "hook_action": action, "attributes": attributes})).id
        };
        let first = event("a1", "on_update_lead", "2026-11-30T08:00:00-03:00");
        assert_eq!(first, event("a1", "on_update_lead", "2026-11-30T11:00:00.000Z"));
        for other in [
            event("a2", "on_update_lead", "2026-11-30T11:00:00Z"),
            event("a1", "on_close_lead", "2026-11-30T11:00:00Z"),
            event("a1", "on_update_lead", "2026-11-30T11:00:01Z"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn each_event_that_is_none_says_why_and_the_others_stand() {
        let good =
            || json!({"id": "a1", "hook_action": "on_update_lead", "attributes": attributes()});
        let without = |name: &str| {
            let mut event = good();
            match name {
                "updated_at" => event["attributes"][name] = Value::Null,
                _ => event[name] = Value::Null,
            }
            event
        };
        let mut bad_time = good();
        bad_time["attributes"]["updated_at"] = json!("30/11/2026 08:00");
        let mut bad_id = good();
        bad_id["id"] = json!("a 1");
        let list = json!([
            without("updated_at"),
            bad_time,
            without("id"),
            bad_id,
            without("hook_action"),
            7,
            good()
        ]);
        let read = read(&list);
        let why: Vec<_> =
            read.iter().map(|part| part.event.as_ref().err().map(|why| why.0)).collect();
        assert_eq!(
            why,
            [
                Some("without_updated_at"),
                Some("bad_updated_at"),
                Some("without_id"),
                Some("without_id"),
                Some("without_action"),
                Some("without_id"),
                None
            ]
        );
        for nothing in [json!([]), json!("x"), json!(null)] {
            assert!(parse(Verified(nothing.to_string().as_bytes())).is_err());
        }
        assert!(parse(Verified(b"{")).is_err());
    }

    #[test]
    fn what_cannot_be_anybodys_is_dropped_and_named() {
        let report = one(&json!({"id": 77, "hook_action": "on_update_lead", "attributes": {
            "updated_at": "2026-11-30T11:00:00Z",
            "customer": {"name": "Ana", "email": "ana", "phone": "0000", "phone2": "11 3333-4444",
                         "cpf": "529.982.247-24"},
        }}));
        assert_eq!(report.lead.dropped, ["customer.email", "customer.phone"]);
        assert_eq!(report.contact.phone.unwrap().as_str(), "+551133334444");
        assert_eq!((report.contact.email, report.lead.cpf), (None, None));
        assert_eq!(report.lead.lead.as_str(), "77");
    }
}
