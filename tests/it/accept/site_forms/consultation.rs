//! The request for a consultation: its score, where it leads, and its dates.

use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{BROWSER, CONSULTATION, HTML_FORM, derived};
use crate::calendly::created;
use crate::world::{EMAIL, LEAD, World};

pub(super) fn consultation_body() -> Value {
    json!({"lead_id": LEAD, "data": {
        "name": "Ana Exemplo", "email": EMAIL, "phone": "(11) 98765-4321", "service": "mentoria-individual",
        "budget_range": "5000-10000", "message": "Tenho pressa.", "time_zone": "America/Sao_Paulo",
        "preferred_dates": ["2031-05-20T15:00", "2031-05-21"],
    }})
}

#[tokio::test]
async fn a_request_for_a_consultation_is_scored_and_routed_like_a_lead() {
    let world = World::plan()
        .with("DESTINATIONS", "crm")
        .with("CALENDLY_EVENT_URL", "https://calendly.com/amanda/diagnostico")
        .start()
        .await;
    world.looks_at("crm");
    let response = world.post(CONSULTATION, &[], &consultation_body()).await.json();
    assert_eq!(
        (&response["score"], &response["next_step"]),
        (&json!(87), &json!("calendar_booking"))
    );
    let link = response["booking_url"].as_str().unwrap();
    for part in ["email=ana%40example.com", &format!("utm_content={LEAD}"), "name=Ana%20Exemplo"] {
        assert!(link.contains(part), "{link}");
    }
    world.drain().await;
    let contact = world.providers.crm_contact(LEAD).unwrap();
    let fields = &contact["custom_fields"];
    assert_eq!(fields["consultation_score"], 87);
    assert_eq!(fields["budget_range"], "5000-10000");
    assert_eq!(fields["preferred_dates"], "2031-05-20T15:00:00-03:00, 2031-05-21");
    let triggers = world.providers.crm_triggers(LEAD);
    assert_eq!(triggers, [("high_priority_follow_up".to_owned(), 1)].into());
    let sent = world.providers.received("crm");
    let note = sent[1].body["note"].as_str().unwrap();
    assert!(note.contains("preferred_dates: 2031-05-20T15:00:00-03:00, 2031-05-21\n"), "{note}");

    // A weaker request later: the earlier one's answers do not stay beside its score.
    world.pass(60);
    let mut body = consultation_body();
    body["data"]["service"] = json!("palestra");
    body["data"]["budget_range"] = Value::Null;
    let response = world.post(CONSULTATION, &[], &body).await.json();
    assert_eq!((&response["score"], &response["booking_url"]), (&json!(35), &Value::Null));
    world.drain().await;
    let contact = world.providers.crm_contact(LEAD).unwrap();
    assert_eq!(contact["custom_fields"]["consultation_score"], 35);
    assert_eq!(contact["custom_fields"]["budget_range"], "");
    world.finish().await;
}

#[tokio::test]
async fn a_browser_that_earned_a_call_is_sent_to_book_it() {
    let world = World::plan()
        .with("DESTINATIONS", "none")
        .with("THANK_YOU_URL", "https://www.example.com/obrigada")
        .with("CALENDLY_EVENT_URL", "https://calendly.com/amanda/diagnostico")
        .start()
        .await;
    for (budget, to) in [
        ("acima-10000", "https://calendly.com/amanda/diagnostico?email=ana%40example.com"),
        ("nada", "https://www.example.com/obrigada"),
    ] {
        let form = format!(
            "name=Ana&email=ana%40example.com&service=mentoria-grupo&budget_range={budget}\
             &preferred_dates=2031-06-01T10%3A00"
        );
        let headers = [HTML_FORM, BROWSER];
        let response = world.send(CONSULTATION, Method::POST, &headers, form.as_bytes()).await;
        assert_eq!(response.status, 303);
        let location = response.header("location").unwrap();
        assert!(location.starts_with(to), "{location}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_robot_gets_no_lead_of_its_consultation() {
    let world = World::plan()
        .with("DESTINATIONS", "none")
        .with("CALENDLY_EVENT_URL", "https://calendly.com/amanda/diagnostico")
        .start()
        .await;
    let mut robot = consultation_body();
    robot["lead_id"] = Value::Null;
    robot["website"] = json!("https://spam.example");
    let response = world.post(CONSULTATION, &[], &robot).await.json();
    let link = response["booking_url"].as_str().unwrap();
    assert!(!link.contains(&derived().to_string()), "{link}");
    world.finish().await;
}

#[tokio::test]
async fn a_number_of_a_request_for_a_consultation_gets_the_messages_of_its_call() {
    let world = World::plan().with("DESTINATIONS", "whatsapp").start().await;
    world.looks_at("whatsapp");
    world.post(CONSULTATION, &[], &consultation_body()).await;
    let mut booked = created("INV1");
    booked["payload"]["email"] = json!(EMAIL);
    booked["payload"]["tracking"]["utm_content"] = json!(LEAD);
    booked["payload"]["text_reminder_number"] = Value::Null;
    assert_eq!(world.calendly(&booked).await.status, 200);
    world.drain().await;
    let numbers: Vec<String> =
        world.providers.whatsapp_messages().iter().map(|message| message.to.clone()).collect();
    assert_eq!(numbers, ["5511987654321"]);
    world.advance(SignedDuration::from_hours(80)).await;
    world.finish().await;
}

/// A date may pass between a submission and its duplicate, or before a person releases it.
#[tokio::test]
async fn a_date_that_passed_since_is_no_fault_of_what_was_sent_before() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let mut body = consultation_body();
    let soon = world.now().as_second() + 3600;
    let soon = jiff::Timestamp::from_second(soon).unwrap().to_string();
    body["data"]["preferred_dates"] = json!([soon]);
    let key = [("idempotency-key", "one")];
    let first = world.post(CONSULTATION, &key, &body).await;
    let mut robot = body.clone();
    robot["website"] = json!("x");
    robot["data"]["message"] = json!("Outra");
    world.post(CONSULTATION, &[], &robot).await;
    world.pass(2 * 60 * 60);
    let again = world.post(CONSULTATION, &key, &body).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    body["data"]["message"] = json!("Ainda outra");
    assert_eq!(world.post(CONSULTATION, &[], &body).await.status, 422);
    let listed = world.quarantine(CONSULTATION, &json!({"action": "list"})).await.json();
    let release = json!({"action": "release", "id": listed["requests"][0]["id"]});
    let released = world.quarantine(CONSULTATION, &release).await;
    assert_eq!(released.status, 200, "{released:?}");
    world.finish().await;
}
