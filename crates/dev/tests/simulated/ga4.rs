//! Tests of the simulated GA4.

use serde_json::{Value, json};

use super::{Caller, Sent};

const COLLECT: &str = "POST /ga4/mp/collect?measurement_id=G-1&api_secret=s";

fn body(name: &str, params: &Value) -> Value {
    json!({"client_id": "1.2", "timestamp_micros": 5, "events": [{"name": name, "params": params}]})
}

fn purchase(transaction_id: &str) -> Value {
    let items = json!([{"item_id": "a"}]);
    let params =
        json!({"transaction_id": transaction_id, "value": 1.5, "currency": "BRL", "items": items});
    body("purchase", &params)
}

#[tokio::test]
async fn an_event_is_kept_and_the_response_is_empty() {
    let caller = Caller::new().await;
    let response =
        caller.ask_with(COLLECT, body("generate_lead", &json!({"session_id": "1"})), &[]).await;
    assert_eq!((response.status, response.body), (204, json!("")));
    assert_eq!(caller.note("ga4"), "kept generate_lead");
    let event = caller.providers.ga4_events().pop().unwrap();
    assert_eq!((event.measurement_id.as_str(), event.client_id.as_str()), ("G-1", "1.2"));
    assert_eq!((event.params, event.timestamp_micros), (json!({"session_id": "1"}), Some(5)));
}

#[tokio::test]
async fn an_invalid_request_is_silently_dropped() {
    let caller = Caller::new().await;
    let sent = Sent { headers: &[], body: "{".to_owned() };
    assert_eq!(caller.send(COLLECT, sent).await.unwrap().status, 204);
    for (request, body) in [
        (COLLECT, body("_bad", &json!({}))),
        (COLLECT, json!({"events": [{"name": "a"}]})),
        ("POST /ga4/mp/collect?measurement_id=G-1", body("a", &json!({}))),
    ] {
        assert_eq!(caller.ask_with(request, body, &[]).await.status, 204);
        assert!(caller.note("ga4").starts_with("dropped in silence: "));
    }
    assert!(caller.providers.ga4_events().is_empty());
}

#[tokio::test]
async fn a_purchase_counts_once_per_transaction_and_other_events_every_time() {
    let caller = Caller::new().await;
    for body in [
        purchase("t1"),
        purchase("t1"),
        purchase("t2"),
        body("refund", &json!({"transaction_id": "t1", "value": 1, "currency": "BRL"})),
        body("generate_lead", &json!({})),
        body("generate_lead", &json!({})),
    ] {
        caller.ask_with(COLLECT, body, &[]).await;
    }
    let names: Vec<String> =
        caller.providers.ga4_events().into_iter().map(|event| event.name).collect();
    assert_eq!(names, ["purchase", "purchase", "refund", "generate_lead", "generate_lead"]);
    assert_eq!(caller.providers.received("ga4")[1].note, "duplicate transaction_id t1 ignored");
}

#[tokio::test]
async fn the_debug_endpoint_names_the_broken_rules_and_keeps_nothing() {
    let caller = Caller::new().await;
    let long = |chars: usize| "x".repeat(chars);
    let many: serde_json::Map<String, Value> =
        (0..26).map(|index| (format!("p{index}"), json!(1))).collect();
    let strict = |micros: i64| {
        json!({
            "client_id": "1", "timestamp_micros": micros, "events": [{"name": "a"}],
            "validation_behavior": "ENFORCE_RECOMMENDATIONS",
        })
    };
    let now = 1_767_323_045_678_000_i64;
    let hour = 3_600_000_000_i64;
    let user = |name: &str, value: &str| json!({"client_id": "1", "events": [{"name": "a"}], "user_properties": {name: {"value": value}}});
    let cases = [
        (body("generate_lead", &json!({"value": 1, "currency": "BRL"})), None),
        (body("page_view", &json!({"page_location": long(1000)})), None),
        (purchase("t1"), None),
        (strict(now - 71 * hour), None),
        (user("plan", "gold"), None),
        (json!([]), Some(("", "VALUE_INVALID"))),
        (json!({"events": [{"name": "a"}]}), Some(("client_id", "VALUE_REQUIRED"))),
        (json!({"client_id": "1", "events": []}), Some(("events", "VALUE_REQUIRED"))),
        (
            json!({"client_id": "1", "events": vec![json!({"name": "a"}); 26]}),
            Some(("events", "EXCEEDED_MAX_ENTITIES")),
        ),
        (body("_bad", &json!({})), Some(("events", "NAME_INVALID"))),
        (body("with space", &json!({})), Some(("events", "NAME_INVALID"))),
        (body(&long(41), &json!({})), Some(("events", "NAME_INVALID"))),
        (body("session_start", &json!({})), Some(("events", "NAME_RESERVED"))),
        (body("a", &json!({"google_x": 1})), Some(("events[0].params.google_x", "NAME_RESERVED"))),
        (body("a", &json!({"x": long(101)})), Some(("events[0].params.x", "VALUE_OUT_OF_BOUNDS"))),
        (body("a", &Value::Object(many)), Some(("events[0].params", "EXCEEDED_MAX_ENTITIES"))),
        (body("a", &json!({"value": 1})), Some(("events[0].params.currency", "VALUE_REQUIRED"))),
        (
            body("a", &json!({"value": "1", "currency": "BRL"})),
            Some(("events[0].params.value", "VALUE_INVALID")),
        ),
        (
            body("a", &json!({"value": 1, "currency": "R$"})),
            Some(("events[0].params.currency", "VALUE_INVALID")),
        ),
        (
            body("refund", &json!({"value": 1, "currency": "BRL"})),
            Some(("events[0].params.transaction_id", "VALUE_REQUIRED")),
        ),
        (
            body("a", &json!({"items": [{"price": 1}]})),
            Some(("events[0].params.items[0]", "VALUE_REQUIRED")),
        ),
        (user(&long(25), "x"), Some(("user_properties.xxxxxxxxxxxxxxxxxxxxxxxxx", "NAME_INVALID"))),
        (user("plan", &long(37)), Some(("user_properties.plan", "VALUE_OUT_OF_BOUNDS"))),
        (strict(now - 73 * hour), Some(("timestamp_micros", "VALUE_OUT_OF_BOUNDS"))),
    ];
    for (body, expected) in cases {
        let response = caller.ask_with("POST /ga4/debug/mp/collect", body.clone(), &[]).await;
        assert_eq!(response.status, 200);
        let found: Vec<(&str, &str)> = response.body["validationMessages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| {
                let text = |name: &str| message[name].as_str().unwrap();
                assert!(!text("description").is_empty());
                (text("fieldPath"), text("validationCode"))
            })
            .collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{body}");
    }
    assert!(caller.providers.ga4_events().is_empty());
}
