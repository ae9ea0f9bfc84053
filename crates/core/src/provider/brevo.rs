//! Brevo's webhook for e-mails that it sent: that one bounced, or that the person wants none.
//!
//! Brevo signs nothing: its requests prove themselves by a token of ours. The facts are in `docs/providers.md`
//! ("Brevo"). This module must not know what becomes of a report.

use super::mailbox::{Parsed, Report, What};
use super::{NotSigned, NotUnderstood, Verified, event_name};
use crate::contact::Email;
use crate::event::{EmailStatus, SubscriberNote, SubscriberNoted};
use crate::hash::sha256_hex;
use crate::json::{self, canonical};
use crate::settings::Secret;

/// The provider's name in receipts, event ids and the quarantine.
pub const NAME: &str = "brevo";
/// The header with the token, as a bearer.
pub const TOKEN_HEADER: &str = "authorization";
/// The parameter of the address with the token, for who cannot set the header.
pub const TOKEN_PARAMETER: &str = "token";
/// The events to ask Brevo for, by the names of its API.
pub const EVENTS: [&str; 6] =
    ["hardBounce", "softBounce", "blocked", "invalid", "spam", "unsubscribed"];
/// The most reports that one request may bring: Brevo sends one, or several as a list.
const REPORTS_MAX: usize = 1000;

/// Verifies that a request carries one of the tokens: `header` is the whole header, `parameter` that of the address.
pub fn verify<'b>(
    body: &'b [u8],
    header: Option<&str>,
    parameter: Option<&str>,
    tokens: &[Secret],
) -> Result<Verified<'b>, NotSigned> {
    let bearer = header.and_then(|header| {
        let (scheme, token) = header.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let is_right = |given: &str| Secret::is_one_of(given, tokens);
    if [bearer, parameter].into_iter().flatten().any(is_right) {
        Ok(Verified(body))
    } else {
        Err(NotSigned)
    }
}

/// Parses a verified body: one report or a list of them, each by itself.
pub fn parse(Verified(body): Verified<'_>) -> Result<Parsed, NotUnderstood> {
    let tree = json::parse(body).map_err(|_| NotUnderstood("no_json"))?;
    let parts = tree.as_array().map_or_else(|| std::slice::from_ref(&tree), Vec::as_slice);
    if parts.len() > REPORTS_MAX {
        return Err(NotUnderstood("too_many_events"));
    }
    let mut parsed = Parsed::default();
    for part in parts {
        let Some(name) = part["event"].as_str() else {
            parsed.unreadable += 1;
            continue;
        };
        let noted = |note| What::Noted(SubscriberNoted { note, id: None, name: None });
        let what = match name {
            "hard_bounce" | "invalid_email" | "invalid" => What::Changed(EmailStatus::Bounced),
            "spam" | "complaint" => What::Changed(EmailStatus::SpamReported),
            "unsubscribe" | "unsubscribed" => What::Changed(EmailStatus::Unsubscribed),
            "soft_bounce" => noted(SubscriberNote::SoftBounced),
            "blocked" => noted(SubscriberNote::Blocked),
            _ => {
                parsed.others.push(event_name(name));
                continue;
            }
        };
        match part["email"].as_str().map(Email::parse) {
            Some(Ok(email)) => {
                let digest = sha256_hex(&canonical(part));
                parsed.reports.push(Report { email, what, digest });
            }
            Some(Err(_)) | None => parsed.unreadable += 1,
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &Value) -> Parsed {
        parse(Verified(body.to_string().as_bytes())).unwrap()
    }

    #[test]
    fn a_token_is_taken_from_the_header_or_the_address() {
        let tokens = [Secret::new("first-token-0123"), Secret::new("second-token-0123")];
        for (header, parameter, valid) in [
            (Some("Bearer second-token-0123"), None, true),
            (Some("bearer first-token-0123"), None, true),
            (None, Some("first-token-0123"), true),
            (Some("Basic eDp5"), Some("first-token-0123"), true),
            (Some("Bearer x"), Some("first-token-0123"), true),
            (Some("Bearer x"), Some("y"), false),
            (Some("first-token-0123"), None, false),
            (None, Some(""), false),
            (None, None, false),
        ] {
            let verified = verify(b"{}", header, parameter, &tokens).is_ok();
            assert_eq!(verified, valid, "{header:?} {parameter:?}");
        }
    }

    #[test]
    fn each_event_means_something_or_is_named() {
        for (event, expected) in [
            ("hard_bounce", "bounced"),
            ("invalid_email", "bounced"),
            ("spam", "spam_reported"),
            ("unsubscribed", "unsubscribed"),
            ("unsubscribe", "unsubscribed"),
            ("soft_bounce", "soft_bounced"),
            ("blocked", "blocked"),
        ] {
            let parsed = read(&json!({"event": event, "email": "Ana@Example.com", "id": 1}));
            let name = match &parsed.reports[0].what {
                What::Changed(status) => status.name(),
                What::Noted(noted) => noted.note.name(),
            };
            assert_eq!((name, parsed.reports[0].email.as_str()), (expected, "ana@example.com"));
        }
        let list = json!([{"event": "delivered", "email": "a@example.com"}, {"event": "spam"}, 7]);
        let parsed = read(&list);
        assert_eq!((parsed.others, parsed.unreadable), (vec!["delivered".to_owned()], 2));
        assert!(parse(Verified(b"<html>")).is_err());
    }
}
