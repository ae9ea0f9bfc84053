//! Runs many seeds of the simulation, or one seed with its history.
//!
//! `cargo run --release -p funil-tests --example simulate -- --seeds 10000`

#![expect(clippy::print_stdout, reason = "a command prints what it found")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use funil_tests::simulation::{Counts, Run, simulate};
use indicatif::{ProgressBar, ProgressStyle};

/// How many lines of a failed seed's history are shown.
const LAST_LINES: usize = 15;

/// Runs seeds of the simulation, and checks what must hold.
#[derive(Parser)]
struct Options {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Runs only this seed and prints its history.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds to run at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Runs each seed twice, and fails where the two histories differ.
    #[arg(long)]
    twice: bool,
}

fn run(seed: u64) -> Run {
    simulate(seed, &|runtime| {
        runtime.start_paused(true);
    })
}

fn run_and_compare(seed: u64, twice: bool) -> Run {
    let mut first = run(seed);
    if twice {
        let again = run(seed);
        if again.digest != first.digest {
            let lines = first.history.iter().zip(&again.history);
            let differs = lines.clone().position(|(one, other)| one != other);
            let at = differs.unwrap_or(first.history.len().min(again.history.len()));
            let line = |history: &[String]| history.get(at).cloned().unwrap_or_default();
            first.problems.push(format!(
                "the second run differed; line {at} was\n  {}\nand then\n  {}",
                line(&first.history),
                line(&again.history)
            ));
        }
    }
    first
}

fn run_again(seed: u64, twice: bool) -> ExitCode {
    let run = run_and_compare(seed, twice);
    for line in &run.history {
        println!("{line}");
    }
    println!("\nseed {seed}, history {:016x}, {} lines", run.digest, run.history.len());
    for problem in &run.problems {
        println!("does not hold: {problem}");
    }
    if run.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    let options = Options::parse();
    // A seed that panics is reported with its seed, below.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(seed) = options.seed {
        return run_again(seed, options.twice);
    }
    let begun = Instant::now();
    let bar = ProgressBar::new(options.seeds);
    let style = "{bar:40} {pos}/{len} seeds, {per_sec}, {eta} to go, {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let next = AtomicU64::new(options.from);
    let end = options.from + options.seeds;
    let total = Mutex::new(Counts::default());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let run = run_and_compare(seed, options.twice);
                    if let Ok(mut total) = total.lock() {
                        *total += &run.counts;
                    }
                    if !run.problems.is_empty()
                        && let Ok(mut failed) = failed.lock()
                    {
                        let from = run.history.len().saturating_sub(LAST_LINES);
                        let last = run.history.get(from..).unwrap_or_default().join("\n");
                        bar.suspend(|| {
                            println!("seed {seed} fails:");
                            for problem in &run.problems {
                                println!("  {problem}");
                            }
                            println!("its last lines:\n{last}\n");
                        });
                        failed.push(seed);
                        bar.set_message(format!("{} failed", failed.len()));
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish();
    let took = begun.elapsed();
    let counts = total.into_inner().unwrap_or_default();
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort_unstable();
    summarise(&options, &counts, took);
    for seed in &failed {
        println!(
            "seed {seed} failed: cargo run --release -p funil-tests --example simulate -- \
             --seed {seed}"
        );
    }
    if failed.is_empty() {
        println!("no seed failed");
        ExitCode::SUCCESS
    } else {
        println!("{} of {} seeds failed", failed.len(), options.seeds);
        ExitCode::FAILURE
    }
}

fn summarise(options: &Options, counts: &Counts, took: std::time::Duration) {
    println!(
        "{} seeds from {}{}",
        options.seeds,
        options.from,
        if options.twice { ", twice" } else { "" }
    );
    println!(
        "{} leads, {} events, {} bookings, {} payments, {} WhatsApp messages",
        counts.leads, counts.events, counts.bookings, counts.payments, counts.messages
    );
    println!(
        "deliveries: {} delivered, {} skipped, {} unknown, {} dead",
        counts.delivered, counts.skipped, counts.unknown, counts.dead
    );
    println!(
        "{} crashes, {} outages, {} of {} table requests refused or lost, {} requests to providers",
        counts.crashes,
        counts.outages,
        counts.table_faults,
        counts.table_requests,
        counts.provider_requests
    );
    println!("{:.1} s, {:.1} seeds/s", took.as_secs_f64(), {
        let seeds = u32::try_from(options.seeds).unwrap_or(u32::MAX);
        f64::from(seeds) / took.as_secs_f64()
    });
}
