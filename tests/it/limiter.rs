//! The limiter: however many work at once, a destination gets no more requests a minute than it takes.

use std::collections::BTreeMap;

use funil_core::delivery::State;
use funil_delivery::Patience;
use serde_json::{Value, json};

use crate::world::{World, lead_body};

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
    // They hold eight tokens for each delivery and get in each other's way: it takes longer.
    for _ in 0..120 {
        let drains = workers.iter().map(|w| w.drain(Patience::None, world.stop_at()));
        for drained in futures::future::join_all(drains).await {
            drained.unwrap();
        }
        world.pass(20);
    }
    let mut by_minute: BTreeMap<i64, usize> = BTreeMap::new();
    let offset = start.as_second().rem_euclid(60);
    for second in world.call_times("mailerlite", start) {
        *by_minute.entry((second + offset) / 60).or_default() += 1;
    }
    for lead in &leads {
        for delivery in world.store.deliveries_of(*lead, "mailerlite").await.unwrap() {
            assert_eq!((delivery.state, delivery.attempts), (State::Delivered, 1), "{delivery:?}");
        }
    }
    assert_eq!(by_minute.values().sum::<usize>(), 20 * 2 * 3);
    assert!(by_minute.values().all(|calls| *calls <= PER_MINUTE), "{by_minute:?}");
    world.finish().await;
}
