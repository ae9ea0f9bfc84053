//! The limiter: all workers together send a destination no more requests a minute than its rate.

use funil_core::clock::after;
use funil_core::delivery::StateKind;
use funil_core::destination::crm;
use funil_delivery::{Patience, Worker};
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
    // A look-up and two upserts: 60 requests, at least two minutes.
    let workers: Vec<_> = (0..4).map(|_| world.worker("mailerlite")).collect();
    for _ in 0..60 {
        let drains = workers.iter().map(|w| w.drain(Patience::None, world.stop_at()));
        for drained in futures::future::join_all(drains).await {
            drained.unwrap();
        }
        world.pass(20);
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
    let times = world.request_times("mailerlite", start);
    // Where the rate came between the two deliveries of a lead, the second looks them up again.
    assert!((20 * 3..20 * 4).contains(&times.len()), "{times:?}");
    assert!(most_in_a_minute(&times) <= PER_MINUTE, "{times:?}");
    assert!(*times.last().unwrap() <= 4 * 60, "the rate is used: {times:?}");
    world.finish().await;
}

/// How many requests there were in the fullest minute, of any that begins with one of them.
fn most_in_a_minute(times: &[i64]) -> usize {
    let within = |from: i64| times.iter().filter(|at| (from..from + 60).contains(*at)).count();
    times.iter().map(|from| within(*from)).max().unwrap_or(0)
}

/// A world whose CRM has this rate, with so many leads submitted. A lead is two requests.
async fn leads_at(per_minute: &str, leads: usize) -> World {
    let plan = World::plan().with("DESTINATIONS", "crm");
    let world = plan.with("CRM_REQUESTS_PER_MINUTE", per_minute).start().await;
    world.looks_at("crm");
    for number in 0..leads {
        let mut body = lead_body();
        body["leadId"] = Value::Null;
        body["email"] = json!(format!("somebody{number}@example.com"));
        world.submit_from(&format!("198.51.100.{number}"), &body).await;
    }
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
async fn a_small_rate_is_used_whole_by_a_schedule_that_comes_each_minute() {
    let world = leads_at("10", 17).await;
    let start = world.now();
    for _ in 0..4 {
        world.drain().await;
        world.pass(62);
    }
    let times = world.request_times("crm", start);
    assert_eq!(times.len(), 17 * 2);
    assert_eq!(most_in_a_minute(&times), 10, "{times:?}");
    assert_eq!(*times.last().unwrap(), 3 * 62, "ten in each of three minutes, and four: {times:?}");
    world.finish().await;
}

#[tokio::test]
async fn a_drain_that_finds_the_rate_used_up_ends_and_says_when_to_come_back() {
    let world = leads_at("10", 8).await;
    let worker = world.worker("crm");
    let drained = worker.drain(Patience::Waits, world.stop_at()).await.unwrap();
    assert_eq!(drained.settled, 5);
    let drained = worker.drain(Patience::Waits, world.stop_at()).await.unwrap();
    assert_eq!((drained.settled, world.requests("crm").len()), (0, 10));
    let come_back_at = drained.come_back_at.unwrap();
    assert!(come_back_at > after(world.now(), 59) && come_back_at <= after(world.now(), 63));
    world.pass(63);
    assert_eq!(world.drain().await, 3);
    world.finish().await;
}

#[tokio::test]
async fn rings_that_name_one_delivery_each_use_the_rate_whole() {
    let world = leads_at("20", 10).await;
    for due in world.store.due("crm", world.now(), 10).await.unwrap() {
        let worker = world.worker("crm");
        let drained = worker.deliver_now(&[due.key], world.stop_at()).await.unwrap();
        assert_eq!(drained.settled, 1);
    }
    assert_eq!(world.requests("crm").len(), 20);
    world.finish().await;
}

#[tokio::test]
async fn a_rate_below_what_one_delivery_may_need_is_refused_at_the_start() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    let connect = |kind: &str, per_minute: &str| {
        let env = world.env(&[("CRM_REQUESTS_PER_MINUTE", per_minute), ("CRM_KIND", kind)]);
        Worker::connect(&crm::CONNECTOR, &env, world.platform())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    for (kind, least) in [("webhook", 2), ("contacts", 5), ("leads", 2)] {
        let too_few = (least - 1).to_string();
        for wrong in [&*too_few, "0", "-1", "8.5", "many"] {
            let error = connect(kind, wrong).unwrap_err();
            assert!(error.contains("CRM_REQUESTS_PER_MINUTE"), "{wrong}: {error}");
            assert!(error.contains(&least.to_string()), "{wrong}: {error}");
        }
        connect(kind, &least.to_string()).unwrap();
    }
    world.finish().await;
}

#[tokio::test]
async fn a_token_that_grew_old_before_its_request_is_replaced() {
    let world = leads_at("2", 0).await;
    world.submit(&lead_body()).await;
    // The first response takes so long that the second token may not be used any more.
    drain_slowly(&world, 60, 20).await;
    let delivery = world.delivery(lead(), "crm").await;
    assert_eq!(world.requests("crm").len(), 2, "the old token was given back for a new one");
    assert_eq!((delivery.state.kind(), delivery.attempts), (StateKind::Delivered, 1));
    world.finish().await;
}
