//! Faults at each request to the table on the way of the site's forms and of what MailerLite reports: somebody
//! writes, asks for the newsletter and for a consultation, unsubscribes, and is active again. Whatever fails or
//! dies, each of it is kept once, and an unsubscribe that got a success holds.
//!
//! As in [`super::table`], one walk breaks the n-th table request of every stage. A page and MailerLite send
//! again what was not accepted.

use funil_core::contact::consent::Purpose;
use http::Method;
use serde_json::{Value, json};

use super::everywhere;
use super::table::{self, Fault, Walk};
use crate::mailerlite::{grouped, report, send};
use crate::proxy::Break;
use crate::world::{Deployment, EMAIL, LEAD, Response, World, lead};

/// How often what was not accepted is sent.
const SENT_MAX: usize = 10;

/// A request of the way, and who sends it.
enum Sent {
    Form(&'static str, Value),
    Report(Value),
}

fn way() -> Vec<Sent> {
    let form = |function, more: &Value| {
        let mut data = json!({"name": "Ana Exemplo", "email": EMAIL, "marketing_consent": true});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Sent::Form(function, json!({"lead_id": LEAD, "data": data}))
    };
    let consultation = json!({"service": "palestra", "preferred_dates": ["2031-06-01"]});
    vec![
        form("contact-submit", &json!({"message": "Olá"})),
        form("newsletter-signup", &json!({})),
        form("consultation-booking", &consultation),
        Sent::Report(grouped("added_to_group", "Mentoria")),
        Sent::Report(report("unsubscribed")),
        Sent::Report(report("active")),
    ]
}

async fn send_to(to: &Deployment, sent: &Sent) -> Response {
    match sent {
        Sent::Form(function, body) => {
            let headers = [("content-type", "application/json"), ("idempotency-key", *function)];
            to.send(function, Method::POST, &headers, body.to_string().as_bytes()).await
        }
        Sent::Report(body) => send(to, body).await,
    }
}

async fn walk(at: usize, fault: Fault) -> (Vec<usize>, usize) {
    let title = format!("request {at} of each stage, {fault:?}");
    let (mut walk, world) = Walk::begin(at, fault, everywhere()).await;
    for sent in way() {
        world.pass(1);
        let process = world.deployment(&[]);
        let mut response = walk.stage(send_to(&process, &sent)).await;
        for _ in 0..SENT_MAX {
            match &response {
                Some(response) if response.status == 200 => break,
                Some(response) => assert_eq!(response.status, 503, "{title}"),
                None => {}
            }
            world.pass(20);
            response = Some(send_to(&world.deployment(&[]), &sent).await);
        }
        // It may come once more although it was accepted.
        assert_eq!(send_to(&world.deployment(&[]), &sent).await.status, 200, "{title}");
        let is_unsubscribe = matches!(&sent, Sent::Report(body) if *body == report("unsubscribed"));
        if is_unsubscribe {
            check_unsubscribed(&world, &title).await;
        }
    }
    for destination in funil_core::destination::ALL {
        world.looks_at(destination.name);
    }
    world.drain().await;
    let journey = world.journey(lead()).await;
    let events: Vec<&str> = journey.events.iter().map(|event| event.data.name()).collect();
    let expected = [
        "contact_submitted",
        "newsletter_requested",
        "consultation_requested",
        "subscriber_noted",
        "email_changed",
        "email_changed",
    ];
    assert_eq!(events, expected, "{title}");
    world.finish().await;
    (walk.requests, walk.broken)
}

/// Nothing waits any more for somebody whose unsubscribe got a success, and the address says so.
async fn check_unsubscribed(world: &World, title: &str) {
    let waits = |state: &String| state.starts_with("mailerlite/") && state.contains(" pending");
    let states = world.states(lead()).await;
    assert!(!states.iter().any(waits), "{title}: {states:?}");
    let digest = world.hash.digest("email", EMAIL);
    let known = world.store.revocations_of(("email", &digest)).await.unwrap();
    assert!(known.purposes.contains_key(&Purpose::MarketingEmail), "{title}");
}

/// Breaks every table request of the way.
async fn every_request(fault: Fault) {
    table::break_every_request(fault, way().len(), walk).await;
}

#[tokio::test]
async fn a_table_that_fails_at_any_step_loses_no_form_and_no_report() {
    for how in [Break::BeforeEffect, Break::AfterEffect, Break::Conflict] {
        every_request(Fault::once(how)).await;
        every_request(Fault::lasting(how)).await;
    }
}

#[tokio::test]
async fn a_process_may_die_at_any_request_on_the_way_of_a_form_or_a_report() {
    every_request(Fault::dies_before()).await;
    every_request(Fault::dies_after()).await;
}
