//! How much a destination that hangs slows the others: in real time, with the real functions, store and
//! HTTP.
//!
//! `cargo bench -p funil-tests --bench delivery`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use funil_core::settings::Env;
use funil_dev::server::{DevServer, DevServerOptions};
use funil_tests::world::lead_body;
use jiff::Timestamp;
use serde_json::{Value, json};

/// How many people submit the form to the dev server: as many as one address may.
const PEOPLE: usize = 10;
/// How long after one another they submit it.
const APART: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() {
    for crm in ["normal", "hang"] {
        one_destination(crm).await;
    }
}

/// The lead of another person for each number.
fn somebody(number: usize) -> Value {
    let mut body = lead_body();
    body["leadId"] = Value::Null;
    body["email"] = json!(format!("somebody{number}@example.com"));
    body
}

/// On the dev server, with this behaviour of the CRM: measures how long the form's response takes, and
/// how long after acceptance each other delivery of a lead is settled.
async fn one_destination(crm: &str) {
    let data = tempfile::tempdir().unwrap();
    let options = DevServerOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        data: data.path().to_owned(),
        functions_at: None,
        alerts_to: None,
    };
    let overrides: Env = [("DESTINATIONS", "crm,ga4,segment")].into_iter().collect();
    let server = DevServer::start(&options, &overrides).await.unwrap();
    let url = format!("http://{}", server.address());
    let http = funil_lambda::platform().http;
    let behave = format!("{url}/stage/providers/crm?behaviour={crm}");
    assert!(http.post(behave).send().await.unwrap().status().is_success());

    let mut responses = Vec::new();
    let mut leads = Vec::new();
    for number in 0..PEOPLE {
        let request = http.post(format!("{url}/api/lead-submit"));
        let request = request.header("content-type", "application/json");
        let request = request.body(somebody(number).to_string());
        let started = Instant::now();
        let response = request.send().await.unwrap();
        responses.push(started.elapsed());
        let response: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        leads.push(response["leadId"].as_str().unwrap_or_else(|| panic!("{response}")).to_owned());
        tokio::time::sleep(APART).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut settled = Vec::new();
    for lead in leads {
        let journey = http.get(format!("{url}/stage/journey/{lead}")).send().await.unwrap();
        let journey: Value = serde_json::from_slice(&journey.bytes().await.unwrap()).unwrap();
        for entry in journey["entries"].as_array().unwrap() {
            if entry["kind"] == "delivery" && entry["destination"] != "crm" {
                assert_eq!(entry["state"], "delivered", "{entry}");
                let accepted: Timestamp = entry["at"].as_str().unwrap().parse().unwrap();
                let attempt = entry["attempts"].as_array().unwrap().last().unwrap();
                let at: Timestamp = attempt["at"].as_str().unwrap().parse().unwrap();
                settled.push(Duration::try_from(at.duration_since(accepted)).unwrap());
            }
        }
    }
    println!("CRM {crm}: {PEOPLE} forms, responses after {}", spread(responses));
    println!("CRM {crm}: GA4 and Segment, settled after {}", spread(settled));
    server.stop().await.unwrap();
}

/// The median and the worst.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("median {:.1?}, worst {:.1?}", times[times.len() / 2], times.last().unwrap())
}
