//! The system of a simulation: its processes, each with a clock of its own that may be wrong, over
//! one table, one set of providers and one socket.
//!
//! It must not know what is drawn to happen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use funil_core::clock::{Clock, Entropy, after};
use funil_core::hash::HashKey;
use funil_core::settings::Env;
use funil_delivery::{Alerts, REQUEST_TIMEOUT, Worker};
use funil_dev::emulator::Embedded;
use funil_dev::simulated::Providers;
use funil_lambda::Function;
use funil_store::{AwsConfig, Platform, Store, Stream, TablePatience};
use http::{HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use tokio::net::UnixListener;
use tokio::sync::{Mutex as Queue, Notify, mpsc};
use tokio::time::Instant;

use super::chance::Chance;
use super::front::{Front, Weather};
use super::quiet::Quiet;
use super::watch::Watch;
use crate::world::{BEGINNING, HASH_KEY, environment};

/// The destinations, and their providers.
pub(super) const DESTINATIONS: [&str; 4] = ["crm", "mailerlite", "ga4", "segment"];
/// The platform ends an invocation after so long.
const INVOCATION: Duration = Duration::from_mins(1);
/// How many processes take forms in.
const INTAKES: usize = 2;
/// How many processes deliver.
const WORKERS: usize = 3;

static REGIONS: AtomicU64 = AtomicU64::new(0);

/// The time that passes, seen by a process whose clock is wrong by so much.
#[derive(Debug)]
struct SkewedClock {
    begun: Instant,
    skew_ms: i64,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.begun.elapsed().as_millis()).unwrap() + self.skew_ms;
        let beginning: Timestamp = BEGINNING.parse().unwrap();
        beginning.checked_add(SignedDuration::from_millis(passed)).unwrap()
    }
}

/// A process: it runs invocations, and all of them end when it dies.
pub(super) struct Process {
    pub(super) platform: Platform,
    pub(super) intake: Option<Function>,
    pub(super) dispatch: Option<Function>,
    pub(super) workers: Vec<Worker>,
    death: Arc<Notify>,
}

impl Process {
    /// When the platform ends an invocation that begins now.
    pub(super) fn stop_at(&self) -> Timestamp {
        after(self.platform.clock.now(), 60)
    }

    /// Runs an invocation; `None` where the process died of it or took too long.
    pub(super) async fn live<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.death.notified() => None,
            done = tokio::time::timeout(INVOCATION, work) => done.ok(),
        }
    }
}

/// Everything there is.
pub(super) struct System {
    pub(super) chance: Chance,
    pub(super) front: Arc<Front>,
    pub(super) watch: Arc<Mutex<Watch>>,
    /// The one who looks: its calls meet no fault.
    pub(super) owner: Process,
    pub(super) store: Store,
    pub(super) hash: HashKey,
    pub(super) intakes: Vec<Arc<Process>>,
    pub(super) workers: Vec<Arc<Process>>,
    pub(super) dispatcher: Arc<Process>,
    /// Whether clocks are wrong by more than leases allow for.
    pub(super) clocks_are_wrong: bool,
    pub(super) rung: Queue<mpsc::UnboundedReceiver<String>>,
    _folder: tempfile::TempDir,
}

impl System {
    /// Starts it.
    pub(super) async fn start(seed: u64, quiet: Quiet, watch: Arc<Mutex<Watch>>) -> Self {
        // The SDK draws its retries' delays from the thread's generator.
        fastrand::seed(seed);
        let chance = Chance::of_seed(seed);
        let begun = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let beginning: Timestamp = BEGINNING.parse().unwrap();
        let telling = move || {
            let passed = i64::try_from(begun.elapsed().as_millis()).unwrap();
            beginning.checked_add(SignedDuration::from_millis(passed)).unwrap().to_string()
        };
        let providers = Providers::new(Arc::new(telling));
        providers.make_fields(["lead_id", "amanda_score", "business_type", "stage"]);
        let (bell, rung) = mpsc::unbounded_channel();
        let processes = 1 + INTAKES + WORKERS + 1;
        let deaths: Vec<Arc<Notify>> = (0..processes).map(|_| Arc::default()).collect();
        let front = Arc::new(Front {
            emulator: Embedded::memory().unwrap(),
            providers,
            chance: Chance::of_seed(seed ^ 0x5eed),
            quiet,
            watch: Arc::clone(&watch),
            weather: Weather::default(),
            deaths: deaths.clone(),
            rung: bell,
        });
        Arc::clone(&front).listen(UnixListener::bind(&socket).unwrap());
        let address = "127.0.0.1:80".parse().unwrap();
        let mut variables = environment("funil", "http://127.0.0.1:80", address);
        variables.insert("DOORBELL_URL".to_owned(), "http://127.0.0.1:80/ring".to_owned());
        // The SDK keeps one budget of retries per region and process of ours: each run has its own.
        let region = format!("simulated-{}", REGIONS.fetch_add(1, Ordering::Relaxed));
        variables.insert("AWS_REGION".to_owned(), region);
        let env: Env = variables.into_iter().collect();
        let clocks_are_wrong = chance.once_in(8);
        if clocks_are_wrong {
            // One clock's five minutes are over before another's begin.
            watch.lock().unwrap().same_call_ms = 0;
        }
        let most_ms = if clocks_are_wrong { 300_000 } else { chance.of(&[1, 2_000]) };
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
                    http: client(&socket, number),
                    table_patience: TablePatience::default(),
                },
                intake: None,
                dispatch: None,
                workers: Vec::new(),
                death: Arc::clone(&deaths[number]),
            }
        };
        let owner = process(0);
        let aws = AwsConfig::read(&mut env.settings()).unwrap();
        let store = Store::connect(&aws, "funil", &owner.platform);
        let hash = HashKey::new(HASH_KEY).unwrap();
        store.create_table(&hash, Stream::Off).await.unwrap();
        let intakes = (1..=INTAKES).map(|number| {
            let mut intake = process(number);
            intake.intake =
                Some(funil_lambda::forms::lead_submit::function(&env, &intake.platform).unwrap());
            Arc::new(intake)
        });
        let intakes = intakes.collect();
        let workers = (1 + INTAKES..=INTAKES + WORKERS).map(|number| {
            let mut worker = process(number);
            worker.workers = workers_of(&env, &worker.platform);
            Arc::new(worker)
        });
        let workers = workers.collect();
        let mut dispatcher = process(processes - 1);
        let alerts = Alerts::connect(&env, &dispatcher.platform).unwrap().into_work();
        let dispatch = funil_lambda::dispatch(&env, &dispatcher.platform, alerts).unwrap();
        dispatcher.dispatch = Some(dispatch);
        let mut owner = owner;
        owner.workers = workers_of(&env, &owner.platform);
        Self {
            chance,
            front,
            watch,
            owner,
            store,
            hash,
            intakes,
            workers,
            dispatcher: Arc::new(dispatcher),
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

fn workers_of(env: &Env, platform: &Platform) -> Vec<Worker> {
    let worker = |name| Worker::connect(name, env, platform).unwrap();
    DESTINATIONS
        .into_iter()
        .map(|name| worker(name).with_request_timeout(REQUEST_TIMEOUT))
        .collect()
}

/// The production client's settings, over the simulation's socket.
fn client(socket: &std::path::Path, process: usize) -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut headers = HeaderMap::new();
    headers.insert("x-process", HeaderValue::from(process));
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
