//! What must hold when a simulation has come to rest.

use std::collections::BTreeMap;

use funil_core::delivery::{Delivery, StateKind};
use funil_core::id::LeadId;

use super::system::System;

/// Looks at every lead and at what the providers hold, and tells the watch what does not hold.
pub(super) async fn check(system: &System) {
    let leads = system.watch.lock().unwrap().leads.clone();
    let mut problems = Vec::new();
    let mut segment_messages = 0;
    let mut names_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (lead, known) in &leads {
        names_of.entry(known.email.clone()).or_default().push(known.name.clone());
        let id = LeadId::parse(lead).unwrap();
        let Some(journey) = system.store.journey(id).await.unwrap() else {
            problems.push(format!("{lead} is lost"));
            continue;
        };
        if journey.events.len() != known.events.len() {
            problems.push(format!("{lead}: {} events are lost", known.events.len()));
        }
        for delivery in &journey.deliveries {
            if let Some(problem) = wrong(system, delivery) {
                problems.push(format!("{lead}: {problem}"));
            }
            if delivery.destination == "segment" && delivery.state.kind() == StateKind::Delivered {
                segment_messages += 2;
            }
            let mut watch = system.watch.lock().unwrap();
            match delivery.state.kind() {
                StateKind::Delivered => watch.counts.delivered += 1,
                StateKind::Skipped => watch.counts.skipped += 1,
                StateKind::Unknown => watch.counts.unknown += 1,
                StateKind::Pending | StateKind::Leased | StateKind::Dead => {}
            }
        }
        let of = |name: &str| {
            let all = journey.deliveries.iter();
            all.filter(|d| d.destination == name && d.state.kind() == StateKind::Delivered).count()
        };
        let providers = &system.front.providers;
        let triggers: u32 = providers.crm_triggers(lead).values().sum();
        if usize::try_from(triggers).unwrap() != of("crm") {
            problems.push(format!("{lead}: {triggers} automations for {} events", of("crm")));
        }
        let contact = providers.crm_contact(lead).unwrap_or_default();
        if contact["name"] != known.name.as_str() && !system.clocks_are_wrong {
            problems.push(format!("{lead}: the CRM has {}, not {}", contact["name"], known.name));
        }
        let counted = providers.ga4_events();
        let counted = counted.iter().filter(|event| event.params["lead_id"] == **lead).count();
        if counted > journey.events.len() {
            problems.push(format!("{lead}: GA4 counted {counted} events"));
        }
    }
    let providers = &system.front.providers;
    if providers.crm_contact_count() != leads.len() {
        problems.push(format!("the CRM has {} contacts", providers.crm_contact_count()));
    }
    let kept = providers.segment_messages().len();
    // A delivery may have arrived, its answer not, and its consent gone before the next try.
    if kept < segment_messages {
        problems.push(format!("Segment kept {kept} messages, not {segment_messages}"));
    }
    for (email, names) in names_of {
        let subscriber = providers.subscriber(&email).unwrap_or_default();
        let name = subscriber["fields"]["name"].as_str().unwrap_or_default().to_owned();
        let left = system.watch.lock().unwrap().left.contains(&email);
        if !names.contains(&name) && !left && !system.clocks_are_wrong {
            problems.push(format!("MailerLite has {name:?} for {email}, not one of {names:?}"));
        }
    }
    for email in providers.resubscriptions() {
        problems.push(format!("{email} was resubscribed"));
    }
    let mut watch = system.watch.lock().unwrap();
    watch.counts.leads = u64::try_from(leads.len()).unwrap();
    let events: usize = leads.values().map(|known| known.events.len()).sum();
    watch.counts.events = u64::try_from(events).unwrap();
    for problem in problems {
        watch.problem(problem);
    }
}

/// Why a delivery must not have ended as it did.
fn wrong(system: &System, delivery: &Delivery) -> Option<String> {
    let watch = system.watch.lock().unwrap();
    let known = &watch.leads[&delivery.lead_id.to_string()];
    let reason = delivery.reason_text().unwrap_or_default();
    let fine = match delivery.state.kind() {
        StateKind::Delivered => true,
        StateKind::Unknown => delivery.destination == "ga4",
        StateKind::Skipped if reason == "unsubscribed" => {
            delivery.destination == "mailerlite" && watch.left.contains(&known.email)
        }
        StateKind::Skipped => {
            let purpose = reason.strip_prefix("no_consent_");
            purpose.is_some_and(|purpose| known.ever_denied.contains(purpose))
        }
        StateKind::Pending | StateKind::Leased | StateKind::Dead => false,
    };
    let (to, slot, state) = (&delivery.destination, &delivery.slot, delivery.state.name());
    (!fine).then(|| format!("{to}/{slot} ended {state} {reason}"))
}
