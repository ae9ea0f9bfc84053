//! What is tried again, when, and when it is given up.

use funil_core::clock::after;
use funil_core::delivery::StateKind;
use funil_core::event::Operator;
use funil_core::id::DeliveryName;
use funil_dev::simulated::Behaviour;
use funil_lambda::operate::replay::{Judged, replay};
use jiff::SignedDuration;

use super::only;
use crate::world::{World, lead, lead_body};

/// Asserts that each wait is as long as scheduled, or up to a fifth longer.
fn follows_schedule(times: &[i64], schedule_s: &[i64]) {
    let waits: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits.len(), schedule_s.len(), "{times:?}");
    for (wait, scheduled) in waits.iter().zip(schedule_s) {
        assert!((*scheduled..=scheduled + scheduled / 5).contains(wait), "{waits:?}");
    }
}

#[tokio::test]
async fn a_provider_that_fails_twice_gets_it_at_the_third_scheduled_attempt() {
    for (destination, requests_when_well) in [("crm", 2), ("segment", 1), ("ga4", 1)] {
        let world = only(destination).start().await;
        world.expect_requests(destination, 2 + requests_when_well);
        world.providers.script(destination, [Behaviour::Status(503), Behaviour::Status(503)]);
        let start = world.now();
        world.submit(&lead_body()).await;
        world.advance(SignedDuration::from_hours(1)).await;
        let delivery = world.delivery(lead(), destination).await;
        assert_eq!((delivery.state.kind(), delivery.attempts), (StateKind::Delivered, 3));
        let outcomes: Vec<_> = delivery
            .log
            .iter()
            .map(|attempt| (attempt.outcome.as_str(), attempt.reason_text()))
            .collect();
        let failed = ("retry", Some("http_503".to_owned()));
        assert_eq!(outcomes, [failed.clone(), failed, ("delivered", None)]);
        follows_schedule(&world.request_times(destination, start)[..3], &[5, 60]);
        world.finish().await;
    }
}

#[tokio::test]
async fn a_delivery_to_a_provider_that_never_works_is_given_up_at_its_deadline() {
    let world = only("segment").start().await;
    world.looks_at("segment");
    world.providers.behave("segment", Behaviour::Status(500));
    let start = world.now();
    world.submit(&lead_body()).await;
    let deadline = world.delivery(lead(), "segment").await.deadline;
    assert_eq!(deadline, after(start, 14 * 24 * 3600));
    world.advance(SignedDuration::from_hours(30 * 24)).await;
    let delivery = world.delivery(lead(), "segment").await;
    assert_eq!(
        (delivery.state.kind(), delivery.reason_text().as_deref()),
        (StateKind::Dead, Some("deadline_passed"))
    );
    assert_eq!(delivery.settled_at(), Some(deadline));
    let times = world.request_times("segment", start);
    assert!(times.iter().all(|at| *at < 14 * 24 * 3600), "{times:?}");
    assert!(times.len() > 15, "it was tried daily: {times:?}");
    follows_schedule(&times[..9], &[5, 60, 300, 1_800, 7_200, 21_600, 43_200, 86_400]);
    let attempts = usize::try_from(delivery.attempts).unwrap();
    assert_eq!(attempts, times.len(), "giving up is not an attempt");
    assert_eq!(delivery.log.len(), 10, "the last ten attempts are kept");
    let dead = world.store.dead("segment", 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(dead[0].key.is(delivery.id));
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_to_ga4_is_given_up_after_72_hours() {
    let world = only("ga4").start().await;
    world.looks_at("ga4");
    world.providers.behave("ga4", Behaviour::Status(503));
    let start = world.now();
    world.submit(&lead_body()).await;
    world.advance(SignedDuration::from_hours(100)).await;
    let delivery = world.delivery(lead(), "ga4").await;
    assert_eq!(
        (delivery.state.kind(), delivery.reason_text().as_deref()),
        (StateKind::Dead, Some("deadline_passed"))
    );
    assert_eq!(delivery.settled_at(), Some(after(start, 72 * 3600)));
    assert!(world.request_times("ga4", start).iter().all(|at| *at < 72 * 3600));
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_past_its_deadline_is_not_sent() {
    let world = only("ga4").start().await;
    world.submit(&lead_body()).await;
    world.pass(72 * 3600);
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["ga4/event dead deadline_passed"]);
    world.finish().await;
}

#[tokio::test]
async fn wrong_credentials_for_three_hours_spend_no_attempt() {
    let world = only("crm").start().await;
    world.looks_at("crm");
    world.providers.behave("crm", Behaviour::Status(401));
    let start = world.now();
    world.submit(&lead_body()).await;
    world.advance(SignedDuration::from_hours(3)).await;
    let blocked = world.delivery(lead(), "crm").await;
    assert_eq!((blocked.state.kind(), blocked.attempts), (StateKind::Pending, 0));
    assert_eq!(blocked.reason_text().as_deref(), Some("http_401"));
    let times = world.request_times("crm", start);
    for pair in times.windows(2) {
        assert!((300..=330).contains(&(pair[1] - pair[0])), "every five minutes: {times:?}");
    }
    world.providers.behave("crm", Behaviour::Normal);
    world.advance(SignedDuration::from_mins(6)).await;
    let delivery = world.delivery(lead(), "crm").await;
    assert_eq!((delivery.state.kind(), delivery.attempts), (StateKind::Delivered, 1));
    assert_eq!(world.requests("crm").len(), times.len() + 2);
    world.finish().await;
}

#[tokio::test]
async fn a_rejected_delivery_is_dead_at_once_and_waits_for_a_person() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 1);
    world.providers.behave("crm", Behaviour::Status(422));
    world.submit(&lead_body()).await;
    world.advance(SignedDuration::from_hours(24)).await;
    assert_eq!(world.states(lead()).await, ["crm/lead dead http_422"]);
    assert_eq!(world.store.dead("crm", 10).await.unwrap().len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let world = only("mailerlite").start().await;
    world.looks_at("mailerlite");
    let throttle = Behaviour::Throttle { retry_after_s: 900 };
    world.providers.script("mailerlite", [throttle.clone(), throttle]);
    let start = world.now();
    world.submit(&lead_body()).await;
    world.advance(SignedDuration::from_hours(1)).await;
    let times = world.request_times("mailerlite", start);
    assert_eq!(times[..2], [0, 0], "one look-up for each of two slots");
    assert!(times[2..].iter().all(|at| (900..=1080).contains(at)), "{times:?}");
    assert_eq!(
        world.states(lead()).await,
        ["mailerlite/marketing delivered", "mailerlite/questionnaire delivered"]
    );
    world.finish().await;
}

#[tokio::test]
async fn retry_after_may_be_a_date() {
    let world = only("segment").start().await;
    world.expect_requests("segment", 2);
    let date = "Mon, 05 May 2031 12:30:00 GMT".to_owned();
    let headers = vec![("retry-after".to_owned(), date)];
    let busy = Behaviour::StatusWith { status: 503, headers, body: String::new() };
    world.providers.script("segment", [busy]);
    let start = world.now();
    world.submit(&lead_body()).await;
    world.advance(SignedDuration::from_hours(1)).await;
    let times = world.request_times("segment", start);
    assert!((1_800..=2_160).contains(&times[1]), "{times:?}");
    world.finish().await;
}

#[tokio::test]
async fn retry_after_is_capped_at_a_day() {
    for seconds in ["604800", "99999999999999999999"] {
        let world = only("segment").start().await;
        world.expect_requests("segment", 2);
        let headers = vec![("retry-after".to_owned(), seconds.to_owned())];
        let busy = Behaviour::StatusWith { status: 429, headers, body: String::new() };
        world.providers.script("segment", [busy]);
        let start = world.now();
        world.submit(&lead_body()).await;
        world.advance(SignedDuration::from_hours(48)).await;
        let times = world.request_times("segment", start);
        assert!((86_400..=103_680).contains(&times[1]), "{seconds}: {times:?}");
        world.finish().await;
    }
}

#[tokio::test]
async fn ga4_that_cannot_be_reached_is_tried_again() {
    let world = only("ga4").with("GA4_BASE_URL", "http://127.0.0.1:9").start().await;
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["ga4/event pending connect"]);
    world.advance(SignedDuration::from_hours(73)).await;
    assert_eq!(world.states(lead()).await, ["ga4/event dead deadline_passed"]);
    world.finish().await;
}

#[tokio::test]
async fn a_page_that_is_not_the_providers_response_is_no_success() {
    let world = World::plan()
        .with("DESTINATIONS", "crm,mailerlite,segment")
        .with("CRM_KIND", "contacts")
        .start()
        .await;
    for provider in ["crm", "mailerlite"] {
        world.looks_at(provider);
        world.providers.behave(provider, Behaviour::Garbage);
    }
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        [
            "crm/lead pending answer_without_contacts",
            "mailerlite/marketing pending answer_without_subscriber",
            "mailerlite/questionnaire pending answer_without_subscriber",
            "segment/event delivered",
        ]
    );
    for provider in ["crm", "mailerlite"] {
        world.providers.behave(provider, Behaviour::Normal);
    }
    world.advance(SignedDuration::from_mins(1)).await;
    assert!(world.states(lead()).await.iter().all(|state| state.ends_with(" delivered")));
    world.finish().await;
}

#[tokio::test]
async fn whoever_left_mailerlite_is_not_resubscribed() {
    for status in ["unsubscribed", "bounced", "junk"] {
        let world = only("mailerlite").start().await;
        // Three requests for the first submission, and one look-up for each slot of the second.
        world.expect_requests("mailerlite", 3 + 2);
        world.submit(&lead_body()).await;
        world.drain().await;
        assert!(world.providers.set_status("ana@example.com", status));
        world.pass(600);
        world.submit(&lead_body()).await;
        world.drain().await;
        let skipped = "mailerlite/questionnaire skipped unsubscribed".to_owned();
        assert!(world.states(lead()).await.contains(&skipped));
        assert_eq!(world.providers.subscriber("ana@example.com").unwrap()["status"], status);
        world.finish().await;
    }
}

#[tokio::test]
async fn a_replayed_delivery_keeps_its_id_and_arrives() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 1 + 2);
    world.providers.script("crm", [Behaviour::Status(400)]);
    world.submit(&lead_body()).await;
    world.drain().await;
    let dead = world.delivery(lead(), "crm").await;
    assert_eq!(dead.state.kind(), StateKind::Dead);
    world.pass(20 * 24 * 3600);
    let name = DeliveryName { lead_id: lead(), delivery_id: dead.id };
    let ended = world.store.delivery_named(name).await.unwrap().unwrap();
    let judged = Judged::new(ended, world.now());
    for revived in [true, false] {
        let by = Operator::Cli;
        let done = replay(&world.store, world.platform(), &judged, false, by).await.unwrap();
        assert_eq!(done, revived, "only the first replay finds it dead");
    }
    assert_eq!(world.store.dead("crm", 10).await.unwrap(), []);
    world.drain().await;
    let revived = world.delivery(lead(), "crm").await;
    assert_eq!((revived.id, revived.state.kind()), (dead.id, StateKind::Delivered));
    assert_eq!(
        world.providers.received("crm")[2].header("idempotency-key").unwrap(),
        dead.id.to_string()
    );
    world.finish().await;
}
