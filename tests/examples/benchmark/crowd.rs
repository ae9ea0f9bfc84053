//! The people: each sends a form at its time, again where it got no response, and one in ten books a call.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use funil_core::id::LeadId;
use funil_core::provider::calendly;
use funil_core::settings::Secret;
use funil_dev::server::front_door;
use funil_tests::calendly::created_through_link;
use funil_tests::verdict::Latency;
use funil_tests::world::{CALENDLY_KEY, lead_body};
use http::{HeaderMap, HeaderValue, Method};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::functions::Functions;
use crate::raw_log::RawLog;

/// One person in so many books a call.
const BOOKS_ONE_IN: u32 = 10;
/// How often somebody tries who got no response.
const TRIES_MAX: u32 = 8;
/// How long they wait before they try again.
const AGAIN: Duration = Duration::from_secs(1);

/// A person, with what they got.
struct Person {
    lead: LeadId,
    /// The statuses of their form's responses; 0 stands for none.
    statuses: Vec<u16>,
    /// From the first try to the 200.
    took: Option<Duration>,
    /// The statuses of their booking's responses.
    booking: Vec<u16>,
}

/// Everybody.
pub(crate) struct Crowd(Vec<Person>);

impl Crowd {
    /// The leads that were sent.
    pub(crate) fn everybody(&self) -> BTreeSet<LeadId> {
        self.0.iter().map(|person| person.lead).collect()
    }

    /// The leads whose form got a 200.
    pub(crate) fn accepted(&self) -> BTreeSet<LeadId> {
        self.0.iter().filter(|one| one.took.is_some()).map(|person| person.lead).collect()
    }

    /// How long people waited for a 200, their further tries included.
    pub(crate) fn acceptance(&self) -> Latency {
        Latency::of(self.0.iter().filter_map(|person| person.took).collect())
    }

    /// How often each status was responded to forms, and to bookings; 0 stands for no response.
    pub(crate) fn statuses(&self) -> (BTreeMap<u16, u32>, BTreeMap<u16, u32>) {
        let count = |all: &mut dyn Iterator<Item = u16>| {
            let mut counts = BTreeMap::new();
            all.for_each(|status| *counts.entry(status).or_default() += 1);
            counts
        };
        let forms = count(&mut self.0.iter().flat_map(|one| one.statuses.clone()));
        (forms, count(&mut self.0.iter().flat_map(|one| one.booking.clone())))
    }
}

/// Sends everybody's form, and returns when the last one is through.
pub(crate) async fn send(
    functions: &Arc<Functions>,
    log: &Arc<RawLog>,
    leads: u32,
    rate: u32,
    bar: &ProgressBar,
) -> Crowd {
    let started = Instant::now();
    let mut people = Vec::new();
    for number in 0..leads {
        let at = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        tokio::time::sleep(at.saturating_sub(started.elapsed())).await;
        let (functions, log, bar) = (Arc::clone(functions), Arc::clone(log), bar.clone());
        people.push(tokio::spawn(async move {
            let person = come(&functions, &log, number).await;
            bar.inc(1);
            person
        }));
    }
    let mut crowd = Vec::new();
    for person in people {
        crowd.push(person.await.unwrap());
    }
    Crowd(crowd)
}

async fn come(functions: &Functions, log: &RawLog, number: u32) -> Person {
    let id = format!("6f1c2f5e-0b0a-4d3e-9a53-{number:012x}");
    let lead = LeadId::parse(&id).unwrap();
    let email = format!("somebody{number}@example.com");
    let mut body = lead_body();
    body["leadId"] = json!(id);
    body["email"] = json!(email);
    body["phone"] = json!(format!("(11) 9{:04}-{:04}", number / 10_000, number % 10_000));
    body["consent"]["ads"] = json!(true);
    let started = Instant::now();
    let statuses = until_accepted(functions, "lead-submit", number, &body, None).await;
    let took = (statuses.last() == Some(&200)).then(|| started.elapsed());
    log.write(&json!({
        "what": "form", "number": number, "statuses": statuses,
        "ms": u64::try_from(started.elapsed().as_millis()).unwrap(),
    }));
    let mut booking = Vec::new();
    if number.is_multiple_of(BOOKS_ONE_IN) && took.is_some() {
        let mut body = created_through_link(&format!("B{number:07}"));
        let now = funil_lambda::platform().clock.now().to_string();
        body["created_at"] = json!(now);
        body["payload"]["created_at"] = json!(now);
        body["payload"]["email"] = json!(email);
        body["payload"]["tracking"]["utm_content"] = json!(id);
        let key = Secret::new(CALENDLY_KEY);
        booking = until_accepted(functions, "calendar-webhook", number, &body, Some(&key)).await;
        log.write(&json!({"what": "booking", "number": number, "statuses": booking}));
    }
    Person { lead, statuses, took, booking }
}

/// Sends a request, again where it is not accepted. Returns the statuses; 0 stands for no response.
async fn until_accepted(
    functions: &Functions,
    function: &str,
    number: u32,
    body: &Value,
    key: Option<&Secret>,
) -> Vec<u16> {
    let caller = IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number));
    let (path, bytes) = (format!("/{function}"), body.to_string());
    let mut statuses = Vec::new();
    for _ in 0..TRIES_MAX {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        if let Some(key) = key {
            let now = funil_lambda::platform().clock.now();
            let signature = calendly::sign(bytes.as_bytes(), key, now);
            headers.insert(calendly::SIGNATURE_HEADER, signature.parse().unwrap());
        }
        let bytes = bytes.as_bytes();
        let event = front_door::event(&Method::POST, &path, "", &headers, bytes, caller);
        let response = functions.invoke(function, event).await;
        let status = response.ok().and_then(|response| response["statusCode"].as_u64());
        let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(0);
        statuses.push(status);
        if (200..300).contains(&status) {
            break;
        }
        tokio::time::sleep(AGAIN).await;
    }
    statuses
}
