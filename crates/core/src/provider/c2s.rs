//! Contact2Sale's webhook: what it reports of its leads, one by one or several at once.
//!
//! Owns how a request proves itself, the three formats of an event, and what identifies one. The facts, and that no
//! page of the vendor could be read, are in `docs/providers.md` ("Contact2Sale"). This module must not know whose lead
//! it is, nor what becomes of a report.

use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;

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

/// Verifies that a request carries one of the tokens, in its header or in its address.
pub fn verify<'b>(
    body: &'b [u8],
    given: [Option<&str>; 2],
    tokens: &[Secret],
) -> Result<Verified<'b>, NotSigned> {
    let is_right = |given: &str| Secret::is_one_of(given, tokens);
    if given.into_iter().flatten().any(is_right) { Ok(Verified(body)) } else { Err(NotSigned) }
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
    let no_json = NotUnderstood("invalid_json");
    // Each event is read by itself, so that one that is no JSON we take leaves the others alone.
    let document: &RawValue = serde_json::from_slice(body).map_err(|_| no_json)?;
    match document.get().as_bytes().first() {
        Some(b'[') => {
            let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(|_| no_json)?;
            if events.is_empty() {
                return Err(NotUnderstood("no_events"));
            }
            Ok(events.into_iter().map(part).collect())
        }
        Some(b'{') => match part(document) {
            Part { event: Err(why), .. } if why == no_json => Err(why),
            part => Ok(vec![part]),
        },
        Some(_) | None => Err(NotUnderstood("no_events")),
    }
}

/// Reads one event. Its lead stands in `lead`, in `data`, or is the event itself; its fields stand in `attributes`, or
/// beside the id.
fn part(raw: &RawValue) -> Part {
    let read = json::parse(raw.get().as_bytes());
    let is_json = read.is_ok();
    let event = &read.unwrap_or_default();
    let id_of = |lead: &Value| {
        let id = ["id", "lead_id"].iter().find_map(|name| {
            // A number with a fraction or an exponent is no id.
            text(lead, name).filter(|_| !lead[name].is_f64())
        });
        id.as_deref().and_then(CrmId::parse)
    };
    // An object that holds no lead at all, as the `data` of whoever passes it on, is not looked at.
    let holds_lead =
        |lead: &&Value| ["id", "lead_id", "attributes"].iter().any(|name| lead.get(name).is_some());
    let places = ["lead", "data"].iter().filter_map(|name| event.get(name));
    let lead = places.into_iter().find(holds_lead).unwrap_or(event);
    let attributes = lead.get("attributes").filter(|one| one.is_object()).unwrap_or(lead);
    let id = id_of(lead);
    let action = text(event, "hook_action").map(|action| plain_name(&action));
    let action = action.filter(|action| !action.is_empty());
    let event_of = || {
        if !is_json {
            return Err(NotUnderstood("invalid_json"));
        }
        let id = id.clone().ok_or(NotUnderstood("without_id"))?;
        let action = action.clone().ok_or(NotUnderstood("without_action"))?;
        let at = text(attributes, "updated_at").or_else(|| text(event, "updated_at"));
        let at = at.ok_or(NotUnderstood("without_updated_at"))?;
        let at: Timestamp = at.parse().map_err(|_| NotUnderstood("bad_updated_at"))?;
        Ok(Box::new(report(id, &action, at, attributes)))
    };
    Part { event: event_of(), lead: id, action, raw: Text::new(raw.get().to_owned()) }
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
        lead: CrmLead {
            crm: NAME.to_owned(),
            lead,
            action: known,
            updated_at,
            status: status.map(|status| cut(&status, NAME_CHARS_MAX)),
            name: contact.name.clone(),
            email: contact.email.clone(),
            phone: contact.phone.clone(),
            cpf: cpf(customer, attributes),
            not_before: None,
            dropped,
        },
        contact,
    }
}

/// The person's CPF: of a field that is made for it, else the only one in a text.
fn cpf(customer: &Value, attributes: &Value) -> Option<Cpf> {
    let places = [customer, attributes];
    let fields = CPF_FIELDS.iter().flat_map(|name| places.map(|place| (place, name)));
    let of_fields = fields.into_iter().find_map(|(place, name)| {
        let text = text(place, name)?;
        // A number has lost the zeros at its beginning.
        let text = if place[name].is_u64() { format!("{text:0>11}") } else { text };
        Cpf::parse(&text).ok()
    });
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
    fn the_formats_say_the_same() {
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
            {"id": 1.5, "hook_action": "on_update_lead", "attributes": attributes()},
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
    fn an_event_that_is_no_json_we_take_leaves_the_others_alone() {
        let good = json!({"id": "a1", "hook_action": "on_update_lead", "attributes": attributes()});
        // Half a surrogate pair, a name twice, and an id whose digits a float would lose.
        let twice = r#"{"id": "a2", "id": "a3"}"#;
        let body = format!(r#"[{{"id": "\ud800"}}, {good}, {twice}, {{"id": 90071992547409931}}]"#);
        let parts = parse(Verified(body.as_bytes())).unwrap();
        let why: Vec<_> =
            parts.iter().map(|one| one.event.as_ref().err().map(|why| why.0)).collect();
        let no_json = Some("invalid_json");
        assert_eq!(why, [no_json, None, no_json, Some("without_action")]);
        assert_eq!(parts[2].raw.expose(), twice, "a person sees what came");
        assert_eq!(parts[3].lead.as_ref().unwrap().as_str(), "90071992547409931");
    }

    #[test]
    fn a_lead_stands_where_its_id_is() {
        let event = json!({"id": "a1", "hook_action": "on_update_lead", "data": {"source": "x"},
            "attributes": attributes()});
        assert_eq!(one(&event).lead.lead.as_str(), "a1");
        // The id of an event is nobody's.
        let event = json!({"id": "e1", "hook_action": "on_update_lead",
            "lead": {"id": null, "attributes": attributes()}});
        assert_eq!(read(&event)[0].event, Err(NotUnderstood("without_id")));
    }

    #[test]
    fn a_cpf_may_be_a_number_without_its_zeros() {
        let mut with = attributes();
        with["customer"]["cpf"] = json!(191);
        with["description"] = json!("");
        let event = json!({"id": "a1", "hook_action": "on_update_lead", "attributes": with});
        assert_eq!(one(&event).lead.cpf.unwrap().as_str(), "00000000191");
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
