//! Faults of the table while providers refuse us: a person is notified of what is dead or blocked,
//! whatever fails on the way, and the blocked delivery arrives when the provider works again.

use funil_delivery::Patience;
use funil_dev::simulated::Behaviour;
use futures::StreamExt as _;

use super::table::{Fault, Walk, a_minute_of_dispatch, schedule};
use crate::proxy::Break;
use crate::world::{LEAD, World, lead, lead_body};

/// The simulated provider that stands for the monitoring webhook.
const MONITORING: &str = "monitoring";

/// Lets this many seconds pass, and then a minute of the schedule in which everything works.
async fn works_again_after(world: &World, seconds: i64) {
    world.pass(seconds);
    world.drain().await;
    world.invoke("dispatch", schedule()).await;
}

/// How many messages notified a person of this.
fn notified_times(world: &World, what: &str) -> usize {
    let received = world.providers.received(MONITORING);
    received.iter().filter(|request| request.body["text"].as_str().unwrap().contains(what)).count()
}

/// Walks the way of a lead that Segment rejects, while the CRM refuses our credentials at first. Returns
/// how many requests each stage had, in how many something broke, and how many messages were sent more
/// than once.
async fn walk(at: usize, fault: Fault) -> (Vec<usize>, usize, usize) {
    let title = format!("request {at} of each stage, {fault:?}");
    let plan = World::plan()
        .with("DESTINATIONS", "crm,segment")
        .with_provider_url("MONITORING_WEBHOOK_URL", MONITORING);
    let (mut walk, world) = Walk::begin(at, fault, plan).await;
    world.providers.behave("crm", Behaviour::Status(401));
    world.providers.behave("segment", Behaviour::Status(400));
    world.submit(&lead_body()).await;
    for provider in ["crm", "segment"] {
        let worker = world.worker(provider);
        walk.stage(worker.drain(Patience::None, world.stop_at())).await;
    }
    walk.stage(a_minute_of_dispatch(&world)).await;
    // A lease ends after a minute; a breaker that opened for refused credentials is probed after five.
    for seconds in [61, 310] {
        works_again_after(&world, seconds).await;
    }
    world.providers.behave("crm", Behaviour::Normal);
    world.pass(310);
    let prober = world.worker("crm");
    walk.stage(prober.drain(Patience::None, world.stop_at())).await;
    // Until after the end of the quarter of an hour in which the alerts are counted.
    for seconds in [61, 310, 310, 61] {
        works_again_after(&world, seconds).await;
    }
    assert_eq!(
        world.states(lead()).await,
        ["crm/lead delivered", "segment/event dead http_400"],
        "{title}"
    );
    assert_eq!(world.providers.crm_triggers(LEAD).values().sum::<u32>(), 1, "{title}");
    assert_eq!(world.providers.crm_contact_count(), 1, "{title}");
    let rejected = notified_times(&world, "a delivery to segment was given up");
    let refused = notified_times(&world, "crm refuses us");
    assert!(
        (1..=2).contains(&rejected) && (1..=2).contains(&refused),
        "{title}: {rejected} {refused}"
    );
    for provider in ["crm", "segment", MONITORING] {
        world.looks_at(provider);
    }
    world.finish().await;
    (walk.requests, walk.broken, rejected + refused - 2)
}

/// Breaks every request of the way; returns how many messages were duplicates in all.
async fn every_request(fault: Fault) -> usize {
    let (stages, _, twice) = walk(0, Fault::none()).await;
    assert_eq!((stages.len(), twice), (4, 0));
    let walks = (0..stages.iter().copied().max().unwrap()).map(|at| async move {
        let (_, broken, twice) = walk(at, fault).await;
        (broken, twice)
    });
    let ends: Vec<(usize, usize)> =
        futures::stream::iter(walks).buffer_unordered(4).collect().await;
    let broken: usize = ends.iter().map(|(broken, _)| broken).sum();
    assert!(broken >= stages.iter().sum(), "{fault:?}");
    ends.into_iter().map(|(_, twice)| twice).sum()
}

#[tokio::test]
async fn a_person_is_notified_whatever_breaks() {
    let twice = every_request(Fault::lasting(Break::BeforeEffect)).await;
    assert_eq!(twice, 2, "where either alert was sent and that could not be stored");
}

#[tokio::test]
async fn a_person_is_notified_whichever_process_dies() {
    let twice = every_request(Fault::dies_before()).await;
    assert_eq!(twice, 2, "where either alert was sent and its sender died");
    let twice = every_request(Fault::dies_after()).await;
    assert_eq!(twice, 0);
}
