//! What a scenario came to: what was accepted, refused, lost and doubled, how long everything took, and
//! what it cost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use funil_core::id::LeadId;
use funil_store::Store;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::front::Front;
use super::lambda::Lambda;
use super::people::Sent;
use super::{Plan, Scenario, destinations};
use crate::verdict::{Latency, Verdict, shown};
use crate::world::BEGINNING;

/// What a scenario came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The scenario that was run.
    pub scenario: Scenario,
    /// How many people sent a form.
    pub people: usize,
    /// How many of them got a 200.
    pub accepted: usize,
    /// The other statuses, and how often each was responded.
    pub refused: BTreeMap<u16, usize>,
    /// How long a person waited for the response.
    pub acceptance: Latency,
    /// What became of the leads.
    pub verdict: Verdict,
    /// Units written to the table, indexes included.
    pub write_units: f64,
    /// The same by function.
    pub written_by: BTreeMap<String, f64>,
    /// Units read from the table.
    pub read_units: f64,
    /// How many requests of each function the table refused for its load.
    pub refused_by_table: BTreeMap<String, u64>,
    /// The key that refused the most, and how often.
    pub narrowest: Option<(String, u32)>,
    /// Invocations, and how many of them began cold.
    pub invocations: (u64, u64),
    /// Invocations that found no room, and the most executions side by side.
    pub throttled: (u64, usize),
    /// The longest wait of an asynchronous invocation.
    pub longest_wait: Duration,
    /// How long all invocations took together.
    pub billed: Duration,
    /// The simulated time, and the real one.
    pub took: (Duration, Duration),
}

/// Looks at every lead and at the providers.
pub(super) async fn of(
    scenario: Scenario,
    plan: &Plan,
    sent: &[Sent],
    (front, lambda, store): (&Front, &Lambda, &Store),
    begun: Instant,
    real: Duration,
) -> Report {
    let simulated = begun.elapsed();
    let mut refused: BTreeMap<u16, usize> = BTreeMap::new();
    let mut accepted: BTreeSet<LeadId> = BTreeSet::new();
    let everybody: BTreeSet<LeadId> = sent.iter().map(|one| one.lead).collect();
    for one in sent {
        match one.status {
            200 => drop(accepted.insert(one.lead)),
            status => *refused.entry(status).or_default() += 1,
        }
    }
    let acceptance = sent.iter().filter(|one| one.status == 200).map(|one| one.took).collect();
    let names: Vec<&str> = destinations().map(|one| one.name).collect();
    let places = (store, &front.providers);
    let over = at(plan.is_over());
    let verdict = Verdict::of(places, &everybody, &accepted, &names, over).await;
    let bill = front.bill();
    let counts = lambda.counts();
    Report {
        scenario,
        people: everybody.len(),
        accepted: accepted.len(),
        refused,
        acceptance: Latency::of(acceptance),
        verdict,
        write_units: bill.written.values().sum(),
        written_by: bill.written,
        read_units: bill.read_units,
        refused_by_table: bill.refused,
        narrowest: front.narrowest(),
        invocations: (counts.invocations, counts.cold_starts),
        throttled: (counts.throttled, counts.side_by_side),
        longest_wait: counts.longest_wait,
        billed: counts.billed,
        took: (simulated, real),
    }
}

/// The time after so much of the run.
fn at(passed: Duration) -> Timestamp {
    let beginning: Timestamp = BEGINNING.parse().unwrap();
    beginning.checked_add(SignedDuration::try_from(passed).unwrap()).unwrap()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { p50, p99, longest } = self.acceptance;
        writeln!(
            f,
            "{}: {} people, {} accepted, refused {:?}, lost {}, doubled {}",
            self.scenario.name(),
            self.people,
            self.accepted,
            self.refused,
            self.verdict.lost,
            self.verdict.doubled
        )?;
        writeln!(
            f,
            "  acceptance: p50 {}, p99 {}, longest {}",
            shown(p50),
            shown(p99),
            shown(longest)
        )?;
        for (name, settled) in &self.verdict.settled {
            let Latency { p50, p99, longest } = settled.latency;
            writeln!(
                f,
                "  {name}: {} delivered, {} open, otherwise {:?}; p50 {}, p99 {}, longest {}; the last {} after it was over",
                settled.delivered,
                settled.open,
                settled.otherwise,
                shown(p50),
                shown(p99),
                shown(longest),
                shown(settled.recovery)
            )?;
        }
        let leads = f64::from(u32::try_from(self.accepted.max(1)).unwrap_or(u32::MAX));
        let by = self.written_by.iter();
        let by: Vec<String> =
            by.map(|(function, units)| format!("{function} {:.1}", units / leads)).collect();
        writeln!(
            f,
            "  table: {:.0} units written ({:.1} a lead: {}), {:.0} read ({:.1} a lead); refused {:?}; the most by {:?}",
            self.write_units,
            self.write_units / leads,
            by.join(", "),
            self.read_units,
            self.read_units / leads,
            self.refused_by_table,
            self.narrowest
        )?;
        writeln!(
            f,
            "  Lambda: {} invocations, {} cold, {} throttled, at most {} side by side, {} in all; a ring waited at most {}",
            self.invocations.0,
            self.invocations.1,
            self.throttled.0,
            self.throttled.1,
            shown(self.billed),
            shown(self.longest_wait)
        )?;
        writeln!(f, "  {} of simulated time in {}", shown(self.took.0), shown(self.took.1))
    }
}
