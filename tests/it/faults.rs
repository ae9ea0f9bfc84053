//! Faults at every step of a lead's way: whatever fails or dies, the lead arrives, and only once.
//!
//! [`table`] breaks each request to the table on a form's way. [`calls`] breaks each one on a booked
//! call's way, with its messages, its cancellation and the person's opt-out. [`payments`] breaks each one
//! on a payment's way, [`deals`] on a deal's, [`c2s`] on that of a CRM's leads, [`subscribers`] on that of the site's forms and of what MailerLite reports. [`providers`] breaks each request to each provider. [`trouble`] breaks requests to the table while providers refuse and alerts
//! are sent. [`instances`] has workers that die in the middle of a request, and clocks that are wrong.
//!
//! The end is always the same, except where a provider takes no idempotency key, such as GA4: if nobody
//! can know whether a request had an effect, its delivery ends as unknown.

mod c2s;
mod calls;
mod deals;
mod instances;
mod payments;
mod providers;
mod subscribers;
mod table;
mod trouble;

use std::collections::BTreeMap;

use funil_core::destination;
use futures::future::{Either, select};

use crate::world::{LEAD, Plan, World, is_known, lead};

/// A world in which every destination of the registry is on.
fn everywhere() -> Plan {
    let names: Vec<&str> = destination::ALL.iter().map(|destination| destination.name).collect();
    World::plan().with("DESTINATIONS", &names.join(","))
}

/// Runs a process's work until `moment` comes, and then drops it where it stands, as if the process had
/// died. Returns the work's result if it ended before.
async fn until_it_dies<T>(
    work: impl Future<Output = T>,
    moment: impl Future<Output = ()>,
) -> Option<T> {
    match select(Box::pin(moment), Box::pin(work)).await {
        Either::Left(((), _)) => None,
        Either::Right((done, _)) => Some(done),
    }
}

/// Checks everything that must hold at the end, whatever GA4's response was; returns whether its delivery
/// ended as unknown.
async fn arrived_once(world: World, title: &str) -> bool {
    for destination in destination::ALL {
        world.looks_at(destination.name);
    }
    let journey = world.journey(lead()).await;
    assert_eq!(journey.events.len(), 1, "{title}");
    let planned = journey.deliveries.iter().map(|delivery| &*delivery.destination);
    let mut planned: Vec<&str> = planned.filter(|name| is_known(name)).collect();
    planned.sort_unstable();
    let of_form = ["crm", "ga4", "mailerlite", "mailerlite", "meta", "segment"];
    assert_eq!(planned, of_form, "{title}");
    assert_eq!(journey.lead.version, 1, "{title}");
    let states = world.states(lead()).await;
    let unknown = states.iter().filter(|state| state.contains(" unknown ")).count();
    for state in &states {
        let unknown_ga4 = state.starts_with("ga4/event unknown ");
        let without_ads = state == "meta/lead skipped no_consent_ads";
        let is_well = unknown_ga4 || without_ads || state.ends_with(" delivered");
        assert!(is_well, "{title}: {states:?}");
    }
    let requests = world.requests("ga4").len();
    let events = world.providers.ga4_events().len();
    if unknown == 0 {
        assert_eq!(events, 1, "{title}");
    }
    assert!(events <= 1 && requests - events <= 1, "{title}: {requests} requests, {events} events");
    assert_eq!(world.providers.crm_contact_count(), 1, "{title}");
    let triggers = BTreeMap::from([("standard_nurture".to_owned(), 1)]);
    assert_eq!(world.providers.crm_triggers(LEAD), triggers, "{title}");
    let mut groups: Vec<_> =
        world.providers.group_joins().into_iter().map(|join| join.group).collect();
    groups.sort();
    assert_eq!(groups, ["101", "102"], "{title}");
    assert_eq!(world.providers.segment_messages().len(), 2, "{title}");
    world.finish().await;
    unknown > 0
}
