//! Tests of the simulated WhatsApp.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use funil_dev::simulated::Providers;
use serde_json::{Value, json};

use super::Caller;

const SEND: &str = "POST /whatsapp/v25.0/106540352242922/messages";

fn message(to: &str, parameters: &[&str]) -> Value {
    let parameters: Vec<Value> =
        parameters.iter().map(|text| json!({"type": "text", "text": text})).collect();
    json!({
        "messaging_product": "whatsapp", "recipient_type": "individual", "to": to,
        "type": "template", "biz_opaque_callback_data": "lead/delivery",
        "template": {
            "name": "call_reminder_24h", "language": {"code": "pt_BR"},
            "components": [{"type": "body", "parameters": parameters}],
        },
    })
}

#[tokio::test]
async fn a_template_message_is_accepted_and_kept() {
    let caller = Caller::new().await;
    let response = caller.ask(SEND, message("5511987654321", &["Ana", "15h"])).await;
    assert_eq!(response.status, 200);
    let accepted = caller.providers.whatsapp_messages();
    assert_eq!(response.body["messages"][0]["id"], accepted[0].id);
    assert_eq!(accepted[0].parameters, ["Ana", "15h"]);
    assert_eq!(accepted[0].callback_data.as_deref(), Some("lead/delivery"));
    let webhook = accepted[0].status("failed", Some(131_026), 1_764_093_600);
    let status = webhook.pointer("/entry/0/changes/0/value/statuses/0").unwrap();
    assert_eq!(status["timestamp"], "1764093600");
    assert_eq!(status["biz_opaque_callback_data"], "lead/delivery");
    assert_eq!(status["errors"][0]["code"], 131_026);
}

#[tokio::test]
async fn an_invalid_request_is_refused_with_its_error_code() {
    let caller = Caller::new().await;
    let good = || message("5511987654321", &["Ana"]);
    let with = |pointer: &str, value: Value| {
        let mut body = good();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    for (request, body, code) in [
        ("POST /whatsapp/106540352242922/messages", good(), 100),
        ("POST /whatsapp/v25.0/number/messages", good(), 33),
        ("GET /whatsapp/v25.0/106540352242922/messages", Value::Null, 100),
        (SEND, with("/type", json!("text")), 100),
        (SEND, message("+5511987654321", &["Ana"]), 131_009),
        (SEND, message("", &["Ana"]), 131_009),
        (SEND, with("/template/name", json!("")), 132_001),
        (SEND, with("/template/components", json!([])), 132_012),
        (SEND, message("5511987654321", &[""]), 132_012),
        (SEND, message("5511987654321", &["a\nb"]), 132_012),
        (SEND, message("5511987654321", &["a     b"]), 132_012),
    ] {
        let response = caller.ask(request, body).await;
        assert_eq!(
            (response.status, &response.body["error"]["code"]),
            (400, &json!(code)),
            "{request}"
        );
    }
    let anonymous = caller.ask_with(SEND, good(), &[]).await;
    assert_eq!((anonymous.status, &anonymous.body["error"]["code"]), (401, &json!(190)));
    assert!(caller.providers.whatsapp_messages().is_empty());
}

#[tokio::test]
async fn a_number_gets_one_message_in_six_seconds() {
    let millisecond = Arc::new(AtomicI64::new(1_764_093_600_000));
    let clock = Arc::clone(&millisecond);
    let time = move || {
        let now = jiff::Timestamp::from_millisecond(clock.load(Ordering::Relaxed));
        now.unwrap().to_string()
    };
    let caller = Caller::of(Providers::new(Arc::new(time))).await;
    for (wait_ms, to, status) in [
        (0, "5511987654321", 200),
        (0, "5521987654321", 200),
        (5_999, "5511987654321", 400),
        (1, "5511987654321", 200),
    ] {
        millisecond.fetch_add(wait_ms, Ordering::Relaxed);
        assert_eq!(caller.ask(SEND, message(to, &["Ana"])).await.status, status, "{wait_ms} {to}");
    }
    assert_eq!(caller.providers.whatsapp_too_fast(), 1);
    assert_eq!(caller.providers.whatsapp_messages().len(), 3);
}
