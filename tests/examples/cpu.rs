//! Measures how long the real functions are on the CPU for a form and for a delivery, and how much memory
//! they take.
//!
//! Linux only, because it reads `/proc`. `cargo build --profile dist -p lead-submit -p segment-sync -p
//! crm-sync -p mailerlite-sync -p ga4-events && cargo run --release -p funil-tests --example cpu --
//! target/dist`
//!
//! With the same work in JavaScript beside it, for the ratio in one run: `npm ci --prefix
//! tests/benches/node`, and a second argument, `tests/benches/node`. `NODE` names the program if it is not
//! `/usr/bin/node`.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "a command prints what it found")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use axum::Router;
use funil_core::destination::Destination;
use funil_dev::runtime_api::{FunctionProcess, Lines};
use funil_dev::server::front_door;
use funil_tests::world::{World, lead_body};
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How many forms and deliveries are measured.
const MEASURED: u32 = 1_000;
/// How many come before, so that connections are open and everything is loaded.
const BEFORE: u32 = 50;
/// Where the forms go: five deliveries, of which two are MailerLite's.
const DESTINATIONS: [&str; 4] = ["crm", "mailerlite", "ga4", "segment"];
/// How many deliveries one ring names.
const NAMED: usize = 100;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let folder: PathBuf = arguments.next().unwrap().into();
    let node: Option<PathBuf> = arguments.next().map(PathBuf::from);
    let provider = provider().await;
    let world = World::plan()
        .with("DESTINATIONS", "crm,mailerlite,ga4,segment")
        .with("MAILERLITE_REQUESTS_PER_MINUTE", "10000000")
        .with("RINGS", "stream")
        .with("CRM_BASE_URL", &provider)
        .with("SEGMENT_BASE_URL", &provider)
        .with("RATE_LEAD_FORMS", "100000/60")
        .start()
        .await;
    let intake_us = forms("a form", start(&folder, "lead-submit", &world).await, 0).await;

    let mut whole_us = intake_us;
    for one in DESTINATIONS {
        let Destination { name: destination, function, .. } =
            funil_core::destination::find(one).unwrap();
        let keys = keys(&world, destination).await;
        let mut worker = start(&folder, function, &world).await;
        let (first, rest) = keys.split_at(usize::try_from(BEFORE).unwrap());
        ring(&mut worker, first).await;
        let before = on_cpu_ns(&worker);
        for named in rest.chunks(NAMED) {
            ring(&mut worker, named).await;
        }
        let deliveries = u32::try_from(keys.len()).unwrap() / (BEFORE + MEASURED);
        let each_us = report(&format!("a delivery to {destination}"), &worker, before, rest.len());
        whole_us += each_us * u64::from(deliveries);
    }
    println!("a form with its deliveries: {whole_us} µs");
    if let Some(node) = node {
        let start = async |deliver| start_node(&node, &world, &provider, deliver).await;
        let form_us = forms("Node: a form", start(None).await, 1).await;
        let once_us =
            forms("Node: a form with five deliveries, sent at once", start(Some("once")).await, 2)
                .await;
        let leased_us = forms(
            "Node: a form with five deliveries, with the requests to the table that ours make",
            start(Some("leased")).await,
            3,
        )
        .await;
        let ratio = |node: u64, ours: u64| format!("{}.{}", node / ours, node * 10 / ours % 10);
        println!("Node takes {} times as long for a form", ratio(form_us, intake_us));
        println!("Node takes {} times as long for the same work", ratio(leased_us, whole_us));
        println!("Node takes {} times as long if it sends at once", ratio(once_us, whole_us));
    }
    std::mem::forget(world);
}

/// Sends forms to a function, and returns for how long it was on the CPU for one, in microseconds.
async fn forms(what: &str, mut intake: FunctionProcess, round: u32) -> u64 {
    let first = round * (BEFORE + MEASURED);
    for number in first..first + BEFORE {
        submit(&mut intake, number).await;
    }
    let before = on_cpu_ns(&intake);
    for number in first + BEFORE..first + BEFORE + MEASURED {
        submit(&mut intake, number).await;
    }
    report(what, &intake, before, usize::try_from(MEASURED).unwrap())
}

async fn start_node(
    folder: &Path,
    world: &World,
    provider: &str,
    deliver: Option<&str>,
) -> FunctionProcess {
    let mut variables: Vec<(String, String)> = world.env(&[]).variables().collect();
    let program =
        funil_lambda::process_environment().get("NODE").unwrap_or("/usr/bin/node").to_owned();
    variables.push(("NODE".to_owned(), program));
    variables.push(("PATH".to_owned(), "/usr/bin:/bin".to_owned()));
    variables.push(("PROVIDER".to_owned(), provider.to_owned()));
    variables.extend(deliver.map(|value| ("DELIVER".to_owned(), value.to_owned())));
    let binary = folder.join("lead-submit").canonicalize().unwrap();
    FunctionProcess::start(&binary, variables, Lines::Kept).await.unwrap()
}

/// A provider that accepts everything.
async fn provider() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(async || r#"{"success":true,"id":"1"}"#);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// Starts a function as on AWS, where the table's stream rings and intake does not.
async fn start(folder: &Path, function: &str, world: &World) -> FunctionProcess {
    let mut variables: Vec<_> = world.env(&[]).variables().collect();
    variables.retain(|(name, _)| name != "DOORBELL_URL");
    FunctionProcess::start(&folder.join(function), variables, Lines::Kept).await.unwrap()
}

async fn submit(intake: &mut FunctionProcess, number: u32) {
    let mut body = lead_body();
    body["leadId"] = Value::Null;
    body["email"] = json!(format!("somebody{number}@example.com"));
    let caller: IpAddr = Ipv4Addr::from(0x0a00_0000 + number).into();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let body = body.to_string();
    let event =
        front_door::event(&Method::POST, "/lead-submit", "", &headers, body.as_bytes(), caller);
    let response = intake.invoke(event, 60).await.unwrap();
    assert_eq!(response["statusCode"], 200, "{response}");
}

/// The keys of every delivery to a destination, as rings carry them.
async fn keys(world: &World, destination: &str) -> Vec<String> {
    let due = world.store.due(destination, Timestamp::MAX, 10_000).await.unwrap();
    due.iter().map(|due| due.key.to_text()).collect()
}

async fn ring(worker: &mut FunctionProcess, named: &[String]) {
    let response = worker.invoke(json!({"ring": true, "deliveries": named}), 60).await.unwrap();
    assert_eq!(response["settled"], named.len(), "{response}");
}

/// How long a process was on the CPU, all its threads together.
fn on_cpu_ns(process: &FunctionProcess) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.id().unwrap())).unwrap();
    let of_thread = |folder: PathBuf| -> u64 {
        let read = std::fs::read_to_string(folder.join("schedstat")).unwrap();
        read.split(' ').next().unwrap().parse().unwrap()
    };
    threads.map(|thread| of_thread(thread.unwrap().path())).sum()
}

/// Prints and returns for how long a process was on the CPU for one of so many.
fn report(what: &str, process: &FunctionProcess, before_ns: u64, measured: usize) -> u64 {
    let each_us = (on_cpu_ns(process) - before_ns) / u64::try_from(measured).unwrap() / 1000;
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id().unwrap()));
    let status = status.unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    println!("{what}: {each_us} µs on the CPU, of {measured}; peak memory {peak}");
    each_us
}
