//! The history of a simulation, and what must hold at every moment of it.
//!
//! Owns a model of who agreed to what, which bookings stand, which process holds which delivery, and
//! which harmful requests were sent. The model is built from the requests to the table and to the
//! providers, as they took effect. It must not know how any of them was drawn.

mod commits;
mod consent;
mod deliveries;
mod history;
mod requests;
mod responses;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::AddAssign;

use funil_core::clock::Clock as _;
use funil_core::contact::consent::Purpose;
use funil_core::destination::Whose;
use funil_core::hash::HashKey;
use funil_core::lead::Stage;
use funil_store::DeliveryKey;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::system::SkewedClock;
use crate::world::HASH_KEY;
use commits::Booked;
use consent::{Read, Revoked};
use deliveries::Held;
use history::{result, summary, text};

pub(super) use responses::Promise;

/// For how long a second form of the same content, without an idempotency key, is a duplicate: five
/// minutes, less what clocks differ by.
pub(super) const SAME_FORM_MS: u128 = 280_000;
/// What the name in a form begins with. The form's number follows, so that its effects can be found.
pub(super) const NAME: &str = "Ana Exemplo ";
/// What the goal in a questionnaire begins with. The questionnaire's number follows.
pub(super) const GOAL: &str = "Meta ";
/// What the parameter `content_id` of a page's event begins with. The event's number follows.
pub(super) const VISIT: &str = "visit-";
/// The purposes that a form has boxes for.
pub(super) const BOX_PURPOSES: [Purpose; 4] =
    [Purpose::MarketingEmail, Purpose::Analytics, Purpose::Ads, Purpose::Whatsapp];

/// A lead's form, as a person sent it.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) email: String,
    /// The consent boxes, ticked or not, where the form had any.
    pub(super) consent: Option<BTreeMap<Purpose, bool>>,
    /// Whether the site's `CONSENT_WHEN_ABSENT` counts, because the form had no consent object.
    pub(super) assumes: bool,
    /// The lead that the response named.
    pub(super) lead: Option<String>,
}

/// What must be kept only once, however often it is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kept {
    /// A lead's form, by its number.
    Submission(usize),
    /// A questionnaire, by its number.
    Questionnaire(usize),
    /// An event whose sender gave it its id.
    Event(String),
}

/// What is known of a lead from the events that were kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) email: String,
    email_digest: String,
    pub(super) name: String,
    /// The digest of its present number.
    phone: Option<String>,
    /// The digests of every number that the table finds it by.
    phones: BTreeSet<String>,
    pub(super) events: BTreeSet<String>,
    /// What it decided about each purpose.
    pub(super) choices: BTreeMap<Purpose, bool>,
    /// How far the lead has come, where that is further than the form.
    pub(super) stage: Option<Stage>,
    /// Whether an operator planned or withdrew messages, which the calendar does not know of.
    pub(super) by_hand: bool,
    /// Whether a form was kept.
    has_form: bool,
    /// The purposes that were not granted at some moment.
    pub(super) ever_denied: BTreeSet<Purpose>,
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

/// How often each kind of thing happened.
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
    /// Payments.
    pub payments: u64,
    /// WhatsApp messages that WhatsApp accepted.
    pub messages: u64,
    /// Deliveries that ended delivered.
    pub delivered: u64,
    /// Deliveries that ended skipped.
    pub skipped: u64,
    /// Deliveries that ended unknown.
    pub unknown: u64,
    /// Deliveries that ended dead, as the faults demand.
    pub dead: u64,
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, of: &Self) {
        self.table_requests += of.table_requests;
        self.table_faults += of.table_faults;
        self.provider_requests += of.provider_requests;
        self.crashes += of.crashes;
        self.outages += of.outages;
        self.leads += of.leads;
        self.events += of.events;
        self.bookings += of.bookings;
        self.payments += of.payments;
        self.messages += of.messages;
        self.delivered += of.delivered;
        self.skipped += of.skipped;
        self.unknown += of.unknown;
        self.dead += of.dead;
    }
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
    /// The number of the last request that took effect; it orders the events.
    number: u64,
    /// The functions that were not invoked.
    pub(super) not_invoked: BTreeSet<&'static str>,
    pub(super) submissions: Vec<Submission>,
    pub(super) leads: BTreeMap<String, Known>,
    pub(super) bookings: BTreeMap<String, Booked>,
    revoked: BTreeMap<(String, Purpose), Revoked>,
    /// The numbers of each business-scoped id, both as digests, and since when the table has them.
    linked: BTreeMap<String, BTreeMap<String, u128>>,
    /// The processes that deliver.
    pub(super) workers: BTreeSet<usize>,
    /// When a worker looked for messages that are due, in minutes since the beginning.
    pub(super) message_runs: BTreeSet<i64>,
    /// The oldest lead of each e-mail.
    pub(super) oldest: BTreeMap<String, String>,
    /// When each thing was kept.
    pub(super) kept: BTreeMap<Kept, Vec<u128>>,
    events: BTreeSet<String>,
    deliveries: BTreeMap<String, Held>,
    /// How often each event of a page was kept. Its sender may send it again.
    pub(super) visits: Vec<usize>,
    /// The keys under which they are.
    pub(super) visitors: BTreeSet<DeliveryKey>,
    /// The sort key of each delivery.
    sk_of: BTreeMap<String, String>,
    /// Every delivery as the table's stream has it: partition key, sort key, when it is first due in the
    /// index, and whether a ring names it.
    pub(super) stream: Vec<(String, String, String, bool)>,
    reads: Vec<Read>,
    /// The harmful requests, and whether the sender saw that the last one was rejected.
    harmful: BTreeMap<String, bool>,
    /// For how long the same form must not be kept again, in milliseconds.
    pub(super) same_form_ms: u128,
    /// By how much a clock is wrong at most, in milliseconds.
    pub(super) most_skew_ms: u128,
    /// The e-mails of everybody who unsubscribed at `MailerLite`.
    pub(super) left: BTreeSet<String>,
    /// From when until when the provider of each destination failed.
    pub(super) outages: BTreeMap<&'static str, Vec<(Timestamp, Option<Timestamp>)>>,
}

impl Watch {
    /// An empty history that begins now.
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
            not_invoked: BTreeSet::new(),
            submissions: Vec::new(),
            leads: BTreeMap::new(),
            bookings: BTreeMap::new(),
            revoked: BTreeMap::new(),
            linked: BTreeMap::new(),
            workers: BTreeSet::new(),
            message_runs: BTreeSet::new(),
            oldest: BTreeMap::new(),
            kept: BTreeMap::new(),
            events: BTreeSet::new(),
            deliveries: BTreeMap::new(),
            visits: Vec::new(),
            visitors: BTreeSet::new(),
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

    /// How long the run has lasted, in milliseconds.
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

    /// Notes that something does not hold.
    pub(super) fn problem(&mut self, problem: String) {
        self.note(&format!("!!! {problem}"));
        self.problems.push(problem);
    }

    /// Notes that a process dies.
    pub(super) fn died(&mut self, process: usize) {
        self.counts.crashes += 1;
        self.note(&format!("p{process} dies"));
    }

    /// Notes that a destination's provider works or fails from now on.
    pub(super) fn behaves(&mut self, destination: &'static str, behaviour: &str, well: bool) {
        self.note(&format!("{destination} behaves: {behaviour}"));
        self.counts.outages += u64::from(!well);
        let now = self.time();
        let outages = self.outages.entry(destination).or_default();
        match outages.last_mut().filter(|(_, until)| until.is_none()) {
            Some((_, until)) if well => *until = Some(now),
            None if !well => outages.push((now, None)),
            Some(_) | None => {}
        }
    }

    /// Notes a request to the table that had no effect, and its response where it got one.
    pub(super) fn refused_by_table(
        &mut self,
        process: usize,
        operation: &str,
        body: &str,
        response: &Value,
    ) {
        self.counts.table_requests += 1;
        self.counts.table_faults += 1;
        let request: Value = serde_json::from_str(body).unwrap();
        let why = response.get("__type").and_then(Value::as_str).unwrap_or("lost");
        self.note(&format!("p{process} {operation} {} => {why}", summary(operation, &request)));
    }

    /// Notes a request to the table as it takes effect, and updates the model.
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
        let looked_at = text(&request, "/ExpressionAttributeValues/:pk/S");
        if operation == "Query" && looked_at == "DUE#whatsapp#0" && self.workers.contains(&process)
        {
            self.message_runs.insert(self.time().as_second().div_euclid(60));
        }
        match operation {
            "TransactWriteItems" => self.committed(&request),
            "BatchGetItem" => self.read(process, &request),
            "UpdateItem" if text(&request, "/Key/sk/S") == "CONSENT" => {
                self.alias_revoked(&request);
            }
            "UpdateItem" => self.delivery_updated(process, &request),
            "PutItem" => {
                self.linked(&request["Item"]);
                self.visited(&request["Item"]);
            }
            _ => {}
        }
    }

    /// The table keeps an event of a page.
    fn visited(&mut self, item: &Value) {
        let key = DeliveryKey::parse(text(item, "/pk/S"), text(item, "/sk/S"));
        let Some(key) = key.filter(|key| key.whose() == Whose::Visitors) else { return };
        let (item, plain) = (item.to_string(), history::plain(item));
        let number = item.split(VISIT).nth(1).and_then(|rest| rest.split('"').next()?.parse().ok());
        let number: usize = number.expect("it is an event of a page that was sent");
        // The SDK may repeat a write that took effect.
        if self.visitors.insert(key.clone()) {
            self.visits[number] += 1;
            self.hold(&key.lead_id.to_string(), &key.sk, &plain, &BTreeMap::new());
        }
    }

    /// The table links a business-scoped id to a number.
    fn linked(&mut self, item: &Value) {
        let Some(digest) = text(item, "/pk/S").strip_prefix("ALIAS#bsuid#") else { return };
        let phone = text(item, "/sk/S").trim_start_matches("PHONE#").to_owned();
        let now = self.now();
        self.linked.entry(digest.to_owned()).or_default().entry(phone).or_insert(now);
    }
}
