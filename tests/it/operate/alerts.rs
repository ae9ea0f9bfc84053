//! Alerts: a person is notified when something happens, and once more how often it happened, whatever
//! else fails.

use funil_core::delivery::StateKind;
use funil_core::id::LeaseId;
use funil_dev::simulated::Behaviour;
use funil_store::{AlertKind, Claimed, Claiming};
use serde_json::{Value, json};

use crate::world::{Deployment, World, lead, lead_body};

/// The monitoring webhook, as a simulated provider without an interface of its own.
const MONITORING: &str = "monitoring";

pub(super) async fn world(destinations: &str) -> World {
    let world = World::plan()
        .with("DESTINATIONS", destinations)
        .with_provider_url("MONITORING_WEBHOOK_URL", MONITORING)
        .start()
        .await;
    world.looks_at("segment");
    world.looks_at(MONITORING);
    world
}

fn somebody(number: usize) -> Value {
    let mut body = lead_body();
    body["leadId"] = Value::Null;
    body["email"] = json!(format!("somebody{number}@example.com"));
    body
}

/// Runs `dispatch` as the schedule does each minute.
pub(super) async fn minute(world: &World) {
    let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
    let response = world.invoke("dispatch", schedule).await;
    assert!(response.get("rung").is_some(), "{response}");
}

pub(super) fn notifications(world: &World) -> Vec<String> {
    let received = world.providers.received(MONITORING);
    received.iter().map(|request| request.body["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn many_dead_deliveries_are_two_notifications() {
    let world = world("segment").await;
    world.providers.behave("segment", Behaviour::Status(400));
    for number in 0..7 {
        world.submit_from(&format!("198.51.100.{number}"), &somebody(number)).await;
        world.drain().await;
        minute(&world).await;
    }
    let first = notifications(&world);
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(first[0].contains("1 × a delivery to segment was given up"), "{first:?}");
    assert!(!first[0].contains("somebody"), "nothing personal: {first:?}");
    world.pass(15 * 60);
    minute(&world).await;
    minute(&world).await;
    let all = notifications(&world);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[1].contains("6 × a delivery to segment was given up"), "{all:?}");
    world.finish().await;
}

#[tokio::test]
async fn an_alert_that_cannot_be_sent_is_sent_later_and_holds_up_nothing() {
    let world = world("segment").await;
    world.providers.script(MONITORING, [Behaviour::Status(500), Behaviour::CloseConnection]);
    world.providers.script("segment", [Behaviour::Status(401)]);
    world.submit(&lead_body()).await;
    world.drain().await;
    minute(&world).await;
    world.pass(60);
    minute(&world).await;
    world.pass(60);
    minute(&world).await;
    let all = notifications(&world);
    assert_eq!(all.len(), 3, "two tries failed: {all:?}");
    assert!(all[2].contains("segment refuses us"), "{all:?}");
    world.advance(jiff::SignedDuration::from_mins(20)).await;
    assert_eq!(world.delivery(lead(), "segment").await.state.kind(), StateKind::Delivered);
    world.finish().await;
}

/// The lines of an envelope.
fn envelope(body: &Value) -> Vec<Value> {
    let lines = body.as_str().unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn alerts_go_to_sentry_as_well_and_nothing_personal_with_them() {
    let world = world("segment").await;
    world.looks_at("sentry");
    let env = world.env(&[]);
    let dsn = env.get("MONITORING_WEBHOOK_URL").unwrap().replace(MONITORING, "sentry");
    let dsn = format!("{}/42", dsn.replace("http://", "http://the-public-key@"));
    let dispatch = world.deployment(&[("SENTRY_DSN", &dsn)]);
    let alone = world.deployment(&[("MONITORING_WEBHOOK_URL", ""), ("SENTRY_DSN", &dsn)]);
    let minute = async |of: &Deployment| {
        let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
        of.invoke("dispatch", schedule).await;
    };
    world.providers.script("segment", [Behaviour::Status(400)]);
    world.submit(&lead_body()).await;
    world.drain().await;
    minute(&dispatch).await;
    let received = world.providers.received("sentry");
    let [request] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!((&*request.method, &*request.path), ("POST", "/api/42/envelope/"));
    let auth = request.header("x-sentry-auth").unwrap();
    assert!(auth.contains("sentry_version=7") && auth.contains("sentry_key=the-public-key"));
    let text = request.body.as_str().unwrap();
    let [header, item, event] = &envelope(&request.body)[..] else { panic!("{text}") };
    assert_eq!(header["event_id"], event["event_id"]);
    assert_eq!(item["length"], text.lines().nth(2).unwrap().len());
    assert_eq!(event["tags"], json!({"kind": "dead", "destination": "segment"}));
    assert_eq!(event["message"]["formatted"], notifications(&world)[0]);
    for personal in ["maria", "Maria", "example.com/", "+55", "9999"] {
        assert!(!text.to_lowercase().contains(&personal.to_lowercase()), "{personal}: {text}");
    }
    // Where there is the webhook too, Sentry's trouble repeats nothing there.
    world.providers.behave("sentry", Behaviour::Status(429));
    world.pass(15 * 60);
    world.providers.script("segment", [Behaviour::Status(400)]);
    world.submit_from("198.51.100.2", &somebody(1)).await;
    world.drain().await;
    for _ in 0..3 {
        minute(&dispatch).await;
        world.pass(60);
    }
    assert_eq!(notifications(&world).len(), 2);
    // Where Sentry is alone, an alert that it does not take is tried again with the same id.
    world.pass(15 * 60);
    world.providers.script("segment", [Behaviour::Status(400)]);
    world.submit_from("198.51.100.3", &somebody(2)).await;
    world.drain().await;
    minute(&alone).await;
    world.pass(60);
    world.providers.behave("sentry", Behaviour::Normal);
    minute(&alone).await;
    world.pass(60);
    minute(&alone).await;
    let ids: Vec<Value> = world
        .providers
        .received("sentry")
        .iter()
        .map(|request| envelope(&request.body)[0]["event_id"].clone())
        .collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert_eq!(ids[2], ids[3]);
    assert_eq!(notifications(&world).len(), 2);
    world.finish().await;
}

#[tokio::test]
async fn a_backlog_and_a_death_whose_alert_a_crash_lost_are_notified() {
    let world = world("segment").await;
    world.submit(&lead_body()).await;
    // No worker runs for a while.
    world.pass(16 * 60);
    minute(&world).await;
    assert!(
        notifications(&world)[0].contains("has been due for too long"),
        "{:?}",
        notifications(&world)
    );
    // Removing the alert leaves the table as a worker does that settles and dies before it raises one.
    world.providers.script("segment", [Behaviour::Status(400)]);
    world.drain().await;
    world.forget_alerts("segment", "dead").await;
    minute(&world).await;
    let all = notifications(&world);
    assert!(all.last().unwrap().contains("was given up"), "{all:?}");
    world.finish().await;
}

#[tokio::test]
async fn what_is_due_is_skipped_a_day_after_its_destination_was_turned_off() {
    let world = world("segment").await;
    world.submit(&lead_body()).await;
    let without = world.deployment(&[("DESTINATIONS", "crm")]);
    let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
    world.pass(23 * 3600);
    without.invoke("dispatch", schedule.clone()).await;
    assert_eq!(world.delivery(lead(), "segment").await.state.kind(), StateKind::Pending);
    world.pass(3600);
    without.invoke("dispatch", schedule).await;
    assert_eq!(world.states(lead()).await, ["segment/event skipped off"]);
    world.finish().await;
}

#[tokio::test]
async fn what_a_slow_clock_counts_while_the_last_notification_is_sent_is_notified_too() {
    let world = world("crm").await;
    let quarter = world.now();
    let raise = || world.store.raise_alert("crm", AlertKind::Dead, None, quarter);
    raise().await.unwrap();
    world.pass(16 * 60);
    let taken = world.store.take_alerts(world.now()).await.unwrap();
    raise().await.unwrap();
    world.store.alert_notified(&taken[0], 1, world.now()).await.unwrap();
    let next = world.store.take_alerts(world.now()).await.unwrap();
    assert_eq!((next[0].count, next[0].notified), (2, 1));
    world.store.alert_notified(&next[0], 2, world.now()).await.unwrap();
    world.pass(3600);
    assert_eq!(world.store.take_alerts(world.now()).await.unwrap(), []);
    world.finish().await;
}

#[tokio::test]
async fn an_unknown_delivery_stays_unknown_when_its_destination_is_turned_off() {
    let world = world("ga4").await;
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "ga4").await;
    let lease = LeaseId::random(world.entropy());
    let claimed = world.store.claim(&key, Claiming::Due, lease, world.now()).await.unwrap();
    let Claimed::Ours(claim) = claimed else { panic!("the delivery should be due") };
    world.store.mark_sending(&claim).await.unwrap();
    let without = world.deployment(&[("DESTINATIONS", "crm")]);
    world.pass(25 * 3600);
    let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
    without.invoke("dispatch", schedule).await;
    assert_eq!(world.states(lead()).await, ["ga4/event unknown may_have_been_sent"]);
    world.finish().await;
}

#[tokio::test]
async fn a_breaker_that_stays_open_is_notified_once() {
    let world = world("segment").await;
    world.providers.behave("segment", Behaviour::Status(401));
    world.pass(7 * 60);
    world.submit(&lead_body()).await;
    let probed = || world.requests("segment").len() > 4;
    for _ in 0..40 {
        if probed() {
            break;
        }
        world.drain().await;
        minute(&world).await;
        world.pass(310);
    }
    assert!(probed());
    let all = notifications(&world);
    let refused: Vec<_> = all.iter().filter(|text| text.contains("segment refuses us")).collect();
    assert_eq!(refused.len(), 1, "{all:?}");
    assert!(
        refused[0].contains("since 12:07 UTC"),
        "not since the quarter of an hour began: {refused:?}"
    );
    world.providers.behave("segment", Behaviour::Normal);
    world.advance(jiff::SignedDuration::from_mins(10)).await;
    world.finish().await;
}
