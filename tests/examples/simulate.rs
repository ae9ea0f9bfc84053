//! The long run of the simulation: many seeds, or one again with its history.
//!
//! `cargo run --release -p funil-tests --example simulate -- --seeds 10000`

#![expect(clippy::print_stdout, reason = "a command says what it found")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use funil_tests::simulation::{Counts, Lived, simulate};
use indicatif::{ProgressBar, ProgressStyle};

/// How many lines of a failed seed's history are shown.
const LAST_LINES: usize = 15;

/// Lives through what seeds draw, and checks what must hold.
#[derive(Parser)]
struct Asked {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Replays this one and prints its history.
    #[arg(long)]
    seed: Option<u64>,
    /// How many at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Lives each seed twice, and fails where the two histories differ.
    #[arg(long)]
    twice: bool,
}

fn live(seed: u64) -> Lived {
    simulate(seed, &|runtime| {
        runtime.start_paused(true);
    })
}

fn live_as_asked(seed: u64, twice: bool) -> Lived {
    let mut lived = live(seed);
    if twice {
        let again = live(seed);
        if again.digest != lived.digest {
            let lines = lived.history.iter().zip(&again.history);
            let parted = lines.clone().position(|(one, other)| one != other);
            let at = parted.unwrap_or(lived.history.len().min(again.history.len()));
            let line = |history: &[String]| history.get(at).cloned().unwrap_or_default();
            lived.problems.push(format!(
                "it did not replay; line {at} was\n  {}\nand then\n  {}",
                line(&lived.history),
                line(&again.history)
            ));
        }
    }
    lived
}

fn replay(seed: u64, twice: bool) -> ExitCode {
    let lived = live_as_asked(seed, twice);
    for line in &lived.history {
        println!("{line}");
    }
    println!("\nseed {seed}, history {:016x}, {} lines", lived.digest, lived.history.len());
    for problem in &lived.problems {
        println!("does not hold: {problem}");
    }
    if lived.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn add(total: &mut Counts, of: &Counts) {
    total.table_requests += of.table_requests;
    total.table_faults += of.table_faults;
    total.provider_requests += of.provider_requests;
    total.crashes += of.crashes;
    total.outages += of.outages;
    total.leads += of.leads;
    total.events += of.events;
    total.delivered += of.delivered;
    total.skipped += of.skipped;
    total.unknown += of.unknown;
    total.dead += of.dead;
    total.bookings += of.bookings;
    total.messages += of.messages;
}

fn main() -> ExitCode {
    let asked = Asked::parse();
    // A seed that panics is reported with its seed, below.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(seed) = asked.seed {
        return replay(seed, asked.twice);
    }
    let begun = Instant::now();
    let bar = ProgressBar::new(asked.seeds);
    let style = "{bar:40} {pos}/{len} seeds, {per_sec}, {eta} to go, {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let next = AtomicU64::new(asked.from);
    let end = asked.from + asked.seeds;
    let total = Mutex::new(Counts::default());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..asked.jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let lived = live_as_asked(seed, asked.twice);
                    if let Ok(mut total) = total.lock() {
                        add(&mut total, &lived.counts);
                    }
                    if !lived.problems.is_empty()
                        && let Ok(mut failed) = failed.lock()
                    {
                        let from = lived.history.len().saturating_sub(LAST_LINES);
                        let last = lived.history.get(from..).unwrap_or_default().join("\n");
                        bar.suspend(|| {
                            println!("seed {seed} fails:");
                            for problem in &lived.problems {
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
    summarise(&asked, &counts, took);
    for seed in &failed {
        println!(
            "seed {seed} failed: cargo run --release -p funil-tests --example simulate -- \
             --seed {seed}"
        );
    }
    if failed.is_empty() {
        println!("every seed held");
        ExitCode::SUCCESS
    } else {
        println!("{} of {} seeds failed", failed.len(), asked.seeds);
        ExitCode::FAILURE
    }
}

fn summarise(asked: &Asked, counts: &Counts, took: std::time::Duration) {
    println!(
        "{} seeds from {}{}",
        asked.seeds,
        asked.from,
        if asked.twice { ", twice" } else { "" }
    );
    println!(
        "{} leads, {} events, {} bookings, {} WhatsApp messages",
        counts.leads, counts.events, counts.bookings, counts.messages
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
        let seeds = u32::try_from(asked.seeds).unwrap_or(u32::MAX);
        f64::from(seeds) / took.as_secs_f64()
    });
}
