//! WhatsApp messages at the end: at most one of each was sent, and one that may have been sent ended as
//! its status updates, or their absence, demand.

use std::collections::BTreeMap;

use funil_core::delivery::{Delivery, StateKind};
use funil_core::id::DeliveryName;
use funil_store::Journey;
use jiff::Timestamp;

use super::needs_person;
use crate::simulation::system::System;

/// What does not hold about WhatsApp messages.
pub(super) fn check(system: &System, journeys: &BTreeMap<String, Journey>) -> Vec<String> {
    let mut problems = Vec::new();
    let messages = system.front.providers.whatsapp_messages();
    let mut accepted: BTreeMap<String, usize> = BTreeMap::new();
    for message in &messages {
        *accepted.entry(message.callback_data.clone().unwrap_or_default()).or_default() += 1;
    }
    system.watch.lock().unwrap().counts.messages = u64::try_from(messages.len()).unwrap();
    let mut about: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for delivery in journeys.values().flat_map(|journey| &journey.deliveries) {
        if delivery.destination != "whatsapp" {
            continue;
        }
        let name = DeliveryName { lead_id: delivery.lead_id, delivery_id: delivery.id }.to_string();
        let times = accepted.remove(&name).unwrap_or_default();
        if let Some(booking) = &delivery.booking {
            let slot = delivery.slot.clone();
            let key = (delivery.lead_id.to_string(), booking.to_string(), slot);
            *about.entry(key).or_default() += times;
        }
        if needs_person(delivery)
            && let Some(why) = wrong(system, delivery, &name, times)
        {
            let (slot, state) = (&delivery.slot, delivery.state.name());
            let reason = delivery.reason_text().unwrap_or_default();
            problems.push(format!("{slot} of {name} ended {state} {reason}: {why}"));
        }
    }
    for name in accepted.keys() {
        problems.push(format!("a message that nobody planned: {name}"));
    }
    for ((_, booking, slot), times) in about.into_iter().filter(|(_, times)| *times > 1) {
        problems.push(format!("{times} messages {slot} about {booking}"));
    }
    problems
}

/// Why a message should not have ended as it did, after WhatsApp accepted it this many times.
fn wrong(system: &System, delivery: &Delivery, name: &str, times: usize) -> Option<&'static str> {
    let fates = system.fates.lock().unwrap();
    let fate = fates.get(name).copied().unwrap_or_default();
    let failed = fate.contains(&"failed");
    let reason = delivery.reason_text().unwrap_or_default();
    let fine = match delivery.state.kind() {
        StateKind::Delivered => times == 1 && !failed,
        StateKind::Dead if reason.starts_with("failed_") => failed,
        StateKind::Dead if reason == "may_have_been_sent" => {
            if !fate.is_empty() {
                return Some("its status updates say what became of it");
            }
            system.watch.lock().unwrap().may_have_been_sent(delivery)
        }
        StateKind::Dead if reason == "deadline_passed" => {
            if !could_not_be_sent(system, delivery) {
                return Some("nothing kept it from being sent in time");
            }
            times == 0
        }
        StateKind::Skipped => times == 0,
        StateKind::Dead | StateKind::Unknown | StateKind::Pending | StateKind::Leased => false,
    };
    (!fine).then_some("that is not what happened")
}

/// A message may pass its deadline if workers looked for messages in fewer minutes than this while it
/// was due: the drawn steps leap over hours in which nothing runs, and a worker may die with it.
const RUNS_ENOUGH: usize = 3;
/// What a worker does in the last minutes before a deadline does not count, because one number gets
/// one message in 6 s.
const LAST_MINUTES: i64 = 3;

/// Whether WhatsApp failed, clocks were wrong or too few workers ran while a message should have been
/// sent.
fn could_not_be_sent(system: &System, delivery: &Delivery) -> bool {
    let watch = system.watch.lock().unwrap();
    let Some(from) = watch.planned_for(delivery) else { return false };
    let outages = watch.outages.get("whatsapp").map(Vec::as_slice).unwrap_or_default();
    let during = outages
        .iter()
        .any(|(began, until)| *began < delivery.deadline && until.is_none_or(|until| until > from));
    let minute = |at: Timestamp| at.as_second().div_euclid(60);
    let last = minute(delivery.deadline) - LAST_MINUTES;
    let runs = watch.message_runs.iter().filter(|run| (minute(from)..last).contains(*run)).count();
    during || runs < RUNS_ENOUGH || system.clocks_are_wrong
}
