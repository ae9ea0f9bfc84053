//! What of a lead goes along with an event: where it came from, and the id of its browser.
//!
//! Of the event it looks only at whether it is a payment, whose own campaign and date count. Must not know how it
//! is sent.

use serde_json::Value;

use super::event::OfLead;
use crate::contact::attribution::Attribution;
use crate::event::{Event, EventData, PaymentEvent};
use crate::hash::sha256_parts;
use crate::id::LeadId;
use crate::lead::Lead;
use crate::pii::Text;

/// What of the lead goes along with an event.
pub(super) fn of_lead(lead: &Lead, what: OfLead, event: &Event) -> Vec<(&'static str, Value)> {
    let source = option(lead.latest.traffic_source.as_ref()).map(Value::from);
    let touch = lead.facts.first_touch.as_ref();
    let session = touch.and_then(|touch| touch.ga_session_id.as_ref()).filter(|id| digits(id));
    // A payment's own campaign is nearer to it than that of the first visit.
    let of_payment = if let EventData::Payment(PaymentEvent::Succeeded(paid)) = &event.data {
        paid.purchase.utm.campaign.as_ref()
    } else {
        None
    };
    let campaign = of_payment.or_else(|| touch.and_then(|touch| touch.utm.campaign.as_ref()));
    let campaign = option(campaign);
    let is_paid = matches!(event.data, EventData::Payment(PaymentEvent::Succeeded(_)));
    let days = lead.days_to_payment(event.occurred_at).filter(|_| is_paid);
    let named = match what {
        OfLead::Nothing => vec![],
        OfLead::Source => vec![("lead_source", source)],
        OfLead::Conversion => vec![
            ("lead_source", source),
            ("lead_campaign", campaign.map(Value::from)),
            ("session_id", session.map(|id| id.expose().as_str().into())),
            ("days_to_conversion", days.map(Value::from)),
        ],
    };
    named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The browser's client id, or one that is derived from the lead's id: stable, and nothing
/// personal.
pub(super) fn client_id(event: &Event, touch: Option<&Attribution>) -> String {
    let browser = touch.and_then(|touch| touch.ga_client_id.as_ref());
    let browser = browser.and_then(|id| browser_client_id(id.expose()));
    browser.map_or_else(|| pseudo_client_id(event.lead_id), str::to_owned)
}

/// The id in what the browser sent: the id itself, or the raw value of the cookie `_ga`, which is
/// `GA1.<depth of the domain>.<id>`.
pub(super) fn browser_client_id(text: &str) -> Option<&str> {
    let in_cookie = text.strip_prefix("GA1.").and_then(|rest| rest.split_once('.'));
    let id = match in_cookie {
        Some((depth, id)) if depth.bytes().all(|b| b.is_ascii_digit() || b == b'-') => id,
        Some(_) | None => text,
    };
    let (number, first_visit) = id.split_once('.')?;
    // Either has at most ten digits, so no CPF can stand for one.
    let is_number = |text: &str| all_digits(text) && text.len() <= 10;
    (is_number(number) && is_number(first_visit)).then_some(id)
}

pub(super) fn pseudo_client_id(lead_id: LeadId) -> String {
    let digest = sha256_parts(&[&lead_id.to_string()]);
    let number = |at: usize| {
        let bytes = [digest[at], digest[at + 1], digest[at + 2], digest[at + 3]];
        u32::from_be_bytes(bytes)
    };
    format!("{}.{}", number(0), number(4))
}

pub(super) fn digits(text: &Text) -> bool {
    all_digits(text.expose())
}

pub(super) fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text, if it looks like the name of an option. GA4 forbids personal data, so e-mails, phones
/// and sentences must not pass.
pub(super) fn option(text: Option<&Text>) -> Option<&str> {
    let text = text?.expose().as_str();
    let shaped = text.len() <= 40
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && text.bytes().filter(u8::is_ascii_digit).count() <= 6;
    shaped.then_some(text)
}
