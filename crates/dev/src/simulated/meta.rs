//! The simulated Meta Conversions API (base URL `https://graph.facebook.com`).
//!
//! Owns the events that were kept, and the rule that an `event_id` counts once for each event name.
//! Like the real API it refuses a whole request if one event is not valid. See `docs/providers.md`
//! ("Meta and Graph"). This module must not know HTTP, nor how a response is withheld.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::Providers;
use super::exchange::{ProviderRequest, ProviderResponse};

const EVENTS_MAX: usize = 1_000;
/// The maximum age of an event.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);
const ACTION_SOURCES: [&str; 9] = [
    "website",
    "app",
    "email",
    "phone_call",
    "chat",
    "physical_store",
    "system_generated",
    "business_messaging",
    "other",
];
/// The members of `user_data` that must be hashed.
const HASHED: [&str; 10] = ["em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country"];
/// The members of `user_data` that need not be hashed.
const PLAIN: [&str; 7] =
    ["external_id", "client_ip_address", "client_user_agent", "fbc", "fbp", "lead_id", "page_id"];

/// The state of all pixels.
#[derive(Debug, Default)]
pub(super) struct Meta {
    events: Vec<Value>,
    /// The names and ids of events that were counted.
    seen: BTreeSet<(String, String)>,
}

impl Meta {
    pub(super) fn response(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        let path = request.path();
        let ("POST", [version, pixel, "events"]) = (request.method(), path.as_slice()) else {
            return error(404, 2500, "Unknown path components");
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !version.starts_with('v') || !digits(pixel) {
            return error(400, 100, "Unsupported request");
        }
        if !request.has_bearer() {
            return error(401, 190, "Invalid OAuth access token.");
        }
        let data = request.object().and_then(|body| body.get("data")).and_then(Value::as_array);
        let Some(events) = data.filter(|events| (1..=EVENTS_MAX).contains(&events.len())) else {
            return error(400, 100, "Invalid parameter: data");
        };
        if let Some(wrong) = events.iter().find_map(|event| fault(event, &request.received.at)) {
            return error(400, 100, wrong);
        }
        let notes: Vec<String> = events.iter().map(|event| self.keep(event)).collect();
        let response = json!({
            "events_received": events.len(), "messages": [], "fbtrace_id": "simulated",
        });
        ProviderResponse::json(200, response, notes.join(", "))
    }

    fn keep(&mut self, event: &Value) -> String {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let (name, id) = (text("event_name"), text("event_id"));
        if !id.is_empty() && !self.seen.insert((name.clone(), id.clone())) {
            return format!("duplicate event_id {id} ignored");
        }
        self.events.push(event.clone());
        format!("kept {name}")
    }
}

/// The reason why Meta would refuse an event.
fn fault(event: &Value, now: &str) -> Option<&'static str> {
    if event["event_name"].as_str().is_none_or(str::is_empty) {
        return Some("Invalid parameter: event_name");
    }
    if event["action_source"].as_str().is_none_or(|source| !ACTION_SOURCES.contains(&source)) {
        return Some("Invalid parameter: action_source");
    }
    let at = event["event_time"].as_i64().and_then(|second| Timestamp::from_second(second).ok());
    let now: Option<Timestamp> = now.parse().ok();
    match at.zip(now) {
        Some((at, now)) if now.duration_since(at) <= AGE_MAX => {}
        Some(_) | None => return Some("Invalid parameter: event_time"),
    }
    match event["user_data"].as_object() {
        Some(user) if !user.is_empty() => user_fault(user),
        Some(_) | None => Some("Invalid parameter: user_data"),
    }
}

fn user_fault(user: &Map<String, Value>) -> Option<&'static str> {
    user.iter().find_map(|(name, value)| {
        let values = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        if HASHED.contains(&name.as_str()) {
            return (!values.iter().all(is_sha256)).then_some("A customer parameter is not hashed");
        }
        let is_browser_id = |value: &Value| value.as_str().is_some_and(|id| id.starts_with("fb."));
        match name.as_str() {
            "fbc" | "fbp" if !is_browser_id(value) => Some("Invalid parameter: fbc or fbp"),
            known if PLAIN.contains(&known) => None,
            _ => Some("Unexpected key in user_data"),
        }
    })
}

fn is_sha256(value: &Value) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    value.as_str().is_some_and(|text| text.len() == 64 && text.bytes().all(hex))
}

/// An error in the format of the Graph API.
fn error(status: u16, code: u32, message: &str) -> ProviderResponse {
    let error = json!({"message": message, "type": "OAuthException", "code": code});
    ProviderResponse::json(status, json!({"error": error}), format!("refused: {message}"))
}

impl Providers {
    /// The events that Meta kept, in order, without duplicates.
    pub fn meta_events(&self) -> Vec<Value> {
        self.read(|world| world.meta.events.clone())
    }
}
