//! GA4's limits: `docs/providers.md` ("GA4"). GA4 silently drops what breaks them.

use serde_json::Value;

const EVENTS_MAX: usize = 25;
const PARAMS_MAX: usize = 25;
const NAME_CHARS_MAX: usize = 40;
const VALUE_CHARS_MAX: usize = 100;
const USER_PROPERTIES_MAX: usize = 25;
const USER_PROPERTY_NAME_CHARS_MAX: usize = 24;
const USER_PROPERTY_VALUE_CHARS_MAX: usize = 36;
const BODY_BYTES_MAX: usize = 130_000;
const RESERVED_PREFIXES: [&str; 4] = ["ga_", "google_", "firebase_", "_"];
const RESERVED_EVENTS: [&str; 37] = [
    "ad_activeview",
    "ad_click",
    "ad_exposure",
    "ad_impression",
    "ad_query",
    "ad_reward",
    "adunit_exposure",
    "app_background",
    "app_clear_data",
    "app_exception",
    "app_install",
    "app_remove",
    "app_store_refund",
    "app_store_subscription_cancel",
    "app_store_subscription_convert",
    "app_store_subscription_renew",
    "app_update",
    "app_upgrade",
    "dynamic_link_app_open",
    "dynamic_link_app_update",
    "dynamic_link_first_open",
    "error",
    "firebase_campaign",
    "firebase_in_app_message_action",
    "firebase_in_app_message_dismiss",
    "firebase_in_app_message_impression",
    "first_open",
    "first_visit",
    "in_app_purchase",
    "notification_dismiss",
    "notification_foreground",
    "notification_open",
    "notification_receive",
    "os_update",
    "screen_view",
    "session_start",
    "user_engagement",
];

/// Checks a whole request body; the error is the name of the limit that it breaks.
pub(super) fn check(body: &Value) -> Result<(), &'static str> {
    if body.to_string().len() >= BODY_BYTES_MAX {
        return Err("body_too_large");
    }
    if body.get("client_id").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err("client_id_missing");
    }
    let events = body.get("events").and_then(Value::as_array).ok_or("events_missing")?;
    if events.is_empty() || events.len() > EVENTS_MAX {
        return Err("events_count");
    }
    events.iter().try_for_each(event)?;
    body.get("user_properties").map_or(Ok(()), user_properties)
}

/// Whether GA4 takes an event of this name.
pub(super) fn is_event_name(name: &str) -> bool {
    is_name(name, NAME_CHARS_MAX) && !RESERVED_EVENTS.contains(&name) && !is_reserved(name)
}

fn event(event: &Value) -> Result<(), &'static str> {
    let name = event.get("name").and_then(Value::as_str).unwrap_or_default();
    if !is_name(name, NAME_CHARS_MAX) {
        return Err("event_name");
    }
    if RESERVED_EVENTS.contains(&name) {
        return Err("event_name_reserved");
    }
    let Some(params) = event.get("params").and_then(Value::as_object) else { return Ok(()) };
    if params.len() > PARAMS_MAX {
        return Err("params_count");
    }
    for (name, value) in params {
        if !is_param_name(name) {
            return Err("param_name");
        }
        let too_long = value.as_str().is_some_and(|text| text.chars().count() > VALUE_CHARS_MAX);
        if too_long {
            return Err("param_value_too_long");
        }
        if value.is_object() || (value.is_array() && name != "items") {
            return Err("param_value_type");
        }
    }
    // `value` and `currency` must come together.
    match (params.get("value"), params.get("currency")) {
        (None, None) => Ok(()),
        (Some(value), Some(currency)) => {
            let currency = currency.as_str().unwrap_or_default();
            let three = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
            if value.is_number() && three { Ok(()) } else { Err("value_or_currency") }
        }
        (Some(_), None) | (None, Some(_)) => Err("value_without_currency"),
    }
}

fn user_properties(properties: &Value) -> Result<(), &'static str> {
    let properties = properties.as_object().ok_or("user_properties")?;
    if properties.len() > USER_PROPERTIES_MAX {
        return Err("user_properties_count");
    }
    for (name, property) in properties {
        if !is_name(name, USER_PROPERTY_NAME_CHARS_MAX) || is_reserved(name) {
            return Err("user_property_name");
        }
        let value = property.get("value").and_then(Value::as_str).unwrap_or_default();
        if value.chars().count() > USER_PROPERTY_VALUE_CHARS_MAX {
            return Err("user_property_value_too_long");
        }
    }
    Ok(())
}

/// Whether GA4 takes a parameter of this name.
pub(super) fn is_param_name(name: &str) -> bool {
    is_name(name, NAME_CHARS_MAX) && !is_reserved(name)
}

fn is_name(name: &str, chars_max: usize) -> bool {
    name.len() <= chars_max
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_reserved(name: &str) -> bool {
    name == "firebase_conversion" || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "tables read better")]
    fn body(event: Value) -> Value {
        json!({"client_id": "1.2", "events": [event]})
    }

    #[expect(clippy::needless_pass_by_value, reason = "tables read better")]
    fn lead(params: Value) -> Value {
        body(json!({"name": "generate_lead", "params": params}))
    }

    fn many(count: usize) -> Value {
        (0..count)
            .map(|index| (format!("p{index}"), json!(1)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    #[test]
    fn every_limit_is_checked() {
        let cases = [
            (lead(json!({})), Ok(())),
            (lead(many(25)), Ok(())),
            (lead(many(26)), Err("params_count")),
            (lead(json!({"a": "x".repeat(100)})), Ok(())),
            (lead(json!({"a": "é".repeat(100)})), Ok(())),
            (lead(json!({"a": "x".repeat(101)})), Err("param_value_too_long")),
            (lead(json!({"a": {"b": 1}})), Err("param_value_type")),
            (lead(json!({"ga_x": 1})), Err("param_name")),
            (lead(json!({"_x": 1})), Err("param_name")),
            (lead(json!({"1x": 1})), Err("param_name")),
            (lead(json!({"a-b": 1})), Err("param_name")),
            (lead(json!({"x".repeat(41): 1})), Err("param_name")),
            (lead(json!({"value": 1})), Err("value_without_currency")),
            (lead(json!({"value": 1, "currency": "BRL"})), Ok(())),
            (lead(json!({"value": "1", "currency": "BRL"})), Err("value_or_currency")),
            (lead(json!({"value": 1, "currency": "reais"})), Err("value_or_currency")),
            (body(json!({"name": "_bad"})), Err("event_name")),
            (body(json!({"name": "x".repeat(41)})), Err("event_name")),
            (body(json!({"name": "session_start"})), Err("event_name_reserved")),
            (json!({"client_id": "1.2", "events": []}), Err("events_count")),
            (
                json!({"client_id": "1.2", "events": vec![json!({"name": "a"}); 26]}),
                Err("events_count"),
            ),
            (json!({"client_id": "", "events": [{"name": "a"}]}), Err("client_id_missing")),
            (json!({"client_id": "1.2"}), Err("events_missing")),
            (
                json!({"client_id": "1.2", "events": [{"name": "a"}], "x": "y".repeat(130_000)}),
                Err("body_too_large"),
            ),
            (
                json!({"client_id": "1.2", "events": [{"name": "a"}], "user_properties": many(26)}),
                Err("user_properties_count"),
            ),
            (
                json!({"client_id": "1", "events": [{"name": "a"}], "user_properties": {"google_x": {"value": "1"}}}),
                Err("user_property_name"),
            ),
            (
                json!({"client_id": "1", "events": [{"name": "a"}], "user_properties": {"x": {"value": "y".repeat(37)}}}),
                Err("user_property_value_too_long"),
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(check(&body), expected, "{:.200}", body.to_string());
        }
    }
}
