//! The benchmark to publish: people send forms and book calls while functions are killed, a destination is
//! down for a while and another has a slow tail. Counts what is lost, doubled and late, and what it costs.
//!
//! The functions are the real binaries, each in a process of its own; between them and the embedded table
//! stands a proxy that limits the units of each key as DynamoDB does. Linux only, because it reads `/proc`.
//!
//! `cargo run --release -p funil-tests --example benchmark [-- --help]`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "a command prints what it found")]

mod crowd;
mod functions;
mod outside;
mod raw_log;
mod report;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use funil_core::destination;
use funil_dev::simulated::Behaviour;
use funil_tests::proxy::Proxy;
use funil_tests::table_limits::Limits;
use funil_tests::verdict::Verdict;
use funil_tests::world::{World, list};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use functions::Functions;
use raw_log::RawLog;

/// The destinations that get something; a message on WhatsApp would wait for the day of its call.
const DESTINATIONS: [&str; 5] = ["crm", "mailerlite", "ga4", "segment", "meta"];
/// Those of a form.
const OF_A_FORM: [&str; 4] = ["crm", "mailerlite", "ga4", "segment"];
/// The destination that is down for a while.
const DOWN: &str = "crm";
/// The destination of which one request in a hundred is slow.
const TAIL: &str = "segment";
/// The most time after the last form.
const PATIENCE: Duration = Duration::from_mins(20);

/// Sends forms through the real functions while things go wrong, and counts.
#[derive(Parser)]
struct Options {
    /// How many people send a form; one in ten books a call as well.
    #[arg(long, default_value_t = 10_000)]
    leads: u32,
    /// How many of them in a second.
    #[arg(long, default_value_t = 25)]
    rate: u32,
    /// Write units a second under each key. DynamoDB's own are 1,000.
    #[arg(long, default_value_t = 1_000.0)]
    key_units: f64,
    /// How often each function is killed.
    #[arg(long, default_value_t = 5)]
    kills: u32,
    /// Everything that happened, a line of JSON each.
    #[arg(long, default_value = "target/benchmark.jsonl")]
    log: PathBuf,
    /// Uses the functions in this folder, instead of building them in the dist profile.
    #[arg(long)]
    binaries: Option<PathBuf>,
}

/// Builds the functions in the profile in which they are deployed, and returns their folder.
fn build() -> Option<PathBuf> {
    let packages = functions::NAMES.iter().flat_map(|name| ["-p", name]);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--profile", "dist"]).args(packages).status();
    // The executable of an example is in `target/<profile>/examples`.
    let executable = std::env::current_exe().ok()?;
    let target = executable.ancestors().nth(3)?;
    built.is_ok_and(|status| status.success()).then(|| target.join("dist"))
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let Some(folder) = options.binaries.clone().or_else(build) else {
        println!("the functions could not be built; see above");
        return ExitCode::FAILURE;
    };
    let log = match RawLog::create(&options.log) {
        Ok(log) => Arc::new(log),
        Err(error) => {
            println!("{} cannot be written: {error}", options.log.display());
            return ExitCode::FAILURE;
        }
    };
    let (proxy, table) = Proxy::start().await;
    let (doorbell, rings) = outside::doorbell().await;
    let destinations = list(destination::ALL.iter().filter(|one| DESTINATIONS.contains(&one.name)));
    let world = World::plan()
        .with("DESTINATIONS", &destinations)
        .with("AWS_ENDPOINT_URL_DYNAMODB", &table)
        .with("DOORBELL_URL", &doorbell)
        .with("RINGS", "http")
        .with("MAILERLITE_REQUESTS_PER_MINUTE", "1000000")
        .with("LOG_LEVEL", "warn")
        .start()
        .await;
    tokio::spawn(outside::keep_time(Arc::clone(&world.clock)));
    let providers = outside::providers(&world).await;
    let providers: Vec<_> = providers.iter().map(|(name, url)| (*name, &**url)).collect();
    let env = world.env(&providers);
    proxy.take();
    proxy.limit(Limits::of_keys(options.key_units));

    let variables: Vec<(String, String)> = env.variables().collect();
    let functions = Functions::start(&folder, variables, Arc::clone(&log)).await;
    functions.follow(rings);
    let bar = ProgressBar::new(u64::from(options.leads));
    let style = "{bar:40} {pos}/{len} forms, {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let started = Instant::now();
    let lasts = Duration::from_secs_f64(f64::from(options.leads) / f64::from(options.rate));
    log.write(&json!({"what": "begin", "leads": options.leads, "rate": options.rate}));
    let outage = {
        let (providers, log) = (world.providers.clone(), Arc::clone(&log));
        tokio::spawn(async move {
            tokio::time::sleep(lasts.mul_f64(0.2)).await;
            providers.behave(DOWN, Behaviour::Status(503));
            log.write(&json!({"what": "down", "destination": DOWN}));
            tokio::time::sleep(lasts.mul_f64(0.3)).await;
            providers.behave(DOWN, Behaviour::Normal);
            log.write(&json!({"what": "up", "destination": DOWN}));
        })
    };
    let kills = tokio::spawn(Arc::clone(&functions).kill_each(options.kills, lasts));
    let crowd = crowd::send(&functions, &log, options.leads, options.rate, &bar).await;
    let over = funil_lambda::platform().clock.now();
    let spike = started.elapsed();
    outage.await.unwrap();
    kills.await.unwrap();
    bar.set_message("waiting for what is open");
    while proxy.open_deliveries() > 0 && started.elapsed() < spike + PATIENCE {
        tokio::time::sleep(Duration::from_millis(500)).await;
        bar.set_message(format!("{} deliveries open", proxy.open_deliveries()));
    }
    let took = started.elapsed();
    bar.finish_and_clear();
    let bill = proxy.take();
    let refused_by_key = proxy.refused_by_key();
    let totals = functions.stop().await;
    // What a killed process left is settled a lease later at the latest, so the table is at rest.
    let sent = crowd.everybody();
    let accepted = crowd.accepted();
    let places = (&world.store, &world.providers);
    let verdict = Verdict::of(places, &sent, &accepted, &OF_A_FORM, over).await;
    let report =
        report::Report { options: &options, crowd, verdict, bill, refused_by_key, totals, took };
    println!("{report}");
    log.write(&json!({"what": "report", "text": report.to_string()}));
    println!("raw log: {}", options.log.display());
    let broken = report.verdict.lost + report.verdict.doubled;
    std::mem::forget(world);
    if broken > 0 {
        println!("a promise was broken: something is lost or doubled");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
