//! A seeded simulation: people, duplicates, outages, jumps of the clock, workers side by side and
//! workers that die, drawn from a seed; then a checker over what the providers hold.
//!
//! A seed that fails is in the panic's message, and draws the same again.

use std::collections::BTreeMap;

use funil_core::delivery::{LEASE_S, State};
use funil_core::id::{LeadId, LeaseId};
use funil_delivery::Patience;
use funil_dev::providers::Behaviour;
use funil_store::{Claimed, Claiming};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::{World, lead_body};

const PROVIDERS: [&str; 4] = ["crm", "mailerlite", "ga4", "segment"];
const STEPS: usize = 40;

/// `SplitMix64` (Steele, Lea and Flood 2014): all that chance is here.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = self.below(u64::try_from(choices.len()).unwrap());
        &choices[usize::try_from(index).unwrap()]
    }
}

fn person(number: u64) -> Value {
    let mut body = lead_body();
    body["leadId"] = Value::Null;
    body["email"] = json!(format!("somebody{number}@example.com"));
    body
}

/// A worker takes something that is due and dies: before it sends, or after it sent and before it
/// could say so.
async fn a_worker_dies(world: &World, chance: &mut Chance) {
    let provider = chance.of(&PROVIDERS);
    let Some(due) = world.store.due(provider, world.now(), 1).await.unwrap().pop() else { return };
    let lease = LeaseId::random(world.entropy());
    let claimed = world.store.claim(&due.key, Claiming::Due, lease, world.now()).await.unwrap();
    if let Claimed::Ours(claim) = claimed
        && *provider == "ga4"
        && chance.below(2) == 0
    {
        world.store.mark_sending(&claim).await.unwrap();
        world.reach_ga4(due.key.lead_id).await;
    }
}

async fn step(world: &World, chance: &mut Chance, leads: &mut BTreeMap<u64, LeadId>) {
    match chance.below(10) {
        0..=3 => {
            let number = chance.below(6);
            let caller = format!("198.51.100.{}", chance.below(200));
            let answer = world.submit_from(&caller, &person(number)).await;
            assert_eq!(answer.status, 200);
            let known = *leads.entry(number).or_insert_with(|| answer.lead());
            assert_eq!(known, answer.lead());
        }
        4 => {
            let behaviour = chance
                .of(&[
                    Behaviour::Normal,
                    Behaviour::Status(503),
                    Behaviour::Status(401),
                    Behaviour::Throttle { retry_after_s: 90 },
                    Behaviour::CloseConnection,
                    Behaviour::CloseAfterEffect,
                ])
                .clone();
            let provider: &&str = chance.of(&PROVIDERS);
            world.providers.behave(provider, behaviour);
        }
        5 => a_worker_dies(world, chance).await,
        6 | 7 => {
            let provider = chance.of(&PROVIDERS);
            let (one, other) = (world.worker(provider), world.worker(provider));
            let (one, other) = tokio::join!(
                one.drain(Patience::None, world.stop_at()),
                other.drain(Patience::None, world.stop_at())
            );
            one.unwrap();
            other.unwrap();
        }
        _ => {
            let jump = *chance.of(&[1, 7, LEASE_S, 300, 1_800]);
            world.pass(i64::try_from(chance.below(jump.unsigned_abs())).unwrap());
        }
    }
}

/// What must hold at the end, whatever happened.
async fn check(world: &World, leads: &BTreeMap<u64, LeadId>, seed: u64) {
    let mut events = 0;
    for lead in leads.values() {
        let journey = world.journey(*lead).await;
        events += journey.events.len();
        for delivery in &journey.deliveries {
            let doubtful = delivery.destination == "ga4" && delivery.state == State::Unknown;
            assert!(delivery.state == State::Delivered || doubtful, "seed {seed}: {delivery:?}");
        }
        let counted = world.providers.ga4_events();
        let counted = counted.iter().filter(|event| event.params["lead_id"] == lead.to_string());
        assert!(counted.count() <= journey.events.len(), "seed {seed}: GA4 counted a lead twice");
        let triggers: u32 = world.providers.crm_triggers(&lead.to_string()).values().sum();
        assert_eq!(usize::try_from(triggers).unwrap(), journey.events.len(), "seed {seed}");
    }
    assert_eq!(world.providers.crm_contact_count(), leads.len(), "seed {seed}");
    assert_eq!(world.providers.segment_messages().len(), 2 * events, "seed {seed}");
    assert!(world.providers.resubscriptions().is_empty(), "seed {seed}");
}

/// Lives through what a seed draws; panics, with the seed, where the promise does not hold.
pub async fn simulate(seed: u64) {
    let world = World::new().await;
    for provider in PROVIDERS {
        world.looks_at(provider);
    }
    let mut chance = Chance(seed);
    let mut leads = BTreeMap::new();
    for _ in 0..STEPS {
        step(&world, &mut chance, &mut leads).await;
    }
    for provider in PROVIDERS {
        world.providers.behave(provider, Behaviour::Normal);
    }
    world.advance(SignedDuration::from_hours(30)).await;
    check(&world, &leads, seed).await;
    world.finish().await;
}
