//! The rules of the Measurement Protocol, as `/debug/mp/collect` checks them.
//!
//! Owns the limits of names, counts and values; the sources are in `docs/providers.md` ("GA4"). It
//! must not know which events are kept.

use std::fmt;

use serde_json::{Map, Value, json};

use super::exchange::ProviderRequest;

const EVENTS_MAX: usize = 25;
const PARAMS_MAX: usize = 25;
const NAME_CHARS_MAX: usize = 40;
const VALUE_CHARS_MAX: usize = 100;
const USER_PROPERTIES_MAX: usize = 25;
const USER_PROPERTY_NAME_CHARS_MAX: usize = 24;
const USER_PROPERTY_VALUE_CHARS_MAX: usize = 36;
const BODY_BYTES_MAX: usize = 130_000;
const PAST_HOURS_MAX: i64 = 72;

/// The parameters of the page whose values may be longer than those of others, with their limits.
const LONG_PARAMS: [(&str, usize); 3] =
    [("page_location", 1000), ("page_referrer", 420), ("page_title", 300)];

const RESERVED_PREFIXES: [&str; 4] = ["_", "firebase_", "ga_", "google_"];

#[rustfmt::skip]
const RESERVED_EVENTS: [&str; 37] = [
    "ad_activeview", "ad_click", "ad_exposure", "ad_impression", "ad_query", "ad_reward",
    "adunit_exposure", "app_background", "app_clear_data", "app_exception", "app_install", "app_remove",
    "app_store_refund", "app_store_subscription_cancel", "app_store_subscription_convert",
    "app_store_subscription_renew", "app_update", "app_upgrade", "dynamic_link_app_open",
    "dynamic_link_app_update", "dynamic_link_first_open", "error", "firebase_campaign",
    "firebase_in_app_message_action", "firebase_in_app_message_dismiss",
    "firebase_in_app_message_impression", "first_open", "first_visit", "in_app_purchase",
    "notification_dismiss", "notification_foreground", "notification_open",
    "notification_receive", "os_update", "screen_view", "session_start", "user_engagement",
];

/// A rule of the protocol that a request breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    field_path: String,
    code: &'static str,
    description: String,
}

impl Broken {
    fn new(field_path: impl Into<String>, code: &'static str, why: impl Into<String>) -> Self {
        Self { field_path: field_path.into(), code, description: why.into() }
    }

    pub(super) fn shown(&self) -> Value {
        json!({
            "fieldPath": self.field_path,
            "description": self.description,
            "validationCode": self.code,
        })
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at {}", self.code, self.field_path)
    }
}

/// All rules of the protocol that a request breaks. Empty for a valid request.
pub(super) fn broken(request: &ProviderRequest<'_>) -> Vec<Broken> {
    let Some(body) = request.object() else {
        return vec![Broken::new("", "VALUE_INVALID", "The body must be a JSON object.")];
    };
    let mut found = Vec::new();
    if request.size >= BODY_BYTES_MAX {
        found.push(Broken::new("", "EXCEEDED_MAX_ENTITIES", "The body must be under 130 kB."));
    }
    if request.text("client_id").is_none() {
        found.push(Broken::new("client_id", "VALUE_REQUIRED", "Required, a text."));
    }
    let events = body.get("events").and_then(Value::as_array).map(Vec::as_slice);
    match events.unwrap_or_default() {
        [] => found.push(Broken::new("events", "VALUE_REQUIRED", "At least one event.")),
        events if events.len() > EVENTS_MAX => {
            found.push(Broken::new("events", "EXCEEDED_MAX_ENTITIES", "At most 25 events."));
        }
        events => {
            for (index, event) in events.iter().enumerate() {
                check_event(index, event, &mut found);
            }
        }
    }
    if let Some(properties) = body.get("user_properties").and_then(Value::as_object) {
        check_user_properties(properties, &mut found);
    }
    if body.get("validation_behavior").and_then(Value::as_str) == Some("ENFORCE_RECOMMENDATIONS") {
        check_age(request, body, &mut found);
    }
    found
}

fn check_event(index: usize, event: &Value, found: &mut Vec<Broken>) {
    let name = event["name"].as_str().unwrap_or_default();
    let at = format!("Event at index: [{index}] has");
    if let Some(why) = bad_name(name, NAME_CHARS_MAX) {
        found.push(Broken::new(
            "events",
            "NAME_INVALID",
            format!("{at} invalid name [{name}]. {why}"),
        ));
    } else if RESERVED_EVENTS.contains(&name) {
        found.push(Broken::new("events", "NAME_RESERVED", format!("{at} reserved name [{name}].")));
    }
    let empty = Map::new();
    let params = event["params"].as_object().unwrap_or(&empty);
    let path = format!("events[{index}].params");
    if params.len() > PARAMS_MAX {
        found.push(Broken::new(&path, "EXCEEDED_MAX_ENTITIES", format!("{at} over 25 params.")));
    }
    for (name, value) in params {
        let path = format!("{path}.{name}");
        if let Some(why) = bad_name(name, NAME_CHARS_MAX) {
            found.push(Broken::new(&path, "NAME_INVALID", format!("{at} a param [{name}]. {why}")));
        } else if is_reserved(name) {
            found.push(Broken::new(&path, "NAME_RESERVED", format!("{at} a param [{name}].")));
        }
        let longest = LONG_PARAMS.iter().find(|(long, _)| long == name);
        let longest = longest.map_or(VALUE_CHARS_MAX, |(_, chars)| *chars);
        if value.as_str().is_some_and(|value| value.chars().count() > longest) {
            found.push(Broken::new(&path, "VALUE_OUT_OF_BOUNDS", format!("Over {longest} chars.")));
        }
    }
    check_money(name, params, &path, found);
}

/// Checks `value` and `currency`, which are required together, and what some events require
/// besides.
fn check_money(event: &str, params: &Map<String, Value>, path: &str, found: &mut Vec<Broken>) {
    let mut required: Vec<&str> = match event {
        "purchase" => vec!["transaction_id", "value", "currency", "items"],
        "refund" => vec!["transaction_id", "value", "currency"],
        _ if params.contains_key("value") => vec!["currency"],
        _ if params.contains_key("currency") => vec!["value"],
        _ => Vec::new(),
    };
    required.retain(|name| !params.contains_key(*name));
    for name in required {
        found.push(Broken::new(format!("{path}.{name}"), "VALUE_REQUIRED", "Required."));
    }
    if params.get("value").is_some_and(|value| !value.is_number()) {
        found.push(Broken::new(format!("{path}.value"), "VALUE_INVALID", "Must be a number."));
    }
    let is_currency = |text: &str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
    if params.get("currency").is_some_and(|currency| !currency.as_str().is_some_and(is_currency)) {
        found.push(Broken::new(format!("{path}.currency"), "VALUE_INVALID", "Must be like BRL."));
    }
    for (index, item) in
        params.get("items").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        if item.get("item_id").or_else(|| item.get("item_name")).is_none() {
            let path = format!("{path}.items[{index}]");
            found.push(Broken::new(path, "VALUE_REQUIRED", "item_id or item_name is required."));
        }
    }
}

fn check_user_properties(properties: &Map<String, Value>, found: &mut Vec<Broken>) {
    if properties.len() > USER_PROPERTIES_MAX {
        found.push(Broken::new("user_properties", "EXCEEDED_MAX_ENTITIES", "At most 25."));
    }
    for (name, property) in properties {
        let path = format!("user_properties.{name}");
        if let Some(why) = bad_name(name, USER_PROPERTY_NAME_CHARS_MAX) {
            found.push(Broken::new(&path, "NAME_INVALID", why));
        } else if is_reserved(name) {
            found.push(Broken::new(&path, "NAME_RESERVED", "The prefix is reserved."));
        }
        let long = |text: &str| text.chars().count() > USER_PROPERTY_VALUE_CHARS_MAX;
        if property["value"].as_str().is_some_and(long) {
            found.push(Broken::new(&path, "VALUE_OUT_OF_BOUNDS", "Over 36 chars."));
        }
    }
}

fn check_age(request: &ProviderRequest<'_>, body: &Map<String, Value>, found: &mut Vec<Broken>) {
    let (Some(micros), Ok(now)) = (
        body.get("timestamp_micros").and_then(Value::as_i64),
        request.received.at.parse::<jiff::Timestamp>(),
    ) else {
        return;
    };
    if now.as_microsecond() - micros > PAST_HOURS_MAX * 3_600_000_000 {
        let why = "More than 72 hours in the past.";
        found.push(Broken::new("timestamp_micros", "VALUE_OUT_OF_BOUNDS", why));
    }
}

fn is_reserved(name: &str) -> bool {
    name == "firebase_conversion" || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn bad_name(name: &str, chars_max: usize) -> Option<&'static str> {
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        Some("Names must start with an alphabetic character.")
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        Some("Names must only contain alphanumeric characters and underscores.")
    } else if name.len() > chars_max {
        Some("The name is too long.")
    } else {
        None
    }
}
