//! The same call again, at once or later: one effect and one answer.

use funil_dev::emulator::Emulator;
use http::HeaderMap;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::{Answer, LEAD, World, lead, lead_body};

const KEY: (&str, &str) = ("idempotency-key", "\"8d1f6a52-3c0e-4b7a-8f19-2a5d9c4e7b60\"");

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

/// The headers without the one that says that it is a repetition.
fn own_headers(answer: &Answer) -> HeaderMap {
    let mut headers = answer.headers.clone();
    headers.remove("idempotency-replayed");
    headers
}

/// Fifty equal calls at once from five addresses.
async fn fifty_at_once(headers: &[(&str, &str)]) {
    // An engine of its own: behind a hundred other tests, fifty calls wait longer than a form may.
    let emulator = Emulator::memory().await.unwrap();
    let world = World::plan().with("AWS_ENDPOINT_URL_DYNAMODB", &emulator.endpoint()).start().await;
    world.expect_one_lead();
    let body = lead_body().to_string();
    let all: Vec<_> =
        [("content-type", "application/json")].iter().chain(headers).copied().collect();
    let callers: Vec<String> = (0..50).map(|n| format!("203.0.113.{}", 20 + n % 5)).collect();
    let (world_ref, all, body) = (&world, &all, body.as_bytes());
    let answers =
        futures::future::join_all(callers.iter().map(|caller| {
            world_ref.call_from(caller, "lead-submit", http::Method::POST, all, body)
        }))
        .await;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body, answers[0].body);
        assert_eq!(own_headers(answer), own_headers(&answers[0]));
    }
    assert_eq!(answers.iter().filter(|answer| is_replayed(answer)).count(), 49);
    let journey = world.journey(lead()).await;
    assert_eq!((journey.events.len(), journey.deliveries.len()), (1, 5));
    assert_eq!((journey.lead.version, journey.consents.len()), (1, 1));
    world.drain().await;
    assert_eq!(world.providers.crm_contact_count(), 1);
    assert_eq!(world.providers.crm_triggers(LEAD)["standard_nurture"], 1);
    assert_eq!(world.providers.ga4_events().len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_equal_submissions_at_once_are_one_lead() {
    fifty_at_once(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_equal_submissions_with_one_key_at_once_are_one_lead() {
    fifty_at_once(&[KEY]).await;
}

/// A world in which nothing is ever delivered.
async fn intake() -> World {
    World::plan().with("DESTINATIONS", "none").start().await
}

#[tokio::test]
async fn a_repeated_call_gets_the_same_answer_byte_for_byte() {
    for headers in [vec![], vec![KEY]] {
        let world = intake().await;
        let first = world.submit_with(&headers, &lead_body()).await;
        assert!(!is_replayed(&first));
        for _ in 0..3 {
            world.pass(60);
            let again = world.submit_with(&headers, &lead_body()).await;
            assert!(is_replayed(&again));
            assert_eq!((again.status, &again.body), (first.status, &first.body));
            assert_eq!(own_headers(&again), first.headers);
        }
        let journey = world.journey(lead()).await;
        assert_eq!((journey.events.len(), journey.lead.version), (1, 1));
        world.finish().await;
    }
}

#[tokio::test]
async fn what_changes_by_itself_does_not_make_another_call() {
    let world = intake().await;
    world.submit(&lead_body()).await;
    let mut same = lead_body();
    same["gaSessionId"] = json!(1_763_679_999);
    same["timestamp"] = json!("2031-05-05T12:00:01Z");
    same["website"] = json!("");
    same["email"] = json!(" Ana@Example.COM ");
    same["phone"] = json!("+55 11 98765-4321");
    assert!(is_replayed(&world.submit(&same).await));
    let mut other = lead_body();
    other["mainStruggle"] = json!("equipe");
    assert!(!is_replayed(&world.submit(&other).await));
    assert_eq!(world.journey(lead()).await.events.len(), 2);
    world.finish().await;
}

#[tokio::test]
async fn a_key_is_the_same_quoted_or_not() {
    let world = intake().await;
    world.submit_with(&[("idempotency-key", "abc")], &lead_body()).await;
    assert!(is_replayed(&world.submit_with(&[("idempotency-key", "\"abc\"")], &lead_body()).await));
    world.finish().await;
}

#[tokio::test]
async fn a_key_with_another_content_is_refused_and_changes_nothing() {
    let world = intake().await;
    let first = world.submit_with(&[KEY], &lead_body()).await;
    let mut other = lead_body();
    other["name"] = json!("Ana Outra");
    let refused = world.submit_with(&[KEY], &other).await;
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("idempotency_key_reused")));
    let journey = world.journey(lead()).await;
    assert_eq!((journey.events.len(), journey.lead.version), (1, 1));
    assert_eq!(journey.lead.latest.name.unwrap().expose(), "Ana Exemplo");
    let again = world.submit_with(&[KEY], &lead_body()).await;
    assert_eq!((is_replayed(&again), again.body), (true, first.body));
    world.finish().await;
}

#[tokio::test]
async fn one_key_of_two_people_loses_neither() {
    let world = intake().await;
    world.submit_with(&[KEY], &lead_body()).await;
    let mut bia = lead_body();
    bia["email"] = json!("bia@example.com");
    bia["leadId"] = Value::Null;
    let answer = world.submit_with(&[KEY], &bia).await;
    assert!(!is_replayed(&answer));
    assert_ne!(answer.lead(), lead());
    assert_eq!(world.journey(answer.lead()).await.events.len(), 1);
    world.finish().await;
}

/// Submits again right before and right after a receipt ends.
async fn expiry(headers: &[(&str, &str)], lives: SignedDuration) {
    let world = World::new().await;
    world.expect_one_lead();
    let first = world.submit_with(headers, &lead_body()).await;
    world.drain().await;
    world.advance(lives - SignedDuration::from_secs(60)).await;
    let before = world.submit_with(headers, &lead_body()).await;
    assert_eq!((is_replayed(&before), &before.body), (true, &first.body));
    assert_eq!(world.drain().await, 0);

    world.advance(SignedDuration::from_secs(60)).await;
    let after = world.submit_with(headers, &lead_body()).await;
    assert_eq!((is_replayed(&after), &after.body), (false, &first.body));
    assert_eq!(world.journey(lead()).await.events.len(), 2, "it is another submission now");
    let repeated = world.submit_with(headers, &lead_body()).await;
    assert!(is_replayed(&repeated), "and has a receipt of its own");

    // Another submission is delivered whole, and harms nothing that was delivered before.
    for (provider, calls) in [("crm", 4), ("mailerlite", 12), ("ga4", 2), ("segment", 2)] {
        world.expect_calls(provider, calls);
    }
    world.drain().await;
    assert_eq!(world.providers.crm_contact_count(), 1);
    assert_eq!(world.providers.group_joins().len(), 2, "each group was joined once");
    assert!(world.states(lead()).await.iter().all(|state| state.ends_with(" delivered")));
    world.finish().await;
}

#[tokio::test]
async fn a_receipt_by_content_stands_for_five_minutes() {
    expiry(&[], SignedDuration::from_mins(5)).await;
}

#[tokio::test]
async fn a_receipt_by_key_stands_for_a_day() {
    expiry(&[KEY], SignedDuration::from_hours(24)).await;
}

#[tokio::test]
async fn somebody_who_left_between_two_equal_forms_is_not_brought_back() {
    let world = World::plan().with("DESTINATIONS", "mailerlite").start().await;
    world.submit(&lead_body()).await;
    world.drain().await;
    assert!(world.providers.set_status("ana@example.com", "unsubscribed"));
    world.advance(SignedDuration::from_mins(10)).await;
    world.submit(&lead_body()).await;
    world.drain().await;
    // Two looks, and nothing else.
    world.expect_calls("mailerlite", 6 + 2);
    let skipped = world.states(lead()).await;
    let skipped = skipped.iter().filter(|state| state.ends_with("skipped unsubscribed"));
    assert_eq!(skipped.count(), 2);
    assert_eq!(world.providers.subscriber("ana@example.com").unwrap()["status"], "unsubscribed");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_with_one_id_at_once_are_two_leads() {
    let world = intake().await;
    let people: Vec<Value> = ["ana", "bia", "carla", "dora"]
        .iter()
        .map(|name| {
            let mut body = lead_body();
            body["email"] = json!(format!("{name}@example.com"));
            body
        })
        .collect();
    let answers = futures::future::join_all(people.iter().map(|body| world.submit(body))).await;
    let leads: std::collections::BTreeSet<_> = answers.iter().map(Answer::lead).collect();
    assert_eq!(leads.len(), 4, "one has the id, the others one of their own");
    assert!(leads.contains(&lead()));
    for (body, answer) in people.iter().zip(&answers) {
        let journey = world.journey(answer.lead()).await;
        let email = journey.lead.latest.email.unwrap();
        assert_eq!((journey.events.len(), email.as_str()), (1, body["email"].as_str().unwrap()));
    }
    world.finish().await;
}
