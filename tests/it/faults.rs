//! Every step of a lead's way, broken once: whatever fails, the lead arrives, and once.
//!
//! The table breaks at each of its calls, before and after their effect and for as long as the SDK
//! tries; each provider breaks at each of its calls. The end is the same, but for GA4, which takes no
//! key of ours: where nobody can know, it stays unknown.

use std::collections::BTreeMap;

use funil_dev::providers::Behaviour;
use futures::StreamExt as _;
use jiff::SignedDuration;

use crate::proxy::{Break, Proxy};
use crate::world::{LEAD, World, lead, lead_body};

/// The SDK makes a call three times in all.
const SDK_TRIES: u32 = 3;

/// Everything that must hold at the end; answers whether GA4's delivery stayed unknown.
async fn arrived_once(world: World, told: &str) -> bool {
    for provider in ["crm", "mailerlite", "ga4", "segment"] {
        world.looks_at(provider);
    }
    let journey = world.journey(lead()).await;
    assert_eq!((journey.events.len(), journey.deliveries.len()), (1, 5), "{told}");
    assert_eq!(journey.lead.version, 1, "{told}");
    let states = world.states(lead()).await;
    let unknown = states.iter().filter(|state| state.contains(" unknown ")).count();
    for state in &states {
        let doubtful_ga4 = state.starts_with("ga4/event unknown ");
        assert!(doubtful_ga4 || state.ends_with(" delivered"), "{told}: {states:?}");
    }
    let calls = world.calls("ga4").len();
    let events = world.providers.ga4_events().len();
    if unknown == 0 {
        assert_eq!(events, 1, "{told}");
    }
    assert!(events <= 1 && calls - events <= 1, "{told}: {calls} calls, {events} events");
    assert_eq!(world.providers.crm_contact_count(), 1, "{told}");
    let triggers = BTreeMap::from([("standard_nurture".to_owned(), 1)]);
    assert_eq!(world.providers.crm_triggers(LEAD), triggers, "{told}");
    let mut groups: Vec<_> =
        world.providers.group_joins().into_iter().map(|join| join.group).collect();
    groups.sort();
    assert_eq!(groups, ["101", "102"], "{told}");
    assert_eq!(world.providers.segment_messages().len(), 2, "{told}");
    world.finish().await;
    unknown > 0
}

/// A lead's whole way with the table broken from call `at` on, for `count` calls. Answers how
/// many calls there were, and whether GA4 stayed unknown.
async fn with_a_broken_table(at: u32, count: u32, how: Break) -> (u32, bool) {
    let told = format!("{count} calls broken from call {at}, {how:?}");
    let (proxy, url) = Proxy::start().await;
    // The SDK rations retries per region: one of its own keeps the ways apart.
    let region = format!("test-{at}-{count}-{how:?}").to_lowercase();
    let world = World::plan()
        .with("AWS_ENDPOINT_URL_DYNAMODB", &url)
        .with("AWS_REGION", &region)
        .start()
        .await;
    proxy.break_calls(at, count, how);
    let answer = world.submit(&lead_body()).await;
    if answer.status == 503 {
        // The browser sends it again, as it was told.
        assert_eq!(answer.header("retry-after"), Some("5"), "{told}");
        world.pass(5);
        let again = world.submit(&lead_body()).await;
        assert_eq!(again.lead(), lead(), "{told}");
    } else {
        assert_eq!(answer.lead(), lead(), "{told}");
    }
    world.drain_what_works().await;
    let calls = proxy.seen();
    assert!(calls > at, "{told}");
    proxy.break_calls(0, 0, how);
    world.advance(SignedDuration::from_mins(10)).await;
    (calls, arrived_once(world, &told).await)
}

/// Breaks every call of the way, one in each; answers after how many of them GA4 stayed unknown.
async fn every_call_broken(count: u32, how: Break) -> usize {
    // A way on which nothing breaks tells how long it is.
    let (calls, unknown) = with_a_broken_table(0, 0, how).await;
    assert!((30..100).contains(&calls) && !unknown, "{calls} calls of the table");
    let ways = (0..calls).map(|at| with_a_broken_table(at, count, how));
    let ends: Vec<(u32, bool)> = futures::stream::iter(ways).buffer_unordered(4).collect().await;
    ends.into_iter().filter(|(_, unknown)| *unknown).count()
}

#[tokio::test]
async fn one_lost_answer_of_the_table_doubles_nothing() {
    let unknown = every_call_broken(1, Break::AfterEffect).await;
    assert_eq!(unknown, 0);
}

#[tokio::test]
async fn a_table_that_is_gone_at_any_step_loses_nothing() {
    let unknown = every_call_broken(SDK_TRIES, Break::BeforeEffect).await;
    assert_eq!(unknown, 1, "where GA4 has it and the settlement fails");
}

#[tokio::test]
async fn a_table_whose_answers_are_lost_at_any_step_doubles_nothing() {
    let unknown = every_call_broken(SDK_TRIES, Break::AfterEffect).await;
    assert_eq!(unknown, 1, "where the mark stands and nobody knows of it");
}

#[tokio::test]
async fn every_call_of_every_provider_may_break() {
    let breaks = [Behaviour::Status(500), Behaviour::CloseConnection, Behaviour::CloseAfterEffect];
    for (provider, calls) in [("crm", 2), ("mailerlite", 6), ("ga4", 1), ("segment", 1)] {
        for at in 0..calls {
            for behaviour in &breaks {
                let told = format!("{provider} at call {at}: {behaviour}");
                let world = World::new().await;
                world.providers.script(provider, vec![Behaviour::Normal; at]);
                world.providers.script(provider, [behaviour.clone()]);
                world.submit(&lead_body()).await;
                world.advance(SignedDuration::from_mins(10)).await;
                let unknown = arrived_once(world, &told).await;
                let closed = [Behaviour::CloseConnection, Behaviour::CloseAfterEffect];
                assert_eq!(unknown, provider == "ga4" && closed.contains(behaviour), "{told}");
            }
        }
    }
}
