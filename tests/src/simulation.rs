//! A simulation that is drawn from a seed, and a checker over its history: many people, duplicates,
//! outages, wrong clocks, workers side by side, and processes that die at any request.
//!
//! One thread runs everything, in a time that passes only when nothing else happens, so a seed can be
//! run again exactly, request by request. The system is the real one: functions, workers, SDK and HTTP
//! client; only the table is an emulator in the same thread.

mod chance;
mod check;
mod front;
mod life;
mod quiet;
pub mod scenario;
mod system;
mod watch;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use tokio::runtime::Builder;

pub use watch::Counts;

use life::Life;
use quiet::Quiet;
use system::System;
use watch::Watch;

/// How many steps are drawn for a seed.
const STEPS: u64 = 32;

/// What a run of the simulation found.
#[derive(Debug)]
pub struct Run {
    /// The seed that the run's random numbers come from.
    pub seed: u64,
    /// What happened: a line for each request, and for each thing that was drawn.
    pub history: Vec<String>,
    /// A digest of the history, by which a run and its second run are compared.
    pub digest: u64,
    /// What should have held and did not.
    pub problems: Vec<String>,
    /// How often each kind of thing happened.
    pub counts: Counts,
    /// The functions that the seed sent nothing to, but for those of destinations, whose workers run
    /// by themselves.
    pub not_invoked: BTreeSet<&'static str>,
}

/// Runs the simulation of a seed. `pause` has to start the runtime with its time paused, which only
/// tests and examples may.
pub fn simulate(seed: u64, pause: &dyn Fn(&mut Builder)) -> Run {
    let quiet = Quiet::default();
    let runtime = quiet.runtime(pause);
    let watch = {
        let _inside = runtime.enter();
        Arc::new(Mutex::new(Watch::new()))
    };
    let watched = Arc::clone(&watch);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async move {
            let system = Arc::new(System::start(seed, quiet, watched).await);
            Life::of(&system).run(STEPS).await;
            check::check(&system).await;
        });
    }));
    let mut watch = watch.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Err(panic) = ended {
        let message = panic.downcast_ref::<String>().cloned();
        let message =
            message.or_else(|| panic.downcast_ref::<&str>().map(|message| (*message).to_owned()));
        watch.problems.push(format!("a panic: {}", message.unwrap_or_default()));
    }
    Run {
        seed,
        history: std::mem::take(&mut watch.lines),
        digest: watch.digest(),
        problems: std::mem::take(&mut watch.problems),
        counts: watch.counts,
        not_invoked: std::mem::take(&mut watch.not_invoked),
    }
}
