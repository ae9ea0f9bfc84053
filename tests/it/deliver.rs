//! Delivering: the worker's loop, the breaker and the limiter, and what each destination gets.

mod breaker;
mod conditions;
mod crm;
mod delivery;
mod leases;
mod limiter;
mod retries;
mod rings;
mod siblings;
mod unchanged;
mod without_response;

use funil_core::clock::after;
use funil_core::id::LeaseId;
use funil_delivery::Patience;
use funil_dev::simulated::Behaviour;
use funil_store::{Claim, Claimed, Claiming};

use crate::world::{Plan, World, lead};

/// A world with one destination.
fn only(destination: &str) -> Plan {
    World::plan().with("DESTINATIONS", destination)
}

/// Claims the lead's delivery, as a worker does that dies right after.
async fn claim(world: &World, destination: &str) -> Box<Claim> {
    let key = world.delivery_key(lead(), destination).await;
    let lease = LeaseId::random(world.entropy());
    match world.store.claim(&key, Claiming::Due, lease, world.now()).await.unwrap() {
        Claimed::Ours(claim) => claim,
        Claimed::NotDue => panic!("the delivery of {destination} is not due"),
    }
}

/// Drains the CRM in a function that has `stop_s` seconds left, while the first response takes
/// `response_s`.
async fn drain_slowly(world: &World, stop_s: i64, response_s: i64) -> usize {
    world.providers.script("crm", [Behaviour::HangAfterEffect]);
    let worker = world.worker("crm");
    let drain = worker.drain(Patience::None, after(world.now(), stop_s));
    let slow = async {
        world.providers.until_received("crm", 1).await;
        world.pass(response_s);
        world.providers.release_hung();
    };
    futures::join!(drain, slow).0.unwrap().settled
}
