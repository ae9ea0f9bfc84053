//! Faults at each request to the table on a deal's way: somebody whom nobody knows is qualified, and then decides.
//! Whatever fails or dies, they are one lead, each report is kept once, and Meta gets each once.
//!
//! As in [`super::table`], one walk breaks the n-th table request of every stage. The CRM sends again what was not
//! accepted.

use http::Method;
use serde_json::{Value, json};

use super::everywhere;
use super::table::{self, Fault, Walk};
use crate::proxy::Break;
use crate::world::{Deployment, Response, World};

/// How often the CRM sends what was not accepted.
const SENT_MAX: usize = 10;

fn report(status: &str) -> Value {
    json!({"data": {"dealId": "D-1", "customer": {"contactId": "C-1"},
        "dealDetails": {"status": status, "dealValue": 197, "currency": "BRL"}}})
}

/// Sends a report to one process.
async fn send(to: &Deployment, report: &Value) -> Response {
    let headers = [("content-type", "application/json"), ("x-api-key", "tests-stage-deal-key")];
    to.send("deal-webhook", Method::POST, &headers, report.to_string().as_bytes()).await
}

/// Walks the whole way with a fault at one request of each report. Returns how many table requests each
/// report had, and with how many of them something broke.
async fn walk(at: usize, fault: Fault) -> (Vec<usize>, usize) {
    let title = format!("request {at} of each report, {fault:?}");
    let plan = everywhere().with("DEAL_PURPOSES", "contact,ads");
    let (mut walk, world) = Walk::begin(at, fault, plan).await;
    for report in [report("Qualified"), report("Committed")] {
        world.pass(1);
        let process = world.deployment(&[]);
        let mut response = walk.stage(send(&process, &report)).await;
        for _ in 0..SENT_MAX {
            match &response {
                Some(response) if response.status == 200 => break,
                Some(response) => assert_eq!(response.status, 503, "{title}: {report}"),
                None => {}
            }
            world.pass(20);
            response = Some(send(&world.deployment(&[]), &report).await);
        }
        let again = send(&world.deployment(&[]), &report).await;
        assert_eq!(again.status, 200, "{title}: {report}");
    }
    world.looks_at("meta");
    world.drain().await;
    let mut sent = Vec::new();
    for event in world.providers.meta_events() {
        sent.push(event["event_name"].as_str().unwrap().to_owned());
    }
    sent.sort();
    assert_eq!(sent, ["Lead", "Purchase"], "{title}");
    let leads = leads(&world).await;
    assert_eq!(leads, 1, "{title}");
    world.finish().await;
    (walk.requests, walk.broken)
}

/// How many leads there are.
async fn leads(world: &World) -> usize {
    let items = world.items("LEAD#").await;
    items.iter().filter(|item| item["sk"]["S"] == "LEAD").count()
}

/// Breaks every table request of the way.
async fn every_request(fault: Fault) {
    table::break_every_request(fault, 2, walk).await;
}

#[tokio::test]
async fn a_table_that_fails_at_any_step_loses_no_deal_and_sends_none_twice() {
    for how in [Break::BeforeEffect, Break::AfterEffect, Break::Conflict] {
        every_request(Fault::once(how)).await;
        every_request(Fault::lasting(how)).await;
    }
    for how in [Break::Exceeded, Break::Throttled, Break::InProgress] {
        every_request(Fault::lasting(how)).await;
    }
}

#[tokio::test]
async fn a_process_may_die_at_any_request_on_a_deals_way() {
    every_request(Fault::dies_before()).await;
    every_request(Fault::dies_after()).await;
}
