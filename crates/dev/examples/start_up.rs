//! Measures how long a function's binary takes from its start to its first response, and its peak
//! memory. The request does not use the network.
//!
//! Linux only, because it reads `/proc`. Run it with `cargo build --profile dist -p lead-submit &&
//! cargo run --release -p funil-dev --example start_up -- target/dist/lead-submit`

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use funil_dev::runtime_api::{FunctionProcess, Lines};
use serde_json::{Value, json};

const RUNS: usize = 31;

fn variables() -> Vec<(String, String)> {
    [
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9"),
        ("AWS_REGION", "sa-east-1"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("CRM_API_KEY", "local"),
        ("CRM_BASE_URL", "http://127.0.0.1:9"),
        ("DESTINATIONS", "crm,mailerlite,ga4,segment"),
        ("DOORBELL_URL", "http://127.0.0.1:9"),
        ("GA4_API_SECRET", "local"),
        ("GA4_MEASUREMENT_ID", "G-LOCAL"),
        ("HASH_KEY", "start-up-hash-key"),
        ("MAILERLITE_API_KEY", "local"),
        ("MAILERLITE_GROUPS", r#"{"questionnaire":"101","marketing":"102"}"#),
        ("SEGMENT_WRITE_KEY", "local"),
        ("SERVICE_TOKEN", "start-up-service-token"),
        ("SITE_URL", "http://127.0.0.1:9"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// A request to which every function responds without the table.
fn preflight() -> Value {
    json!({
        "version": "2.0", "rawPath": "/", "rawQueryString": "", "headers": {},
        "requestContext": {"http": {"method": "OPTIONS", "path": "/", "sourceIp": "127.0.0.1"}},
        "isBase64Encoded": false
    })
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let binary: PathBuf =
        std::env::args_os().nth(1).ok_or("give the path of a function's binary")?.into();
    let (mut wall_us, mut cpu_us, mut memory_kb) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let started = Instant::now();
        let mut process = FunctionProcess::start(&binary, variables(), Lines::Kept).await?;
        process.invoke(preflight(), 10).await?;
        wall_us.push(u64::try_from(started.elapsed().as_micros())?);
        let id = process.id().ok_or("the function ended")?;
        let on_cpu = std::fs::read_to_string(format!("/proc/{id}/schedstat"))?;
        cpu_us.push(on_cpu.split(' ').next().unwrap_or_default().parse::<u64>()? / 1000);
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        memory_kb.push(peak.trim().trim_end_matches(" kB").parse()?);
        process.kill().await;
    }
    writeln!(
        std::io::stdout(),
        "{} runs, medians: start to first response {} µs, of which {} µs on the CPU; peak memory {} kB",
        RUNS,
        median(wall_us),
        median(cpu_us),
        median(memory_kb)
    )?;
    Ok(())
}
