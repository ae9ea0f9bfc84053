//! Tests of the simulated Segment.

use serde_json::{Value, json};

use super::{Caller, Sent};

const KEY: &[(&str, &str)] = &[("authorization", "Basic a2V5Og==")];

fn track(message_id: &str, extra: &str) -> Value {
    json!({
        "type": "track", "event": "Lead", "userId": "l1", "messageId": message_id,
        "properties": {"extra": extra},
    })
}

#[tokio::test]
async fn a_message_id_counts_once_for_all_endpoints() {
    let caller = Caller::new().await;
    let identify = json!({"userId": "l1", "messageId": "m1", "traits": {}, "writeKey": "key"});
    for (request, body) in [
        ("POST /segment/v1/identify", identify),
        ("POST /segment/v1/batch", json!({"batch": [track("m1", ""), track("m2", "")]})),
        ("POST /segment/batch", json!({"batch": [track("m2", "")]})),
        ("POST /segment/track", track("m3", "")),
    ] {
        let response = caller.ask_with(request, body, KEY).await;
        assert_eq!((response.status, response.body), (200, json!({"success": true})));
    }
    let kept = caller.providers.segment_messages();
    let kept: Vec<(&str, &str)> = kept
        .iter()
        .map(|message| (message["type"].as_str().unwrap(), message["messageId"].as_str().unwrap()))
        .collect();
    assert_eq!(kept, [("identify", "m1"), ("track", "m2"), ("track", "m3")]);
    let notes: Vec<String> =
        caller.providers.received("segment").into_iter().map(|received| received.note).collect();
    assert_eq!(notes[1], "duplicate messageId m1 ignored, kept track");
}

#[tokio::test]
async fn a_body_that_is_too_large_or_not_json_is_refused() {
    let caller = Caller::new().await;
    let item = |bytes: usize| track("m", &"x".repeat(bytes));
    for (request, body) in [
        ("POST /segment/v1/batch", json!({"batch": [item(33_000)]})),
        ("POST /segment/v1/batch", json!({"batch": vec![item(30_000); 18]})),
        ("POST /segment/v1/batch", json!([])),
        ("POST /segment/v1/track", item(33_000)),
    ] {
        assert_eq!(caller.ask_with(request, body, KEY).await.status, 400);
    }
    let sent = Sent { headers: KEY, body: "{".to_owned() };
    assert_eq!(caller.send("POST /segment/v1/track", sent).await.unwrap().status, 400);
    assert_eq!(caller.ask_with("POST /segment/v1/none", json!({}), KEY).await.status, 404);
    assert!(caller.providers.segment_messages().is_empty());
}

#[tokio::test]
async fn a_message_that_is_not_usable_is_silently_dropped() {
    let caller = Caller::new().await;
    for (body, headers) in [
        (track("m", ""), &[][..]),
        (json!({"event": "Lead"}), KEY),
        (json!({"userId": "l1"}), KEY),
        (track(&"m".repeat(101), ""), KEY),
    ] {
        let response = caller.ask_with("POST /segment/v1/track", body, headers).await;
        assert_eq!(response.status, 200);
        assert!(caller.note("segment").contains("dropped in silence"));
    }
    let many = json!({"batch": vec![json!({"userId": "l1"}); 2501]});
    assert_eq!(caller.ask_with("POST /segment/v1/batch", many, KEY).await.status, 200);
    assert!(caller.providers.segment_messages().is_empty());
}
