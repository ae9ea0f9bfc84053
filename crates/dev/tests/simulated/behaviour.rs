//! Tests of what each behaviour does to the response and to the provider's state.

use funil_dev::simulated::Behaviour;
use serde_json::json;

use super::{Caller, Sent};

const LEAD: &str = r#"{"external_id": "l1"}"#;

fn lead() -> Sent<'static> {
    Sent { headers: &[("authorization", "Bearer t")], body: LEAD.to_owned() }
}

#[tokio::test]
async fn a_status_is_the_response_and_nothing_is_applied() {
    let caller = Caller::new().await;
    for status in [401_u16, 408, 500, 503] {
        caller.providers.behave("crm", Behaviour::Status(status));
        assert_eq!(caller.send("POST /crm", lead()).await.unwrap().status, status);
        let received = caller.providers.received("crm").pop().unwrap();
        assert_eq!(received.status, Some(status));
        assert_eq!(received.note, format!("behaviour: status {status}"));
    }
    assert_eq!(caller.providers.crm_contact("l1"), None);
}

#[tokio::test]
async fn an_exact_response_is_sent_as_it_is() {
    let caller = Caller::new().await;
    let behaviour = r#"answer:{"status":422,"headers":[["x-request-id","7"]],"body":"{\"a\":1}"}"#;
    caller.providers.behave("whatsapp", behaviour.parse().unwrap());
    let response = caller.ask("POST /whatsapp/v1/messages", json!({})).await;
    assert_eq!((response.status, response.body), (422, json!({"a": 1})));
    assert_eq!(response.headers["x-request-id"], "7");
}

#[tokio::test]
async fn a_throttled_response_has_retry_after() {
    let caller = Caller::new().await;
    caller.providers.behave("mailerlite", Behaviour::Throttle { retry_after_s: 17 });
    let response = caller.ask("POST /mailerlite/subscribers", json!({"email": "a@ex.com"})).await;
    assert_eq!((response.status, response.body), (429, json!({"message": "Too Many Attempts."})));
    assert_eq!(response.headers["retry-after"], "17");
    assert_eq!(caller.providers.subscriber("a@ex.com"), None);
}

#[tokio::test]
async fn garbage_is_a_success_that_is_not_json_and_applies_nothing() {
    let caller = Caller::new().await;
    caller.providers.behave("crm", Behaviour::Garbage);
    let response = caller.send("POST /crm", lead()).await.unwrap();
    assert!(response.status == 200 && response.body.is_string());
    assert_eq!(caller.providers.crm_contact("l1"), None);
}

#[tokio::test]
async fn a_connection_is_closed_without_a_response_before_or_after_the_effect() {
    let caller = Caller::new().await;
    for (behaviour, applied) in
        [(Behaviour::CloseConnection, false), (Behaviour::CloseAfterEffect, true)]
    {
        caller.providers.behave("crm", behaviour);
        let error = caller.send("POST /crm", lead()).await.unwrap_err();
        // There was no status line either.
        assert!(error.is_request() && error.status().is_none(), "{error:?}");
        assert_eq!(caller.providers.crm_contact("l1").is_some(), applied);
        assert_eq!(caller.providers.received("crm").pop().unwrap().status, None);
    }
    assert_eq!(caller.providers.received("crm").len(), 2);
}

#[tokio::test]
async fn a_hanging_request_applies_nothing_and_ends_when_the_behaviour_changes() {
    let caller = Caller::new().await;
    caller.providers.behave("crm", Behaviour::Hang);
    let release = async {
        caller.providers.until_received("crm", 1).await;
        caller.providers.behave("crm", Behaviour::Hang);
        caller.providers.behave("ga4", Behaviour::Garbage);
        caller.providers.behave("crm", Behaviour::Normal);
    };
    let (response, ()) = tokio::join!(caller.send("POST /crm", lead()), release);
    response.unwrap_err();
    assert_eq!(caller.providers.crm_contact("l1"), None);
    assert_eq!(caller.providers.received("crm")[0].note, "behaviour: hang");
    assert_eq!(caller.send("POST /crm", lead()).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_request_that_hangs_after_its_effect_gets_its_response_when_released() {
    let caller = Caller::new().await;
    caller.providers.behave("crm", Behaviour::HangAfterEffect);
    let release = async {
        caller.providers.until_received("crm", 1).await;
        assert!(caller.providers.crm_contact("l1").is_some());
        assert_eq!(caller.providers.received("crm")[0].status, None);
        caller.providers.release_hung();
    };
    let (response, ()) = tokio::join!(caller.send("POST /crm", lead()), release);
    assert_eq!(response.unwrap().body, json!({"id": "1"}));
    assert_eq!(caller.providers.received("crm")[0].status, Some(200));
}

#[tokio::test]
async fn a_client_can_give_up_on_a_hanging_request() {
    let caller = Caller::new().await;
    caller.providers.behave("crm", Behaviour::HangAfterEffect);
    tokio::select! {
        response = caller.send("POST /crm", lead()) => panic!("{response:?}"),
        () = caller.providers.until_received("crm", 1) => {}
    }
    caller.providers.behave("crm", Behaviour::Normal);
    assert_eq!(caller.ask("GET /crm/contacts", json!(null)).await.status, 200);
}

#[tokio::test]
async fn a_script_applies_to_one_request_after_another_before_the_standing_behaviour() {
    let caller = Caller::new().await;
    caller.providers.script("crm", [Behaviour::Status(500), Behaviour::Normal]);
    caller.providers.script("crm", [Behaviour::Throttle { retry_after_s: 1 }]);
    caller.providers.behave("crm", Behaviour::Status(418));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(caller.send("POST /crm", lead()).await.unwrap().status);
    }
    assert_eq!(statuses, [500, 200, 429, 418, 418]);
    assert_eq!(caller.providers.behaviour("crm"), Behaviour::Status(418));
}
