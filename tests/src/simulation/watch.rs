//! The history of a simulation, and what must hold at each of its moments.
//!
//! Owns a model of what was agreed to, of who holds which delivery and of which doubtful requests
//! were made, all from the calls as they took effect. It must not know how any of it was drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use funil_dev::simulated::Providers;
use serde_json::Value;
use tokio::time::Instant;

/// A request reads its material at most so long before it leaves, in milliseconds.
const MATERIAL_LIVES_MS: u128 = 60_000;
/// A form without a key of its own is one call for five minutes, less what clocks differ by.
pub(super) const SAME_CALL_MS: u128 = 280_000;
/// What the name of a submission begins with, so that its effects can be told.
pub(super) const NAME: &str = "Ana Exemplo ";

/// What a person sent.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) email: String,
    /// Marketing and analytics, where the form had boxes.
    pub(super) consent: Option<(bool, bool)>,
    pub(super) answered: Option<String>,
    pub(super) body: Value,
}

/// A decision about a purpose.
#[derive(Clone, Debug)]
struct Word {
    granted: bool,
    at: String,
    assumed: bool,
}

/// What is known of a lead from what was committed.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) email: String,
    pub(super) name: String,
    pub(super) events: BTreeSet<String>,
    words: BTreeMap<&'static str, Word>,
    /// The purposes that were denied at some moment.
    pub(super) ever_denied: BTreeSet<&'static str>,
}

/// A delivery in somebody's hands.
#[derive(Clone, Debug, Default)]
struct Held {
    due: String,
    lease: Option<String>,
}

struct Read {
    at: u128,
    process: usize,
    email: String,
    lead: String,
    permitted: BTreeSet<&'static str>,
}

/// A call to a provider.
pub(super) struct ProviderCall {
    pub(super) process: usize,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Value,
}

/// What happened so often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of the table.
    pub table_calls: u64,
    /// Calls of the table that were refused or lost.
    pub table_faults: u64,
    /// Calls of providers.
    pub provider_calls: u64,
    /// Processes that died at a call.
    pub crashes: u64,
    /// Changes of a provider's behaviour for the worse.
    pub outages: u64,
    /// Leads.
    pub leads: u64,
    /// Events.
    pub events: u64,
    /// Deliveries that ended delivered.
    pub delivered: u64,
    /// Deliveries that ended skipped.
    pub skipped: u64,
    /// Deliveries that ended unknown.
    pub unknown: u64,
}

/// The history and the model.
pub(super) struct Watch {
    begun: Instant,
    pub(super) lines: Vec<String>,
    hasher: DefaultHasher,
    pub(super) problems: Vec<String>,
    pub(super) counts: Counts,
    pub(super) submissions: Vec<Submission>,
    pub(super) leads: BTreeMap<String, Known>,
    /// Whose alias ends with which digest.
    pub(super) digests: BTreeMap<String, String>,
    revoked: BTreeMap<(String, &'static str), String>,
    commits: BTreeMap<usize, Vec<u128>>,
    events: BTreeSet<String>,
    deliveries: BTreeMap<String, Held>,
    /// Deliveries committed and not yet told to `dispatch`.
    pub(super) stream: Vec<(String, String, String)>,
    reads: Vec<Read>,
    /// Harmful requests, and whether a refusal was seen.
    harmful: BTreeMap<String, bool>,
    /// For how long a submission must not be kept again.
    pub(super) same_call_ms: u128,
    /// Everybody who left `MailerLite` by themselves.
    pub(super) left: BTreeSet<String>,
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

const PURPOSES: [&str; 2] = ["marketing_email", "analytics"];

impl Watch {
    /// Begins now.
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            lines: Vec::new(),
            hasher: DefaultHasher::new(),
            problems: Vec::new(),
            counts: Counts::default(),
            submissions: Vec::new(),
            leads: BTreeMap::new(),
            digests: BTreeMap::new(),
            revoked: BTreeMap::new(),
            commits: BTreeMap::new(),
            events: BTreeSet::new(),
            deliveries: BTreeMap::new(),
            stream: Vec::new(),
            reads: Vec::new(),
            harmful: BTreeMap::new(),
            same_call_ms: SAME_CALL_MS,
            left: BTreeSet::new(),
        }
    }

    fn now(&self) -> u128 {
        self.begun.elapsed().as_millis()
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

    /// A call of the table that had no effect.
    pub(super) fn refused(&mut self, process: usize, operation: &str, body: &str, told: &Value) {
        self.counts.table_calls += 1;
        self.counts.table_faults += 1;
        let asked: Value = serde_json::from_str(body).unwrap();
        let why = told.get("__type").and_then(Value::as_str).unwrap_or("lost");
        self.note(&format!("p{process} {operation} {} => {why}", summary(operation, &asked)));
    }

    /// A call of the table as it took effect.
    pub(super) fn table(
        &mut self,
        process: usize,
        operation: &str,
        body: &str,
        status: u16,
        told: &str,
    ) {
        self.counts.table_calls += 1;
        let asked: Value = serde_json::from_str(body).unwrap();
        let told: Value = serde_json::from_str(told).unwrap_or_default();
        let shown = answer(operation, status, &told);
        self.note(&format!("p{process} {operation} {} => {shown}", summary(operation, &asked)));
        if status != 200 {
            return;
        }
        match operation {
            "TransactWriteItems" => self.committed(&asked),
            "BatchGetItem" => self.read(process, &asked),
            "UpdateItem" => self.updated(process, &asked),
            _ => {}
        }
    }

    fn committed(&mut self, asked: &Value) {
        let writes = asked["TransactItems"].as_array().unwrap();
        let sk = |write: &Value| text(write, "/Put/Item/sk/S").to_owned();
        let Some(event) = writes.iter().find(|write| sk(write).starts_with("EVENT#")) else {
            return;
        };
        let event_sk = sk(event);
        let lead_id = text(event, "/Put/Item/pk/S").trim_start_matches("LEAD#").to_owned();
        // The SDK's second try of a transaction that had gone through is no second one.
        if !self.events.insert(format!("{lead_id} {event_sk}")) {
            return;
        }
        for write in writes.iter().filter(|write| sk(write).starts_with("DELIVERY#")) {
            let due = text(write, "/Put/Item/due_sk/S").to_owned();
            self.stream.push((format!("LEAD#{lead_id}"), sk(write), due.clone()));
            self.deliveries.insert(sk(write), Held { due, lease: None });
        }
        let whole = asked.to_string();
        let Some(number) = whole.split(NAME).nth(1).and_then(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<usize>().ok()
        }) else {
            return self.problem("a commit of no submission".to_owned());
        };
        let (now, same_call_ms) = (self.now(), self.same_call_ms);
        let before = self.commits.entry(number).or_default();
        let again = before.iter().any(|at| now - at < same_call_ms);
        before.push(now);
        if again {
            self.problem(format!("submission {number} was kept twice"));
        }
        let submission = self.submissions[number].clone();
        let at = event_sk.split('#').nth(1).unwrap_or_default().to_owned();
        let known = self.leads.entry(lead_id.clone()).or_default();
        known.email.clone_from(&submission.email);
        known.name = format!("{NAME}{number}");
        known.events.insert(event_sk);
        if let Some((marketing, analytics)) = submission.consent {
            for (purpose, granted) in PURPOSES.into_iter().zip([marketing, analytics]) {
                known.words.insert(purpose, Word { granted, at: at.clone(), assumed: false });
            }
        } else {
            let assumed = Word { granted: true, at, assumed: true };
            known.words.entry("analytics").or_insert(assumed);
        }
        self.note_denials();
    }

    fn permits(&self, known: &Known, purpose: &'static str) -> bool {
        let Some(word) = known.words.get(purpose).filter(|word| word.granted) else { return false };
        match self.revoked.get(&(known.email.clone(), purpose)) {
            Some(revoked) => !word.assumed && word.at > *revoked,
            None => true,
        }
    }

    fn note_denials(&mut self) {
        let mut denied = Vec::new();
        for (lead, known) in &self.leads {
            let now_denied = PURPOSES.into_iter().filter(|purpose| !self.permits(known, purpose));
            denied.extend(now_denied.map(|purpose| (lead.clone(), purpose)));
        }
        for (lead, purpose) in denied {
            self.leads.get_mut(&lead).unwrap().ever_denied.insert(purpose);
        }
    }

    fn read(&mut self, process: usize, asked: &Value) {
        let tables = asked["RequestItems"].as_object().unwrap();
        let keys = tables.values().filter_map(|table| table["Keys"].as_array()).flatten();
        let leads = keys.filter(|key| text(key, "/sk/S") == "LEAD");
        for key in leads {
            let lead = text(key, "/pk/S").trim_start_matches("LEAD#").to_owned();
            let Some(known) = self.leads.get(&lead) else { continue };
            let permitted = PURPOSES.into_iter().filter(|p| self.permits(known, p)).collect();
            let email = known.email.clone();
            let at = self.now();
            self.reads.push(Read { at, process, email, lead, permitted });
        }
    }

    fn updated(&mut self, process: usize, asked: &Value) {
        let sk = text(asked, "/Key/sk/S").to_owned();
        if sk == "CONSENT" {
            let pk = text(asked, "/Key/pk/S");
            let digest = pk.rsplit('#').next().unwrap_or_default();
            let Some(email) = self.digests.get(digest).cloned() else { return };
            let name = text(asked, "/ExpressionAttributeNames/#revoked");
            let purpose = PURPOSES.into_iter().find(|purpose| name.ends_with(purpose)).unwrap();
            let at = text(asked, "/ExpressionAttributeValues/:at/S").to_owned();
            self.revoked.insert((email, purpose), at);
            self.note_denials();
            return;
        }
        let Some(held) = self.deliveries.get_mut(&sk) else { return };
        let value = |name: &str| {
            let value = text(asked, &format!("/ExpressionAttributeValues/:{name}/S"));
            (!value.is_empty()).then(|| value.to_owned())
        };
        let mut problem = None;
        if value("leased").is_some() {
            let now = value("now").unwrap_or_default();
            if held.due.is_empty() || held.due > now {
                problem = Some(format!("p{process} claimed {sk} at {now}, due {:?}", held.due));
            }
            held.lease = value("lease");
            held.due = value("end").unwrap_or_default();
        } else if value("lease").is_some() {
            if held.lease != value("lease") {
                problem = Some(format!("p{process} wrote {sk} under a lease it had lost"));
            }
            if value("state").is_some() || value("pending").is_some() {
                held.lease = None;
                held.due = value("due").unwrap_or_default();
            }
        } else if let Some(now) = value("now") {
            held.due = now;
        }
        if let Some(problem) = problem {
            self.problem(problem);
        }
    }

    /// Whether a process read, just now, that this may be sent.
    fn may(&self, process: usize, purpose: &'static str, of: impl Fn(&Read) -> bool) -> bool {
        let from = self.now().saturating_sub(MATERIAL_LIVES_MS);
        let recent = self.reads.iter().rev().take_while(|read| read.at >= from);
        recent
            .filter(|read| read.process == process && of(read))
            .any(|read| read.permitted.contains(purpose))
    }

    /// A call as it reaches a provider.
    pub(super) fn provider_called(&mut self, call: &ProviderCall, providers: &Providers) {
        self.counts.provider_calls += 1;
        self.note(&format!("p{} {} {} {}", call.process, call.method, call.path, call.body));
        let provider = call.path.split('/').nth(1).unwrap_or_default();
        let lead = match provider {
            "ga4" => text(&call.body, "/user_id"),
            "segment" => text(&call.body, "/batch/0/userId"),
            _ => "",
        };
        if !lead.is_empty() && !self.may(call.process, "analytics", |read| read.lead == lead) {
            self.problem(format!("{provider} was told of {lead}, who did not agree"));
        }
        if provider == "mailerlite" && call.path.ends_with("/groups/102") {
            let id = call.path.split('/').nth(3).unwrap_or_default();
            let subscriber = providers.subscriber(id).unwrap_or_default();
            let email = text(&subscriber, "/email").to_owned();
            if !self.may(call.process, "marketing_email", |read| read.email == email) {
                self.problem(format!("{email} was put on the list and did not agree"));
            }
        }
        if provider == "ga4" {
            let again = self.harmful.insert(harmful_key(call), false);
            if again == Some(false) {
                let key = harmful_key(call);
                self.problem(format!("a doubtful request was made again: {key}"));
            }
        }
    }

    /// What the caller of a provider saw; `None` where no answer came.
    pub(super) fn provider_answered(
        &mut self,
        call: &ProviderCall,
        seen: Option<u16>,
        turned_away: bool,
    ) {
        let status = seen.map_or_else(|| "nothing".to_owned(), |status| status.to_string());
        self.note(&format!("p{} {} {} <= {status}", call.process, call.method, call.path));
        if call.path.starts_with("/ga4") && turned_away {
            self.harmful.insert(harmful_key(call), true);
        }
    }
}

/// One delivery of GA4: a lead and the moment of its event.
fn harmful_key(call: &ProviderCall) -> String {
    format!("{} {}", text(&call.body, "/user_id"), call.body["timestamp_micros"])
}

/// What a call of the table is about.
fn summary(operation: &str, asked: &Value) -> String {
    let key = |key: &Value| format!("{}/{}", text(key, "/pk/S"), text(key, "/sk/S"));
    match operation {
        "TransactWriteItems" => {
            let writes = asked["TransactItems"].as_array().into_iter().flatten();
            let keys = writes.map(|write| {
                ["/Put/Item", "/Update/Key", "/ConditionCheck/Key", "/Delete/Key"]
                    .into_iter()
                    .find_map(|pointer| write.pointer(pointer))
                    .map(key)
                    .unwrap_or_default()
            });
            keys.collect::<Vec<_>>().join(" ")
        }
        "BatchGetItem" => {
            let tables = asked["RequestItems"].as_object().into_iter().flatten();
            let keys = tables.filter_map(|(_, table)| table["Keys"].as_array()).flatten();
            keys.map(key).collect::<Vec<_>>().join(" ")
        }
        "Query" => asked["ExpressionAttributeValues"].to_string(),
        "PutItem" => key(&asked["Item"]),
        _ => format!(
            "{} {} {}",
            key(&asked["Key"]),
            text(asked, "/UpdateExpression"),
            asked["ExpressionAttributeValues"]
        ),
    }
}

/// What a call of the table came to.
fn answer(operation: &str, status: u16, told: &Value) -> String {
    if status != 200 {
        let kind = text(told, "/__type").rsplit('#').next().unwrap_or_default().to_owned();
        let reasons = told["CancellationReasons"].as_array().into_iter().flatten();
        let reasons: Vec<&str> = reasons.map(|reason| text(reason, "/Code")).collect();
        return format!("{kind} {}", reasons.join(" "));
    }
    match operation {
        "Query" => format!("{} items", told["Items"].as_array().map_or(0, Vec::len)),
        _ => "done".to_owned(),
    }
}
