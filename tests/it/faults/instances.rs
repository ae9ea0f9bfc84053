//! Instances that die in the middle of a request, have wrong clocks, or work side by side for one
//! person.

use std::collections::BTreeSet;

use clap::Parser;
use funil_core::delivery::LEASE_S;
use funil_core::id::{DeliveryName, LeaseId};
use funil_delivery::Patience;
use funil_dev::cli::dead::{self, DeadCommand};
use funil_dev::cli::journey;
use funil_dev::simulated::Behaviour;
use funil_store::{Claim, Claimed, Claiming, Written};
use jiff::SignedDuration;
use serde_json::json;

use super::until_it_dies;
use crate::world::{EMAIL, LEAD, Plan, World, lead, lead_body};

/// `funil dead …`
#[derive(Parser)]
struct Dead {
    #[command(subcommand)]
    command: DeadCommand,
}

/// A world with one destination.
fn only(destination: &str) -> Plan {
    World::plan().with("DESTINATIONS", destination).impatient()
}

/// The claim of a slow worker, whose clock is this many seconds ahead, on the lead's delivery.
async fn claimed_ahead(world: &World, destination: &str, seconds: i64) -> Box<Claim> {
    let key = world.delivery_key(lead(), destination).await;
    let lease = LeaseId::random(world.entropy());
    let its_now = funil_core::clock::after(world.now(), seconds);
    match world.store.claim(&key, Claiming::Due, lease, its_now).await.unwrap() {
        Claimed::Ours(claim) => claim,
        Claimed::NotDue => panic!("the delivery of {destination} is not due"),
    }
}

#[tokio::test]
async fn an_unknown_delivery_is_in_the_journey_and_a_person_settles_it() {
    let world = only("ga4").start().await;
    world.expect_requests("ga4", 1);
    world.providers.script("ga4", [Behaviour::HangAfterEffect]);
    world.submit(&lead_body()).await;
    let worker = world.worker("ga4");
    let work = worker.drain(Patience::None, world.stop_at());
    assert!(until_it_dies(work, world.providers.until_received("ga4", 1)).await.is_none());
    world.advance(SignedDuration::from_hours(80)).await;
    assert_eq!(world.states(lead()).await, ["ga4/event unknown may_have_been_sent"]);
    let shown = journey::to_json(&world.journey(lead()).await).to_string();
    assert!(shown.contains("may_have_been_sent"), "{shown}");

    let delivery = world.delivery(lead(), "ga4").await;
    let name = DeliveryName { lead_id: lead(), delivery_id: delivery.id }.to_string();
    let arguments = ["dead", "settle", &name, "--as", "delivered"];
    let Dead { command } = Dead::try_parse_from(arguments).unwrap();
    let mut out = Vec::new();
    dead::run(command, &world.store, world.platform(), &mut out).await.unwrap();
    assert_eq!(world.states(lead()).await, ["ga4/event delivered by_person"]);
    world.finish().await;
}

#[tokio::test]
async fn a_clock_far_ahead_steals_a_lease_and_duplicates_nothing() {
    // The worker with the right clock has claimed the delivery, and has not marked it yet.
    let world = only("ga4").start().await;
    world.expect_requests("ga4", 1);
    world.submit(&lead_body()).await;
    let slow = claimed_ahead(&world, "ga4", 0).await;
    let ahead = world.worker_ahead("ga4", LEASE_S + 1);
    assert_eq!(ahead.drain(Patience::None, world.stop_at_ahead(LEASE_S)).await.unwrap().settled, 1);
    assert_eq!(world.store.mark_sending(&slow).await.unwrap(), Written::LeaseLost);
    assert_eq!(world.states(lead()).await, ["ga4/event delivered"]);
    world.finish().await;

    // It has marked the delivery: the worker that steals the lease sends nothing, and the delivery ends
    // as unknown.
    let world = only("ga4").start().await;
    world.expect_requests("ga4", 1);
    world.submit(&lead_body()).await;
    let slow = claimed_ahead(&world, "ga4", 0).await;
    assert_eq!(world.store.mark_sending(&slow).await.unwrap(), Written::Yes);
    let ahead = world.worker_ahead("ga4", LEASE_S + 1);
    assert_eq!(ahead.drain(Patience::None, world.stop_at_ahead(LEASE_S)).await.unwrap().settled, 1);
    world.reach_ga4(lead()).await;
    assert_eq!(world.states(lead()).await, ["ga4/event unknown may_have_been_sent"]);
    world.finish().await;

    // A destination that takes our key gets the request twice and keeps it once.
    let world = only("crm").start().await;
    world.looks_at("crm");
    world.providers.script("crm", [Behaviour::HangAfterEffect]);
    world.submit(&lead_body()).await;
    let (slow, ahead) = (world.worker("crm"), world.worker_ahead("crm", LEASE_S + 1));
    let late = async {
        world.providers.until_received("crm", 1).await;
        ahead.drain(Patience::None, world.stop_at_ahead(LEASE_S)).await.unwrap()
    };
    let (slow, ahead) = tokio::join!(slow.drain(Patience::None, world.stop_at()), late);
    assert_eq!((slow.unwrap().settled, ahead.settled), (0, 1), "the slow worker lost its lease");
    assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
    assert_eq!(world.providers.crm_contact_count(), 1);
    assert_eq!(world.providers.crm_triggers(LEAD).values().sum::<u32>(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_clock_far_behind_gets_a_useless_lease_and_duplicates_nothing() {
    let world = only("ga4").start().await;
    world.expect_requests("ga4", 1);
    world.submit(&lead_body()).await;
    let behind = world.worker_ahead("ga4", -300);
    let stop_at = world.stop_at_ahead(-300);
    assert_eq!(
        behind.drain(Patience::None, stop_at).await.unwrap().settled,
        0,
        "by its clock, nothing is due"
    );
    world.pass(400);
    // By its clock the delivery is due now. By the right clock its lease is already over, so the next
    // worker claims it.
    let slow = claimed_ahead(&world, "ga4", -300).await;
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.store.mark_sending(&slow).await.unwrap(), Written::LeaseLost);
    assert_eq!(world.states(lead()).await, ["ga4/event delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn the_last_form_of_a_person_wins_whichever_worker_delivers_it() {
    let world = World::plan().with("DESTINATIONS", "crm,mailerlite").start().await;
    for provider in ["crm", "mailerlite"] {
        world.looks_at(provider);
    }
    let forms = 5;
    for number in 0..forms {
        let mut form = lead_body();
        form["name"] = json!(format!("Ana Número {number}"));
        form["businessType"] = json!(["consultoria", "mentoria"][number % 2]);
        let submitted = world.submit(&form);
        let workers: Vec<_> = ["crm", "mailerlite"]
            .into_iter()
            .flat_map(|name| [world.worker(name), world.worker(name)])
            .collect();
        let drains = workers.iter().map(|worker| worker.drain(Patience::None, world.stop_at()));
        let (response, drained) = tokio::join!(submitted, futures::future::join_all(drains));
        assert_eq!(response.lead(), lead());
        assert!(drained.into_iter().all(|drained| drained.is_ok()));
        world.pass(1);
    }
    world.advance(SignedDuration::from_mins(30)).await;
    let states: BTreeSet<String> = world.states(lead()).await.into_iter().collect();
    assert!(states.iter().all(|state| state.ends_with(" delivered")), "{states:?}");
    let last = format!("Ana Número {}", forms - 1);
    let contact = world.providers.crm_contact(LEAD).unwrap().to_string();
    assert!(contact.contains(&last), "{contact}");
    let subscriber = world.providers.subscriber(EMAIL).unwrap();
    assert!(subscriber.to_string().contains("consultoria"), "{subscriber}");
    assert_eq!(world.providers.crm_contact_count(), 1);
    assert_eq!(
        usize::try_from(world.providers.crm_triggers(LEAD).values().sum::<u32>()).unwrap(),
        forms
    );
    world.finish().await;
}
