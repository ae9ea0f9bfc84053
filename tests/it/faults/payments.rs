//! Faults at each request to the table on a payment's way: a lead pays, a part is given back, and a dispute
//! is lost. Whatever fails or dies, each report is kept once, and the sums are right.
//!
//! As in [`super::table`], one walk breaks the n-th table request of every stage. Stripe sends again what
//! was not accepted.

use funil_core::money::Currency;
use funil_core::provider::stripe;
use funil_core::settings::Secret;
use http::Method;
use serde_json::Value;

use super::everywhere;
use super::table::{self, Fault, Walk};
use crate::proxy::Break;
use crate::stripe::{STRIPE_SECRET, disputed, paid, refunded};
use crate::world::{Deployment, Response, World, lead, lead_body};

/// How often Stripe sends what was not accepted.
const SENT_MAX: usize = 10;

/// Sends a report to one process, signed now.
async fn send(world: &World, to: &Deployment, report: &Value) -> Response {
    let body = report.to_string();
    let signature = stripe::sign(body.as_bytes(), &Secret::new(STRIPE_SECRET), world.now());
    let headers = [("content-type", "application/json"), (stripe::SIGNATURE_HEADER, &*signature)];
    to.send("stripe-webhook", Method::POST, &headers, body.as_bytes()).await
}

/// Walks the whole way with a fault at one request of each report. Returns how many table requests each
/// report had, and with how many of them something broke.
async fn walk(at: usize, fault: Fault) -> (Vec<usize>, usize) {
    let title = format!("request {at} of each report, {fault:?}");
    let (mut walk, world) = Walk::begin(at, fault, everywhere()).await;
    world.submit(&lead_body()).await;
    world.drain().await;
    let reports = [paid("pi_1", 19_700), refunded("pi_1", 4_700), disputed("pi_1", 5_000, "lost")];
    for report in &reports {
        world.pass(1);
        let process = world.deployment(&[]);
        let mut response = walk.stage(send(&world, &process, report)).await;
        for _ in 0..SENT_MAX {
            match &response {
                Some(response) if response.status == 200 => break,
                Some(response) => assert_eq!(response.status, 503, "{title}: {report}"),
                None => {}
            }
            world.pass(20);
            response = Some(send(&world, &world.deployment(&[]), report).await);
        }
        // Stripe may send once more what was accepted.
        let again = send(&world, &world.deployment(&[]), report).await;
        assert_eq!(again.status, 200, "{title}: {report}");
    }
    for destination in funil_core::destination::ALL {
        world.looks_at(destination.name);
    }
    world.drain().await;
    let journey = world.journey(lead()).await;
    let events: Vec<&str> = journey.events.iter().map(|event| event.data.name()).collect();
    let expected = ["lead_submitted", "payment_succeeded", "payment_refunded", "payment_disputed"];
    assert_eq!(events, expected, "{title}");
    let [transaction] = &*journey.transactions else { panic!("{title}: {journey:?}") };
    let spent = journey.lead.spent.get(&Currency::BRL).copied();
    assert_eq!((transaction.net(), spent), (10_000, Some(10_000)), "{title}");
    world.finish().await;
    (walk.requests, walk.broken)
}

/// Breaks every table request of the way.
async fn every_request(fault: Fault) {
    table::break_every_request(fault, 3, walk).await;
}

#[tokio::test]
async fn a_table_that_fails_at_any_step_loses_no_payment_and_counts_none_twice() {
    for how in [Break::BeforeEffect, Break::AfterEffect, Break::Conflict] {
        every_request(Fault::once(how)).await;
        every_request(Fault::lasting(how)).await;
    }
    for how in [Break::Exceeded, Break::Throttled, Break::InProgress] {
        every_request(Fault::lasting(how)).await;
    }
}

#[tokio::test]
async fn a_process_may_die_at_any_request_on_a_payments_way() {
    every_request(Fault::dies_before()).await;
    every_request(Fault::dies_after()).await;
}
