//! Simulated CRM, MailerLite, GA4, Segment, Meta, WhatsApp, Brevo and Contact2Sale, for the dev server and the
//! end-to-end tests.
//!
//! Owns the state of all of them: what each received, how each behaves, and the effects that the
//! requests would have had. Any other name is a provider that records requests and responds `{}`.
//! This module must not know the system under test, so it imports none of the other crates.

mod behaviour;
mod brevo;
mod c2s;
mod crm;
mod exchange;
mod ga4;
mod ga4_limits;
mod http;
mod journal;
mod mailerlite;
mod meta;
mod received;
mod segment;
mod turnstile;
mod whatsapp;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;
use tokio::sync::{Notify, oneshot};

pub use behaviour::{Behaviour, UnknownBehaviour};
pub use c2s::{C2sMessage, Person};
pub use ga4::Ga4Event;
pub use mailerlite::GroupJoin;
pub use received::Received;
pub use whatsapp::{WhatsAppMessage, inbound as whatsapp_inbound};

use exchange::{ProviderRequest, ProviderResponse};
use journal::{Entry, Journal};

/// A source of the current time, in RFC 3339.
pub type Clock = Arc<dyn Fn() -> String + Send + Sync>;

/// The providers whose API is simulated.
const SIMULATED: [&str; 9] =
    ["crm", "mailerlite", "ga4", "segment", "meta", "whatsapp", "turnstile", "brevo", "c2s"];

/// The simulated providers. Clones share their state.
#[derive(Clone)]
pub struct Providers {
    shared: Arc<Shared>,
    servers: Arc<Servers>,
}

/// What the routes share. It does not contain the servers, so that a server does not keep itself
/// running.
struct Shared {
    clock: Clock,
    world: Mutex<World>,
    arrived: Notify,
}

/// The servers that were started. Dropping the senders stops them.
struct Servers {
    shared: Arc<Shared>,
    stops: Mutex<Vec<oneshot::Sender<()>>>,
}

/// The state of all providers.
#[derive(Default)]
struct World {
    desks: BTreeMap<String, Desk>,
    /// The requests by serial number, so in order of arrival.
    received: BTreeMap<u64, Received>,
    last_serial: u64,
    crm: crm::Crm,
    mailerlite: mailerlite::MailerLite,
    ga4: ga4::Ga4,
    segment: segment::Segment,
    meta: meta::Meta,
    whatsapp: whatsapp::WhatsApp,
    brevo: brevo::Brevo,
    c2s: c2s::C2s,
    journal: Option<Journal>,
}

/// How one provider treats its requests.
#[derive(Default)]
struct Desk {
    /// For requests after those in the script.
    standing: Behaviour,
    /// For the next requests, one each.
    script: VecDeque<Behaviour>,
    /// Notifies requests that hang to go on.
    hung: Arc<Notify>,
}

impl Providers {
    /// Creates providers that have received nothing and behave normally.
    pub fn new(clock: Clock) -> Self {
        Self::of(clock, World::default())
    }

    /// Creates providers that record what they receive in a file, and start with the requests that
    /// the file already has.
    ///
    /// The file has one JSON object on each line, with secrets masked. Behaviours are not recorded.
    pub fn with_log(clock: Clock, path: impl AsRef<Path>) -> io::Result<Self> {
        let (journal, entries) = Journal::open(path.as_ref())?;
        let mut world = World::default();
        for entry in entries {
            world.restore(entry);
        }
        world.journal = Some(journal);
        Ok(Self::of(clock, world))
    }

    fn of(clock: Clock, world: World) -> Self {
        let shared = Arc::new(Shared { clock, world: Mutex::new(world), arrived: Notify::new() });
        let servers = Servers { shared: Arc::clone(&shared), stops: Mutex::default() };
        Self { shared, servers: Arc::new(servers) }
    }

    /// The base URL of a provider on a server that [`Providers::serve`] started.
    pub fn base_url(address: SocketAddr, name: &str) -> String {
        format!("http://{address}/{name}")
    }

    /// Sets how a provider treats its requests once its script has ended. If that is a change, the
    /// requests that hang are released.
    pub fn behave(&self, provider: &str, behaviour: Behaviour) {
        let mut world = self.shared.lock();
        let desk = world.desk(provider);
        if desk.standing != behaviour {
            desk.standing = behaviour;
            desk.hung.notify_waiters();
        }
    }

    /// Sets how a provider treats its next requests, one behaviour for each request. They are added
    /// to the script.
    pub fn script(&self, provider: &str, one_by_one: impl IntoIterator<Item = Behaviour>) {
        self.shared.lock().desk(provider).script.extend(one_by_one);
    }

    /// How a provider treats its requests once its script has ended.
    pub fn behaviour(&self, provider: &str) -> Behaviour {
        self.read(|world| {
            world.desks.get(provider).map(|desk| desk.standing.clone()).unwrap_or_default()
        })
    }

    /// Releases all requests that hang: [`Behaviour::HangAfterEffect`] responds now,
    /// [`Behaviour::Hang`] closes its connection.
    pub fn release_hung(&self) {
        self.shared.release_hung();
    }

    /// The simulated providers, and all others that received a request or were given a behaviour.
    pub fn names(&self) -> Vec<String> {
        self.read(|world| {
            let seen = world.received.values().map(|received| received.provider.as_str());
            let given = world.desks.keys().map(String::as_str);
            let others: BTreeSet<&str> =
                seen.chain(given).filter(|name| !SIMULATED.contains(name)).collect();
            SIMULATED.into_iter().chain(others).map(str::to_owned).collect()
        })
    }

    /// The requests that a provider received, in order.
    pub fn received(&self, provider: &str) -> Vec<Received> {
        self.read(|world| world.of(provider).cloned().collect())
    }

    /// The requests that all providers received, in order.
    pub fn all_received(&self) -> Vec<Received> {
        self.read(|world| world.received.values().cloned().collect())
    }

    /// Waits until a provider has received this many requests, including those that hang.
    pub async fn until_received(&self, provider: &str, count: usize) {
        loop {
            let arrived = self.shared.arrived.notified();
            if self.read(|world| world.of(provider).count()) >= count {
                return;
            }
            arrived.await;
        }
    }

    /// Removes all requests and all effects, also from the file. Behaviours and scripts stay.
    pub fn clear(&self) {
        let mut world = self.shared.lock();
        let desks = std::mem::take(&mut world.desks);
        let mut journal = world.journal.take();
        if let Some(journal) = &mut journal {
            journal.clear();
        }
        // The serial numbers go on, so that a request that still hangs does not replace another
        // one.
        let last_serial = world.last_serial;
        *world = World { desks, last_serial, journal, ..World::default() };
    }

    /// Sets the status of a MailerLite subscriber (`unsubscribed`, `bounced`, …), as the person or
    /// MailerLite itself would. False if there is no subscriber with this e-mail.
    pub fn set_status(&self, email: &str, status: &str) -> bool {
        let at = (self.shared.clock)();
        let mut world = self.shared.lock();
        let known = world.mailerlite.set_status(email, status, &at);
        if known {
            world.log(&Entry::Status { at, email: email.to_owned(), status: status.to_owned() });
        }
        known
    }

    /// Creates custom fields in the MailerLite account, which ignores values of unknown fields.
    pub fn make_fields<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut world = self.shared.lock();
        for name in names {
            if world.mailerlite.make_field(name) {
                world.log(&Entry::Field { name: name.to_owned() });
            }
        }
    }

    fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.shared.lock())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no holder of this lock panics")
    }

    fn release_hung(&self) {
        for desk in self.lock().desks.values() {
            desk.hung.notify_waiters();
        }
    }
}

impl Servers {
    /// Keeps the sender that stops a server when it is dropped.
    fn stop_with(&self, stop: oneshot::Sender<()>) {
        self.stops.lock().expect("no holder of this lock panics").push(stop);
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // A server stops only when its last request has ended.
        self.shared.release_hung();
    }
}

impl World {
    fn desk(&mut self, provider: &str) -> &mut Desk {
        self.desks.entry(provider.to_owned()).or_default()
    }

    fn of(&self, provider: &str) -> impl Iterator<Item = &Received> {
        self.received.values().filter(move |received| received.provider == provider)
    }

    /// Applies a request to its provider and returns the response.
    fn apply(&mut self, received: &Received, size: usize) -> ProviderResponse {
        let request = ProviderRequest::new(received, size);
        match received.provider.as_str() {
            "crm" => self.crm.response(&request),
            "mailerlite" => self.mailerlite.response(&request),
            "ga4" => self.ga4.response(&request),
            "segment" => self.segment.response(&request),
            "meta" => self.meta.response(&request),
            "whatsapp" => self.whatsapp.response(&request),
            "turnstile" => turnstile::response(&request),
            "brevo" => self.brevo.response(&request),
            "c2s" => self.c2s.response(&request),
            _ => ProviderResponse::json(200, json!({}), "recorded"),
        }
    }

    /// Records a request and returns its serial number.
    fn file(&mut self, received: Received, size: usize, applied: bool) -> u64 {
        if self.journal.is_some() {
            let received = Box::new(received.clone());
            self.log(&Entry::Request { received, size, applied });
        }
        self.last_serial += 1;
        self.received.insert(self.last_serial, received);
        self.last_serial
    }

    fn log(&mut self, entry: &Entry) {
        if let Some(journal) = &mut self.journal {
            journal.append(entry);
        }
    }

    /// Applies an entry of the file again.
    fn restore(&mut self, entry: Entry) {
        match entry {
            Entry::Request { received, size, applied } => {
                if applied {
                    self.apply(&received, size);
                }
                self.file(*received, size, applied);
            }
            Entry::Status { at, email, status } => {
                self.mailerlite.set_status(&email, &status, &at);
            }
            Entry::Field { name } => {
                self.mailerlite.make_field(&name);
            }
            Entry::Person { person } => {
                self.c2s.know(person);
            }
        }
    }
}
