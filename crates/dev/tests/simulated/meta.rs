//! Tests of the simulated Meta.

use serde_json::{Value, json};

use super::Caller;

const EVENTS: &str = "POST /meta/v25.0/123/events";
const HASH: &str = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f";

fn event(id: &str) -> Value {
    json!({
        "event_name": "Schedule", "event_time": 1_767_300_000, "event_id": id,
        "action_source": "system_generated", "user_data": {"em": [HASH], "fbp": "fb.1.2.3"},
    })
}

#[tokio::test]
async fn an_event_id_counts_once() {
    let caller = Caller::new().await;
    for id in ["1", "1", "2"] {
        let response = caller.ask(EVENTS, json!({"data": [event(id)]})).await;
        assert_eq!((response.status, &response.body["events_received"]), (200, &json!(1)));
    }
    let kept: Vec<Value> =
        caller.providers.meta_events().iter().map(|event| event["event_id"].clone()).collect();
    assert_eq!(kept, ["1", "2"]);
}

#[tokio::test]
async fn one_invalid_event_discards_the_whole_request() {
    let caller = Caller::new().await;
    for (name, value) in [
        ("event_name", json!("")),
        ("event_time", json!(1_766_000_000)),
        ("event_time", json!("2026-01-02")),
        ("action_source", json!("browser")),
        ("user_data", json!({})),
        ("user_data", json!({"em": ["ana@example.com"]})),
        ("user_data", json!({"em": [HASH], "fbp": "ana"})),
        ("user_data", json!({"email": [HASH]})),
    ] {
        let mut wrong = event("1");
        wrong[name] = value;
        let response = caller.ask(EVENTS, json!({"data": [event("2"), wrong]})).await;
        assert_eq!(
            (response.status, &response.body["error"]["code"]),
            (400, &json!(100)),
            "{name}"
        );
    }
    assert_eq!(caller.ask(EVENTS, json!({"data": []})).await.status, 400);
    let nobody = caller.ask_with(EVENTS, json!({"data": [event("1")]}), &[]).await;
    assert_eq!((nobody.status, &nobody.body["error"]["code"]), (401, &json!(190)));
    assert_eq!(caller.ask("POST /meta/events", json!({})).await.status, 404);
    assert_eq!(caller.providers.meta_events(), [Value::Null; 0]);
}
