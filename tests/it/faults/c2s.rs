//! Faults at each request to the table on the way of Contact2Sale's leads: three events of one lead at once, and then its
//! enrichment. Whatever fails or dies, also between two events of a request, each event is kept once, nobody is paid for
//! twice but where a reply was lost, and the lead gets one message. (Several leads at once are in the simulation.)
//!
//! As in [`super::table`], one walk breaks the n-th table request of every stage. Contact2Sale sends again what was not
//! accepted.

use funil_core::contact::Email;
use funil_core::delivery::StateKind;
use funil_core::id::LeadId;
use funil_delivery::Patience;
use funil_dev::simulated::Person;
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::table::{self, Fault, Walk};
use crate::proxy::Break;
use crate::world::{Deployment, Response, World};

/// How often Contact2Sale sends what was not accepted.
const SENT_MAX: usize = 12;

/// A lead, its change and its end.
fn batch() -> Value {
    let actions = ["on_create_lead", "on_update_lead", "on_close_lead"];
    let events = actions.map(|action| {
        json!({"id": "a1", "hook_action": action, "attributes": {
            "updated_at": "2031-05-05T11:00:00Z",
            "customer": {
                "name": "Nina Exemplo", "email": "a1@example.com", "phone": "5511987654321"}}})
    });
    json!(events)
}

/// Sends them to one process.
async fn send(to: &Deployment) -> Response {
    let token = ("x-webhook-token", "tests-stage-c2s-secret");
    let headers = [("content-type", "application/json"), token];
    to.send("c2s-webhook", Method::POST, &headers, batch().to_string().as_bytes()).await
}

/// Walks the whole way with a fault at one request of each stage. Returns how many table requests each stage had, and
/// with how many of them something broke.
async fn walk(at: usize, fault: Fault) -> (Vec<usize>, usize) {
    let title = format!("request {at} of each stage, {fault:?}");
    let plan = World::plan().with("DESTINATIONS", "c2s");
    let (mut walk, world) = Walk::begin(at, fault, plan).await;
    let (name, phone) = ("NINA EXEMPLO".to_owned(), "11987654321".to_owned());
    world.providers.know_person(Person { name, phone, email: String::new(), cpf: String::new() });
    let process = world.deployment(&[]);
    let mut response = walk.stage(send(&process)).await;
    for _ in 0..SENT_MAX {
        match &response {
            Some(response) if response.status == 200 => break,
            Some(response) => assert_eq!(response.status, 503, "{title}"),
            None => {}
        }
        world.pass(20);
        response = Some(send(&world.deployment(&[])).await);
    }
    let again = send(&world.deployment(&[])).await;
    assert_eq!(again.json()["duplicates"], 3, "{title}: {again:?}");

    let worker = world.worker("c2s");
    walk.stage(worker.drain(Patience::None, world.stop_at())).await;
    world.looks_at("c2s");
    world.advance(SignedDuration::from_hours(2)).await;
    let email = Email::parse("a1@example.com").unwrap();
    let journey = world.journey(LeadId::from_email(&world.hash, &email)).await;
    assert_eq!(journey.events.len(), 3, "{title}");
    // A message whose worker died may have been sent, and a person decides.
    let dead = journey.deliveries.iter().filter(|one| one.state.kind() == StateKind::Dead).count();
    let messages = world.providers.c2s_messages().len();
    assert!(messages <= 1 && messages + dead >= 1, "{title}: {messages} messages, {dead} dead");
    for (asked, times) in world.providers.c2s_lookups() {
        assert!(times <= 2, "{title}: {asked} was asked {times} times");
    }
    world.finish().await;
    (walk.requests, walk.broken)
}

/// Breaks every table request of the way.
async fn every_request(fault: Fault) {
    Box::pin(table::break_every_request(fault, 2, walk)).await;
}

#[tokio::test]
async fn a_table_that_fails_at_any_step_loses_no_lead_of_a_batch() {
    for how in [Break::BeforeEffect, Break::AfterEffect, Break::Conflict] {
        every_request(Fault::once(how)).await;
    }
    for how in [Break::Exceeded, Break::InProgress] {
        every_request(Fault::lasting(how)).await;
    }
}

#[tokio::test]
async fn a_process_may_die_between_two_events_of_a_batch_and_at_any_request_of_an_enrichment() {
    every_request(Fault::dies_before()).await;
    every_request(Fault::dies_after()).await;
}
