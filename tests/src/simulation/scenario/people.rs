//! The people of a scenario: each sends one form at its time, and one in a hundred sends it twice at once.
//!
//! It must not know what becomes of a form.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use funil_core::id::LeadId;
use funil_dev::server::front_door;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;
use tokio::time::Instant;

use super::Plan;
use super::lambda::Lambda;
use crate::world::lead_body;

/// One person in so many sends their form twice at once.
const TWICE: usize = 100;
/// The status that a Function URL responds with where there is no room for an invocation.
const THROTTLED: u16 = 429;

/// A form, with its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) lead: LeadId,
    pub(super) status: u16,
    pub(super) took: Duration,
}

/// Sends everybody's form, and returns when the last one got its response.
pub(super) async fn send_forms(lambda: &Arc<Lambda>, plan: &Plan, begun: Instant) -> Vec<Sent> {
    let people = plan.people();
    let mut forms = Vec::with_capacity(people);
    for number in 0..people {
        let share = f64::from(u32::try_from(number).unwrap()) / plan.leads_a_second;
        tokio::time::sleep_until(begun + Duration::from_secs_f64(share)).await;
        for _ in 0..if number % TWICE == 0 { 2 } else { 1 } {
            forms.push(tokio::spawn(send(Arc::clone(lambda), number)));
        }
    }
    let mut sent = Vec::with_capacity(forms.len());
    for form in forms {
        sent.push(form.await.unwrap());
    }
    sent
}

async fn send(lambda: Arc<Lambda>, number: usize) -> Sent {
    let id = format!("6f1c2f5e-0b0a-4d3e-9a53-{number:012x}");
    let lead = LeadId::parse(&id).unwrap();
    let mut body = lead_body();
    body["leadId"] = json!(id);
    body["email"] = json!(format!("somebody{number}@example.com"));
    body["phone"] = json!(format!("(11) 9{:04}-{:04}", number / 10_000, number % 10_000));
    let caller = u32::try_from(number).unwrap() + u32::from(Ipv4Addr::new(10, 0, 0, 0));
    let caller = IpAddr::V4(Ipv4Addr::from(caller));
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let (path, bytes) = ("/lead-submit", body.to_string());
    let event = front_door::event(&Method::POST, path, "", &headers, bytes.as_bytes(), caller);
    let started = Instant::now();
    let response = lambda.invoke("lead-submit", event).await;
    let status = response.map_or(THROTTLED, |response| {
        response["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(502)
    });
    Sent { lead, status, took: started.elapsed() }
}
