//! Tests of the simulated MailerLite.

use serde_json::{Value, json};

use super::Caller;

#[tokio::test]
async fn a_request_without_a_key_is_refused() {
    let caller = Caller::new().await;
    let response = caller.ask_with("GET /mailerlite/subscribers/1", Value::Null, &[]).await;
    assert_eq!((response.status, response.body), (401, json!({"message": "Unauthenticated."})));
}

#[tokio::test]
async fn an_upsert_creates_then_updates_and_keeps_other_fields() {
    let caller = Caller::new().await;
    let first = json!({
        "email": "Ana+x@ex.com", "fields": {"name": "Ana", "phone": "1"},
        "groups": ["11"], "ip_address": "1.2.3.4",
    });
    let response = caller.ask("POST /mailerlite/subscribers", first).await;
    assert_eq!(response.status, 201);
    let id = response.body["data"]["id"].as_str().unwrap().to_owned();
    let second = json!({"email": "ana+x@ex.com", "fields": {"phone": "2"}, "groups": ["12"]});
    assert_eq!(caller.ask("POST /mailerlite/subscribers", second).await.status, 200);

    let unknown = caller.ask("GET /mailerlite/subscribers/b%40ex.com", Value::Null).await;
    assert_eq!((unknown.status, unknown.body), (404, json!({"message": "Resource not found."})));
    for who in [id.as_str(), "ana%2Bx%40ex.com", "Ana+x@ex.com"] {
        let response = caller.ask(&format!("GET /mailerlite/subscribers/{who}"), Value::Null).await;
        assert_eq!(response.status, 200);
        assert_eq!(
            response.body["data"],
            json!({
                "id": id, "email": "Ana+x@ex.com", "status": "active", "source": "api",
                "sent": 0, "opens_count": 0, "clicks_count": 0, "open_rate": 0, "click_rate": 0,
                "ip_address": "1.2.3.4", "subscribed_at": "2026-01-02 03:04:05",
                "unsubscribed_at": null, "created_at": "2026-01-02 03:04:05",
                "updated_at": "2026-01-02 03:04:05",
                "fields": {
                    "city": null, "company": null, "country": null, "last_name": null,
                    "name": "Ana", "phone": "2", "state": null, "z_i_p": null,
                },
                "groups": [{"id": "11", "name": "Group 11"}, {"id": "12", "name": "Group 12"}],
                "opted_in_at": null, "optin_ip": null,
            })
        );
    }
}

#[tokio::test]
async fn an_invalid_upsert_is_refused_with_the_name_of_the_field() {
    let caller = Caller::new().await;
    for (body, field) in [
        (json!({}), "email"),
        (json!({"email": "ana"}), "email"),
        (json!({"email": "ana@ex"}), "email"),
        (json!({"email": "a b@ex.com"}), "email"),
        (json!({"email": "a@ex.com", "status": "on"}), "status"),
        (json!({"email": "a@ex.com", "groups": "11"}), "groups"),
        (json!({"email": "a@ex.com", "groups": ["11", "leads"]}), "groups.1"),
    ] {
        let response = caller.ask("POST /mailerlite/subscribers", body).await;
        assert_eq!(response.status, 422);
        assert!(response.body["message"].is_string());
        assert!(response.body["errors"][field][0].is_string(), "{:?}", response.body);
    }
    assert_eq!(caller.providers.subscriber("a@ex.com"), None);
}

#[tokio::test]
async fn values_of_a_custom_field_are_ignored_until_it_is_created() {
    let caller = Caller::new().await;
    let body = json!({"email": "a@ex.com", "fields": {"score": 7, "name": "A"}});
    caller.ask("POST /mailerlite/subscribers", body.clone()).await;
    let note = caller.note("mailerlite");
    assert!(note.ends_with("ignored the unknown fields score"), "{note}");
    assert_eq!(caller.providers.subscriber("a@ex.com").unwrap()["fields"]["score"], json!(null));

    caller.providers.make_fields(["score"]);
    let made =
        caller.ask("POST /mailerlite/fields", json!({"name": "niche", "type": "text"})).await;
    assert_eq!(made.status, 201);
    caller.ask("POST /mailerlite/subscribers", body).await;
    let fields = caller.providers.subscriber("a@ex.com").unwrap()["fields"].clone();
    assert_eq!((&fields["score"], fields.get("niche")), (&json!(7), Some(&json!(null))));
}

#[tokio::test]
async fn joining_a_group_starts_an_automation_once_with_the_fields_of_that_time() {
    let caller = Caller::new().await;
    let upsert = async |name: &str| {
        let body = json!({"email": "a@ex.com", "fields": {"name": name}});
        caller.ask("POST /mailerlite/subscribers", body).await;
    };
    let join = "POST /mailerlite/subscribers/a%40ex.com/groups/11";
    assert_eq!(caller.ask(join, Value::Null).await.status, 404);
    upsert("before").await;
    let response = caller.ask(join, Value::Null).await;
    assert_eq!((response.status, &response.body["data"]["id"]), (200, &json!("11")));
    assert_eq!(caller.note("mailerlite"), "joined group 11");
    upsert("after").await;
    caller.ask(join, Value::Null).await;
    assert_eq!(caller.note("mailerlite"), "was already in group 11");
    let joins = caller.providers.group_joins();
    assert_eq!(joins.len(), 1);
    assert_eq!((joins[0].group.as_str(), &joins[0].fields["name"]), ("11", &json!("before")));

    let leave = join.replace("POST", "DELETE");
    assert_eq!(caller.ask(&leave, Value::Null).await.status, 204);
    caller.ask(join, Value::Null).await;
    assert_eq!(caller.providers.group_joins()[1].fields["name"], "after");
    for request in [join.replace("11", "leads"), leave.replace("a%40", "b%40")] {
        assert_eq!(caller.ask(&request, Value::Null).await.status, 404);
    }
}

#[tokio::test]
async fn a_status_that_resubscribes_a_person_who_left_is_recorded() {
    let caller = Caller::new().await;
    let body = json!({"email": "a@ex.com", "status": "active"});
    caller.ask("POST /mailerlite/subscribers", body.clone()).await;
    assert!(caller.providers.set_status("A@ex.com", "unsubscribed"));
    assert!(!caller.providers.set_status("b@ex.com", "unsubscribed"));
    let left = caller.providers.subscriber("a@ex.com").unwrap();
    assert_eq!(left["unsubscribed_at"], "2026-01-02 03:04:05");

    caller.ask("POST /mailerlite/subscribers", json!({"email": "a@ex.com"})).await;
    let stays = json!({"email": "a@ex.com", "status": "unsubscribed"});
    caller.ask("POST /mailerlite/subscribers", stays).await;
    assert!(caller.providers.resubscriptions().is_empty());
    caller.ask("POST /mailerlite/subscribers", body).await;
    assert_eq!(caller.providers.resubscriptions(), ["a@ex.com"]);
}

#[tokio::test]
async fn a_deleted_subscriber_gets_a_new_id_when_created_again() {
    let caller = Caller::new().await;
    let mut ids = Vec::new();
    for request in ["DELETE /mailerlite/subscribers/", "POST /mailerlite/subscribers/"] {
        let body = json!({"email": "a@ex.com"});
        let created = caller.ask("POST /mailerlite/subscribers", body).await.body;
        let id = created["data"]["id"].as_str().unwrap().to_owned();
        let forget = if request.starts_with("POST") { "/forget" } else { "" };
        let gone = caller.ask(&format!("{request}{id}{forget}"), Value::Null).await.status;
        assert!((200..300).contains(&gone));
        assert_eq!(caller.providers.subscriber("a@ex.com"), None);
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}
