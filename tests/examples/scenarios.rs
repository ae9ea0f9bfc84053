//! Runs the simulation's scenarios under scaled-down limits of AWS, and prints what each came to.
//!
//! `cargo run --release -p funil-tests --example scenarios [-- --scale 0.1 [<name>…]]`

#![expect(clippy::print_stdout, reason = "a command prints what it found")]

use std::process::ExitCode;

use clap::Parser;
use funil_tests::simulation::scenario::{Progress, Report, Scenario, Size, run};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Runs a campaign's spike, a provider's bad hour and both at once.
#[derive(Parser)]
struct Options {
    /// The share of AWS's limits, of the leads and of MailerLite's rate.
    #[arg(long, default_value_t = 0.1)]
    scale: f64,
    /// The share of the time that each lasts.
    #[arg(long, default_value_t = 1.0)]
    lasts: f64,
    /// How many to run at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Which ones, by their names: campaign, campaign-on-new-table, campaign-on-raised-table, bad-hour,
    /// black-friday. Without a name, all.
    names: Vec<String>,
}

fn play(scenario: Scenario, size: Size, bar: &ProgressBar) -> Report {
    let show = |progress: Progress| {
        bar.set_length(u64::try_from(progress.people).unwrap_or(u64::MAX));
        bar.set_position(u64::try_from(progress.sent).unwrap_or(0));
        let minutes = progress.time.as_secs() / 60;
        bar.set_message(format!("{} open after {minutes} min", progress.open));
    };
    let report = run(
        scenario,
        size,
        &|runtime| {
            runtime.start_paused(true);
        },
        &show,
    );
    bar.finish_and_clear();
    report
}

fn main() -> ExitCode {
    let options = Options::parse();
    let unknown: Vec<&String> = options
        .names
        .iter()
        .filter(|name| Scenario::ALL.iter().all(|one| one.name() != **name))
        .collect();
    if !unknown.is_empty() {
        println!("there is no scenario {unknown:?}; see --help");
        return ExitCode::FAILURE;
    }
    let is_wanted = |one: &Scenario| {
        options.names.is_empty() || options.names.iter().any(|name| name == one.name())
    };
    let wanted: Vec<Scenario> = Scenario::ALL.into_iter().filter(is_wanted).collect();
    let size = Size { scale: options.scale, lasts: options.lasts };
    let bars = MultiProgress::new();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failed = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some(scenario) =
                    wanted.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let bar = bars.add(ProgressBar::new(1));
                    if let Ok(style) = ProgressStyle::with_template(
                        "{prefix:22} {bar:30} {pos}/{len} forms, {msg}",
                    ) {
                        bar.set_style(style);
                    }
                    bar.set_prefix(scenario.name());
                    let report = play(*scenario, size, &bar);
                    if report.verdict.lost + report.verdict.doubled > 0 {
                        failed.store(true, std::sync::atomic::Ordering::Relaxed);
                    }
                    bars.suspend(|| println!("{report}"));
                }
            });
        }
    });
    if failed.into_inner() {
        println!("a promise was broken: something is lost or doubled");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
