//! Delivering when something goes wrong: providers that fail, hang or lie, and workers that die.

use std::collections::BTreeMap;

use funil_core::clock::after;
use funil_core::delivery::{LEASE_S, Measured, Outcome, Sending, StateKind, WhenUnknown, settle};
use funil_core::event::Operator;
use funil_core::id::{DeliveryName, LeadId, LeaseId};
use funil_delivery::Patience;
use funil_dev::simulated::Behaviour;
use funil_lambda::operate::replay::{Judged, replay};
use funil_store::{Claim, Claimed, Claiming, Written};
use jiff::SignedDuration;
use serde_json::json;

use crate::proxy::{Break, Proxy};
use crate::world::{LEAD, Plan, World, lead, lead_body};

/// A world with one destination.
fn only(destination: &str) -> Plan {
    World::plan().with("DESTINATIONS", destination)
}

/// Whether each time falls between the schedule's and a fifth more, counted from the one before.
fn follows_schedule(times: &[i64], schedule_s: &[i64]) {
    let waits: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits.len(), schedule_s.len(), "{times:?}");
    for (wait, scheduled) in waits.iter().zip(schedule_s) {
        assert!((*scheduled..=scheduled + scheduled / 5).contains(wait), "{waits:?}");
    }
}

/// Takes a delivery as a worker does that then dies.
async fn claim(world: &World, destination: &str) -> Box<Claim> {
    let key = world.delivery_key(lead(), destination).await;
    let lease = LeaseId::random(world.entropy());
    match world.store.claim(&key, Claiming::Due, lease, world.now()).await.unwrap() {
        Claimed::Ours(claim) => claim,
        Claimed::NotDue => panic!("the delivery of {destination} is not due"),
    }
}

/// Ends a claim.
async fn end(world: &World, claim: &Claim, outcome: &Outcome) -> Written {
    let delivery = claim.delivery.as_ref().unwrap();
    let measured = Measured::default();
    let settlement = settle(delivery, outcome, WhenUnknown::NeedsPerson, measured, world.now(), 0);
    world.store.settle(claim, &settlement).await.unwrap()
}

#[tokio::test]
async fn a_provider_that_fails_twice_has_it_at_the_third_scheduled_attempt() {
    for (destination, calls_when_well) in [("crm", 2), ("segment", 1), ("ga4", 1)] {
        let world = only(destination).start().await;
        world.expect_calls(destination, 2 + calls_when_well);
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
        follows_schedule(&world.call_times(destination, start)[..3], &[5, 60]);
        world.finish().await;
    }
}

#[tokio::test]
async fn a_provider_that_never_works_is_given_up_at_the_deadline_and_not_tried_then() {
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
    let times = world.call_times("segment", start);
    assert!(times.iter().all(|at| *at < 14 * 24 * 3600), "{times:?}");
    assert!(times.len() > 15, "it was tried daily: {times:?}");
    follows_schedule(&times[..9], &[5, 60, 300, 1_800, 7_200, 21_600, 43_200, 86_400]);
    let attempts = usize::try_from(delivery.attempts).unwrap();
    assert_eq!(attempts, times.len(), "an expiry is no attempt");
    assert_eq!(delivery.log.len(), 10, "the last ten attempts are kept");
    let dead = world.store.dead("segment", 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(dead[0].key.is(delivery.id));
    world.finish().await;
}

#[tokio::test]
async fn ga4_is_given_up_after_72_hours() {
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
    assert!(world.call_times("ga4", start).iter().all(|at| *at < 72 * 3600));
    world.finish().await;
}

#[tokio::test]
async fn what_was_late_for_its_deadline_because_nobody_worked_is_not_sent() {
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
    let times = world.call_times("crm", start);
    for pair in times.windows(2) {
        assert!((300..=330).contains(&(pair[1] - pair[0])), "every five minutes: {times:?}");
    }
    world.providers.behave("crm", Behaviour::Normal);
    world.advance(SignedDuration::from_mins(6)).await;
    let delivery = world.delivery(lead(), "crm").await;
    assert_eq!((delivery.state.kind(), delivery.attempts), (StateKind::Delivered, 1));
    assert_eq!(world.calls("crm").len(), times.len() + 2);
    world.finish().await;
}

#[tokio::test]
async fn a_rejection_is_dead_at_once_and_waits_for_a_person() {
    let world = only("crm").start().await;
    world.expect_calls("crm", 1);
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
    let times = world.call_times("mailerlite", start);
    assert_eq!(times[..2], [0, 0], "one look for each of two slots");
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
    world.expect_calls("segment", 2);
    let date = "Mon, 05 May 2031 12:30:00 GMT".to_owned();
    let headers = vec![("retry-after".to_owned(), date)];
    let busy = Behaviour::StatusWith { status: 503, headers, body: String::new() };
    world.providers.script("segment", [busy]);
    let start = world.now();
    world.submit(&lead_body()).await;
    world.advance(SignedDuration::from_hours(1)).await;
    let times = world.call_times("segment", start);
    assert!((1_800..=2_160).contains(&times[1]), "{times:?}");
    world.finish().await;
}

#[tokio::test]
async fn retry_after_is_capped_at_a_day() {
    for seconds in ["604800", "99999999999999999999"] {
        let world = only("segment").start().await;
        world.expect_calls("segment", 2);
        let headers = vec![("retry-after".to_owned(), seconds.to_owned())];
        let busy = Behaviour::StatusWith { status: 429, headers, body: String::new() };
        world.providers.script("segment", [busy]);
        let start = world.now();
        world.submit(&lead_body()).await;
        world.advance(SignedDuration::from_hours(48)).await;
        let times = world.call_times("segment", start);
        assert!((86_400..=103_680).contains(&times[1]), "{seconds}: {times:?}");
        world.finish().await;
    }
}

#[tokio::test]
async fn a_provider_that_hangs_is_asked_again_where_that_is_safe() {
    let world = only("segment").impatient().start().await;
    world.expect_calls("segment", 2);
    world.providers.script("segment", [Behaviour::Hang]);
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["segment/event pending timeout"]);
    world.advance(SignedDuration::from_mins(1)).await;
    assert_eq!(world.states(lead()).await, ["segment/event delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn an_effect_without_an_answer_is_not_doubled_at_segment() {
    for behaviour in [Behaviour::HangAfterEffect, Behaviour::CloseAfterEffect] {
        let world = only("segment").impatient().start().await;
        world.expect_calls("segment", 2);
        world.providers.script("segment", [behaviour]);
        world.submit(&lead_body()).await;
        world.advance(SignedDuration::from_mins(1)).await;
        assert_eq!(world.states(lead()).await, ["segment/event delivered"]);
        assert_eq!(world.providers.segment_messages().len(), 2, "identify and track, once");
        world.finish().await;
    }
}

#[tokio::test]
async fn ga4_without_an_answer_stays_unknown_and_is_never_sent_again() {
    for (behaviour, reason, counted) in [
        (Behaviour::Hang, "timeout", 0),
        (Behaviour::HangAfterEffect, "timeout", 1),
        (Behaviour::CloseConnection, "transport", 0),
        (Behaviour::CloseAfterEffect, "transport", 1),
    ] {
        let world = only("ga4").impatient().start().await;
        world.expect_calls("ga4", 1);
        world.providers.script("ga4", [behaviour]);
        world.submit(&lead_body()).await;
        world.advance(SignedDuration::from_hours(100)).await;
        assert_eq!(world.states(lead()).await, [format!("ga4/event unknown {reason}")]);
        assert_eq!(world.providers.ga4_events().len(), counted);
        assert_eq!(world.store.dead("ga4", 10).await.unwrap(), [], "nobody needs to decide");
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
async fn an_effect_without_an_answer_is_not_doubled_at_the_crm() {
    // The connection closes after the upsert, or after the trigger.
    for (script, calls) in [
        (vec![Behaviour::CloseAfterEffect], 3),
        (vec![Behaviour::Normal, Behaviour::CloseAfterEffect], 4),
    ] {
        for kind in ["webhook", "contacts", "leads"] {
            let looks = usize::from(kind == "contacts");
            let world = only("crm").with("CRM_KIND", kind).start().await;
            // `contacts` looks first, each time.
            world.expect_calls("crm", calls + 2 * looks);
            world.providers.script("crm", vec![Behaviour::Normal; looks]);
            world.providers.script("crm", script.clone());
            world.submit(&lead_body()).await;
            world.drain().await;
            assert_eq!(world.states(lead()).await, ["crm/lead pending transport"], "{kind}");
            world.advance(SignedDuration::from_mins(1)).await;
            assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
            assert_eq!(world.providers.crm_contact_count(), 1);
            let triggers = world.providers.crm_triggers(LEAD);
            assert_eq!(triggers, BTreeMap::from([("standard_nurture".to_owned(), 1)]), "{kind}");
            world.finish().await;
        }
    }
}

#[tokio::test]
async fn a_page_that_is_not_the_providers_word_is_no_success() {
    let world = World::plan()
        .with("DESTINATIONS", "crm,mailerlite,segment")
        .with("CRM_KIND", "contacts")
        .start()
        .await;
    for provider in ["crm", "mailerlite"] {
        world.looks_at(provider);
        world.providers.behave(provider, Behaviour::Garbage);
    }
    world.expect_calls("segment", 1);
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
async fn whoever_left_mailerlite_is_left_alone() {
    for status in ["unsubscribed", "bounced", "junk"] {
        let world = only("mailerlite").start().await;
        // Six for the first submission, and one look for each slot of the second.
        world.expect_calls("mailerlite", 6 + 2);
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
async fn a_worker_that_dies_after_its_claim_is_replaced_when_its_lease_ends() {
    let world = only("crm").start().await;
    world.expect_calls("crm", 2);
    world.submit(&lead_body()).await;
    claim(&world, "crm").await;
    assert_eq!(world.states(lead()).await, ["crm/lead leased"]);
    world.pass(LEASE_S - 1);
    assert_eq!(world.drain().await, 0, "the lease stands");
    assert!(world.calls("crm").is_empty());
    world.pass(1);
    assert_eq!(world.drain().await, 1);
    let delivery = world.delivery(lead(), "crm").await;
    assert_eq!(
        (delivery.state.kind(), delivery.claims, delivery.attempts),
        (StateKind::Delivered, 0, 1)
    );
    world.finish().await;
}

#[tokio::test]
async fn a_worker_that_dies_about_to_call_ga4_leaves_a_doubt_and_no_second_call() {
    let world = only("ga4").start().await;
    world.submit(&lead_body()).await;
    let claim = claim(&world, "ga4").await;
    assert_eq!(world.store.mark_sending(&claim).await.unwrap(), Written::Yes);
    world.advance(SignedDuration::from_hours(100)).await;
    assert_eq!(world.states(lead()).await, ["ga4/event unknown may_have_been_sent"]);
    assert_eq!(world.delivery(lead(), "ga4").await.state.sending(), Sending::NotBegun);
    world.finish().await;
}

#[tokio::test]
async fn what_kills_its_workers_twenty_times_is_dead() {
    let world = only("crm").start().await;
    world.submit(&lead_body()).await;
    for _ in 0..20 {
        claim(&world, "crm").await;
        world.pass(LEASE_S);
    }
    assert_eq!(world.delivery(lead(), "crm").await.claims, 20);
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["crm/lead dead kills_its_worker"]);
    world.finish().await;
}

#[tokio::test]
async fn any_settlement_forgives_the_workers_that_died_before() {
    let world = only("crm").start().await;
    world.looks_at("crm");
    world.providers.script("crm", [Behaviour::Status(503)]);
    world.submit(&lead_body()).await;
    for _ in 0..19 {
        claim(&world, "crm").await;
        world.pass(LEASE_S);
    }
    world.drain().await;
    let delivery = world.delivery(lead(), "crm").await;
    assert_eq!((delivery.state.kind(), delivery.claims), (StateKind::Pending, 0));
    world.advance(SignedDuration::from_mins(1)).await;
    assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn a_late_worker_overwrites_nobody() {
    let world = only("crm").start().await;
    world.expect_calls("crm", 2);
    world.submit(&lead_body()).await;
    let late = claim(&world, "crm").await;
    world.pass(LEASE_S);
    let second = claim(&world, "crm").await;
    assert_eq!(end(&world, &late, &Outcome::Delivered).await, Written::LeaseLost);
    assert_eq!(world.store.mark_sending(&late).await.unwrap(), Written::LeaseLost);
    let until = after(world.now(), 300);
    assert_eq!(world.store.release_unread(&late, until).await.unwrap(), Written::LeaseLost);
    assert_eq!(world.delivery(lead(), "crm").await.state.lease(), Some(second.lease));
    world.pass(LEASE_S);
    world.drain().await;
    for worker in [late, second] {
        assert_eq!(end(&world, &worker, &Outcome::Expired).await, Written::LeaseLost);
    }
    assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn one_delivery_is_claimed_by_one_of_many_workers() {
    let world = only("segment").start().await;
    world.expect_calls("segment", 1);
    world.submit(&lead_body()).await;
    let workers: Vec<_> = (0..8).map(|_| world.worker("segment")).collect();
    let drains = workers.iter().map(|worker| worker.drain(Patience::None, world.stop_at()));
    let drained = futures::future::join_all(drains).await;
    let settled: usize = drained.into_iter().map(|drained| drained.unwrap().settled).sum();
    assert_eq!(settled, 1);
    world.finish().await;
}

/// Submits twice, as two events with the given seconds between.
async fn submit_twice(world: &World, seconds: i64) {
    world.submit(&lead_body()).await;
    world.pass(seconds);
    let mut second = lead_body();
    second["mainStruggle"] = json!("equipe");
    world.submit(&second).await;
}

#[tokio::test]
async fn two_deliveries_of_one_lead_are_never_under_way_together() {
    let world = only("crm").start().await;
    world.expect_calls("crm", 4);
    submit_twice(&world, 1).await;
    let (one, other) = (world.worker("crm"), world.worker("crm"));
    while !world.states(lead()).await.iter().all(|state| state.ends_with(" delivered")) {
        let stop_at = world.stop_at();
        let (a, b) =
            tokio::join!(one.drain(Patience::None, stop_at), other.drain(Patience::None, stop_at));
        a.unwrap();
        b.unwrap();
        world.pass(1);
    }
    let bodies: Vec<_> =
        world.providers.received("crm").into_iter().map(|call| call.body).collect();
    let triggers = |body: &serde_json::Value| body.get("automation_triggers").is_some();
    let order: Vec<bool> = bodies.iter().map(triggers).collect();
    assert_eq!(order, [false, true, false, true], "each upsert is followed by its own trigger");
    assert_eq!(world.providers.crm_contact_count(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_steps_back_while_an_earlier_one_of_its_lead_is_under_way() {
    let world = only("crm").start().await;
    world.expect_calls("crm", 4);
    submit_twice(&world, 1).await;
    let start = world.now();
    let keys: Vec<_> = world.store.due("crm", start, 10).await.unwrap();
    let held = world
        .store
        .claim(&keys[0].key, Claiming::Due, LeaseId::random(world.entropy()), start)
        .await;
    assert!(matches!(held.unwrap(), Claimed::Ours(_)));
    world.drain().await;
    assert!(world.calls("crm").is_empty());
    let second = &world.store.deliveries_of(lead(), "crm").await.unwrap()[1];
    assert_eq!(
        (second.state.kind(), second.reason_text().as_deref()),
        (StateKind::Pending, Some("sibling_leased"))
    );
    assert_eq!((second.attempts, second.claims), (0, 0), "stepping back costs nothing");
    assert_eq!(second.due_at(), Some(after(start, LEASE_S)), "until the other's lease ends");
    world.advance(SignedDuration::from_mins(5)).await;
    assert_eq!(world.states(lead()).await, ["crm/lead delivered", "crm/lead delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_steps_back_for_a_moment_where_a_later_one_was_faster() {
    let world = only("crm").start().await;
    world.expect_calls("crm", 4);
    submit_twice(&world, 1).await;
    let start = world.now();
    let keys: Vec<_> = world.store.due("crm", start, 10).await.unwrap();
    let lease = LeaseId::random(world.entropy());
    assert!(matches!(
        world.store.claim(&keys[1].key, Claiming::Due, lease, start).await.unwrap(),
        Claimed::Ours(_)
    ));
    world.drain().await;
    let first = &world.store.deliveries_of(lead(), "crm").await.unwrap()[0];
    let waits = first.due_at().unwrap().duration_since(start).as_secs();
    assert!((5..10).contains(&waits), "{waits}");
    world.advance(SignedDuration::from_mins(5)).await;
    assert_eq!(world.states(lead()).await, ["crm/lead delivered", "crm/lead delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn two_leads_do_not_wait_for_each_other() {
    let world = only("crm").start().await;
    world.expect_calls("crm", 4);
    world.submit(&lead_body()).await;
    let mut bia = lead_body();
    bia["leadId"] = serde_json::Value::Null;
    bia["email"] = json!("bia@example.com");
    world.submit(&bia).await;
    assert_eq!(world.drain().await, 2);
    assert_eq!(world.providers.crm_contact_count(), 2);
    world.finish().await;
}

#[tokio::test]
async fn one_dead_destination_slows_no_other() {
    let world = World::new().await;
    world.expect_one_lead();
    world.expect_calls("crm", 1);
    world.providers.behave("crm", Behaviour::Status(400));
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        [
            "crm/lead dead http_400",
            "ga4/event delivered",
            "mailerlite/marketing delivered",
            "mailerlite/questionnaire delivered",
            "segment/event delivered",
        ]
    );
    world.finish().await;
}

#[tokio::test]
async fn a_destination_that_hangs_holds_up_neither_the_others_nor_the_form() {
    let world = World::new().await;
    for provider in ["crm", "mailerlite", "ga4", "segment"] {
        world.looks_at(provider);
    }
    world.providers.behave("crm", Behaviour::Hang);
    let first = world.submit(&lead_body()).await.lead();
    let crm = world.worker("crm");
    let mut hanging = std::pin::pin!(crm.drain(Patience::None, world.stop_at()));
    tokio::select! {
        _ = &mut hanging => panic!("the CRM hangs"),
        () = world.providers.until_received("crm", 1) => {}
    }
    // The clock stands still: whatever waited for the CRM would not end here.
    let mut body = lead_body();
    body["leadId"] = json!(null);
    body["email"] = json!("bia@example.com");
    let second = world.submit_from("198.51.100.7", &body).await.lead();
    for name in ["mailerlite", "ga4", "segment"] {
        world.worker(name).drain(Patience::None, world.stop_at()).await.unwrap();
    }
    for lead in [first, second] {
        let journey = world.journey(lead).await;
        for delivery in journey.deliveries {
            assert_eq!(
                delivery.state.kind() == StateKind::Delivered,
                delivery.destination != "crm"
            );
        }
    }
    world.providers.behave("crm", Behaviour::Normal);
    world.providers.release_hung();
    hanging.await.unwrap();
    world.advance(SignedDuration::from_mins(10)).await;
    assert_eq!(world.delivery(first, "crm").await.state.kind(), StateKind::Delivered);
    world.finish().await;
}

#[tokio::test]
async fn a_dead_delivery_that_is_revived_keeps_its_id_and_arrives() {
    let world = only("crm").start().await;
    world.expect_calls("crm", 1 + 2);
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
        assert_eq!(done, revived, "it is dead once");
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

#[tokio::test]
async fn a_destination_that_is_not_listed_plans_nothing() {
    let world = World::plan().with("DESTINATIONS", "crm,segment").start().await;
    world.expect_calls("crm", 2);
    world.expect_calls("segment", 1);
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["crm/lead delivered", "segment/event delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn outside_production_nothing_leaves_that_is_not_pointed_elsewhere_or_named() {
    let world = World::plan()
        .with("ENVIRONMENT", "preview")
        .with("DESTINATIONS", "crm,mailerlite,ga4,segment")
        .without("CRM_BASE_URL")
        .without("CRM_API_KEY")
        .without("GA4_BASE_URL")
        .without("MAILERLITE_BASE_URL")
        .start()
        .await;
    world.expect_calls("segment", 1);
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        [
            "crm/lead skipped outside_production",
            "ga4/event skipped outside_production",
            "mailerlite/marketing skipped outside_production",
            "mailerlite/questionnaire skipped outside_production",
            "segment/event delivered",
        ]
    );
    world.finish().await;
}

#[tokio::test]
async fn what_newer_code_wrote_is_released_and_not_lost() {
    let world = only("segment").start().await;
    world.expect_calls("segment", 1);
    world.submit(&lead_body()).await;
    let delivery = world.delivery(lead(), "segment").await;
    let key = world.delivery_key(lead(), "segment").await;
    let keys = json!({"pk": {"S": format!("LEAD#{}", delivery.lead_id)}, "sk": {"S": key.sk}});
    let change = |value: serde_json::Value| {
        json!({
            "Key": keys,
            "UpdateExpression": "SET v = :v",
            "ExpressionAttributeValues": {":v": value},
        })
    };
    world.ask_table("UpdateItem", change(json!({"N": "2"}))).await;
    let start = world.now();
    world.advance(SignedDuration::from_mins(20)).await;
    assert!(world.calls("segment").is_empty());
    let due = world.store.due("segment", after(start, 3600), 10).await.unwrap();
    assert!(due[0].due_at > after(start, 1200), "it is looked at every five minutes");
    world.ask_table("UpdateItem", change(json!({"N": "1"}))).await;
    world.advance(SignedDuration::from_mins(5)).await;
    assert_eq!(world.states(lead()).await, ["segment/event delivered"]);
    assert_eq!(world.delivery(lead(), "segment").await.attempts, 1);
    world.finish().await;
}

#[tokio::test]
async fn many_leads_of_one_moment_are_all_delivered() {
    let world = World::plan().with("DESTINATIONS", "crm,ga4").start().await;
    world.expect_calls("crm", 2 * 60);
    world.expect_calls("ga4", 60);
    let mut leads: Vec<LeadId> = Vec::new();
    for number in 0..60 {
        let mut body = lead_body();
        body["leadId"] = serde_json::Value::Null;
        body["email"] = json!(format!("somebody{number}@example.com"));
        let ip = format!("198.51.100.{number}");
        leads.push(world.submit_from(&ip, &body).await.lead());
    }
    assert_eq!(world.drain().await, 120);
    for lead in leads {
        assert_eq!(world.states(lead).await, ["crm/lead delivered", "ga4/event delivered"]);
    }
    world.finish().await;
}

#[tokio::test]
async fn poisoned_items_do_not_hold_up_what_is_due_after_them() {
    let world = only("segment").start().await;
    world.expect_calls("segment", 1);
    world.submit(&lead_body()).await;
    let (pk, sk) = {
        let key = world.delivery_key(lead(), "segment").await;
        (format!("LEAD#{LEAD}"), key.sk)
    };
    // More than one look at the index brings, and all of them older: keys that nobody can read, and
    // deliveries without anything but their key.
    let due = json!({"S": "2031-05-05T11:00:00.000Z"});
    for number in 0..110 {
        let (pk, sk) = match number % 2 {
            0 => (format!("SCRAP#{number}"), "SCRAP".to_owned()),
            _ => (pk.clone(), format!("{}{number:03}", &sk[..sk.len() - 3])),
        };
        let item = json!({
            "pk": {"S": pk}, "sk": {"S": sk}, "v": {"N": "1"}, "type": {"S": "delivery"},
            "due_pk": {"S": "DUE#segment#0"}, "due_sk": due,
        });
        world.ask_table("PutItem", json!({"Item": item})).await;
    }
    world.drain().await;
    assert_eq!(world.calls("segment").len(), 1, "the good one is delivered at once");
    assert_eq!(world.delivery(lead(), "segment").await.state.kind(), StateKind::Delivered);
    for item in world.items("").await {
        let released = item.get("due_pk").is_some() && item["pk"]["S"] == json!(pk);
        assert!(!released || item["due_sk"]["S"].as_str().unwrap() > "2031-05-05T12:04", "{item}");
        if item.get("due_pk").is_some() {
            let keys = json!({"Key": {"pk": item["pk"], "sk": item["sk"]}});
            world.ask_table("DeleteItem", keys).await;
        }
    }
    world.finish().await;
}

/// Drains the CRM, with `stop_s` of the function's time, while its first answer takes `answer_s`.
async fn drain_slowly(world: &World, stop_s: i64, answer_s: i64) -> usize {
    world.providers.script("crm", [Behaviour::HangAfterEffect]);
    let worker = world.worker("crm");
    let drain = worker.drain(Patience::None, after(world.now(), stop_s));
    let slow = async {
        world.providers.until_received("crm", 1).await;
        world.pass(answer_s);
        world.providers.release_hung();
    };
    futures::join!(drain, slow).0.unwrap().settled
}

#[tokio::test]
async fn a_worker_that_took_too_long_begins_no_other_request() {
    // 25 s a delivery; 12 s of the function for a request and 2 s to settle.
    for (stop_s, answer_s, calls) in [(60, 24, 2), (60, 25, 1), (30, 16, 2), (30, 17, 1)] {
        let world = only("crm").start().await;
        world.looks_at("crm");
        world.submit(&lead_body()).await;
        assert_eq!(drain_slowly(&world, stop_s, answer_s).await, 1);
        assert_eq!(world.calls("crm").len(), calls, "{stop_s} {answer_s}");
        let delivery = world.delivery(lead(), "crm").await;
        let reason = (calls == 1).then_some("no_time_left");
        assert_eq!((delivery.attempts, delivery.reason_text().as_deref()), (1, reason));
        world.advance(SignedDuration::from_mins(1)).await;
        assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
        world.finish().await;
    }
}

#[tokio::test]
async fn a_worker_whose_lease_ran_out_while_it_sent_has_settled_nothing() {
    let world = only("segment").start().await;
    world.expect_calls("segment", 2);
    world.submit(&lead_body()).await;
    world.providers.script("segment", [Behaviour::HangAfterEffect]);
    let worker = world.worker("segment");
    let drain = worker.drain(Patience::None, world.stop_at());
    let second = async {
        world.providers.until_received("segment", 1).await;
        world.pass(LEASE_S);
        let second = claim(&world, "segment").await;
        world.providers.release_hung();
        second
    };
    let (drained, second) = futures::join!(drain, second);
    assert_eq!(drained.unwrap().settled, 0);
    assert_eq!(world.delivery(lead(), "segment").await.state.lease(), Some(second.lease));
    world.pass(LEASE_S);
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["segment/event delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_that_is_asked_for_with_little_time_left_is_not_claimed() {
    let world = only("segment").start().await;
    world.expect_calls("segment", 1);
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "segment").await;
    let soon = after(world.now(), 13);
    assert_eq!(world.worker("segment").deliver(&key, soon).await.unwrap().settled, 0);
    let delivery = world.delivery(lead(), "segment").await;
    assert_eq!((delivery.state.kind(), delivery.log.len()), (StateKind::Pending, 0));
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_worker_with_little_time_left_does_not_wait_for_what_falls_due() {
    let world = only("segment").start().await;
    world.expect_calls("segment", 2);
    world.providers.script("segment", [Behaviour::Status(503)]);
    world.submit(&lead_body()).await;
    world.drain().await;
    let worker = world.worker("segment");
    let drain = worker.drain(Patience::Waits, after(world.now(), 13));
    // It falls due in 5 s.
    tokio::time::timeout(std::time::Duration::from_secs(4), drain).await.unwrap().unwrap();
    world.pass(6);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn nobody_waits_for_a_worker_that_is_gone() {
    let world = only("crm").start().await;
    world.expect_calls("crm", 4);
    submit_twice(&world, 1).await;
    let due = world.store.due("crm", world.now(), 10).await.unwrap();
    let lease = LeaseId::random(world.entropy());
    world.store.claim(&due[0].key, Claiming::Due, lease, world.now()).await.unwrap();
    world.pass(LEASE_S);
    let worker = world.worker("crm");
    worker.deliver(&due[1].key, world.stop_at()).await.unwrap();
    assert_eq!(world.states(lead()).await, ["crm/lead delivered", "crm/lead leased"]);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn two_events_of_one_lead_do_not_wait_for_each_other() {
    let world = only("segment").start().await;
    world.expect_calls("segment", 2);
    submit_twice(&world, 1).await;
    let due = world.store.due("segment", world.now(), 10).await.unwrap();
    let lease = LeaseId::random(world.entropy());
    world.store.claim(&due[0].key, Claiming::Due, lease, world.now()).await.unwrap();
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.states(lead()).await, ["segment/event delivered", "segment/event leased"]);
    world.pass(LEASE_S);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_worker_that_dies_while_ga4_has_its_call_leaves_a_doubt_and_no_second_call() {
    let world = only("ga4").start().await;
    world.expect_calls("ga4", 1);
    world.submit(&lead_body()).await;
    world.providers.script("ga4", [Behaviour::HangAfterEffect]);
    let worker = world.worker("ga4");
    tokio::select! {
        drained = worker.drain(Patience::None, world.stop_at()) => panic!("{drained:?}"),
        () = world.providers.until_received("ga4", 1) => {}
    }
    world.advance(SignedDuration::from_hours(1)).await;
    assert_eq!(world.states(lead()).await, ["ga4/event unknown may_have_been_sent"]);
    world.providers.release_hung();
    world.finish().await;
}

#[tokio::test]
async fn a_worker_whose_lease_ran_out_before_it_called_ga4_does_not_call_it() {
    let world = only("ga4").start().await;
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "ga4").await;
    let (proxy, url) = Proxy::start().await;
    let worker = world.worker_with("ga4", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    // META, the breaker, what is due, the claim; then the table fails for a moment.
    proxy.break_calls(4..5, 1, Break::BeforeEffect);
    let drain = worker.drain(Patience::None, world.stop_at());
    let other = async {
        while proxy.seen() < 5 {
            tokio::task::yield_now().await;
        }
        let later = after(world.now(), LEASE_S);
        let lease = LeaseId::random(world.entropy());
        let claimed = world.store.claim(&key, Claiming::Due, lease, later).await.unwrap();
        assert!(matches!(claimed, Claimed::Ours(_)), "the lease ran out");
        lease
    };
    let (drained, lease) = futures::join!(drain, other);
    assert_eq!(drained.unwrap().settled, 0);
    assert!(world.calls("ga4").is_empty());
    assert_eq!(world.delivery(lead(), "ga4").await.state.lease(), Some(lease));
    world.expect_calls("ga4", 1);
    world.pass(2 * LEASE_S);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_worker_of_a_destination_that_is_off_touches_nothing() {
    let world = only("segment").start().await;
    world.expect_calls("segment", 1);
    world.submit(&lead_body()).await;
    let off = world.worker_with("segment", &[("DESTINATIONS", "crm")]);
    off.drain(Patience::None, world.stop_at()).await.unwrap();
    let delivery = world.delivery(lead(), "segment").await;
    assert_eq!((delivery.state.kind(), delivery.log.len()), (StateKind::Pending, 0));
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_worker_with_another_hash_key_delivers_nothing() {
    let world = only("segment").start().await;
    world.expect_calls("segment", 1);
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "segment").await;
    let wrong = || world.worker_with("segment", &[("HASH_KEY", "another-key-of-16-and-more")]);
    assert!(wrong().drain(Patience::None, world.stop_at()).await.is_err());
    assert!(wrong().deliver(&key, world.stop_at()).await.is_err());
    assert!(world.calls("segment").is_empty());
    world.drain().await;
    world.finish().await;
}
