//! Tests of the simulated CRM, with its three request formats.

use serde_json::json;

use super::Caller;

const NULL: serde_json::Value = serde_json::Value::Null;

#[tokio::test]
async fn a_request_without_a_bearer_token_is_refused() {
    let caller = Caller::new().await;
    for headers in [&[][..], &[("authorization", "Bearer ")], &[("authorization", "Basic YTpi")]] {
        let response = caller.ask_with("POST /crm", json!({"external_id": "l1"}), headers).await;
        assert_eq!(response.status, 401);
    }
    assert_eq!(caller.providers.crm_contact_count(), 0);
}

#[tokio::test]
async fn a_webhook_upserts_by_external_id_and_merges() {
    let caller = Caller::new().await;
    let first = json!({"external_id": "l1", "name": "A", "custom_fields": {"x": 1, "y": 1}});
    assert_eq!(caller.ask("POST /crm", first).await.body, json!({"id": "1"}));
    assert_eq!(caller.note("crm"), "created contact 1");
    let second = json!({"external_id": "l1", "id": "9", "custom_fields": {"y": 2}, "tags": ["t"]});
    assert_eq!(caller.ask("POST /crm/", second).await.body, json!({"id": "1"}));
    assert_eq!(caller.note("crm"), "updated contact 1");
    assert_eq!(
        caller.providers.crm_contact("l1").unwrap(),
        json!({"id": "1", "external_id": "l1", "name": "A", "custom_fields": {"x": 1, "y": 2}, "tags": ["t"]})
    );
    assert_eq!(caller.ask("POST /crm", json!({"name": "B"})).await.status, 422);
}

#[tokio::test]
async fn a_repeated_idempotency_key_changes_nothing_and_gets_the_same_response() {
    let caller = Caller::new().await;
    let headers = [("authorization", "Bearer t"), ("idempotency-key", "k1")];
    let body = |name: &str| json!({"external_id": "l1", "name": name, "automation_triggers": ["welcome", "sales"]});
    for name in ["A", "B"] {
        let response = caller.ask_with("POST /crm", body(name), &headers).await;
        assert_eq!((response.status, response.body), (200, json!({"id": "1"})));
    }
    assert_eq!(caller.note("crm"), "repeated Idempotency-Key ignored");
    assert_eq!(caller.providers.crm_contact("l1").unwrap()["name"], "A");
    let started = |times: u32| [("sales".to_owned(), times), ("welcome".to_owned(), times)].into();
    assert_eq!(caller.providers.crm_triggers("l1"), started(1));
    caller.ask("POST /crm", body("C")).await;
    assert_eq!(caller.providers.crm_triggers("l1"), started(2));
    assert_eq!(caller.note("crm"), "updated contact 1, started welcome, sales");
}

#[tokio::test]
async fn contacts_are_found_created_once_and_updated_by_id() {
    let caller = Caller::new().await;
    let find = "GET /crm/contacts?external_id=l%201";
    assert_eq!(caller.ask(find, NULL).await.body, json!({"contacts": []}));
    let response = caller.ask("POST /crm/contacts", json!({"external_id": "l 1", "a": 1})).await;
    assert_eq!((response.status, response.body), (201, json!({"id": "1"})));
    let again = caller.ask("POST /crm/contacts", json!({"external_id": "l 1", "a": 2})).await;
    assert_eq!(again.status, 409);
    for (method, field) in [("PUT", "b"), ("PATCH", "c")] {
        let request = format!("{method} /crm/contacts/1");
        assert_eq!(caller.ask(&request, json!({field: 2})).await.status, 200);
    }
    assert_eq!(caller.ask("PUT /crm/contacts/7", json!({})).await.status, 404);
    assert_eq!(
        caller.ask(find, NULL).await.body,
        json!({"contacts": [{"id": "1", "external_id": "l 1", "a": 1, "b": 2, "c": 2}]})
    );
}

#[tokio::test]
async fn an_update_starts_its_automations_once_for_each_idempotency_key() {
    let caller = Caller::new().await;
    caller.ask("POST /crm/contacts", json!({"external_id": "l1"})).await;
    let body = json!({"automation_triggers": ["welcome"]});
    for key in ["k1", "k1", "k2"] {
        let headers = [("authorization", "Bearer t"), ("idempotency-key", key)];
        caller.ask_with("PUT /crm/contacts/1", body.clone(), &headers).await;
    }
    assert_eq!(caller.providers.crm_triggers("l1")["welcome"], 2);
}

#[tokio::test]
async fn leads_are_upserted_by_lead_id_and_purchases_recorded() {
    let caller = Caller::new().await;
    let lead = json!({"lead_id": "l1", "contact": {"email": "a@ex.com"}});
    let response = caller.ask("POST /crm/leads", lead.clone()).await;
    assert_eq!((response.status, response.body), (201, json!({"id": "1", "status": "created"})));
    let response = caller.ask("POST /crm/leads", lead).await;
    assert_eq!((response.status, response.body), (200, json!({"id": "1", "status": "updated"})));

    let purchase = json!({"lead_id": "l1", "transaction": {"id": "pi_1", "value": 10}});
    let headers = [("authorization", "Bearer t"), ("idempotency-key", "pi_1")];
    for _ in 0..2 {
        let request = "POST /crm/leads/l1/purchase";
        let response = caller.ask_with(request, purchase.clone(), &headers).await;
        assert_eq!(response.body, json!({"id": "1", "status": "customer"}));
    }
    assert_eq!(caller.providers.crm_purchases("l1"), [json!({"id": "pi_1", "value": 10})]);
    assert_eq!(caller.providers.crm_contact("l1").unwrap()["stage"], "customer");
    assert_eq!(caller.ask("POST /crm/leads/l2/purchase", purchase).await.status, 404);
    assert_eq!(caller.ask("GET /crm/leads", NULL).await.status, 404);
}
