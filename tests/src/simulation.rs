//! A seeded simulation: many people, duplicates, outages, wrong clocks, workers side by side and
//! processes that die at any call, drawn from a seed; and a checker over the history.
//!
//! Everything of one seed happens on one thread, in a time that passes only when nothing else
//! happens, so a seed lives the same life again, call by call. The system is the real one: functions,
//! workers, SDK and HTTP client; only the table's engine answers in the same thread.

mod chance;
mod check;
mod front;
mod life;
mod quiet;
mod system;
mod watch;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use tokio::runtime::Builder;

pub use watch::Counts;

use life::Life;
use quiet::Quiet;
use system::System;
use watch::Watch;

/// How many things are drawn to happen.
const STEPS: u64 = 32;

/// What became of a seed.
#[derive(Debug)]
pub struct Lived {
    /// The seed.
    pub seed: u64,
    /// What happened, call by call.
    pub history: Vec<String>,
    /// A digest of the history: equal if and only if it replayed exactly.
    pub digest: u64,
    /// What did not hold.
    pub problems: Vec<String>,
    /// How much happened.
    pub counts: Counts,
}

/// Lives what a seed draws. `pause` has to start the runtime with its time paused, which only tests
/// and examples may.
pub fn simulate(seed: u64, pause: &dyn Fn(&mut Builder)) -> Lived {
    let quiet = Quiet::default();
    let runtime = quiet.runtime(pause);
    let watch = {
        let _inside = runtime.enter();
        Arc::new(Mutex::new(Watch::new()))
    };
    let watched = Arc::clone(&watch);
    let lived = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async move {
            let system = Arc::new(System::start(seed, quiet, watched).await);
            Life::of(&system).live(STEPS).await;
            check::check(&system).await;
        });
    }));
    let mut watch = watch.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Err(panic) = lived {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        watch.problems.push(format!("a panic: {}", said.unwrap_or_default()));
    }
    Lived {
        seed,
        history: std::mem::take(&mut watch.lines),
        digest: watch.digest(),
        problems: std::mem::take(&mut watch.problems),
        counts: watch.counts,
    }
}
