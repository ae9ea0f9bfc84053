//! Each provider breaks at each of its calls, or the worker that asked dies there.

use funil_delivery::Patience;
use funil_dev::simulated::Behaviour;
use jiff::SignedDuration;

use super::{arrived_once, until_it_dies};
use crate::world::{World, lead_body};

/// The calls that one new lead costs.
const CALLS: [(&str, usize); 4] = [("crm", 2), ("mailerlite", 6), ("ga4", 1), ("segment", 1)];
/// What a provider may do with a call.
const BREAKS: [Behaviour; 7] = [
    Behaviour::Status(500),
    Behaviour::Throttle { retry_after_s: 30 },
    Behaviour::Garbage,
    Behaviour::CloseConnection,
    Behaviour::CloseAfterEffect,
    Behaviour::Hang,
    Behaviour::HangAfterEffect,
];

/// A world in which one call of a provider is broken, with a lead.
async fn broken(provider: &str, at: usize, behaviour: &Behaviour) -> World {
    let world = World::plan().impatient().start().await;
    world.providers.script(provider, vec![Behaviour::Normal; at]);
    world.providers.script(provider, [behaviour.clone()]);
    world.submit(&lead_body()).await;
    world
}

async fn breaks_once(provider: &str, at: usize, behaviour: &Behaviour) {
    let told = format!("{provider} at call {at}: {behaviour}");
    let world = broken(provider, at, behaviour).await;
    world.advance(SignedDuration::from_mins(10)).await;
    let unknown = arrived_once(world, &told).await;
    let answered =
        matches!(behaviour, Behaviour::Status(_) | Behaviour::Throttle { .. } | Behaviour::Garbage);
    assert_eq!(unknown, provider == "ga4" && !answered, "{told}");
}

#[tokio::test]
async fn every_call_of_every_provider_may_break() {
    for (provider, calls) in CALLS {
        for at in 0..calls {
            let ways = BREAKS.iter().map(|behaviour| breaks_once(provider, at, behaviour));
            futures::future::join_all(ways).await;
        }
    }
}

#[tokio::test]
async fn a_worker_may_die_at_any_call_of_a_provider() {
    for (provider, calls) in CALLS {
        for at in 0..calls {
            for behaviour in [Behaviour::Hang, Behaviour::HangAfterEffect] {
                let told = format!("a worker dies at call {at} of {provider}: {behaviour}");
                let world = broken(provider, at, &behaviour).await;
                let worker = world.worker(provider);
                let work = worker.drain(Patience::None, world.stop_at());
                let called = world.providers.until_received(provider, at + 1);
                assert!(until_it_dies(work, called).await.is_none(), "{told}");
                world.advance(SignedDuration::from_mins(10)).await;
                let unknown = arrived_once(world, &told).await;
                assert_eq!(unknown, provider == "ga4", "{told}");
            }
        }
    }
}
