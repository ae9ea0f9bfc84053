//! The limiter: all workers together send a destination no more requests a minute than its rate.

use std::collections::BTreeMap;

use funil_core::delivery::StateKind;
use funil_core::id::LeaseId;
use funil_delivery::{Patience, Worker};
use funil_store::Claiming;
use serde_json::{Value, json};

use super::drain_slowly;
use crate::world::{World, lead, lead_body};

#[tokio::test]
async fn workers_together_stay_under_the_rate_and_everything_arrives() {
    const PER_MINUTE: usize = 30;
    let world = World::plan()
        .with("DESTINATIONS", "mailerlite")
        .with("MAILERLITE_REQUESTS_PER_MINUTE", &PER_MINUTE.to_string())
        .start()
        .await;
    world.looks_at("mailerlite");
    let start = world.now();
    let mut leads = Vec::new();
    for number in 0..20 {
        let mut body = lead_body();
        body["leadId"] = Value::Null;
        body["email"] = json!(format!("somebody{number}@example.com"));
        let caller = format!("198.51.100.{number}");
        leads.push(world.submit_from(&caller, &body).await.lead());
    }
    // Two messages of three requests each: 120 requests, at least four minutes.
    let workers: Vec<_> = (0..4).map(|_| world.worker("mailerlite")).collect();
    // Each worker reserves eight tokens for a delivery, so they delay each other and it takes longer.
    for _ in 0..120 {
        let drains = workers.iter().map(|w| w.drain(Patience::None, world.stop_at()));
        for drained in futures::future::join_all(drains).await {
            drained.unwrap();
        }
        world.pass(20);
    }
    let mut by_minute: BTreeMap<i64, usize> = BTreeMap::new();
    let offset = start.as_second().rem_euclid(60);
    for second in world.request_times("mailerlite", start) {
        *by_minute.entry((second + offset) / 60).or_default() += 1;
    }
    for lead in &leads {
        for delivery in world.store.deliveries_of(*lead, "mailerlite").await.unwrap() {
            assert_eq!(
                (delivery.state.kind(), delivery.attempts),
                (StateKind::Delivered, 1),
                "{delivery:?}"
            );
        }
    }
    assert_eq!(by_minute.values().sum::<usize>(), 20 * 2 * 3);
    assert!(by_minute.values().all(|requests| *requests <= PER_MINUTE), "{by_minute:?}");
    world.finish().await;
}

/// A world whose CRM has this rate, with a lead submitted 45 s into a minute. A lead is two
/// requests.
async fn one_lead_at(per_minute: &str) -> World {
    let plan = World::plan().with("DESTINATIONS", "crm");
    let world = plan.with("CRM_REQUESTS_PER_MINUTE", per_minute).start().await;
    world.pass(45);
    world.submit(&lead_body()).await;
    world
}

#[tokio::test]
async fn one_worker_may_use_the_whole_rate() {
    let world = World::plan()
        .with("DESTINATIONS", "crm")
        .with("CRM_REQUESTS_PER_MINUTE", "60")
        .start()
        .await;
    world.expect_requests("crm", 2 * 6);
    for number in 0..6 {
        let mut body = lead_body();
        body["leadId"] = Value::Null;
        body["email"] = json!(format!("somebody{number}@example.com"));
        world.submit(&body).await;
    }
    assert_eq!(world.drain().await, 6);
    world.finish().await;
}

#[tokio::test]
async fn a_rate_below_what_one_delivery_may_need_is_refused_at_the_start() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    let connect = |per_minute: &str| {
        let env = world.env(&[("CRM_REQUESTS_PER_MINUTE", per_minute)]);
        Worker::connect("crm", &env, world.platform())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    for wrong in ["7", "1", "0", "-1", "8.5", "many"] {
        let error = connect(wrong).unwrap_err();
        assert!(error.contains("CRM_REQUESTS_PER_MINUTE"), "{wrong}: {error}");
        assert!(error.contains('8'), "{wrong}: {error}");
    }
    connect("8").unwrap();
    world.finish().await;
}

#[tokio::test]
async fn tokens_expire_with_their_minute() {
    let world = one_lead_at("100").await;
    drain_slowly(&world, 60, 20).await;
    assert_eq!(world.requests("crm").len(), 1, "the second request waits for the next minute");
    let delivery = world.delivery(lead(), "crm").await;
    assert_eq!(
        (delivery.state.kind(), delivery.attempts),
        (StateKind::Pending, 0),
        "waiting spends no attempt"
    );
    assert_eq!(delivery.reason_text().as_deref(), Some("out_of_tokens"));
    world.pass(60);
    world.drain().await;
    world.expect_requests("crm", 1 + 2);
    world.finish().await;
}

#[tokio::test]
async fn what_is_sent_in_the_last_second_of_a_minute_counts_in_the_next() {
    let world = one_lead_at("100").await;
    world.pass(14);
    world.expect_requests("crm", 2);
    assert_eq!(world.drain().await, 1, "it is sent, and not released for want of time");
    let limits = world.items("DESTINATION#crm").await;
    let minutes: Vec<_> = limits.iter().filter(|item| item["type"]["S"] == "limit").collect();
    assert_eq!(minutes.len(), 1);
    let minute = minutes[0]["sk"]["S"].as_str().unwrap();
    assert!(minute.ends_with(":01:00.000Z"), "{minute}");
    world.finish().await;
}

#[tokio::test]
async fn unused_tokens_are_returned_to_their_minute() {
    let world = one_lead_at("30").await;
    let key = world.delivery_key(lead(), "crm").await;
    let lease = LeaseId::random(world.entropy());
    world.store.claim(&key, Claiming::Due, lease, world.now()).await.unwrap();
    // Another worker has it, but an index that lags behind shows it as due.
    world.worker("crm").deliver(&key, world.stop_at()).await.unwrap();
    let limits = world.items("DESTINATION#crm").await;
    assert_eq!(limits[0]["used"]["N"], "0", "{limits:?}");
    world.expect_requests("crm", 2);
    world.pass(60);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn tokens_left_of_a_minute_are_not_used_in_the_next_one() {
    let world = one_lead_at("8").await;
    for struggle in ["equipe", "vendas"] {
        world.pass(1);
        let mut again = lead_body();
        again["mainStruggle"] = json!(struggle);
        world.submit(&again).await;
    }
    drain_slowly(&world, 60, 20).await;
    // The first delivery's second request waits for the next minute. The second delivery is sent
    // whole, and then the minute's eight tokens are taken.
    assert_eq!(world.requests("crm").len(), 1 + 2);
    world.advance(jiff::SignedDuration::from_mins(10)).await;
    world.looks_at("crm");
    world.finish().await;
}
