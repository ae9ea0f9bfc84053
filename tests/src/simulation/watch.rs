//! The history of a simulation, and what must hold at each of its moments.
//!
//! Owns a model of what was agreed to, of which bookings stand, of who holds which delivery and of
//! which harmful requests were made, all from the requests as they took effect. It must not know how
//! any of it was drawn.

mod commits;
mod consent;
mod deliveries;
mod history;
mod requests;
mod responses;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use funil_core::clock::Clock as _;
use funil_core::contact::consent::Purpose;
use funil_core::hash::HashKey;
use funil_core::lead::Stage;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::system::SkewedClock;
use crate::world::HASH_KEY;
use commits::Booked;
use consent::{Choice, Read, Revoked};
use deliveries::Held;
use history::{result, summary, text};

pub(super) use responses::Told;

/// A form without a key of its own is one form for five minutes, less what clocks differ by.
pub(super) const SAME_FORM_MS: u128 = 280_000;
/// What the name in a form begins with, so that its effects can be told.
pub(super) const NAME: &str = "Ana Exemplo ";
/// What the goal in a questionnaire begins with, for the same reason.
pub(super) const GOAL: &str = "Meta ";
/// The purposes that a form has boxes for.
pub(super) const BOX_PURPOSES: [Purpose; 4] =
    [Purpose::MarketingEmail, Purpose::Analytics, Purpose::Ads, Purpose::Whatsapp];

/// A lead's form, as a person sent it.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) email: String,
    /// The boxes, ticked or not, where the form had any.
    pub(super) consent: Option<BTreeMap<Purpose, bool>>,
    /// The lead that the response named.
    pub(super) lead: Option<String>,
}

/// What is kept once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kept {
    /// A lead's form, by its number.
    Submission(usize),
    /// A questionnaire, by its number.
    Questionnaire(usize),
    /// An event whose id is its sender's.
    Event(String),
}

/// What is known of a lead from what was kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) email: String,
    email_digest: String,
    pub(super) name: String,
    /// The digest of its present number.
    phone: Option<String>,
    /// The digests of every number it had.
    phones: BTreeSet<String>,
    pub(super) events: BTreeSet<String>,
    choices: BTreeMap<Purpose, Choice>,
    /// How far it has come, where that is further than the form.
    pub(super) stage: Option<Stage>,
    /// Whether somebody planned or withdrew messages by hand, which no calendar hears of.
    pub(super) by_hand: bool,
    pub(super) ever_without_phone: bool,
    /// The purposes that were not granted at some moment.
    pub(super) ever_denied: BTreeSet<Purpose>,
    /// The purposes that were refused at some moment.
    pub(super) ever_refused: BTreeSet<Purpose>,
}

impl Known {
    /// The digests of its present e-mail and number.
    fn digests(&self) -> Vec<&String> {
        [&self.email_digest].into_iter().chain(&self.phone).collect()
    }
}

/// A request to a provider.
pub(super) struct ProviderRequest {
    pub(super) process: usize,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Value,
}

/// What happened so often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests to the table.
    pub table_requests: u64,
    /// Requests to the table that were refused or lost.
    pub table_faults: u64,
    /// Requests to providers.
    pub provider_requests: u64,
    /// Processes that died at a request.
    pub crashes: u64,
    /// Changes of a provider's behaviour for the worse.
    pub outages: u64,
    /// Leads.
    pub leads: u64,
    /// Events.
    pub events: u64,
    /// Bookings of a calendar.
    pub bookings: u64,
    /// WhatsApp messages that were taken.
    pub messages: u64,
    /// Deliveries that ended delivered.
    pub delivered: u64,
    /// Deliveries that ended skipped.
    pub skipped: u64,
    /// Deliveries that ended unknown.
    pub unknown: u64,
    /// Deliveries that ended dead, rightly.
    pub dead: u64,
}

/// The history and the model.
pub(super) struct Watch {
    begun: Instant,
    clock: SkewedClock,
    hash: HashKey,
    pub(super) lines: Vec<String>,
    hasher: DefaultHasher,
    pub(super) problems: Vec<String>,
    pub(super) counts: Counts,
    /// The number of the last request that took effect: what happened before what.
    number: u64,
    pub(super) submissions: Vec<Submission>,
    pub(super) leads: BTreeMap<String, Known>,
    pub(super) bookings: BTreeMap<String, Booked>,
    revoked: BTreeMap<(String, Purpose), Revoked>,
    /// The leads known under a business-scoped id's digest, and since when.
    linked: BTreeMap<String, BTreeMap<String, u128>>,
    /// When each thing was kept.
    pub(super) kept: BTreeMap<Kept, Vec<u128>>,
    events: BTreeSet<String>,
    deliveries: BTreeMap<String, Held>,
    /// The sort key of each delivery.
    sk_of: BTreeMap<String, String>,
    /// Deliveries kept and not yet told to `dispatch`.
    pub(super) stream: Vec<(String, String, String)>,
    reads: Vec<Read>,
    /// Harmful requests, and whether a refusal was seen.
    harmful: BTreeMap<String, bool>,
    /// For how long a form must not be kept again.
    pub(super) same_form_ms: u128,
    /// By how much a clock is wrong at most.
    pub(super) most_skew_ms: u128,
    /// Everybody who left `MailerLite` by themselves.
    pub(super) left: BTreeSet<String>,
    /// When WhatsApp began and ceased to be unwell.
    pub(super) outages: BTreeMap<&'static str, Vec<(Timestamp, Option<Timestamp>)>>,
}

impl Watch {
    /// Begins now.
    pub(super) fn new() -> Self {
        let begun = Instant::now();
        Self {
            begun,
            clock: SkewedClock { begun, skew_ms: 0 },
            hash: HashKey::new(HASH_KEY).unwrap(),
            lines: Vec::new(),
            hasher: DefaultHasher::new(),
            problems: Vec::new(),
            counts: Counts::default(),
            number: 0,
            submissions: Vec::new(),
            leads: BTreeMap::new(),
            bookings: BTreeMap::new(),
            revoked: BTreeMap::new(),
            linked: BTreeMap::new(),
            kept: BTreeMap::new(),
            events: BTreeSet::new(),
            deliveries: BTreeMap::new(),
            sk_of: BTreeMap::new(),
            stream: Vec::new(),
            reads: Vec::new(),
            harmful: BTreeMap::new(),
            same_form_ms: SAME_FORM_MS,
            most_skew_ms: 0,
            left: BTreeSet::new(),
            outages: BTreeMap::new(),
        }
    }

    /// How long it has lived, in milliseconds.
    pub(super) fn now(&self) -> u128 {
        self.begun.elapsed().as_millis()
    }

    /// The true time.
    pub(super) fn time(&self) -> Timestamp {
        self.clock.now()
    }

    /// A digest of the history.
    pub(super) fn digest(&self) -> u64 {
        self.hasher.finish()
    }

    /// Writes a line of the history.
    pub(super) fn note(&mut self, line: &str) {
        let now = self.now();
        let line = format!("{:>6}.{:03} {line}", now / 1000, now % 1000);
        line.hash(&mut self.hasher);
        self.lines.push(line);
    }

    /// Something does not hold.
    pub(super) fn problem(&mut self, problem: String) {
        self.note(&format!("!!! {problem}"));
        self.problems.push(problem);
    }

    pub(super) fn died(&mut self, process: usize) {
        self.counts.crashes += 1;
        self.note(&format!("p{process} dies"));
    }

    /// A destination's provider is well or unwell from now on.
    pub(super) fn behaves(&mut self, destination: &'static str, behaviour: &str, well: bool) {
        self.note(&format!("{destination} is told: {behaviour}"));
        self.counts.outages += u64::from(!well);
        let now = self.time();
        let outages = self.outages.entry(destination).or_default();
        match outages.last_mut().filter(|(_, until)| until.is_none()) {
            Some((_, until)) if well => *until = Some(now),
            None if !well => outages.push((now, None)),
            Some(_) | None => {}
        }
    }

    /// A request to the table that had no effect.
    pub(super) fn refused_by_table(
        &mut self,
        process: usize,
        operation: &str,
        body: &str,
        told: &Value,
    ) {
        self.counts.table_requests += 1;
        self.counts.table_faults += 1;
        let request: Value = serde_json::from_str(body).unwrap();
        let why = told.get("__type").and_then(Value::as_str).unwrap_or("lost");
        self.note(&format!("p{process} {operation} {} => {why}", summary(operation, &request)));
    }

    /// A request to the table as it took effect.
    pub(super) fn table(
        &mut self,
        process: usize,
        operation: &str,
        body: &str,
        (status, response): (u16, &str),
    ) {
        self.number += 1;
        self.counts.table_requests += 1;
        let request: Value = serde_json::from_str(body).unwrap();
        let response: Value = serde_json::from_str(response).unwrap_or_default();
        let shown = result(operation, status, &response);
        self.note(&format!("p{process} {operation} {} => {shown}", summary(operation, &request)));
        if status != 200 {
            return;
        }
        match operation {
            "TransactWriteItems" => self.committed(&request),
            "BatchGetItem" => self.read(process, &request),
            "UpdateItem" if text(&request, "/Key/sk/S") == "CONSENT" => {
                self.alias_revoked(&request);
            }
            "UpdateItem" => self.delivery_updated(process, &request),
            "PutItem" => self.linked(&request["Item"]),
            _ => {}
        }
    }

    /// A business-scoped id turns out to be a lead's.
    fn linked(&mut self, item: &Value) {
        let Some(digest) = text(item, "/pk/S").strip_prefix("ALIAS#bsuid#") else { return };
        let lead = text(item, "/sk/S").trim_start_matches("LEAD#").to_owned();
        let now = self.now();
        self.linked.entry(digest.to_owned()).or_default().entry(lead).or_insert(now);
    }
}
