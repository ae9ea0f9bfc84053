//! The functions as processes: several of each, invoked one event at a time, killed and replaced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use funil_dev::runtime_api::{FunctionProcess, InvocationError, Lines};
use serde_json::{Value, json};
use tokio::sync::{Mutex as Queue, Semaphore, mpsc};

use crate::raw_log::RawLog;

/// The functions that are run.
pub(crate) const NAMES: [&str; 8] = [
    "lead-submit",
    "calendar-webhook",
    "dispatch",
    "crm-sync",
    "mailerlite-sync",
    "ga4-events",
    "segment-sync",
    "meta-events",
];
/// How many processes a function has at most. One more is started where all are at work, as on Lambda.
const PROCESSES_MAX: usize = 32;
/// After this time an invocation is ended, in seconds.
const INVOCATION_S: u64 = 60;
/// How often the schedule invokes `dispatch`.
const SCHEDULE: Duration = Duration::from_mins(1);
/// How long a kill waits for a process that is at work.
const AT_WORK: Duration = Duration::from_secs(5);

/// What a function took, over all of its processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) invocations: u64,
    /// How many processes were started.
    pub(crate) processes: u32,
    pub(crate) kills: u32,
    pub(crate) cpu: Duration,
    /// The most memory that one process had, in kB.
    pub(crate) peak_kb: u64,
}

struct Pool {
    idle: Queue<Vec<FunctionProcess>>,
    room: Semaphore,
    /// The ids of the processes that are at work.
    busy: Mutex<Vec<u32>>,
    totals: Mutex<Totals>,
}

/// Every function, with its processes.
pub(crate) struct Functions {
    folder: PathBuf,
    variables: Vec<(String, String)>,
    log: Arc<RawLog>,
    pools: BTreeMap<&'static str, Pool>,
}

impl Functions {
    pub(crate) async fn start(
        folder: &Path,
        variables: Vec<(String, String)>,
        log: Arc<RawLog>,
    ) -> Arc<Self> {
        let pool = || Pool {
            idle: Queue::default(),
            room: Semaphore::new(PROCESSES_MAX),
            busy: Mutex::default(),
            totals: Mutex::default(),
        };
        let pools = NAMES.iter().map(|name| (*name, pool())).collect();
        let functions = Self { folder: folder.to_owned(), variables, log, pools };
        // What cannot start shows now.
        for (name, pool) in &functions.pools {
            pool.idle.lock().await.push(functions.begin(name).await);
        }
        Arc::new(functions)
    }

    async fn begin(&self, name: &str) -> FunctionProcess {
        let binary = self.folder.join(name);
        self.pools[name].totals.lock().unwrap().processes += 1;
        let started = FunctionProcess::start(&binary, self.variables.clone(), Lines::Kept).await;
        started.unwrap_or_else(|error| panic!("{} does not start: {error}", binary.display()))
    }

    /// Invokes what is rung, and `dispatch` each minute, until the runtime ends.
    pub(crate) fn follow(self: &Arc<Self>, mut rings: mpsc::UnboundedReceiver<(String, Value)>) {
        let functions = Arc::clone(self);
        tokio::spawn(async move {
            while let Some((name, event)) = rings.recv().await {
                let functions = Arc::clone(&functions);
                tokio::spawn(async move { drop(functions.invoke(&name, event).await) });
            }
        });
        let functions = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SCHEDULE).await;
                let event = json!({
                    "source": "aws.events", "detail-type": "Scheduled Event", "detail": {},
                });
                drop(functions.invoke("dispatch", event).await);
            }
        });
    }

    /// Invokes a function as soon as one of its processes is idle.
    pub(crate) async fn invoke(&self, name: &str, event: Value) -> Result<Value, InvocationError> {
        let pool = &self.pools[name];
        let room = pool.room.acquire().await.unwrap();
        let idle = pool.idle.lock().await.pop();
        let mut process = match idle {
            Some(idle) => idle,
            None => self.begin(name).await,
        };
        let id = process.id().unwrap_or_default();
        pool.busy.lock().unwrap().push(id);
        pool.totals.lock().unwrap().invocations += 1;
        let response = process.invoke(event, INVOCATION_S).await;
        pool.busy.lock().unwrap().retain(|busy| *busy != id);
        if let Err(InvocationError::Ended { .. } | InvocationError::TimedOut { .. }) = &response {
            process.kill().await;
            self.keep_lines(name, &process);
            process = self.begin(name).await;
        }
        pool.idle.lock().await.push(process);
        drop(room);
        response
    }

    /// Kills a process of each function so many times, while it is at work if it is in time.
    pub(crate) async fn kill_each(self: Arc<Self>, times: u32, within: Duration) {
        let count = u32::try_from(NAMES.len()).unwrap() * times;
        if count == 0 {
            return;
        }
        let pause = within.mul_f64(0.9) / count;
        for number in 0..count {
            let name = NAMES[usize::try_from(number).unwrap() % NAMES.len()];
            let patience = AT_WORK.min(pause);
            let id = tokio::time::timeout(patience, self.at_work(name)).await;
            if let Ok(id) = id {
                self.add_up(name, id);
                let killed = Command::new("kill").args(["-9", &id.to_string()]).status();
                let killed = killed.is_ok_and(|status| status.success());
                self.pools[name].totals.lock().unwrap().kills += u32::from(killed);
                self.log.write(&json!({"what": "kill", "function": name, "killed": killed}));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn at_work(&self, name: &str) -> u32 {
        loop {
            let id = self.pools[name].busy.lock().unwrap().last().copied();
            if let Some(id) = id {
                return id;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Adds what a process took, which is going to end.
    fn add_up(&self, name: &str, id: u32) {
        let mut totals = self.pools[name].totals.lock().unwrap();
        totals.cpu += on_cpu(id);
        totals.peak_kb = totals.peak_kb.max(peak_kb(id));
    }

    fn keep_lines(&self, name: &str, process: &FunctionProcess) {
        for line in process.output() {
            let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
            self.log.write(&json!({"what": "log", "function": name, "line": line}));
        }
    }

    /// Ends every process, and returns what each function took.
    pub(crate) async fn stop(&self) -> BTreeMap<&'static str, Totals> {
        let mut totals = BTreeMap::new();
        for (name, pool) in &self.pools {
            let everyone =
                pool.room.acquire_many(u32::try_from(PROCESSES_MAX).unwrap()).await.unwrap();
            for mut process in pool.idle.lock().await.drain(..) {
                if let Some(id) = process.id() {
                    self.add_up(name, id);
                }
                process.kill().await;
                self.keep_lines(name, &process);
            }
            // Nothing is invoked any more.
            everyone.forget();
            totals.insert(*name, *pool.totals.lock().unwrap());
        }
        totals
    }
}

/// How long a process was on the CPU.
fn on_cpu(id: u32) -> Duration {
    let read = std::fs::read_to_string(format!("/proc/{id}/schedstat")).unwrap_or_default();
    let ns = read.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
    Duration::from_nanos(ns)
}

/// The most memory that a process had, in kB.
fn peak_kb(id: u32) -> u64 {
    let read = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let peak = read.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
