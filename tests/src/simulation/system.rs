//! The system that a simulation runs: its processes, each with a clock of its own that may be wrong, and
//! the one socket through which they reach the table and the providers.
//!
//! It must not know what is going to happen.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use funil_core::clock::{Clock, Entropy, after};
use funil_core::destination::{self, mailerlite};
use funil_core::hash::HashKey;
use funil_core::settings::Env;
use funil_delivery::Worker;
use funil_dev::emulator::Embedded;
use funil_dev::functions;
use funil_dev::simulated::Providers;
use funil_lambda::Function;
use funil_store::{AwsConfig, Platform, Store, Stream, TablePatience};
use http::{HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::sync::{Mutex as Queue, Notify, mpsc};
use tokio::time::Instant;

use super::chance::Chance;
use super::front::{Front, Weather};
use super::life::{Appointment, Charge, Sent};
use super::quiet::Quiet;
use super::watch::Watch;
use crate::table_limits::{Limits, TableLimits};
use crate::world::{BEGINNING, HASH_KEY, environment};

/// After this time the platform ends an invocation.
const INVOCATION: Duration = Duration::from_mins(1);
/// How many processes accept requests.
const INTAKES: usize = 2;
/// How many processes deliver.
const WORKERS: usize = 3;

static REGIONS: AtomicU64 = AtomicU64::new(0);

/// The clock of a process, which is wrong by `skew_ms`.
#[derive(Debug)]
pub(super) struct SkewedClock {
    pub(super) begun: Instant,
    pub(super) skew_ms: i64,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.begun.elapsed().as_millis()).unwrap() + self.skew_ms;
        let beginning: Timestamp = BEGINNING.parse().unwrap();
        beginning.checked_add(SignedDuration::from_millis(passed)).unwrap()
    }
}

/// A process, whose invocations all end when it dies.
pub(super) struct Process {
    pub(super) platform: Platform,
    /// All functions, in a process that accepts requests.
    functions: Vec<Function>,
    /// One for each destination, in the registry's order, in a process that delivers.
    pub(super) workers: Vec<Worker>,
    death: Arc<Notify>,
    watch: Arc<Mutex<Watch>>,
}

impl Process {
    /// A function by its name, which is going to be invoked.
    pub(super) fn function(&self, name: &str) -> &Function {
        let function = self.functions.iter().find(|function| function.name == name).unwrap();
        self.watch.lock().unwrap().not_invoked.remove(name);
        function
    }

    /// When the platform ends an invocation that begins now.
    pub(super) fn stop_at(&self) -> Timestamp {
        after(self.platform.clock.now(), 60)
    }

    /// Runs an invocation; `None` where the process died or the invocation took too long.
    pub(super) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.death.notified() => None,
            done = tokio::time::timeout(INVOCATION, work) => done.ok(),
        }
    }
}

/// The whole system, with what it was sent so far.
pub(super) struct System {
    pub(super) chance: Chance,
    pub(super) front: Arc<Front>,
    pub(super) watch: Arc<Mutex<Watch>>,
    /// The process of the checker, which also works at the end of a run. Nothing goes wrong with its
    /// requests to the table, and it does not die.
    pub(super) owner: Process,
    pub(super) store: Store,
    pub(super) hash: HashKey,
    /// The variables of every process but the owner's.
    pub(super) env: Env,
    pub(super) intakes: Vec<Arc<Process>>,
    pub(super) workers: Vec<Arc<Process>>,
    /// The process that the schedule and the stream invoke; it accepts requests, too.
    pub(super) dispatcher: Arc<Process>,
    /// Every request to our functions, and whether it was accepted.
    pub(super) outbox: Mutex<Vec<Sent>>,
    /// The bookings, as the calendar knows them.
    pub(super) calendar: Mutex<Vec<Appointment>>,
    /// The payments, as Stripe knows them.
    pub(super) charges: Mutex<Vec<Charge>>,
    /// The status updates that each WhatsApp message gets, by the name of its delivery.
    pub(super) fates: Mutex<BTreeMap<String, &'static [&'static str]>>,
    /// Whether clocks are wrong by more than leases allow for.
    pub(super) clocks_are_wrong: bool,
    /// The functions that were rung and did not run yet.
    pub(super) rung: Queue<mpsc::UnboundedReceiver<(String, Value)>>,
    _folder: tempfile::TempDir,
}

impl System {
    /// Makes the table and starts every process.
    pub(super) async fn start(seed: u64, quiet: Quiet, watch: Arc<Mutex<Watch>>) -> Self {
        // The SDK draws its retries' delays from the thread's generator.
        fastrand::seed(seed);
        let chance = Chance::of_seed(seed);
        let begun = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let (bell, rung) = mpsc::unbounded_channel();
        let deaths: Vec<Arc<Notify>> = (0..=INTAKES + WORKERS).map(|_| Arc::default()).collect();
        let front = Arc::new(Front {
            emulator: Embedded::memory().unwrap(),
            providers: providers(begun),
            chance: Chance::of_seed(seed ^ 0x5eed),
            quiet,
            watch: Arc::clone(&watch),
            weather: Weather::default(),
            limits: Mutex::new(TableLimits::new(limits(&chance))),
            begun,
            deaths: deaths.clone(),
            rung: bell,
        });
        Arc::clone(&front).listen(UnixListener::bind(&socket).unwrap());
        let address = "127.0.0.1:80".parse().unwrap();
        let (env, env_of_owner) = environments(&chance, address);
        let clocks_are_wrong = chance.once_in(8);
        if clocks_are_wrong {
            // Five minutes of one clock may be over before those of another begin.
            watch.lock().unwrap().same_form_ms = 0;
        }
        let most_ms = if clocks_are_wrong { 300_000 } else { chance.of(&[1, 2_000]) };
        watch.lock().unwrap().most_skew_ms = u128::from(most_ms);
        let process = |number: usize| {
            let skew_ms = match number {
                0 => 0,
                _ => {
                    i64::try_from(chance.below(2 * most_ms)).unwrap()
                        - i64::try_from(most_ms).unwrap()
                }
            };
            let entropy: Arc<dyn Entropy> = Arc::new(Chance::of_seed(chance.next()));
            let clock = Arc::new(SkewedClock { begun, skew_ms });
            Process {
                platform: Platform {
                    clock,
                    entropy,
                    http: client(&socket, HeaderValue::from(number)),
                    table_patience: TablePatience::default(),
                    totals: Arc::default(),
                },
                functions: Vec::new(),
                workers: Vec::new(),
                death: Arc::clone(&deaths[number]),
                watch: Arc::clone(&watch),
            }
        };
        let owner = process(0);
        let aws = AwsConfig::read(&mut env.settings()).unwrap();
        let store = Store::connect(&aws, "funil", &owner.platform);
        let hash = HashKey::new(HASH_KEY).unwrap();
        store.create_table(&hash, Stream::Off).await.unwrap();
        let with_functions = |mut process: Process| {
            process.functions = functions::all(&env, &process.platform).unwrap();
            process
        };
        let with_workers = |mut process: Process| {
            process.workers = workers_of(&env, &process.platform);
            process
        };
        let intakes: Vec<Arc<Process>> =
            (1..=INTAKES).map(|number| Arc::new(with_functions(process(number)))).collect();
        let delivering = 1 + INTAKES..=INTAKES + WORKERS;
        watch.lock().unwrap().workers = delivering.clone().chain([0]).collect();
        let workers = delivering.map(|number| Arc::new(with_workers(process(number)))).collect();
        let dispatcher = Arc::clone(&intakes[0]);
        let owner = with_everything(owner, &env_of_owner);
        // The destinations' workers run by themselves.
        let names = owner.functions.iter().map(|function| function.name);
        watch.lock().unwrap().not_invoked =
            names.filter(|name| destination::ALL.iter().all(|one| one.function != *name)).collect();
        Self {
            chance,
            front,
            watch,
            owner,
            store,
            hash,
            env,
            intakes,
            workers,
            dispatcher,
            outbox: Mutex::default(),
            calendar: Mutex::default(),
            charges: Mutex::default(),
            fates: Mutex::default(),
            clocks_are_wrong,
            rung: Queue::new(rung),
            _folder: folder,
        }
    }

    /// The true time.
    pub(super) fn now(&self) -> Timestamp {
        self.owner.platform.clock.now()
    }
}

/// The simulated providers, with the true time.
pub(super) fn providers(begun: Instant) -> Providers {
    let clock = SkewedClock { begun, skew_ms: 0 };
    let providers = Providers::new(Arc::new(move || clock.now().to_string()));
    providers.make_fields(mailerlite::FIELDS);
    providers
}

/// The table's limits: none, or so narrow that a few requests at once meet them.
fn limits(chance: &Chance) -> Limits {
    Limits {
        index_lags: Duration::from_millis(chance.of(&[0, 100, 500])),
        ..Limits::of_keys(chance.of(&[f64::INFINITY, f64::INFINITY, 60.0, 25.0]))
    }
}

/// A process that accepts requests and delivers.
fn with_everything(process: Process, env: &Env) -> Process {
    let functions = functions::all(env, &process.platform).unwrap();
    let workers = workers_of(env, &process.platform);
    Process { functions, workers, ..process }
}

/// The environment of the system, with rings and shards that are drawn, and that of the checker's own
/// process, which works like an operator, who waits for no ring.
fn environments(chance: &Chance, address: SocketAddr) -> (Env, Env) {
    let of_owner = environment_of_all(address);
    let mut drawn = of_owner.clone();
    drawn.insert("RINGS".to_owned(), chance.of(&["none", "stream", "http"]).to_owned());
    drawn.insert("DUE_SHARDS".to_owned(), chance.of(&["1", "1", "3", "16"]).to_owned());
    (drawn.into_iter().collect(), of_owner.into_iter().collect())
}

/// An environment in which every destination of the registry is on, against its simulated provider.
fn environment_of_all(address: SocketAddr) -> BTreeMap<String, String> {
    let mut variables = environment("funil", "http://127.0.0.1:80", address);
    variables.insert("DOORBELL_URL".to_owned(), "http://127.0.0.1:80/ring".to_owned());
    // The SDK keeps one budget of retries for each region in a real process, so each run has a region
    // of its own.
    variables.insert("AWS_REGION".to_owned(), region_of_its_own());
    let names: Vec<&str> = destination::ALL.iter().map(|destination| destination.name).collect();
    variables.insert("DESTINATIONS".to_owned(), names.join(","));
    variables.insert("DEAL_PURPOSES".to_owned(), "contact,ads".to_owned());
    // Before the last reminder of a call whose link was not ready, Calendly is asked for the link.
    variables.insert("CALENDLY_BASE_URL".to_owned(), Providers::base_url(address, "calendly"));
    variables.insert("CALENDLY_API_TOKEN".to_owned(), "calendly-token".to_owned());
    variables
}

/// A region that no other process of any run has.
pub(super) fn region_of_its_own() -> String {
    format!("simulated-{}", REGIONS.fetch_add(1, Ordering::Relaxed))
}

fn workers_of(env: &Env, platform: &Platform) -> Vec<Worker> {
    let connectors = destination::CONNECTORS.iter();
    connectors.map(|connector| Worker::connect(connector, env, platform).unwrap()).collect()
}

/// The production client's settings, over the simulation's socket, for the process of this name.
pub(super) fn client(socket: &std::path::Path, process: HeaderValue) -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut headers = HeaderMap::new();
    headers.insert("x-process", process);
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .unix_socket(socket)
        .connect_timeout(Duration::from_secs(2))
        .pool_idle_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .default_headers(headers)
        .build()
        .unwrap()
}
