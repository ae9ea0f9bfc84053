//! What a scenario came to: what was answered, refused, lost and doubled, how long everything took, and
//! what it cost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use funil_core::delivery::StateKind;
use funil_core::id::LeadId;
use funil_store::Store;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::front::Front;
use super::lambda::Lambda;
use super::people::Sent;
use super::{Plan, Scenario, destinations};
use crate::world::BEGINNING;

/// How long things took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// Half of them took at most so long.
    pub p50: Duration,
    /// All but one in a hundred took at most so long.
    pub p99: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Latency {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |share: usize| {
            all.get((all.len() * share / 100).min(all.len().saturating_sub(1))).copied()
        };
        let longest = all.last().copied().unwrap_or_default();
        Self { p50: at(50).unwrap_or_default(), p99: at(99).unwrap_or_default(), longest }
    }
}

/// What became of the deliveries to one destination.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settled {
    /// How many were delivered.
    pub delivered: usize,
    /// How many are still open.
    pub open: usize,
    /// How many ended otherwise: skipped, unknown or dead.
    pub otherwise: usize,
    /// From acceptance to settlement.
    pub latency: Latency,
    /// From the end of the spike, and of the outage, to the last settlement.
    pub recovery: Duration,
}

/// What a scenario came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which one.
    pub scenario: Scenario,
    /// How many people sent a form.
    pub people: usize,
    /// How many of them got a 200.
    pub answered: usize,
    /// The other statuses, and how often each was responded.
    pub refused: BTreeMap<u16, usize>,
    /// Leads that were answered and are not kept whole, or whose deliveries are incomplete.
    pub lost: usize,
    /// Effects at a provider that happened more than once.
    pub doubled: usize,
    /// How long a person waited for the response.
    pub acceptance: Latency,
    /// By destination.
    pub settled: BTreeMap<&'static str, Settled>,
    /// Units written to the table, indexes included.
    pub write_units: f64,
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
    let mut answered: BTreeSet<LeadId> = BTreeSet::new();
    let everybody: BTreeSet<LeadId> = sent.iter().map(|one| one.lead).collect();
    for one in sent {
        match one.status {
            200 => drop(answered.insert(one.lead)),
            status => *refused.entry(status).or_default() += 1,
        }
    }
    let acceptance = sent.iter().filter(|one| one.status == 200).map(|one| one.took).collect();
    let over = at(plan.is_over());
    let mut lost = 0;
    let mut settled: BTreeMap<&'static str, Settled> = BTreeMap::new();
    let mut latencies: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
    for lead in &everybody {
        let journey = store.journey(*lead).await.unwrap();
        let is_answered = answered.contains(lead);
        let Some(journey) = journey else {
            lost += usize::from(is_answered);
            continue;
        };
        let names: BTreeSet<&str> =
            journey.deliveries.iter().map(|one| one.destination.as_str()).collect();
        let is_whole = journey.events.len() == 1
            && journey.unread == 0
            && destinations().all(|one| names.contains(one.name));
        lost += usize::from(!is_whole);
        for delivery in &journey.deliveries {
            let Some(name) = destinations().find(|one| one.name == delivery.destination) else {
                continue;
            };
            let to = settled.entry(name.name).or_default();
            match delivery.state.kind() {
                StateKind::Delivered => to.delivered += 1,
                StateKind::Pending | StateKind::Leased => to.open += 1,
                StateKind::Skipped | StateKind::Unknown | StateKind::Dead => to.otherwise += 1,
            }
            let Some(settled_at) = delivery.settled_at() else { continue };
            let took = between(journey.events[0].accepted_at, settled_at);
            latencies.entry(name.name).or_default().push(took);
            to.recovery = to.recovery.max(between(over, settled_at));
        }
    }
    for (name, all) in latencies {
        settled.entry(name).or_default().latency = Latency::of(all);
    }
    let bill = front.bill();
    let counts = lambda.counts();
    Report {
        scenario,
        people: everybody.len(),
        answered: answered.len(),
        refused,
        lost,
        doubled: doubled(front, &everybody),
        acceptance: Latency::of(acceptance),
        settled,
        write_units: bill.write_units,
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

/// How many effects happened more than once: an automation of the CRM, an event of GA4, a message to
/// Segment, and an entry into a group of MailerLite.
fn doubled(front: &Front, everybody: &BTreeSet<LeadId>) -> usize {
    let providers = &front.providers;
    let more = |count: usize| count.saturating_sub(1);
    let triggers = everybody.iter().flat_map(|lead| providers.crm_triggers(&lead.to_string()));
    let in_crm: usize = triggers.map(|(_, times)| more(usize::try_from(times).unwrap())).sum();
    let ga4 = providers.ga4_events().into_iter().map(|event| {
        format!("{} {} {}", event.name, event.request["user_id"], event.params["event_id"])
    });
    let segment = providers.segment_messages().into_iter();
    let segment = segment.map(|message| format!("{} {}", message["type"], message["messageId"]));
    let joins = providers.group_joins().into_iter().map(|join| format!("{join:?}"));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for effect in ga4.chain(segment).chain(joins) {
        *seen.entry(effect).or_default() += 1;
    }
    in_crm + seen.values().map(|times| more(*times)).sum::<usize>()
}

/// The time after so much of the run.
fn at(passed: Duration) -> Timestamp {
    let beginning: Timestamp = BEGINNING.parse().unwrap();
    beginning.checked_add(SignedDuration::try_from(passed).unwrap()).unwrap()
}

fn between(from: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(from)).unwrap_or_default()
}

/// A time as a person reads it.
fn shown(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..120 => format!("{:.0} s", time.as_secs_f64()),
        120..7200 => format!("{:.1} min", time.as_secs_f64() / 60.0),
        7200..172_800 => format!("{:.1} h", time.as_secs_f64() / 3600.0),
        _ => format!("{:.1} days", time.as_secs_f64() / 86_400.0),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { p50, p99, longest } = self.acceptance;
        writeln!(
            f,
            "{}: {} people, {} answered, refused {:?}, lost {}, doubled {}",
            self.scenario.name(),
            self.people,
            self.answered,
            self.refused,
            self.lost,
            self.doubled
        )?;
        writeln!(
            f,
            "  acceptance: p50 {}, p99 {}, longest {}",
            shown(p50),
            shown(p99),
            shown(longest)
        )?;
        for (name, settled) in &self.settled {
            let Latency { p50, p99, longest } = settled.latency;
            writeln!(
                f,
                "  {name}: {} delivered, {} open, {} otherwise; p50 {}, p99 {}, longest {}; the last {} after it was over",
                settled.delivered,
                settled.open,
                settled.otherwise,
                shown(p50),
                shown(p99),
                shown(longest),
                shown(settled.recovery)
            )?;
        }
        let leads = f64::from(u32::try_from(self.answered.max(1)).unwrap_or(u32::MAX));
        writeln!(
            f,
            "  table: {:.0} units written ({:.1} a lead), {:.0} read ({:.1} a lead); refused {:?}; the most by {:?}",
            self.write_units,
            self.write_units / leads,
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
