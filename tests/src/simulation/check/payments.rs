//! Payments at the end: each is kept once, with its own lead, worth what is left of it; the lead's sum is that
//! of its payments, in the table and at the CRM; and of each payment the events tell once what came and went.

use std::collections::BTreeMap;

use funil_core::event::{EventData, Movement};
use funil_core::money::{Currency, Money};
use funil_store::Journey;
use serde_json::Value;

use crate::simulation::life::sends_samples;
use crate::simulation::system::System;

/// Checks the payments.
pub(super) fn check(system: &System, journeys: &BTreeMap<String, Journey>) -> Vec<String> {
    let mut problems = Vec::new();
    let charges = system.charges.lock().unwrap();
    for (lead, journey) in journeys {
        let theirs: Vec<_> = charges.iter().filter(|charge| charge.lead == *lead).collect();
        let kept = &journey.transactions;
        // Whoever paid only by a sample is nobody who was drawn, and nobody knows what it should add up to.
        let is_drawn = |id: &str| charges.iter().any(|charge| charge.id == id);
        if sends_samples() && theirs.is_empty() && !kept.iter().any(|one| is_drawn(one.id.as_str()))
        {
            continue;
        }
        let all = theirs.iter().all(|charge| kept.iter().any(|one| charge.is(one)));
        if !all || kept.len() != theirs.len() {
            problems.push(format!("{lead} has the payments {kept:?}, not {theirs:?}"));
        }
        let spent = journey.lead.spent.get(&Currency::BRL).copied().unwrap_or_default();
        let expected: i64 = theirs.iter().map(|charge| charge.net()).sum();
        if spent != expected {
            problems.push(format!("{lead} has paid {spent}, not {expected}"));
        }
        for charge in theirs {
            let added = added(journey, &charge.id);
            let expected = (charge.paid(), charge.paid() - charge.net());
            if added != expected {
                problems.push(format!(
                    "{lead}: the events of {} add {added:?}, not {expected:?}",
                    charge.id
                ));
            }
        }
        let contact = system.front.providers.crm_contact(lead).unwrap_or_default();
        let at_crm = &contact["custom_fields"]["total_spent"];
        let sum = Money { minor: expected, currency: Currency::BRL };
        let is_customer = journey.lead.facts.paid_at.is_some();
        let expected = if is_customer { sum.number() } else { Value::Null };
        if *at_crm != expected && !system.clocks_are_wrong {
            problems.push(format!("{lead}: the CRM has a sum of {at_crm}, not {expected}"));
        }
    }
    let count = u64::try_from(charges.len()).unwrap();
    system.watch.lock().unwrap().counts.payments = count;
    problems
}

/// What the events of a payment add for destinations: what was paid, and what went back, in centavos.
fn added(journey: &Journey, payment: &str) -> (i64, i64) {
    let (mut came, mut went) = (0, 0);
    for event in &journey.events {
        let EventData::Payment(event) = &event.data else { continue };
        let Some(movement) = event.movement() else { continue };
        let to = match movement {
            Movement::Paid(_) => &mut came,
            Movement::Refunded(_) | Movement::Disputed(_) => &mut went,
        };
        if movement.transaction().as_str() == payment {
            *to += movement.counted().map_or(0, |money| money.minor);
        }
    }
    (came, went)
}
