//! The world that a test runs in: a table of its own on the emulator of the process, simulated
//! providers on loopback, a clock that only the test moves, and every function and worker of Funil.
//!
//! A world is strict. [`World::finish`] fails if a delivery is still open, if a provider got more or
//! fewer requests than the test expected, or if somebody was resubscribed. A test that does not call
//! it fails too. It must not know what any test is about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use funil_core::clock::{Clock as _, Entropy, after};
use funil_core::delivery::Delivery;
use funil_core::destination::{self, Destination};
use funil_core::event::{Event, LeadSubmitted};
use funil_core::form::lead::LeadForm;
use funil_core::hash::HashKey;
use funil_core::id::{EventId, LeadId};
use funil_core::score::amanda;
use funil_core::score::rules::AMANDA;
use funil_core::settings::Env;
use funil_delivery::{Patience, Worker};
use funil_dev::emulator::Emulator;
use funil_dev::functions;
use funil_dev::simulated::Providers;
use funil_store::{DeliveryKey, Due, Journey, Platform, Store, TablePatience};
use http::HeaderName;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::permissions;

pub use deployment::{Deployment, Response};
pub use plan::Plan;
pub(crate) use plan::environment;
pub use plan::of_our_own;
pub use time::{CountedEntropy, HastyClock, ManualClock};

mod deployment;
mod plan;
mod time;

/// When every world begins. Far ahead, so that the emulator's TTL removes nothing.
pub(crate) const BEGINNING: &str = "2031-05-05T12:00:00Z";
/// The secret access key that signs requests to AWS.
pub const AWS_SECRET: &str = "secret";
/// The site's `HASH_KEY`.
pub const HASH_KEY: &str = "hash-key-of-the-tests";
/// The site's `SERVICE_TOKEN`.
pub const SERVICE_TOKEN: &str = "service-token-of-the-tests";
/// The site's `CALENDLY_SIGNING_KEY`.
pub const CALENDLY_KEY: &str = "calendly-key-of-the-tests";
/// The site's `WHATSAPP_APP_SECRET`.
pub const WHATSAPP_APP_SECRET: &str = "whatsapp-app-secret";
/// The caller's address where a test names none.
pub const CALLER: &str = "203.0.113.10";
/// The lead of [`lead_body`].
pub const LEAD: &str = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";
/// The e-mail of [`lead_body`].
pub const EMAIL: &str = "ana@example.com";
/// Later than anything that is due.
const END_OF_TIME: &str = "9999-01-01T00:00:00Z";

static EMULATOR: OnceCell<Emulator> = OnceCell::const_new();
static FRONT: OnceCell<String> = OnceCell::const_new();
static TABLES: AtomicU64 = AtomicU64::new(0);

/// The address of the process's emulator, which permits a function what `template.yaml` does.
pub async fn emulator() -> String {
    let front = FRONT.get_or_init(|| async {
        let emulator = EMULATOR.get_or_init(|| async { Emulator::memory().await.unwrap() }).await;
        permissions::front(emulator.endpoint())
    });
    front.await.clone()
}

/// An HTTP client for what a test does besides the system.
pub fn client() -> reqwest::Client {
    Platform::new(Arc::new(ManualClock::new()), Arc::new(CountedEntropy::default())).http
}

/// The form of a lead that agrees to marketing and analytics.
pub fn lead_body() -> Value {
    json!({
        "leadId": LEAD,
        "name": "Ana Exemplo",
        "email": EMAIL,
        "phone": "(11) 98765-4321",
        "businessType": "consultoria",
        "monthlyRevenue": "10000-30000",
        "workHoursDaily": 10,
        "mainStruggle": "tempo",
        "trafficSource": "instagram",
        "sourceSection": "hero",
        "gaClientId": "123456789.1767225600",
        "consent": {"marketing": true, "analytics": true, "policyVersion": "2026-01"},
    })
}

/// What the lead of [`lead_body`] answers to the questionnaire: 76 points.
pub fn questionnaire_body() -> Value {
    json!({
        "leadId": LEAD,
        "email": EMAIL,
        "responses": {
            "commitment": 9, "urgency": "30-dias", "investmentRange": "5000-10000",
            "weeklyHours": 5, "previousAttempts": "curso", "mainGoal": "Trabalhar menos.",
        },
    })
}

/// The names of destinations, as `DESTINATIONS` lists them.
pub fn list<'d>(destinations: impl IntoIterator<Item = &'d &'static Destination>) -> String {
    let names: Vec<&str> = destinations.into_iter().map(|destination| destination.name).collect();
    names.join(",")
}

/// The names of all destinations, as `DESTINATIONS` lists them.
pub fn all_destinations() -> String {
    list(destination::ALL)
}

/// The destinations of a world whose test names none. A new one does not belong here, because these tests
/// count what their form causes; the tests that every destination has to pass read the registry.
pub const DESTINATIONS: &str = "crm,mailerlite,ga4,segment,meta";

/// The destinations that want something of the landing page's form.
fn of_forms() -> impl Iterator<Item = &'static &'static Destination> {
    let form = LeadForm::parse(&lead_body()).unwrap();
    let score = amanda::score(&AMANDA.built_in().unwrap(), &form.answers());
    let now: Timestamp = BEGINNING.parse().unwrap();
    let id = EventId::form("lead-submit", now, &CountedEntropy::default());
    let event = Event::new(id, lead(), LeadSubmitted { form, score, client_score: None }, now);
    destination::ALL.iter().filter(move |one| !(one.plan)(&event).is_empty())
}

/// Whether a destination is one of those that the tests were written with. One that is added later may get
/// something of a form or of a payment, too.
pub fn is_known(destination: &str) -> bool {
    let known =
        ["crm", "mailerlite", "ga4", "ga4_visits", "segment", "meta", "whatsapp", "brevo", "c2s"];
    known.contains(&destination)
}

/// The names of the destinations that the landing page's form reaches, as `DESTINATIONS` lists them.
pub fn destinations_of_forms() -> String {
    list(of_forms())
}

/// The id of the lead of [`lead_body`].
pub fn lead() -> LeadId {
    LeadId::parse(LEAD).unwrap()
}

/// How many requests a provider gets in a test.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// Exactly so many.
    Exactly(usize),
    /// The test looks at the requests itself.
    Looked,
}

/// One system, its providers and its time.
pub struct World {
    /// The simulated providers.
    pub providers: Providers,
    /// The clock.
    pub clock: Arc<ManualClock>,
    /// The table.
    pub store: Store,
    /// The site's hash key.
    pub hash: HashKey,
    variables: BTreeMap<String, String>,
    platform: Platform,
    request_timeout: Duration,
    deployment: Deployment,
    workers: Vec<Worker>,
    expected: Mutex<BTreeMap<String, Expected>>,
    finished: bool,
}

impl std::ops::Deref for World {
    type Target = Deployment;

    fn deref(&self) -> &Deployment {
        &self.deployment
    }
}

impl World {
    /// The usual world: every destination that a form reaches is on and works.
    pub async fn new() -> Self {
        Self::plan().start().await
    }

    /// A world that differs from the usual one.
    pub fn plan() -> Plan {
        Plan {
            variables: BTreeMap::new(),
            provider_urls: Vec::new(),
            request_timeout: Duration::from_secs(8),
        }
    }

    /// The variables of every function, with some changed.
    pub fn env(&self, overrides: &[(&str, &str)]) -> Env {
        let overrides = overrides.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        self.variables.clone().into_iter().chain(overrides).collect()
    }

    /// The variables of one function, which signs with its own name.
    fn env_of(&self, function: &str, overrides: &[(&str, &str)]) -> Env {
        let own = [("AWS_ACCESS_KEY_ID", function)];
        self.env(&own.iter().chain(overrides).copied().collect::<Vec<_>>())
    }

    /// The functions once more, as another process with other variables has them.
    pub fn deployment(&self, overrides: &[(&str, &str)]) -> Deployment {
        self.deployment_on(&self.platform, overrides)
    }

    /// The functions once more, on a machine on which each look at the clock takes this many seconds.
    pub fn slow_deployment(&self, seconds: i64) -> Deployment {
        let clock = Arc::new(HastyClock::new(self.now(), seconds));
        self.deployment_on(&Platform { clock, ..self.platform.clone() }, &[])
    }

    fn deployment_on(&self, platform: &Platform, overrides: &[(&str, &str)]) -> Deployment {
        let make = |(name, make): (&'static str, functions::Make)| {
            let env = self.env_of(name, overrides);
            make(&env, platform).unwrap()
        };
        let functions = functions::makes(self.request_timeout).into_iter().map(make).collect();
        Deployment { functions, clock: Arc::clone(&self.clock) }
    }

    /// Another worker of a destination, as another process has one.
    pub fn worker(&self, destination: &str) -> Worker {
        self.worker_with(destination, &[])
    }

    /// Another worker of a destination, with other variables.
    pub fn worker_with(&self, destination: &str, overrides: &[(&str, &str)]) -> Worker {
        let connector = destination::connector(destination).unwrap();
        let env = self.env_of(connector.destination.function, overrides);
        let worker = Worker::connect(connector, &env, &self.platform).unwrap();
        worker.with_request_timeout(self.request_timeout)
    }

    /// Another worker of a destination, on a machine whose clock is this many seconds ahead and stands
    /// still.
    pub fn worker_ahead(&self, destination: &str, seconds: i64) -> Worker {
        let clock = ManualClock::new();
        clock.set(after(self.now(), seconds));
        let platform = Platform { clock: Arc::new(clock), ..self.platform.clone() };
        let connector = destination::connector(destination).unwrap();
        let env = self.env_of(connector.destination.function, &[]);
        let worker = Worker::connect(connector, &env, &platform).unwrap();
        worker.with_request_timeout(self.request_timeout)
    }

    /// Sets how long every function and worker made from now on waits for a table that hangs.
    pub const fn set_table_patience(&mut self, patience: TablePatience) {
        self.platform.table_patience = patience;
    }

    /// The clock, the randomness and the HTTP client of the system, for what a person does on the
    /// command line.
    pub const fn platform(&self) -> &Platform {
        &self.platform
    }

    /// The present time by the test's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// When the platform ends an invocation that begins now.
    pub fn stop_at(&self) -> Timestamp {
        after(self.now(), 60)
    }

    /// The same by a clock that is this many seconds ahead.
    pub fn stop_at_ahead(&self, seconds: i64) -> Timestamp {
        after(self.stop_at(), seconds)
    }

    /// Sends a request about the table to the emulator, without the store in between.
    pub async fn ask_table(&self, operation: &str, mut body: Value) -> Value {
        body["TableName"] = json!(self.variables["TABLE_NAME"]);
        let signature = "AWS4-HMAC-SHA256 Credential=a/20310505/sa-east-1/dynamodb/aws4_request, \
                         SignedHeaders=host, Signature=0";
        let request = self.platform.http.post(emulator().await).body(body.to_string()).headers(
            [
                ("x-amz-target", format!("DynamoDB_20120810.{operation}")),
                ("content-type", "application/x-amz-json-1.0".to_owned()),
                ("x-amz-date", "20310505T120000Z".to_owned()),
                ("authorization", signature.to_owned()),
            ]
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect(),
        );
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{operation}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Removes the alerts of a kind, as if they had never been raised.
    pub async fn forget_alerts(&self, destination: &str, kind: &str) {
        for alert in self.items(&format!("ALERT#{destination}#{kind}")).await {
            let keys = json!({"Key": {"pk": alert["pk"], "sk": alert["sk"]}});
            self.ask_table("DeleteItem", keys).await;
        }
    }

    /// The items of the table whose partition key begins with this.
    pub async fn items(&self, partition: &str) -> Vec<Value> {
        let scan = json!({
            "FilterExpression": "begins_with(pk, :pk)",
            "ExpressionAttributeValues": {":pk": {"S": partition}},
        });
        self.ask_table("Scan", scan).await["Items"].as_array().unwrap().clone()
    }

    /// The leads that there are.
    pub async fn leads(&self) -> Vec<LeadId> {
        let items = self.items("LEAD#").await;
        let ids: BTreeSet<&str> = items
            .iter()
            .map(|item| item["pk"]["S"].as_str().unwrap().trim_start_matches("LEAD#"))
            .collect();
        ids.into_iter().map(|id| LeadId::parse(id).unwrap()).collect()
    }

    /// The only lead that there is.
    pub async fn the_lead(&self) -> LeadId {
        let leads = self.leads().await;
        assert_eq!(leads.len(), 1, "{leads:?}");
        leads[0]
    }

    /// The randomness of the system.
    pub fn entropy(&self) -> &dyn Entropy {
        &*self.platform.entropy
    }

    /// Delivers everything that is due now, without waiting; returns how many claims were settled.
    pub async fn drain(&self) -> usize {
        let mut settled = 0;
        for worker in &self.workers {
            settled += worker.drain(Patience::None, self.stop_at()).await.unwrap().settled;
        }
        settled
    }

    /// Delivers what is due now, and ignores errors of the table.
    pub async fn drain_what_works(&self) {
        for worker in &self.workers {
            drop(worker.drain(Patience::None, self.stop_at()).await);
        }
    }

    /// Lets time pass in which no worker runs.
    pub fn pass(&self, seconds: i64) {
        self.clock.set(after(self.now(), seconds));
    }

    /// Lets time pass. Every worker runs whenever something falls due, and repeatedly while something
    /// is overdue, as the schedule would have it.
    pub async fn advance(&self, by: SignedDuration) {
        let end = self.now().checked_add(by).unwrap();
        let every_s = if by <= SignedDuration::from_hours(1) { 60 } else { 300 };
        self.drain().await;
        loop {
            let now = self.now();
            let open = self.open().await;
            let falls_due = open.iter().map(|due| due.due_at).filter(|due_at| *due_at > now).min();
            let overdue = open.iter().any(|due| due.due_at <= now).then(|| after(now, every_s));
            let Some(next) = falls_due.into_iter().chain(overdue).min().filter(|next| *next <= end)
            else {
                break;
            };
            self.clock.set(next);
            self.drain().await;
        }
        self.clock.set(end);
    }

    /// What is pending or leased, for all leads.
    async fn open(&self) -> Vec<Due> {
        let mut open = Vec::new();
        for destination in destination::ALL {
            let end = END_OF_TIME.parse().unwrap();
            open.extend(self.store.due(destination.name, end, 1000).await.unwrap());
        }
        open
    }

    /// Everything that happened to a lead.
    pub async fn journey(&self, lead: LeadId) -> Journey {
        let journey = self.store.journey(lead).await.unwrap().unwrap();
        assert_eq!(journey.unread, 0, "every item of a lead can be read");
        journey
    }

    /// The states of a lead's deliveries, sorted: `crm/lead delivered`, `ga4/event skipped reason`.
    pub async fn states(&self, lead: LeadId) -> Vec<String> {
        let deliveries = self.journey(lead).await.deliveries;
        let mut states: Vec<String> = deliveries
            .iter()
            .map(|Delivery { destination, slot, state, .. }| {
                let reason = state.reason().map(|why| format!(" {why}")).unwrap_or_default();
                format!("{destination}/{slot} {}{reason}", state.name())
            })
            .collect();
        states.sort();
        states
    }

    /// A lead's only delivery to a destination.
    pub async fn delivery(&self, lead: LeadId, destination: &str) -> Delivery {
        let mut deliveries = self.store.deliveries_of(lead, destination).await.unwrap();
        assert_eq!(deliveries.len(), 1, "{deliveries:?}");
        deliveries.remove(0)
    }

    /// The key of that delivery in the table.
    pub async fn delivery_key(&self, lead: LeadId, destination: &str) -> DeliveryKey {
        DeliveryKey::from(&self.delivery(lead, destination).await)
    }

    /// The requests that a provider received, as `METHOD path`.
    pub fn requests(&self, provider: &str) -> Vec<String> {
        let received = self.providers.received(provider);
        received.iter().map(|one| format!("{} {}", one.method, one.path)).collect()
    }

    /// When a provider got its requests, in seconds since `from`.
    pub fn request_times(&self, provider: &str, from: Timestamp) -> Vec<i64> {
        let received = self.providers.received(provider);
        let second = |at: &str| at.parse::<Timestamp>().unwrap().duration_since(from).as_secs();
        received.iter().map(|one| second(&one.at)).collect()
    }

    /// Makes a contact in the CRM, as a person does by hand.
    pub async fn make_contact(&self, client: &reqwest::Client, contact: &Value) {
        let url = format!("{}/contacts", self.variables["CRM_BASE_URL"]);
        let made = client.post(url).bearer_auth("by-hand").body(contact.to_string());
        assert_eq!(made.send().await.unwrap().status(), 201);
    }

    /// Sends an event of a lead to GA4, as a worker does that dies before it settles the delivery.
    pub async fn reach_ga4(&self, lead: LeadId) {
        let url = format!(
            "{}/mp/collect?measurement_id=G-HAND&api_secret=x",
            self.variables["GA4_BASE_URL"]
        );
        let event = json!({"name": "generate_lead", "params": {"lead_id": lead}});
        let body = json!({"client_id": "1.2", "events": [event]});
        // The provider may be closing connections just now.
        drop(self.platform.http.post(url).body(body.to_string()).send().await);
    }

    /// Sets how many requests a provider gets in all. A provider without a number gets none.
    pub fn expect_requests(&self, provider: &str, requests: usize) {
        self.expected.lock().unwrap().insert(provider.to_owned(), Expected::Exactly(requests));
    }

    /// Says that the test looks at the requests of every destination that is on itself.
    pub fn looks_at_destinations(&self) {
        for name in self.variables["DESTINATIONS"].split(',') {
            self.looks_at(name);
        }
    }

    /// Says that the test looks at a provider's requests itself.
    pub fn looks_at(&self, provider: &str) {
        self.expected.lock().unwrap().insert(provider.to_owned(), Expected::Looked);
    }

    /// Expects the requests for one new lead of [`lead_body`] where every provider works.
    pub fn expect_one_lead(&self) {
        // The CRM gets an upsert and a trigger; MailerLite a look-up, and an upsert for each of two groups;
        // GA4 one event; Segment one batch.
        for (provider, requests) in [("crm", 2), ("mailerlite", 3), ("ga4", 1), ("segment", 1)] {
            self.expect_requests(provider, requests);
        }
    }

    /// Ends the world: nothing is open, and every provider got the expected requests.
    pub async fn finish(mut self) {
        self.finished = true;
        assert_eq!(self.open().await, [], "a delivery was left open");
        let expected = self.expected.lock().unwrap().clone();
        for name in self.providers.names() {
            let requests = self.requests(&name);
            match expected.get(&name).unwrap_or(&Expected::Exactly(0)) {
                Expected::Exactly(count) => {
                    assert_eq!(requests.len(), *count, "{name}: {requests:#?}");
                }
                Expected::Looked => {}
            }
        }
        assert_eq!(self.providers.resubscriptions(), [""; 0], "somebody was resubscribed");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        assert!(
            self.finished || std::thread::panicking(),
            "a test with a world ends with `finish`"
        );
    }
}
