//! Leases: workers that die, that are too slow, or that have little time left.

use std::time::Duration;

use funil_core::clock::after;
use funil_core::delivery::{LEASE_S, Measured, Outcome, StateKind, WhenUnknown, settle};
use funil_core::id::LeaseId;
use funil_delivery::Patience;
use funil_dev::simulated::Behaviour;
use funil_store::{Claim, Claimed, Claiming, Written};
use jiff::SignedDuration;

use super::{claim, drain_slowly, only};
use crate::proxy::{Break, Proxy};
use crate::world::{World, lead, lead_body};

/// Settles a claim with an outcome.
async fn end(world: &World, claim: &Claim, outcome: &Outcome) -> Written {
    let delivery = claim.delivery.as_ref().unwrap();
    let measured = Measured::default();
    let settlement = settle(delivery, outcome, WhenUnknown::NeedsPerson, measured, world.now(), 0);
    world.store.settle(claim, &settlement).await.unwrap()
}

#[tokio::test]
async fn a_worker_that_dies_after_its_claim_is_replaced_when_its_lease_ends() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 2);
    world.submit(&lead_body()).await;
    claim(&world, "crm").await;
    assert_eq!(world.states(lead()).await, ["crm/lead leased"]);
    world.pass(LEASE_S - 1);
    assert_eq!(world.drain().await, 0, "the lease has not ended");
    assert!(world.requests("crm").is_empty());
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
async fn a_delivery_that_killed_twenty_workers_is_dead() {
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
async fn any_settlement_resets_the_count_of_workers_that_died() {
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
async fn a_worker_that_lost_its_lease_overwrites_nothing() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 2);
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
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let workers: Vec<_> = (0..8).map(|_| world.worker("segment")).collect();
    let drains = workers.iter().map(|worker| worker.drain(Patience::None, world.stop_at()));
    let drained = futures::future::join_all(drains).await;
    let settled: usize = drained.into_iter().map(|drained| drained.unwrap().settled).sum();
    assert_eq!(settled, 1);
    world.finish().await;
}

#[tokio::test]
async fn a_worker_whose_lease_ended_while_it_sent_settles_nothing() {
    let world = only("segment").start().await;
    world.expect_requests("segment", 2);
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
async fn a_worker_whose_lease_ended_before_its_request_to_ga4_does_not_send_it() {
    let world = only("ga4").start().await;
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "ga4").await;
    let (proxy, url) = Proxy::start().await;
    let worker = world.worker_with("ga4", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    // The worker reads the table identity twice, the breaker and what is due, and claims. Its sixth
    // request to the table fails once.
    proxy.break_requests(5..6, 1, Break::BeforeEffect);
    let drain = worker.drain(Patience::None, world.stop_at());
    let other = async {
        while proxy.seen() < 6 {
            tokio::task::yield_now().await;
        }
        let later = after(world.now(), LEASE_S);
        let lease = LeaseId::random(world.entropy());
        let claimed = world.store.claim(&key, Claiming::Due, lease, later).await.unwrap();
        assert!(matches!(claimed, Claimed::Ours(_)), "the lease has ended");
        lease
    };
    let (drained, lease) = futures::join!(drain, other);
    assert_eq!(drained.unwrap().settled, 0);
    assert!(world.requests("ga4").is_empty());
    assert_eq!(world.delivery(lead(), "ga4").await.state.lease(), Some(lease));
    world.expect_requests("ga4", 1);
    world.pass(2 * LEASE_S);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_worker_that_took_too_long_begins_no_further_request() {
    // A delivery may take 25 s. A request needs 12 s of the function's time, and settling 2 s.
    for (stop_s, response_s, requests) in [(60, 24, 2), (60, 25, 1), (30, 16, 2), (30, 17, 1)] {
        let world = only("crm").start().await;
        world.looks_at("crm");
        world.submit(&lead_body()).await;
        assert_eq!(drain_slowly(&world, stop_s, response_s).await, 1);
        assert_eq!(world.requests("crm").len(), requests, "{stop_s} {response_s}");
        let delivery = world.delivery(lead(), "crm").await;
        let reason = (requests == 1).then_some("no_time_left");
        assert_eq!((delivery.attempts, delivery.reason_text().as_deref()), (1, reason));
        world.advance(SignedDuration::from_mins(1)).await;
        assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
        world.finish().await;
    }
}

#[tokio::test]
async fn a_delivery_requested_with_little_time_left_is_not_claimed() {
    let world = only("segment").start().await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "segment").await;
    let soon = after(world.now(), 13);
    assert_eq!(
        world
            .worker("segment")
            .deliver_now(std::slice::from_ref(&key), soon)
            .await
            .unwrap()
            .settled,
        0
    );
    let delivery = world.delivery(lead(), "segment").await;
    assert_eq!((delivery.state.kind(), delivery.log.len()), (StateKind::Pending, 0));
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_worker_with_little_time_left_does_not_wait_for_what_falls_due() {
    let world = only("segment").start().await;
    world.expect_requests("segment", 2);
    world.providers.script("segment", [Behaviour::Status(503)]);
    world.submit(&lead_body()).await;
    world.drain().await;
    let worker = world.worker("segment");
    let drain = worker.drain(Patience::Waits, after(world.now(), 13));
    // It falls due 5 s later by a clock that stands still: a worker that waited would never return.
    tokio::time::timeout(Duration::from_secs(30), drain).await.expect("it waits").unwrap();
    world.pass(6);
    world.drain().await;
    world.finish().await;
}
