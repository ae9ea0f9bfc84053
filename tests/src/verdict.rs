//! What became of many leads, by the table and by the providers: what is lost, what is doubled, and how
//! long everything took.
//!
//! The simulation's scenarios and the benchmark share it. It must not know how the leads were made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use funil_core::delivery::StateKind;
use funil_core::event::{EventData, FormEvent};
use funil_core::id::LeadId;
use funil_dev::simulated::Providers;
use funil_store::{Journey, Store};
use jiff::Timestamp;
use serde_json::Value;

/// How long things took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// Half of them took at most so long.
    pub p50: Duration,
    /// All but one in a hundred took at most so long.
    pub p99: Duration,
    /// The longest that one of them took.
    pub longest: Duration,
}

impl Settled {
    /// How many were settled.
    pub fn count(&self) -> usize {
        self.delivered + self.otherwise.values().sum::<usize>()
    }
}

impl Latency {
    /// Of so many times.
    pub fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |share: usize| {
            all.get((all.len() * share / 100).min(all.len().saturating_sub(1))).copied()
        };
        let longest = all.last().copied().unwrap_or_default();
        Self { p50: at(50).unwrap_or_default(), p99: at(99).unwrap_or_default(), longest }
    }
}

/// What became of the deliveries to one destination.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// How many were delivered.
    pub delivered: usize,
    /// How many are still open.
    pub open: usize,
    /// How many ended otherwise, by their state and its reason: `skipped unchanged`.
    pub otherwise: BTreeMap<String, usize>,
    /// From acceptance to settlement.
    pub latency: Latency,
    /// From the end of the spike, and of the outage, to the last settlement.
    pub recovery: Duration,
}

/// What became of the leads.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Leads that were accepted and are not kept whole, whose deliveries are incomplete or still open, or
    /// that a provider does not have though a delivery says so.
    pub lost: usize,
    /// Effects at a provider that happened more than once.
    pub doubled: usize,
    /// How the deliveries were settled, by destination.
    pub settled: BTreeMap<String, Settled>,
}

impl Verdict {
    /// Looks at every lead that was `sent` and at the providers. Those that were `accepted` must be kept,
    /// with deliveries to each of `destinations`; `over` is when everything was as it should be again.
    pub async fn of(
        (store, providers): (&Store, &Providers),
        sent: &BTreeSet<LeadId>,
        accepted: &BTreeSet<LeadId>,
        destinations: &[&str],
        over: Timestamp,
    ) -> Self {
        let mut verdict = Self::default();
        let mut latencies: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
        let mut to_segment = 0;
        let has = Has::of(providers);
        for lead in sent {
            let Some(journey) = store.journey(*lead).await.unwrap() else {
                verdict.lost += usize::from(accepted.contains(lead));
                continue;
            };
            let is_kept = is_whole(&journey, destinations) && has.everything(&journey, providers);
            verdict.lost += usize::from(!is_kept);
            let mut to_crm = 0;
            for delivery in &journey.deliveries {
                let name = delivery.destination.as_str();
                let to = verdict.settled.entry(name.to_owned()).or_default();
                match delivery.state.kind() {
                    StateKind::Delivered => to.delivered += 1,
                    StateKind::Pending | StateKind::Leased => to.open += 1,
                    StateKind::Skipped | StateKind::Unknown | StateKind::Dead => {
                        let reason = delivery.reason_text().unwrap_or_default();
                        let how = format!("{} {reason}", delivery.state.name());
                        *to.otherwise.entry(how).or_default() += 1;
                    }
                }
                to_crm += usize::from(name == "crm");
                to_segment += usize::from(name == "segment");
                let event = journey.events.iter().find(|event| event.id == delivery.event_id);
                if let Some((settled_at, event)) = delivery.settled_at().zip(event) {
                    to.recovery = to.recovery.max(between(over, settled_at));
                    let took = between(event.accepted_at, settled_at);
                    latencies.entry(name.to_owned()).or_default().push(took);
                }
            }
            let triggers = providers.crm_triggers(&lead.to_string()).into_values();
            let triggers: usize = triggers.map(|times| usize::try_from(times).unwrap()).sum();
            verdict.doubled += triggers.saturating_sub(to_crm);
        }
        for (name, all) in latencies {
            verdict.settled.entry(name).or_default().latency = Latency::of(all);
        }
        let kept = providers.segment_messages().len();
        verdict.doubled += repeated(providers) + kept.saturating_sub(2 * to_segment);
        verdict
    }
}

/// The leads that are at providers which do not store our lead id.
struct Has {
    in_ga4: BTreeSet<String>,
    in_segment: BTreeSet<String>,
}

impl Has {
    fn of(providers: &Providers) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ga4 = providers.ga4_events().into_iter().map(|event| text(&event.request["user_id"]));
        let segment = providers.segment_messages().into_iter();
        let segment = segment.map(|message| text(&message["userId"]));
        Self { in_ga4: ga4.collect(), in_segment: segment.collect() }
    }

    /// Whether nothing is open, and every destination that has a delivery delivered has the lead.
    fn everything(&self, journey: &Journey, providers: &Providers) -> bool {
        let lead = journey.lead.id.to_string();
        journey.deliveries.iter().all(|delivery| {
            let has = match delivery.destination.as_str() {
                "crm" => !providers.crm_triggers(&lead).is_empty(),
                "ga4" => self.in_ga4.contains(&lead),
                "segment" => self.in_segment.contains(&lead),
                // What MailerLite and Meta have is counted under other names than the lead's.
                _ => true,
            };
            !delivery.state.is_open() && (has || delivery.state.kind() != StateKind::Delivered)
        })
    }
}

/// Whether a lead has its one form and a delivery to each of these.
fn is_whole(journey: &Journey, destinations: &[&str]) -> bool {
    let is_form = |data: &EventData| matches!(data, EventData::Form(FormEvent::LeadSubmitted(_)));
    let forms = journey.events.iter().filter(|event| is_form(&event.data)).count();
    let names: BTreeSet<&str> =
        journey.deliveries.iter().map(|one| one.destination.as_str()).collect();
    forms == 1 && journey.unread == 0 && destinations.iter().all(|name| names.contains(name))
}

/// How many effects happened again: an event of GA4 or Meta, a message to Segment, an entry into a group
/// of MailerLite.
fn repeated(providers: &Providers) -> usize {
    let ga4 = providers
        .ga4_events()
        .into_iter()
        .map(|event| format!("{} {} {}", event.name, event.request["user_id"], event.params));
    let segment = providers.segment_messages().into_iter();
    let segment = segment.map(|message| format!("{} {}", message["type"], message["messageId"]));
    let joins = providers.group_joins().into_iter();
    let joins = joins.map(|join| format!("{} {}", join.email, join.group));
    let meta = providers.meta_events().into_iter().map(|event| event["event_id"].to_string());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for effect in ga4.chain(segment).chain(joins).chain(meta) {
        *seen.entry(effect).or_default() += 1;
    }
    seen.values().map(|times| times - 1).sum()
}

fn between(from: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(from)).unwrap_or_default()
}

/// A time as a person reads it.
pub fn shown(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..120 => format!("{:.0} s", time.as_secs_f64()),
        120..7200 => format!("{:.1} min", time.as_secs_f64() / 60.0),
        7200..172_800 => format!("{:.1} h", time.as_secs_f64() / 3600.0),
        _ => format!("{:.1} days", time.as_secs_f64() / 86_400.0),
    }
}
