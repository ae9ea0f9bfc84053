//! What is quarantined for a person: how they learn of it, and how they list, show, release and drop it.

use std::fmt::Write as _;

use funil_core::form::{Honeypot, SpamFields};
use funil_core::id::{LeadId, QuarantineId, QuarantineName};
use funil_lambda::functions::intake;
use serde_json::{Value, json};

use super::alerts::{minute, notifications, world};
use crate::bookings::whatsapp::send_webhook;
use crate::calendly::created;
use crate::world::{LEAD, Response, World, lead, lead_body, questionnaire_body};

/// A submission as a robot sends it.
fn robot() -> Value {
    let mut body = lead_body();
    body["website"] = json!("https://spam.example");
    assert_eq!(SpamFields::of(&body).honeypot, Honeypot::Filled);
    body
}

async fn ask(world: &World, function: &str, body: Value) -> Response {
    world.quarantine(function, &body).await
}

/// The requests in a function's quarantine.
async fn listed(world: &World, function: &str) -> Vec<Value> {
    let response = ask(world, function, json!({"action": "list"})).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["requests"].as_array().unwrap().clone()
}

/// The id of the only request in a function's quarantine.
async fn only(world: &World, function: &str) -> String {
    let requests = listed(world, function).await;
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests[0]["id"].as_str().unwrap().to_owned()
}

fn name(source: &str, id: &str) -> QuarantineName {
    QuarantineName { source: source.to_owned(), id: QuarantineId::parse(id).unwrap() }
}

#[tokio::test]
async fn a_robots_form_is_released_once_as_if_it_came_now() {
    let world = world("crm").await;
    world.expect_requests("crm", 2);
    let response = world.submit(&robot()).await;
    assert_eq!(response.status, 200);
    assert!(world.store.journey(lead()).await.unwrap().is_none());
    let id = only(&world, "lead-submit").await;

    let shown = ask(&world, "lead-submit", json!({"action": "show", "id": id})).await.json();
    assert_eq!((shown["reason"].as_str(), shown["readAt"].as_str()), (Some("honeypot"), None));
    let body: Value = serde_json::from_str(shown["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, robot(), "byte for byte");
    assert!(listed(&world, "lead-submit").await[0]["readAt"].is_string());

    world.pass(3600);
    let release = json!({"action": "release", "id": id});
    let all = futures::join!(
        ask(&world, "lead-submit", release.clone()),
        ask(&world, "lead-submit", release.clone())
    );
    let mut statuses = [all.0.status, all.1.status];
    statuses.sort_unstable();
    let twice = [&all.0, &all.1].into_iter().filter(|one| one.status == 200);
    for released in twice {
        assert_eq!(released.json()["released"], true);
    }
    assert!(statuses == [200, 200] || statuses == [200, 404], "{statuses:?}");
    let journey = world.journey(lead()).await;
    assert_eq!(journey.events.len(), 1, "it is accepted once");
    assert_eq!(journey.events[0].accepted_at, world.now(), "as if it came now");
    assert_eq!(ask(&world, "lead-submit", release).await.status, 404);
    assert_eq!(listed(&world, "lead-submit").await, [Value::Null; 0]);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_person_who_sent_the_same_again_meanwhile_is_not_kept_twice() {
    let world = world("none").await;
    let key = [("idempotency-key", "page-1")];
    world.submit_with(&key, &robot()).await;
    let id = only(&world, "lead-submit").await;
    world.submit_with(&key, &lead_body()).await;
    let released = ask(&world, "lead-submit", json!({"action": "release", "id": id})).await;
    assert_eq!(released.json()["alreadyKept"], true, "{released:?}");
    assert_eq!(world.journey(lead()).await.events.len(), 1);
    assert_eq!(listed(&world, "lead-submit").await, [Value::Null; 0]);
    world.finish().await;
}

#[tokio::test]
async fn a_released_form_takes_corrections_and_says_what_is_still_wrong() {
    let world = world("none").await;
    world.submit(&lead_body()).await;
    let mut answers = questionnaire_body();
    answers["website"] = json!("x");
    assert_eq!(world.answer_questionnaire(&answers).await.status, 200);
    let id = only(&world, "questionnaire-submit").await;
    let release = async |more: Value| {
        let mut body = json!({"action": "release", "id": id});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ask(&world, "questionnaire-submit", body).await
    };
    let wrong = release(json!({"set": {"email": "ana@"}})).await;
    assert_eq!((wrong.status, &wrong.json()["errors"][0]["field"]), (422, &json!("email")));
    let nowhere = release(json!({"set": {"email.deep": 1}})).await;
    let field = &nowhere.json()["errors"][0]["field"];
    assert_eq!((nowhere.status, field), (422, &json!("set.email.deep")));
    let misspelt = release(json!({"set": {"emial": null}})).await;
    let error = &misspelt.json()["errors"][0];
    assert_eq!((misspelt.status, &error["field"]), (422, &json!("set.emial")));
    assert_eq!(error["code"], "unexpected_field", "{error}");
    let nobody = release(json!({"lead": "11111111-2222-4333-8444-555555555555"})).await;
    assert_eq!(nobody.status, 404);
    assert_eq!(listed(&world, "questionnaire-submit").await.len(), 1, "nothing is lost");
    let kept = release(json!({"lead": LEAD, "set": {"responses.commitment": 1}})).await;
    assert_eq!(kept.status, 200, "{kept:?}");
    assert!(kept.json()["response"]["transformationScore"].is_number());
    let responses = world.journey(lead()).await.lead.latest.responses.unwrap();
    assert_eq!(responses.expose()["commitment"].text(), "1");
    world.finish().await;
}

#[tokio::test]
async fn a_webhook_of_nobody_known_is_released_for_the_lead_that_a_person_names() {
    let world = world("none").await;
    world.submit(&lead_body()).await;
    let mut missing = created("INV1");
    missing["payload"]["email"] = Value::Null;
    assert_eq!(world.calendly(&missing).await.status, 200);
    let id = only(&world, "calendar-webhook").await;
    let still = ask(&world, "calendar-webhook", json!({"action": "release", "id": id})).await;
    assert_eq!((still.status, &still.json()["code"]), (422, &json!("not_understood")));
    assert!(still.json()["reason"].is_string());
    let body = json!({"action": "release", "id": id, "lead": LEAD,
        "set": {"payload.email": "ana@example.com"}});
    let released = ask(&world, "calendar-webhook", body.clone()).await;
    assert_eq!(
        (released.status, &released.json()["released"]),
        (200, &json!(true)),
        "{released:?}"
    );
    assert_eq!(world.journey(lead()).await.bookings.len(), 1);
    assert_eq!(ask(&world, "calendar-webhook", body).await.status, 404);
    world.finish().await;
}

#[tokio::test]
async fn a_provider_whose_requests_name_no_lead_takes_none() {
    let world = world("none").await;
    assert_eq!(send_webhook(&world, &json!({"object": "page"})).await.status, 200);
    let id = only(&world, "whatsapp-webhook").await;
    let lead =
        ask(&world, "whatsapp-webhook", json!({"action": "release", "id": id, "lead": LEAD}));
    let lead = lead.await;
    assert_eq!((lead.status, &lead.json()["errors"][0]["field"]), (422, &json!("lead")));
    let set = json!({"object": "whatsapp_business_account"});
    let released =
        ask(&world, "whatsapp-webhook", json!({"action": "release", "id": id, "set": set})).await;
    assert_eq!(released.status, 200, "{released:?}");
    assert_eq!(listed(&world, "whatsapp-webhook").await, [Value::Null; 0]);
    world.finish().await;
}

#[tokio::test]
async fn only_who_shows_a_token_sees_the_quarantine() {
    let world = world("none").await;
    world.submit(&robot()).await;
    let id = only(&world, "lead-submit").await;
    for one in intake().filter(|one| one.quarantine_source.is_some()) {
        let refused = world.quarantine_as("wrong", one.name, &json!({"action": "list"})).await;
        assert_eq!(refused.status, 401, "{}", one.name);
    }
    for (body, field) in [
        (json!({}), "action"),
        (json!({"action": "burn"}), "action"),
        (json!({"action": "show"}), "id"),
        (json!({"action": "show", "id": LEAD}), "id"),
        (json!({"action": "list", "limit": 0}), "limit"),
        (json!({"action": "list", "limt": 1}), "limt"),
        (json!({"action": "release", "id": id, "set": 1}), "set"),
    ] {
        let wrong = ask(&world, "lead-submit", body.clone()).await;
        let named = wrong.json()["errors"][0]["field"].clone();
        assert_eq!((wrong.status, named), (422, json!(field)), "{body}");
    }
    assert_eq!(ask(&world, "lead-submit", json!([])).await.status, 400);
    let dropped = ask(&world, "lead-submit", json!({"action": "drop", "id": id})).await;
    assert_eq!(dropped.json(), json!({"dropped": true}));
    assert_eq!(ask(&world, "lead-submit", json!({"action": "drop", "id": id})).await.status, 404);
    world.finish().await;
}

#[tokio::test]
async fn a_list_has_pages_and_the_count_stands_in_health() {
    let world = world("none").await;
    for number in 0..5 {
        let mut body = robot();
        body["email"] = json!(format!("robot{number}@example.com"));
        assert_eq!(world.submit(&body).await.status, 200);
        world.pass(1);
    }
    let page = ask(&world, "lead-submit", json!({"action": "list", "limit": 2})).await.json();
    assert_eq!((page["requests"].as_array().unwrap().len(), &page["more"]), (2, &json!(true)));
    let after = &page["requests"][1]["id"];
    let rest = json!({"action": "list", "limit": 3, "after": after});
    let rest = ask(&world, "lead-submit", rest).await.json();
    assert_eq!((rest["requests"].as_array().unwrap().len(), &rest["more"]), (3, &json!(false)));
    let health = world.health().await;
    let counts = health["quarantine"].as_array().unwrap();
    let of_forms = counts.iter().find(|one| one["source"] == "lead-submit").unwrap();
    assert_eq!((&of_forms["count"], &of_forms["orMore"]), (&json!(5), &json!(false)));
    world.finish().await;
}

#[tokio::test]
async fn a_person_is_notified_of_the_first_of_each_source_and_reason_in_a_day() {
    let world = world("none").await;
    for number in 0..3 {
        let mut body = robot();
        body["email"] = json!(format!("robot{number}@example.com"));
        world.submit(&body).await;
        minute(&world).await;
        world.pass(60);
    }
    world.calendly(&json!({"event": "invitee.created"})).await;
    world.calendly(&json!({"nothing": 1})).await;
    minute(&world).await;
    let notified = notifications(&world);
    assert_eq!(notified.len(), 3, "{notified:?}");
    assert!(notified[0].contains("lead-submit/honeypot"), "{notified:?}");
    assert!(notified[1..].iter().all(|one| one.contains("calendly/without_")), "{notified:?}");
    world.pass(86_400);
    world.submit(&robot()).await;
    minute(&world).await;
    assert_eq!(notifications(&world).len(), 4, "the next day again");
    world.finish().await;
}

#[tokio::test]
async fn a_request_goes_after_its_time_and_a_person_hears_of_it_a_week_before_unless_it_was_read() {
    let world = world("none").await;
    for email in ["read@example.com", "unread@example.com"] {
        let mut body = robot();
        body["email"] = json!(email);
        world.submit(&body).await;
        world.pass(1);
    }
    let requests = listed(&world, "lead-submit").await;
    let first = requests[0]["id"].clone();
    ask(&world, "lead-submit", json!({"action": "show", "id": first})).await;
    minute(&world).await;
    let before = notifications(&world).len();
    let expires: jiff::Timestamp = requests[1]["expiresAt"].as_str().unwrap().parse().unwrap();
    let days = expires.duration_since(world.now()).as_hours() / 24;
    assert!((89..=90).contains(&days), "{days}");
    world.pass(expires.duration_since(world.now()).as_secs() - (7 * 24 + 1) * 3600);
    minute(&world).await;
    assert_eq!(notifications(&world).len(), before, "not yet");
    world.pass(2 * 3600);
    minute(&world).await;
    minute(&world).await;
    let notified = notifications(&world);
    assert_eq!(notified.len(), before + 1, "{notified:?}");
    let unread = name("lead-submit", requests[1]["id"].as_str().unwrap()).to_string();
    assert!(notified[before].contains("removed in a week"), "{notified:?}");
    assert!(notified[before].contains(&unread), "the unread one: {notified:?}");
    for item in world.items("QUARANTINE#lead-submit").await {
        let at: i64 = item["expires_at"]["N"].as_str().unwrap().parse().unwrap();
        assert!(at <= expires.as_second(), "TTL removes it: {item}");
    }
    world.finish().await;
}

#[tokio::test]
async fn robots_have_a_limit_for_each_day_and_beyond_it_no_response_says_yes() {
    let world = World::plan()
        .with("DESTINATIONS", "none")
        .with("QUARANTINE_PER_DAY", "3")
        .with_provider_url("MONITORING_WEBHOOK_URL", "monitoring")
        .start()
        .await;
    world.looks_at("monitoring");
    let send = async |number: usize| {
        let mut body = robot();
        body["email"] = json!(format!("robot{number}@example.com"));
        world.submit_from(&format!("198.51.100.{number}"), &body).await
    };
    for number in 0..3 {
        assert_eq!(send(number).await.status, 200);
    }
    let refused = send(3).await;
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("rate_limited")));
    // The world begins at noon.
    assert_eq!(refused.header("retry-after"), Some("43200"));
    assert_eq!(send(4).await.status, 429);
    assert_eq!(listed(&world, "lead-submit").await.len(), 3, "nothing is kept");
    assert_eq!(world.submit(&lead_body()).await.status, 200, "people are not concerned");
    let junk = json!({"nothing": 1});
    for _ in 0..5 {
        world.pass(1);
        assert_eq!(send_webhook(&world, &junk).await.status, 200, "signed requests have no limit");
    }
    minute(&world).await;
    let notified = notifications(&world);
    assert!(notified.iter().any(|one| one.contains("refuses further ones")), "{notified:?}");
    world.pass(43_200);
    assert_eq!(send(5).await.status, 200, "the next day");
    world.finish().await;
}

#[tokio::test]
async fn a_large_request_is_kept_whole_in_parts() {
    let world = world("none").await;
    // Digits that no compression makes small.
    let mut noise = String::new();
    let mut state = 12_345_u64;
    while noise.len() < 250 * 1024 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        write!(noise, "{state:x}").unwrap();
    }
    let body = json!({"event": "invitee.created", "noise": noise});
    assert_eq!(world.calendly(&body).await.status, 200);
    let id = only(&world, "calendar-webhook").await;
    let shown = ask(&world, "calendar-webhook", json!({"action": "show", "id": id})).await.json();
    assert_eq!(shown["body"], json!(body.to_string()));
    let health = world.health().await;
    let mut sources = health["quarantine"].as_array().unwrap().iter();
    let calendly = sources.find(|one| one["source"] == "calendly").unwrap();
    assert_eq!(calendly["count"], 1, "parts are not counted");
    world.finish().await;
}

#[tokio::test]
async fn a_release_that_meets_a_table_that_fails_loses_nothing() {
    let world = world("none").await;
    world.submit(&robot()).await;
    let id = only(&world, "lead-submit").await;
    let down = world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")]);
    let release = json!({"action": "release", "id": id});
    assert_eq!(down.quarantine("lead-submit", &release).await.status, 503);
    assert_eq!(listed(&world, "lead-submit").await.len(), 1);
    assert_eq!(ask(&world, "lead-submit", release).await.status, 200);
    assert_eq!(world.journey(LeadId::parse(LEAD).unwrap()).await.events.len(), 1);
    world.finish().await;
}
