//! Measures how long the real functions are on the CPU for a form and for a delivery, and how much memory
//! they take.
//!
//! Linux only, because it reads `/proc`. `cargo build --profile dist -p lead-submit -p segment-sync -p
//! crm-sync && cargo run --release -p funil-tests --example cpu -- target/dist`

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "a command prints what it found")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use axum::Router;
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
/// How many deliveries one ring names.
const NAMED: usize = 100;

#[tokio::main]
async fn main() {
    let folder: PathBuf = std::env::args_os().nth(1).unwrap().into();
    let provider = provider().await;
    let world = World::plan()
        .with("DESTINATIONS", "crm,segment")
        .with("RINGS", "stream")
        .with("CRM_BASE_URL", &provider)
        .with("SEGMENT_BASE_URL", &provider)
        .with("RATE_LEAD_FORMS", "100000/60")
        .start()
        .await;
    let mut intake = start(&folder, "lead-submit", &world).await;
    for number in 0..BEFORE {
        submit(&mut intake, number).await;
    }
    let before = on_cpu_ns(&intake);
    for number in BEFORE..BEFORE + MEASURED {
        submit(&mut intake, number).await;
    }
    report("a form", &intake, before);

    for (destination, function) in [("segment", "segment-sync"), ("crm", "crm-sync")] {
        let keys = keys(&world, destination).await;
        let mut worker = start(&folder, function, &world).await;
        let (first, rest) = keys.split_at(usize::try_from(BEFORE).unwrap());
        ring(&mut worker, first).await;
        let before = on_cpu_ns(&worker);
        for named in rest.chunks(NAMED) {
            ring(&mut worker, named).await;
        }
        report(&format!("a delivery to {destination}"), &worker, before);
    }
    std::mem::forget(world);
}

/// A provider that accepts everything.
async fn provider() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(async || r#"{"success":true,"id":"1"}"#);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn start(folder: &Path, function: &str, world: &World) -> FunctionProcess {
    let variables: Vec<_> = world.env(&[]).variables().collect();
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

/// How long a process was on the CPU.
fn on_cpu_ns(process: &FunctionProcess) -> u64 {
    let read = std::fs::read_to_string(format!("/proc/{}/schedstat", process.id().unwrap()));
    read.unwrap().split(' ').next().unwrap().parse().unwrap()
}

fn report(what: &str, process: &FunctionProcess, before_ns: u64) {
    let each_us = (on_cpu_ns(process) - before_ns) / u64::from(MEASURED) / 1000;
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id().unwrap()));
    let status = status.unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    println!("{what}: {each_us} µs on the CPU, of {MEASURED}; peak memory {peak}");
}
