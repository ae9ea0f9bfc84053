//! Duplicates of a request, at the same time or later: one effect and one response.

use funil_dev::emulator::Emulator;
use http::HeaderMap;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::{LEAD, Response, World, lead, lead_body};

const KEY: (&str, &str) = ("idempotency-key", "\"8d1f6a52-3c0e-4b7a-8f19-2a5d9c4e7b60\"");

fn is_duplicate(response: &Response) -> bool {
    response.header("idempotency-replayed") == Some("true")
}

/// The headers without the one that marks a duplicate.
fn own_headers(response: &Response) -> HeaderMap {
    let mut headers = response.headers.clone();
    headers.remove("idempotency-replayed");
    headers
}

/// Sends fifty equal requests at once, from five addresses.
async fn fifty_at_once(headers: &[(&str, &str)]) {
    // On an emulator shared with a hundred other tests, fifty requests take longer than a form may.
    let emulator = Emulator::memory().await.unwrap();
    let world = World::plan()
        .with("DESTINATIONS", "crm,mailerlite,ga4,segment")
        .with("AWS_ENDPOINT_URL_DYNAMODB", &emulator.endpoint())
        .start()
        .await;
    world.expect_one_lead();
    let body = lead_body().to_string();
    let all: Vec<_> =
        [("content-type", "application/json")].iter().chain(headers).copied().collect();
    let callers: Vec<String> = (0..50).map(|n| format!("203.0.113.{}", 20 + n % 5)).collect();
    let (world_ref, all, body) = (&world, &all, body.as_bytes());
    let responses =
        futures::future::join_all(callers.iter().map(|caller| {
            world_ref.send_from(caller, "lead-submit", http::Method::POST, all, body)
        }))
        .await;
    for response in &responses {
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.body, responses[0].body);
        assert_eq!(own_headers(response), own_headers(&responses[0]));
    }
    assert_eq!(responses.iter().filter(|response| is_duplicate(response)).count(), 49);
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

/// A world without destinations.
async fn intake() -> World {
    World::plan().with("DESTINATIONS", "none").start().await
}

#[tokio::test]
async fn a_duplicate_gets_the_same_response_byte_for_byte() {
    for headers in [vec![], vec![KEY]] {
        let world = intake().await;
        let first = world.submit_with(&headers, &lead_body()).await;
        assert!(!is_duplicate(&first));
        for _ in 0..3 {
            world.pass(60);
            let again = world.submit_with(&headers, &lead_body()).await;
            assert!(is_duplicate(&again));
            assert_eq!((again.status, &again.body), (first.status, &first.body));
            assert_eq!(own_headers(&again), first.headers);
        }
        let journey = world.journey(lead()).await;
        assert_eq!((journey.events.len(), journey.lead.version), (1, 1));
        world.finish().await;
    }
}

#[tokio::test]
async fn fields_that_change_by_themselves_do_not_make_a_new_submission() {
    let world = intake().await;
    world.submit(&lead_body()).await;
    let mut same = lead_body();
    same["gaSessionId"] = json!(1_763_679_999);
    same["timestamp"] = json!("2031-05-05T12:00:01Z");
    same["website"] = json!("");
    same["email"] = json!(" Ana@Example.COM ");
    same["phone"] = json!("+55 11 98765-4321");
    assert!(is_duplicate(&world.submit(&same).await));
    let mut other = lead_body();
    other["mainStruggle"] = json!("equipe");
    assert!(!is_duplicate(&world.submit(&other).await));
    assert_eq!(world.journey(lead()).await.events.len(), 2);
    world.finish().await;
}

#[tokio::test]
async fn an_idempotency_key_is_the_same_quoted_or_not() {
    let world = intake().await;
    world.submit_with(&[("idempotency-key", "abc")], &lead_body()).await;
    assert!(is_duplicate(
        &world.submit_with(&[("idempotency-key", "\"abc\"")], &lead_body()).await
    ));
    world.finish().await;
}

#[tokio::test]
async fn a_key_reused_for_other_content_is_refused_and_changes_nothing() {
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
    assert_eq!((is_duplicate(&again), again.body), (true, first.body));
    world.finish().await;
}

#[tokio::test]
async fn one_key_sent_by_two_people_loses_neither() {
    let world = intake().await;
    world.submit_with(&[KEY], &lead_body()).await;
    let mut bia = lead_body();
    bia["email"] = json!("bia@example.com");
    bia["leadId"] = Value::Null;
    let response = world.submit_with(&[KEY], &bia).await;
    assert!(!is_duplicate(&response));
    assert_ne!(response.lead(), lead());
    assert_eq!(world.journey(response.lead()).await.events.len(), 1);
    world.finish().await;
}

/// Submits again right before and right after a receipt expires.
async fn expiry(headers: &[(&str, &str)], lives: SignedDuration) {
    let world = World::plan().with("DESTINATIONS", "crm,mailerlite,ga4,segment").start().await;
    let first = world.submit_with(headers, &lead_body()).await;
    world.drain().await;
    world.advance(lives - SignedDuration::from_secs(60)).await;
    let before = world.submit_with(headers, &lead_body()).await;
    assert_eq!((is_duplicate(&before), &before.body), (true, &first.body));
    assert_eq!(world.drain().await, 0);

    world.advance(SignedDuration::from_secs(60)).await;
    let after = world.submit_with(headers, &lead_body()).await;
    assert_eq!((is_duplicate(&after), &after.body), (false, &first.body));
    assert_eq!(world.journey(lead()).await.events.len(), 2, "it counts as a new submission now");
    let repeated = world.submit_with(headers, &lead_body()).await;
    assert!(is_duplicate(&repeated), "the new submission has a receipt of its own");

    // The new submission is delivered too, and does no harm to what was delivered before.
    // MailerLite looks the subscriber up again if that was more than ten minutes ago.
    let looked_up = usize::from(lives > SignedDuration::from_mins(10));
    let mailerlite = 3 + 2 + looked_up;
    for (provider, requests) in [("crm", 4), ("mailerlite", mailerlite), ("ga4", 2), ("segment", 2)]
    {
        world.expect_requests(provider, requests);
    }
    world.drain().await;
    assert_eq!(world.providers.crm_contact_count(), 1);
    assert_eq!(world.providers.group_joins().len(), 2, "each group was joined once");
    assert!(world.states(lead()).await.iter().all(|state| state.ends_with(" delivered")));
    world.finish().await;
}

#[tokio::test]
async fn a_receipt_by_content_lives_for_five_minutes() {
    expiry(&[], SignedDuration::from_mins(5)).await;
}

#[tokio::test]
async fn a_receipt_by_key_lives_for_a_day() {
    expiry(&[KEY], SignedDuration::from_hours(24)).await;
}

#[tokio::test]
async fn somebody_who_unsubscribed_between_two_equal_forms_is_not_resubscribed() {
    let world = World::plan().with("DESTINATIONS", "mailerlite").start().await;
    world.submit(&lead_body()).await;
    world.drain().await;
    assert!(world.providers.set_status("ana@example.com", "unsubscribed"));
    world.advance(SignedDuration::from_mins(10)).await;
    world.submit(&lead_body()).await;
    world.drain().await;
    // For the second form, one look-up for each group and nothing else.
    world.expect_requests("mailerlite", 3 + 2);
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
    let responses = futures::future::join_all(people.iter().map(|body| world.submit(body))).await;
    let leads: std::collections::BTreeSet<_> = responses.iter().map(Response::lead).collect();
    assert_eq!(leads.len(), 4, "one keeps the id, each other one gets an id of its own");
    assert!(leads.contains(&lead()));
    for (body, response) in people.iter().zip(&responses) {
        let journey = world.journey(response.lead()).await;
        let email = journey.lead.latest.email.unwrap();
        assert_eq!((journey.events.len(), email.as_str()), (1, body["email"].as_str().unwrap()));
    }
    world.finish().await;
}
