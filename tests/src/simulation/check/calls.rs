//! Booked calls at the end: each has the status of the calendar's last update, and the CRM and
//! `MailerLite` show it.

use std::collections::BTreeMap;

use funil_core::booking::BookingStatus;
use funil_core::lead::Stage;
use funil_store::Journey;
use serde_json::Value;

use super::receives;
use crate::simulation::life::Appointment;
use crate::simulation::system::System;
use crate::simulation::watch::Known;

/// The status that is shown of these bookings: that of one that stands, else of the one booked last.
fn current(calendar: &[&Appointment]) -> Option<&'static str> {
    let shown = calendar.iter().max_by_key(|one| (one.status.stands(), one.booked_at));
    shown.map(|one| one.status.name())
}

/// What does not hold about booked calls.
pub(super) fn check(
    system: &System,
    leads: &BTreeMap<String, Known>,
    journeys: &BTreeMap<String, Journey>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let calendar = system.calendar.lock().unwrap();
    let mut of_lead: BTreeMap<&str, Vec<&Appointment>> = BTreeMap::new();
    for one in calendar.iter() {
        let kept = |journey: &Journey| {
            let mut bookings = journey.bookings.iter();
            bookings.find(|booking| booking.id.as_str() == one.id).map(|booking| booking.status)
        };
        let found: Vec<(&str, BookingStatus)> = journeys
            .iter()
            .filter_map(|(lead, journey)| Some((lead.as_str(), kept(journey)?)))
            .collect();
        let [(lead, status)] = found.as_slice() else {
            problems.push(format!("{} is kept {} times", one.id, found.len()));
            continue;
        };
        of_lead.entry(lead).or_default().push(one);
        if *status != one.status && !leads[*lead].by_hand {
            let (is, not) = (status.name(), one.status.name());
            problems.push(format!("{} is {is}, not {not}", one.id));
        }
    }
    let count = u64::try_from(calendar.len()).unwrap();
    system.watch.lock().unwrap().counts.bookings = count;
    if system.clocks_are_wrong {
        return problems;
    }
    let providers = &system.front.providers;
    for (lead, known) in leads {
        if !journeys.get(lead).is_some_and(|journey| receives("crm", journey)) {
            continue;
        }
        let contact = providers.crm_contact(lead).unwrap_or_default();
        let custom = &contact["custom_fields"];
        let stage = known.stage.map_or("lead", Stage::name);
        if custom["stage"] != stage {
            problems.push(format!("{lead}: the CRM has stage {}, not {stage}", custom["stage"]));
        }
        let expected = of_lead.get(lead.as_str()).and_then(|bookings| current(bookings));
        if custom["call_status"].as_str() != expected && !known.by_hand {
            let is = &custom["call_status"];
            problems.push(format!("{lead}: the CRM has a call {is}, not {expected:?}"));
        }
    }
    let mut of_email: BTreeMap<&str, Vec<(&str, &Known)>> = BTreeMap::new();
    let has_email = |(_, known): &(&String, &Known)| !known.email.is_empty();
    for (lead, known) in leads.iter().filter(has_email) {
        of_email.entry(&known.email).or_default().push((lead, known));
    }
    for (email, theirs) in of_email {
        let left = system.watch.lock().unwrap().left.contains(email);
        if left || theirs.iter().any(|(_, known)| known.by_hand) {
            continue;
        }
        let subscriber = providers.subscriber(email).unwrap_or_default();
        let is = subscriber.pointer("/fields/call_status").and_then(Value::as_str);
        let may =
            |(lead, _): &(&str, &Known)| of_lead.get(lead).and_then(|bookings| current(bookings));
        if !theirs.iter().any(|one| may(one) == is) {
            problems.push(format!("MailerLite has a call {is:?} for {email}"));
        }
    }
    problems
}
