//! Payments at the end: each is kept once, with its own lead, worth what is left of it, and the lead's sum is
//! that of its payments.

use std::collections::BTreeMap;

use funil_core::money::Currency;
use funil_store::Journey;

use crate::simulation::system::System;

/// Checks the payments.
pub(super) fn check(system: &System, journeys: &BTreeMap<String, Journey>) -> Vec<String> {
    let mut problems = Vec::new();
    let charges = system.charges.lock().unwrap();
    for (lead, journey) in journeys {
        let theirs: Vec<_> = charges.iter().filter(|charge| charge.lead == *lead).collect();
        let kept = &journey.transactions;
        let all = theirs.iter().all(|charge| kept.iter().any(|one| charge.is(one)));
        if !all || kept.len() != theirs.len() {
            problems.push(format!("{lead} has the payments {kept:?}, not {theirs:?}"));
        }
        let spent = journey.lead.spent.get(&Currency::BRL).copied().unwrap_or_default();
        let expected: i64 = theirs.iter().map(|charge| charge.net()).sum();
        if spent != expected {
            problems.push(format!("{lead} has paid {spent}, not {expected}"));
        }
    }
    let count = u64::try_from(charges.len()).unwrap();
    system.watch.lock().unwrap().counts.payments = count;
    problems
}
