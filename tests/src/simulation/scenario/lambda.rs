//! Lambda, as far as a scenario needs it: executions side by side, cold starts, the queue of asynchronous
//! invocations, the poller of the table's stream, and the schedule.
//!
//! It must not know what a function does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use funil_core::clock::after;
use funil_core::settings::Env;
use funil_dev::functions;
use funil_lambda::Function;
use funil_store::Platform;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::front::Front;
use super::{Plan, destinations};

/// What the names of the functions begin with.
pub(super) const PREFIX: &str = "funil-";
/// How long a new execution environment takes to begin (`docs/platforms.md`, "Sizes and starts"), the
/// platform's own part included.
const COLD_START: Duration = Duration::from_millis(120);
/// After this time Lambda ends an invocation.
const INVOCATION: Duration = Duration::from_mins(1);
/// How often a shard of the stream is looked at, and how many records one invocation gets at most (Lambda
/// Developer Guide, "Using Lambda with DynamoDB").
const POLLED_EVERY: Duration = Duration::from_millis(250);
const BATCH: usize = 100;
/// How long a throttled invocation waits before it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the schedule invokes `dispatch`.
const SCHEDULE: Duration = Duration::from_mins(1);

/// Makes what a new execution environment has.
type Make = Box<dyn Fn(&'static str) -> (Platform, Env) + Send + Sync>;

/// An execution environment, which handles one invocation at a time.
struct Container {
    function: Function,
    platform: Platform,
}

/// What happened on Lambda.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) invocations: u64,
    pub(super) cold_starts: u64,
    /// Invocations whose caller waits and that found no room.
    pub(super) throttled: u64,
    /// How many executions are under way now.
    pub(super) under_way: usize,
    /// The most executions side by side.
    pub(super) side_by_side: usize,
    /// The longest that an asynchronous invocation waited.
    pub(super) longest_wait: Duration,
    /// How long all invocations took together.
    pub(super) billed: Duration,
}

/// The simulated AWS account: its functions and how many may be executed at once.
pub(super) struct Lambda {
    make: Make,
    /// What the functions share for which nothing is reserved.
    unreserved: Arc<Semaphore>,
    /// Of the functions that deliver.
    reserved: BTreeMap<&'static str, Arc<Semaphore>>,
    idle: Mutex<BTreeMap<String, Vec<Container>>>,
    counts: Mutex<Counts>,
}

/// There was no room for an invocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Throttled;

/// What an invocation takes up.
type Room = OwnedSemaphorePermit;

impl Lambda {
    pub(super) fn new(plan: &Plan, make: Make) -> Arc<Self> {
        let reserved =
            destinations().map(|one| (one.function, Arc::new(Semaphore::new(plan.reserved))));
        let reserved: BTreeMap<_, _> = reserved.collect();
        Arc::new(Self {
            make,
            // What is reserved for some functions is taken from what the others may have.
            unreserved: Arc::new(Semaphore::new(
                plan.concurrency.saturating_sub(plan.reserved * reserved.len()).max(1),
            )),
            reserved,
            idle: Mutex::default(),
            counts: Mutex::default(),
        })
    }

    /// What happened so far.
    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap()
    }

    /// Follows asynchronous invocations, the stream and the schedule until the runtime ends.
    pub(super) fn follow(
        self: &Arc<Self>,
        front: &Arc<Front>,
        mut queued: mpsc::UnboundedReceiver<(String, Value)>,
    ) {
        let lambda = Arc::clone(self);
        tokio::spawn(async move {
            while let Some((name, event)) = queued.recv().await {
                let name = name.trim_start_matches(PREFIX).to_owned();
                tokio::spawn(Arc::clone(&lambda).invoke_later(name, event));
            }
        });
        for shard in 0..front.stream.len() {
            tokio::spawn(Arc::clone(self).poll(Arc::clone(front), shard));
        }
        let lambda = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SCHEDULE).await;
                let event = json!({
                    "source": "aws.events", "detail-type": "Scheduled Event", "detail": {},
                });
                tokio::spawn(Arc::clone(&lambda).invoke_later("dispatch".to_owned(), event));
            }
        });
    }

    /// Invokes a function whose caller waits for the response.
    pub(super) async fn invoke(&self, name: &str, event: Value) -> Result<Value, Throttled> {
        let room = self.room(name).ok_or_else(|| {
            self.counts.lock().unwrap().throttled += 1;
            Throttled
        })?;
        Ok(self.execute(name, event, room).await)
    }

    /// What a function takes its room from.
    fn rooms(&self, name: &str) -> Arc<Semaphore> {
        Arc::clone(self.reserved.get(name).unwrap_or(&self.unreserved))
    }

    fn room(&self, name: &str) -> Option<Room> {
        self.rooms(name).try_acquire_owned().ok()
    }

    /// An asynchronous invocation waits in its function's queue until there is room.
    async fn invoke_later(self: Arc<Self>, name: String, event: Value) {
        let since = Instant::now();
        let room = self.rooms(&name).acquire_owned().await.unwrap();
        {
            let mut counts = self.counts.lock().unwrap();
            counts.longest_wait = counts.longest_wait.max(since.elapsed());
        }
        self.execute(&name, event, room).await;
    }

    async fn execute(&self, name: &str, event: Value, room: Room) -> Value {
        {
            let mut counts = self.counts.lock().unwrap();
            counts.invocations += 1;
            counts.under_way += 1;
            counts.side_by_side = counts.side_by_side.max(counts.under_way);
        }
        let warm = self.idle.lock().unwrap().get_mut(name).and_then(Vec::pop);
        let container = if let Some(container) = warm {
            container
        } else {
            self.counts.lock().unwrap().cold_starts += 1;
            tokio::time::sleep(COLD_START).await;
            self.start(name)
        };
        let started = Instant::now();
        let stop_at = after(container.platform.clock.now(), 60);
        let work = container.function.invoke(event, stop_at);
        let ended = tokio::time::timeout(INVOCATION, work).await;
        {
            let mut counts = self.counts.lock().unwrap();
            counts.billed += started.elapsed();
            counts.under_way -= 1;
        }
        drop(room);
        match ended {
            Ok(response) => {
                self.idle.lock().unwrap().entry(name.to_owned()).or_default().push(container);
                response
            }
            Err(_) => json!({"statusCode": 504}),
        }
    }

    fn start(&self, name: &str) -> Container {
        let of_deliveries = destinations().map(|one| one.function);
        let names = of_deliveries.chain(["dispatch", "lead-submit"]);
        let name = { names }.find(|one| *one == name).unwrap();
        let (platform, env) = (self.make)(name);
        let all = functions::all(&env, &platform).unwrap();
        let function = all.into_iter().find(|function| function.name == name).unwrap();
        Container { function, platform }
    }

    /// Invokes `dispatch` with what a shard of the stream has, one batch after another.
    async fn poll(self: Arc<Self>, front: Arc<Front>, shard: usize) {
        let shard = &front.stream[shard];
        loop {
            let batch: Vec<Value> = {
                let mut records = shard.records.lock().unwrap();
                let count = records.len().min(BATCH);
                records.drain(..count).collect()
            };
            if batch.is_empty() {
                shard.arrived.notified().await;
                tokio::time::sleep(POLLED_EVERY).await;
                continue;
            }
            while self.invoke("dispatch", json!({"Records": batch})).await.is_err() {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
