//! MailerLite's webhooks: verified, and parsed into what happened to subscribers.
//!
//! Owns MailerLite's signature header, its event names, and the formats of its bodies: flat, nested, and several
//! in an envelope. The facts are in `docs/providers.md` ("MailerLite"). This module must not know what becomes
//! of a report, nor whose lead a subscriber is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::mailbox::{Parsed, Report, What};
use super::signature::{self, is_signed};
use super::{NotSigned, NotUnderstood, Verified, event_name};
use crate::check::member;
use crate::contact::Email;
use crate::event::{EmailStatus, SubscriberNote, SubscriberNoted};
use crate::hash::sha256_hex;
use crate::json::{self, canonical};
use crate::settings::{Secret, Settings};

/// The provider's name in receipts, event ids and the quarantine.
pub const NAME: &str = "mailerlite";
/// The header with the signature: the HMAC of the raw body.
pub const SIGNATURE_HEADER: &str = "signature";
/// The most reports that one request may bring.
pub const REPORTS_MAX: usize = 1000;

/// The events to ask MailerLite for, each by itself.
pub const EVENTS: [&str; 10] = [
    "subscriber.active",
    "subscriber.unsubscribed",
    "subscriber.bounced",
    "subscriber.spam_reported",
    "subscriber.added_to_group",
    "subscriber.removed_from_group",
    "subscriber.automation_triggered",
    "subscriber.automation_completed",
    "subscriber.updated",
    "subscriber.created",
];
/// The event that MailerLite sends only in envelopes.
pub const BATCHED_EVENTS: [&str; 1] = ["subscriber.deleted"];

/// How the signature is written, which MailerLite does not document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// In lower-case hex.
    Hex,
    /// In base64.
    Base64,
    /// In either: both are the same 32 bytes.
    Either,
}

impl Encoding {
    /// Reads `MAILERLITE_SIGNATURE`.
    pub fn read(settings: &mut Settings<'_>) -> Option<Self> {
        match settings.optional("MAILERLITE_SIGNATURE").unwrap_or("either") {
            "hex" => Some(Self::Hex),
            "base64" => Some(Self::Base64),
            "either" => Some(Self::Either),
            _ => settings.problem("MAILERLITE_SIGNATURE must be hex, base64 or either."),
        }
    }
}

/// Verifies that the raw body is signed with any of the keys. The signature has no time, so there is no window
/// in which it holds.
pub fn verify<'b>(
    body: &'b [u8],
    header: Option<&str>,
    keys: &[Secret],
    encoding: Encoding,
) -> Result<Verified<'b>, NotSigned> {
    let given = header.unwrap_or_default().trim();
    let in_hex = || is_signed(keys, &[body], given);
    let in_base64 =
        || BASE64.decode(given).is_ok_and(|bytes| is_signed(keys, &[body], &hex::encode(bytes)));
    let valid = match encoding {
        Encoding::Hex => in_hex(),
        Encoding::Base64 => in_base64(),
        Encoding::Either => in_hex() || in_base64(),
    };
    if valid { Ok(Verified(body)) } else { Err(NotSigned) }
}

/// The header for a body, in hex, for samples and tests.
pub fn sign(body: &[u8], key: &Secret) -> String {
    signature::sign(key, &[body])
}

/// Parses a verified body. Each part of an envelope stands alone.
pub fn parse(verified: Verified<'_>) -> Result<Parsed, NotUnderstood> {
    let body = json::parse(verified.0).map_err(|_| NotUnderstood("no_json"))?;
    let parts = match body.get("events") {
        Some(Value::Array(parts)) if parts.len() > REPORTS_MAX => {
            return Err(NotUnderstood("too_many_events"));
        }
        Some(Value::Array(parts)) => parts.as_slice(),
        Some(_) => return Err(NotUnderstood("events_are_no_list")),
        None => std::slice::from_ref(&body),
    };
    let mut parsed = Parsed::default();
    for part in parts {
        match Part::read(part) {
            Part::Report(report) => parsed.reports.push(*report),
            Part::Other(name) => parsed.others.push(name),
            Part::Unreadable => parsed.unreadable += 1,
        }
    }
    Ok(parsed)
}

enum Part {
    Report(Box<Report>),
    Other(String),
    Unreadable,
}

impl Part {
    fn read(part: &Value) -> Self {
        let name = ["type", "event"].into_iter().find_map(|member| part[member].as_str());
        let Some(name) = name else { return Self::Unreadable };
        let named = |what: &str| {
            let object = &part[what];
            let text = |name: &str| member(object, name);
            let name = text("name").map(|name| name.chars().take(NAME_CHARS_MAX).collect());
            (text("id"), name)
        };
        let noted = |note, (id, name)| What::Noted(SubscriberNoted { note, id, name });
        let what = match name.strip_prefix("subscriber.").unwrap_or_default() {
            "active" => What::Changed(EmailStatus::Active),
            "unsubscribed" => What::Changed(EmailStatus::Unsubscribed),
            "spam_reported" => What::Changed(EmailStatus::SpamReported),
            "bounced" => What::Changed(EmailStatus::Bounced),
            "deleted" => What::Changed(EmailStatus::Deleted),
            "created" => noted(SubscriberNote::Created, (None, None)),
            "updated" => noted(SubscriberNote::Updated, (None, None)),
            "added_to_group" => noted(SubscriberNote::AddedToGroup, named("group")),
            "removed_from_group" => noted(SubscriberNote::RemovedFromGroup, named("group")),
            "automation_triggered" => {
                noted(SubscriberNote::AutomationTriggered, named("automation"))
            }
            "automation_completed" => {
                noted(SubscriberNote::AutomationCompleted, named("automation"))
            }
            _ => return Self::Other(event_name(name)),
        };
        // A nested body has the subscriber in a member, a flat one is the subscriber.
        let subscriber = part.get("subscriber").filter(|one| one.is_object()).unwrap_or(part);
        match subscriber["email"].as_str().map(Email::parse) {
            Some(Ok(email)) => {
                let digest = sha256_hex(&canonical(part));
                Self::Report(Box::new(Report { email, what, digest }))
            }
            Some(Err(_)) | None => Self::Unreadable,
        }
    }
}

/// The length to which the name of a group or an automation is cut, in characters.
const NAME_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "ml_webhook_secret";

    fn read(body: &Value) -> Parsed {
        parse(Verified::released(body.to_string().as_bytes())).unwrap()
    }

    fn kinds(parsed: &Parsed) -> Vec<&'static str> {
        let name = |report: &Report| match &report.what {
            What::Changed(status) => status.name(),
            What::Noted(noted) => noted.note.name(),
        };
        parsed.reports.iter().map(name).collect()
    }

    #[test]
    fn a_signature_is_taken_in_the_configured_encoding() {
        let key = [Secret::new("another"), Secret::new(SECRET)];
        let body = br#"{"event":"subscriber.active"}"#;
        let in_hex = sign(body, &key[1]);
        let in_base64 = BASE64.encode(hex::decode(&in_hex).unwrap());
        let expected = "c308f38a9fb9f14bfc520f8f48458d38ee65f471d33d7bc7885afe65c62cacde";
        assert_eq!((in_hex.as_str(), in_base64.len()), (expected, 44));
        for (header, encoding, valid) in [
            (in_hex.as_str(), Encoding::Hex, true),
            (&in_hex, Encoding::Base64, false),
            (&in_hex, Encoding::Either, true),
            (&in_base64, Encoding::Hex, false),
            (&in_base64, Encoding::Base64, true),
            (&in_base64, Encoding::Either, true),
            ("", Encoding::Either, false),
            ("AAAA", Encoding::Either, false),
        ] {
            assert_eq!(verify(body, Some(header), &key, encoding).is_ok(), valid, "{encoding:?}");
        }
        assert!(verify(body, Some(&in_hex), &key[..1], Encoding::Either).is_err());
        assert!(verify(b"{}", Some(&in_hex), &key, Encoding::Either).is_err());
        assert!(verify(body, None, &key, Encoding::Either).is_err());
    }

    #[test]
    fn flat_and_nested_bodies_and_envelopes_say_the_same() {
        let flat = json!({"id": "1", "email": "Ana@Example.com", "status": "unsubscribed",
            "event": "subscriber.unsubscribed", "account_id": 0});
        let nested = json!({"type": "subscriber.added_to_group",
            "subscriber": {"id": "1", "email": "ana@example.com", "status": "active"},
            "group": {"id": 7, "name": "Newsletter"}, "account_id": 0});
        assert_eq!(kinds(&read(&flat)), ["unsubscribed"]);
        let noted = read(&nested);
        let What::Noted(group) = &noted.reports[0].what else { panic!() };
        assert_eq!((group.id.as_deref(), group.name.as_deref()), (Some("7"), Some("Newsletter")));
        let mut deleted = flat.clone();
        deleted["event"] = json!("subscriber.deleted");
        let envelope =
            json!({"events": [nested, {"type": "campaign.sent"}, 7, flat, deleted], "total": 5});
        let parsed = read(&envelope);
        assert_eq!(kinds(&parsed), ["added_to_group", "unsubscribed", "deleted"]);
        assert_eq!((parsed.others, parsed.unreadable), (vec!["campaign.sent".to_owned()], 1));
        assert!(parsed.reports.iter().all(|report| report.email.as_str() == "ana@example.com"));
    }

    #[test]
    fn every_event_that_is_asked_for_is_understood() {
        for name in EVENTS.iter().chain(&BATCHED_EVENTS) {
            let parsed = read(&json!({"event": name, "email": "ana@example.com"}));
            assert_eq!((parsed.reports.len(), parsed.unreadable), (1, 0), "{name}");
        }
    }

    #[test]
    fn what_is_no_report_of_anybody_is_not_understood() {
        for body in [
            json!({}),
            json!({"event": "subscriber.active"}),
            json!({"event": "subscriber.active", "email": "none"}),
            json!({"type": "subscriber.active", "subscriber": {"email": 7}}),
            json!([]),
            json!("text"),
        ] {
            assert_eq!(read(&body).unreadable, 1, "{body}");
        }
        let not_understood = |body: &[u8]| parse(Verified::released(body)).unwrap_err().0;
        assert_eq!(not_understood(b"<html>"), "no_json");
        assert_eq!(not_understood(br#"{"events": {}}"#), "events_are_no_list");
        let many = json!({"events": vec![Value::Null; REPORTS_MAX + 1]});
        assert_eq!(not_understood(many.to_string().as_bytes()), "too_many_events");
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(body: Vec<u8>) {
            drop(parse(Verified::released(&body)));
        }
    }
}
