//! The breaker: a destination that keeps failing gets no more requests, one worker probes whether it
//! works again, and no delivery loses an attempt.

use std::time::Duration;

use funil_core::delivery::breaker::{FAILURES_TO_OPEN, PROBE_AFTER_S};
use funil_core::delivery::{BLOCKED_S, LEASE_S, StateKind};
use funil_core::id::{LeadId, LeaseId};
use funil_delivery::Patience;
use funil_dev::simulated::Behaviour;
use funil_store::{Claimed, Claiming, TablePatience};
use serde_json::{Value, json};

use super::only;
use crate::proxy::{Break, Proxy};
use crate::world::{World, lead_body};

fn somebody(number: usize) -> Value {
    let mut body = lead_body();
    body["leadId"] = Value::Null;
    body["email"] = json!(format!("somebody{number}@example.com"));
    body
}

/// This many people submit the form.
async fn people(world: &World, count: usize) -> Vec<LeadId> {
    let mut leads = Vec::new();
    for number in 0..count {
        let caller = format!("198.51.100.{number}");
        leads.push(world.submit_from(&caller, &somebody(number)).await.lead());
    }
    leads
}

#[tokio::test]
async fn after_failures_in_a_row_nothing_is_sent_until_one_worker_has_probed() {
    let world = only("segment").start().await;
    world.looks_at("segment");
    world.providers.behave("segment", Behaviour::Status(503));
    let leads = people(&world, 8).await;
    world.drain().await;
    let failed = world.requests("segment").len();
    assert!(failed >= usize::try_from(FAILURES_TO_OPEN).unwrap(), "{failed}");
    let breaker = world.store.breaker("segment").await.unwrap();
    assert_eq!(breaker.open.unwrap().reason, "http_503");

    // They are due again after 5 s, but nothing is sent and no attempt is spent.
    world.pass(30);
    assert_eq!(world.drain().await, 0);
    assert_eq!(world.requests("segment").len(), failed);

    // A minute after it opened, one of two workers sends one probe.
    world.pass(PROBE_AFTER_S);
    let (one, other) = (world.worker("segment"), world.worker("segment"));
    let (one, other) = tokio::join!(
        one.drain(Patience::None, world.stop_at()),
        other.drain(Patience::None, world.stop_at())
    );
    assert_eq!(one.unwrap().settled + other.unwrap().settled, 1);
    assert_eq!(world.requests("segment").len(), failed + 1);

    // Once the destination works again, the probe closes the breaker and everything is sent.
    world.providers.behave("segment", Behaviour::Normal);
    world.pass(PROBE_AFTER_S);
    world.drain().await;
    assert_eq!(world.store.breaker("segment").await.unwrap().open, None);
    world.advance(jiff::SignedDuration::from_mins(10)).await;
    for lead in leads {
        let delivery = world.delivery(lead, "segment").await;
        assert_eq!(delivery.state.kind(), StateKind::Delivered);
        assert!(delivery.attempts <= 3, "{}", delivery.attempts);
    }
    world.finish().await;
}

#[tokio::test]
async fn a_success_between_failures_keeps_the_breaker_closed() {
    let world = only("segment").start().await;
    world.looks_at("segment");
    for number in 0..12 {
        let behaviour = if number % 4 == 3 { Behaviour::Normal } else { Behaviour::Status(500) };
        world.providers.behave("segment", behaviour);
        world.submit_from(&format!("198.51.100.{number}"), &somebody(number)).await;
        world.drain().await;
        assert_eq!(world.store.breaker("segment").await.unwrap().open, None, "{number}");
    }
    world.providers.behave("segment", Behaviour::Normal);
    world.advance(jiff::SignedDuration::from_mins(10)).await;
    world.finish().await;
}

#[tokio::test]
async fn credentials_that_expire_over_a_weekend_lose_no_lead() {
    let world = only("crm").start().await;
    world.looks_at("crm");
    world.providers.behave("crm", Behaviour::Status(401));
    let leads = people(&world, 3).await;
    for _ in 0..(72 * 2) {
        world.drain().await;
        world.pass(30 * 60);
    }
    let asked = world.requests("crm").len();
    // The first three were sent at the same time; after that there is one probe at a time.
    assert!(asked <= 72 * 2 + leads.len(), "{asked}");
    for lead in &leads {
        assert_eq!(world.delivery(*lead, "crm").await.attempts, 0, "no attempt is spent");
    }
    world.providers.behave("crm", Behaviour::Normal);
    world.advance(jiff::SignedDuration::from_mins(10)).await;
    for lead in leads {
        assert_eq!(world.delivery(lead, "crm").await.state.kind(), StateKind::Delivered);
    }
    world.finish().await;
}

#[tokio::test]
async fn late_and_interrupted_deliveries_are_settled_unsent_while_the_breaker_is_open() {
    let world = only("ga4").start().await;
    world.looks_at("ga4");
    let leads = people(&world, 2).await;
    // A worker dies right before it sends the first lead's request.
    let key = world.delivery_key(leads[0], "ga4").await;
    let lease = LeaseId::random(world.entropy());
    let claimed = world.store.claim(&key, Claiming::Due, lease, world.now()).await.unwrap();
    let Claimed::Ours(claim) = claimed else { panic!("the delivery should be due") };
    world.store.mark_sending(&claim).await.unwrap();
    world.pass(LEASE_S);
    world.store.open_breaker("ga4", (0, "http_401"), 100 * 3600, world.now()).await.unwrap();

    world.drain().await;
    assert_eq!(world.delivery(leads[0], "ga4").await.state.kind(), StateKind::Unknown);
    assert_eq!(world.delivery(leads[1], "ga4").await.state.kind(), StateKind::Pending);
    world.pass(72 * 3600);
    world.drain().await;
    let late = world.delivery(leads[1], "ga4").await;
    assert_eq!(
        (late.state.kind(), late.reason_text().as_deref()),
        (StateKind::Dead, Some("deadline_passed"))
    );
    assert!(world.requests("ga4").is_empty());
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_that_alone_is_refused_does_not_hold_up_the_others_forever() {
    let world = only("segment").start().await;
    world.looks_at("segment");
    // The first lead's requests are refused, everybody else's succeed.
    let refused = people(&world, 1).await[0];
    for round in 1..=4 {
        world.providers.script("segment", [Behaviour::Status(403)]);
        world.drain().await;
        if world.delivery(refused, "segment").await.state.kind() == StateKind::Dead {
            break;
        }
        assert!(round < 4, "the refused delivery should have been given up");
        // Another lead's delivery is the probe, because the refused one is last in the queue.
        let other = world
            .submit_from(&format!("198.51.100.{}", 10 + round), &somebody(10 + round))
            .await
            .lead();
        world.pass(BLOCKED_S - 1);
        world.store.take_probe("segment", 0, world.now()).await.unwrap();
        world.pass(1);
        world.drain().await;
        assert_eq!(world.delivery(other, "segment").await.state.kind(), StateKind::Delivered);
        world.pass(BLOCKED_S);
    }
    let delivery = world.delivery(refused, "segment").await;
    assert_eq!(
        (delivery.state.kind(), delivery.reason_text().as_deref(), delivery.attempts),
        (StateKind::Dead, Some("blocked_alone"), 1)
    );
    world.finish().await;
}

#[tokio::test]
async fn a_worker_that_is_still_sending_keeps_its_delivery_while_the_breaker_is_open() {
    let world = only("ga4").start().await;
    world.looks_at("ga4");
    let leads = people(&world, 1).await;
    let key = world.delivery_key(leads[0], "ga4").await;
    let lease = LeaseId::random(world.entropy());
    let claimed = world.store.claim(&key, Claiming::Due, lease, world.now()).await.unwrap();
    let Claimed::Ours(claim) = claimed else { panic!("the delivery should be due") };
    world.store.mark_sending(&claim).await.unwrap();
    world.store.open_breaker("ga4", (0, "http_401"), 100 * 3600, world.now()).await.unwrap();

    // An index that lags behind may still show the delivery as due.
    let worker = world.worker("ga4");
    assert_eq!(
        worker.deliver_now(std::slice::from_ref(&key), world.stop_at()).await.unwrap().settled,
        0
    );
    assert_eq!(world.delivery(leads[0], "ga4").await.state.lease(), Some(lease));
    world.pass(LEASE_S);
    world.drain().await;
    assert_eq!(world.delivery(leads[0], "ga4").await.state.kind(), StateKind::Unknown);
    world.finish().await;
}

#[tokio::test]
async fn of_many_workers_at_once_one_probes() {
    let world = only("segment").start().await;
    world.looks_at("segment");
    people(&world, 8).await;
    world.store.open_breaker("segment", (0, "http_503"), 0, world.now()).await.unwrap();
    world.providers.behave("segment", Behaviour::Status(503));
    let workers: Vec<_> = (0..8).map(|_| world.worker("segment")).collect();
    // Open the connections first, so that no worker has a head start.
    let reads = (0..8).map(|_| world.store.breaker("segment"));
    futures::future::try_join_all(reads).await.unwrap();
    let drains = workers.iter().map(|worker| worker.drain(Patience::None, world.stop_at()));
    futures::future::try_join_all(drains).await.unwrap();
    assert_eq!(world.requests("segment").len(), 1);

    let now = world.now();
    assert!(!world.store.take_probe("segment", PROBE_AFTER_S, now).await.unwrap(), "taken");
    world.store.destination_succeeded("segment", 0, now).await.unwrap();
    world.pass(2 * PROBE_AFTER_S);
    let now = world.now();
    assert!(!world.store.take_probe("segment", PROBE_AFTER_S, now).await.unwrap(), "closed");
    world.providers.behave("segment", Behaviour::Normal);
    world.advance(jiff::SignedDuration::from_mins(10)).await;
    world.finish().await;
}

#[tokio::test]
async fn a_probe_that_the_table_refused_to_claim_is_left_to_the_next_worker() {
    let world = only("segment").start().await;
    world.looks_at("segment");
    world.expect_requests("segment", 1);
    let lead = people(&world, 1).await[0];
    let key = world.delivery_key(lead, "segment").await;
    world.store.open_breaker("segment", (0, "http_503"), 0, world.now()).await.unwrap();
    let (proxy, url) = Proxy::start().await;
    let refused = world.worker_with("segment", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    // The table's identity, the breaker and its probe come before the claim.
    proxy.break_requests(3..4, 9, Break::Throttled);
    let keys = std::slice::from_ref(&key);
    assert_eq!(refused.deliver_now(keys, world.stop_at()).await.unwrap().settled, 0);
    assert_eq!(proxy.broken(), 1);

    let other = world.worker("segment");
    assert_eq!(other.deliver_now(keys, world.stop_at()).await.unwrap().settled, 1);
    assert!(world.store.breaker("segment").await.unwrap().open.is_none(), "the probe closed it");
    world.finish().await;
}

#[tokio::test]
async fn a_probe_that_failed_counts_even_if_its_settlement_cannot_be_written() {
    let mut world = only("segment").start().await;
    world.set_table_patience(TablePatience { settlement: Duration::ZERO, ..Default::default() });
    world.looks_at("segment");
    let leads = people(&world, 2).await;
    let mut keys = Vec::new();
    for lead in leads {
        keys.push(world.delivery_key(lead, "segment").await);
    }
    world.store.open_breaker("segment", (0, "http_503"), 0, world.now()).await.unwrap();
    world.providers.behave("segment", Behaviour::Status(503));
    let (proxy, url) = Proxy::start().await;
    let worker = world.worker_with("segment", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    // The identity, the breaker, its probe, the claim and the inputs come before the settlement.
    proxy.break_requests(5..6, 9, Break::Throttled);
    assert_eq!(worker.deliver_now(&keys, world.stop_at()).await.unwrap().settled, 0);
    assert_eq!(world.requests("segment").len(), 1);

    proxy.mend();
    world.providers.behave("segment", Behaviour::Normal);
    world.advance(jiff::SignedDuration::from_mins(10)).await;
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_of_newer_code_does_not_use_up_the_probe() {
    let world = only("crm").start().await;
    world.looks_at("crm");
    let lead = people(&world, 1).await[0];
    world.pass(1);
    let mut again = somebody(0);
    again["mainStruggle"] = serde_json::json!("equipe");
    world.submit(&again).await;
    let due = world.store.due("crm", world.now(), 2).await.unwrap();
    let version = |number: &str| {
        serde_json::json!({
            "Key": {"pk": {"S": format!("LEAD#{lead}")}, "sk": {"S": due[0].key.sk}},
            "UpdateExpression": "SET v = :v",
            "ExpressionAttributeValues": {":v": {"N": number}},
        })
    };
    world.ask_table("UpdateItem", version("2")).await;
    world.store.open_breaker("crm", (0, "http_503"), 0, world.now()).await.unwrap();
    world.drain().await;
    assert_eq!(world.requests("crm").len(), 2, "the other delivery was the probe");
    assert_eq!(world.store.breaker("crm").await.unwrap().open, None);
    world.ask_table("UpdateItem", version("1")).await;
    world.advance(jiff::SignedDuration::from_mins(10)).await;
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_that_needs_no_request_does_not_use_up_the_probe() {
    let world = only("segment").start().await;
    world.looks_at("segment");
    let mut person = somebody(0);
    person["leadId"] = json!("7f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b22");
    let first = world.submit(&person).await.lead();
    let leads = [first, world.submit(&somebody(1)).await.lead()];
    world.pass(1);
    person["consent"] = json!({"analytics": false});
    world.submit(&person).await;
    world.store.open_breaker("segment", (0, "http_503"), 0, world.now()).await.unwrap();
    world.drain().await;
    assert_eq!(world.states(leads[0]).await, ["segment/event skipped no_consent_analytics"]);
    assert_eq!(world.states(leads[1]).await, ["segment/event delivered"], "it was the probe");
    assert_eq!(world.store.breaker("segment").await.unwrap().open, None);
    world.finish().await;
}

#[tokio::test]
async fn a_drain_that_opens_the_breaker_sends_no_more() {
    let world = only("crm").start().await;
    world.looks_at("crm");
    people(&world, 1).await;
    for struggle in ["equipe", "vendas"] {
        world.pass(1);
        let mut again = somebody(0);
        again["mainStruggle"] = serde_json::json!(struggle);
        world.submit(&again).await;
    }
    world.providers.script("crm", [Behaviour::Status(401)]);
    world.drain().await;
    assert_eq!(world.requests("crm").len(), 1, "deliveries of one lead are sent one after another");
    world.advance(jiff::SignedDuration::from_mins(20)).await;
    world.finish().await;
}

#[tokio::test]
async fn a_success_that_is_noted_late_closes_no_breaker_that_was_opened_since() {
    let world = only("crm").start().await;
    let before = world.now();
    world.pass(1);
    world.store.open_breaker("crm", (5, "http_503"), 60, world.now()).await.unwrap();
    world.store.note_success("crm", 0, before).await.unwrap();
    assert!(world.store.breaker("crm").await.unwrap().open.is_some());
    world.store.destination_succeeded("crm", 0, world.now()).await.unwrap();
    assert!(world.store.breaker("crm").await.unwrap().open.is_none());
    world.finish().await;
}
