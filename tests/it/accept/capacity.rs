//! What a lead costs at DynamoDB: round trips, and capacity units as the emulator counts them.
//!
//! The limits are those of `docs/design.md` ("Budgets").

use std::collections::BTreeMap;

use funil_core::destination;
use funil_dev::simulated::whatsapp_inbound;
use funil_store::DeliveryKey;
use serde_json::{Value, json};

use crate::bookings::whatsapp::send_webhook;
use crate::calendly::created;
use crate::proxy::{Bill, Proxy};
use crate::world::{EMAIL, LEAD, World, lead, lead_body};

fn operations<const N: usize>(expected: [(&str, u32); N]) -> BTreeMap<String, u32> {
    expected.into_iter().map(|(operation, count)| (operation.to_owned(), count)).collect()
}

/// A lead of another person, with an id of its own and every field.
fn somebody_whole() -> Value {
    let mut body = lead_body();
    body["leadId"] = json!("0c8a5b1e-6a0b-4b6e-8a6e-1f2d3c4b5a69");
    body["email"] = json!("another@example.com");
    body
}

/// A lead of another person, without an id.
fn somebody(number: u32) -> Value {
    let mut body = lead_body();
    body["leadId"] = Value::Null;
    body["email"] = json!(format!("somebody{number}@example.com"));
    body
}

/// The destinations of a lead's five deliveries.
const FOUR: &str = "crm,mailerlite,ga4,segment";

#[tokio::test]
async fn an_accepted_lead_costs_two_round_trips_and_three_for_a_caller_of_seconds_ago() {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan().with("AWS_ENDPOINT_URL_DYNAMODB", &url).start().await;
    for (provider, count) in [("crm", 10), ("mailerlite", 15), ("ga4", 5), ("segment", 5)] {
        world.expect_requests(provider, count);
    }
    proxy.take();
    world.submit_from("203.0.113.1", &somebody(1)).await;
    let first = operations([("GetItem", 1), ("TransactWriteItems", 1), ("UpdateItem", 2)]);
    assert_eq!(
        proxy.take().requests,
        first,
        "the first request of a process also reads the table identity, and writes totals beside"
    );

    let two = operations([("TransactWriteItems", 1), ("UpdateItem", 1)]);
    for number in 2..4 {
        world.submit_from(&format!("203.0.113.{number}"), &somebody(number)).await;
        assert_eq!(proxy.take().requests, two);
    }
    let three = operations([("TransactWriteItems", 1), ("UpdateItem", 2)]);
    world.submit_from("203.0.113.3", &somebody(4)).await;
    assert_eq!(proxy.take().requests, three);
    world.pass(60);
    world.submit_from("203.0.113.3", &somebody(5)).await;
    let and_totals = operations([("TransactWriteItems", 1), ("UpdateItem", 2)]);
    assert_eq!(
        proxy.take().requests,
        and_totals,
        "after a minute the caller counts as new, and totals are written beside"
    );

    world.submit_from("203.0.113.9", &somebody(5)).await;
    assert_eq!(proxy.take().requests, two, "a duplicate costs no more");
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_lead_with_five_deliveries_stays_within_its_write_units() {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan()
        .with("DESTINATIONS", FOUR)
        .with("AWS_ENDPOINT_URL_DYNAMODB", &url)
        .start()
        .await;
    for (provider, requests) in [("crm", 4), ("mailerlite", 6), ("ga4", 2), ("segment", 2)] {
        world.expect_requests(provider, requests);
    }
    // The first lead also causes writes that most leads do not: the breaker's last success and the
    // limiter's lease.
    world.submit_from("198.51.100.1", &somebody_whole()).await;
    world.drain().await;
    proxy.take();
    world.submit(&lead_body()).await;
    let accepted = proxy.take();
    world.drain().await;
    let delivered = proxy.take();
    assert_eq!(world.states(lead()).await.len(), 5);
    println!("accepted:  {accepted:?}");
    println!("delivered: {delivered:?}");
    let written = accepted.write_units + delivered.write_units;
    println!("write units of a lead with five deliveries, accepted and delivered: {written}");
    // `docs/design.md` ("Budgets"): 1 + 2·(7 + n) + 6·n and one for a harmful request, for n = 5.
    // MailerLite has a rate, so the limiter's write comes on top.
    assert!(written <= 56.0 + 1.0, "{written}");
    assert!(written >= 30.0, "the emulator counts units: {written}");
    // Each delivery is claimed and settled, and GA4's is marked before it is sent. MailerLite's limiter
    // grants eight tokens at once.
    assert_eq!(delivered.requests["UpdateItem"], 5 * 2 + 1 + 1);
    world.finish().await;
}

#[tokio::test]
async fn rings_that_name_deliveries_spare_two_units_for_each() {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan()
        .with("DESTINATIONS", FOUR)
        .with("AWS_ENDPOINT_URL_DYNAMODB", &url)
        .with("RINGS", "stream")
        .start()
        .await;
    world.looks_at_destinations();
    let ring = async |lead| {
        let deliveries = world.journey(lead).await.deliveries;
        proxy.take();
        for destination in destination::ALL {
            let named = deliveries.iter().filter(|one| one.destination == destination.name);
            let named: Vec<DeliveryKey> = named.map(DeliveryKey::from).collect();
            let worker = world.worker(destination.name);
            worker.deliver_named(&named, world.stop_at()).await.unwrap();
        }
        proxy.take()
    };
    // The first lead also causes the notes of the breakers' first success.
    let first = world.submit_from("198.51.100.1", &somebody_whole()).await.lead();
    ring(first).await;
    proxy.take();
    world.submit(&lead_body()).await;
    let accepted = proxy.take();
    let delivered = ring(lead()).await;
    assert!(world.states(lead()).await.iter().all(|state| state.ends_with(" delivered")));
    println!("accepted:  {accepted:?}");
    println!("delivered: {delivered:?}");
    let written = accepted.write_units + delivered.write_units;
    println!("write units of a lead with five deliveries that rings name: {written}");
    // 1 + 2·(7 + n) + 4·n, one for a harmful request and one for MailerLite's limiter, for n = 5.
    assert!(written <= 47.0, "{written}");
    world.finish().await;
}

#[tokio::test]
async fn what_a_lead_costs_does_not_depend_on_how_many_there_are() {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan()
        .with("AWS_ENDPOINT_URL_DYNAMODB", &url)
        .with("DESTINATIONS", "ga4")
        .start()
        .await;
    world.expect_requests("ga4", 40);
    let mut bills = Vec::new();
    for number in 0..40 {
        proxy.take();
        world.submit_from(&format!("198.51.100.{number}"), &somebody(100 + number)).await;
        world.drain().await;
        bills.push(proxy.take());
    }
    // The first lead of a process also reads the table identity, for the form and for each worker.
    assert!(bills[2..].iter().all(|bill| bill == &bills[1]), "{bills:?}");
    world.finish().await;
}

/// Writes so many further leads of the e-mail and the phone of [`lead_body`].
async fn write_leads(world: &World, count: usize) {
    let kept = world.items(&format!("LEAD#{LEAD}")).await;
    let kept = kept.iter().find(|item| item["sk"]["S"] == "LEAD").unwrap();
    let email = world.hash.digest("email", EMAIL);
    let phone = world.hash.digest("phone", "+551187654321");
    for number in 0..count {
        let id = format!("8f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f{number:04x}");
        let mut lead = kept.clone();
        lead["pk"] = json!({"S": format!("LEAD#{id}")});
        lead["lead_id"] = json!({"S": id});
        world.ask_table("PutItem", json!({"Item": lead})).await;
        for alias in
            [format!("ALIAS#email#{}", email.as_str()), format!("ALIAS#phone#{}", phone.as_str())]
        {
            let item = json!({
                "pk": {"S": alias}, "sk": {"S": format!("LEAD#{id}")}, "at": {"S": world.now()},
            });
            world.ask_table("PutItem", json!({"Item": item})).await;
        }
    }
}

/// What the table costs for what strangers can cause, where the person has so many more leads.
async fn bills(more_leads: usize) -> Vec<(&'static str, Bill)> {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan()
        .with("AWS_ENDPOINT_URL_DYNAMODB", &url)
        .with("DESTINATIONS", "crm,whatsapp")
        .start()
        .await;
    world.looks_at_destinations();
    world.submit(&lead_body()).await;
    world.drain().await;
    // Every function reads the table's identity once.
    world.calendly(&created("INV0")).await;
    let hello = |text: &str| whatsapp_inbound("5511987654321", text, world.now().as_second());
    send_webhook(&world, &hello("oi")).await;
    world.drain().await;
    write_leads(&world, more_leads).await;
    let mut bills = Vec::new();
    let mut note = |what| bills.push((what, proxy.take()));
    note("before");
    let mut body = lead_body();
    body["leadId"] = json!("7f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b22");
    world.submit_from("203.0.113.1", &body).await;
    note("a new lead");
    body["mainStruggle"] = json!("vendas");
    body["leadId"] = Value::Null;
    world.submit_from("203.0.113.2", &body).await;
    note("a form under the derived id");
    world.drain().await;
    note("claims");
    world.calendly(&created("INV1")).await;
    note("a booking through a bare link");
    world.drain().await;
    note("claims of messages");
    send_webhook(&world, &hello("PARAR")).await;
    note("an opt-out");
    world.advance(jiff::SignedDuration::from_hours(80)).await;
    world.finish().await;
    bills
}

#[tokio::test]
async fn what_strangers_can_cause_costs_the_same_with_one_and_with_a_thousand_leads() {
    let (one, many) = tokio::join!(bills(0), bills(1_000));
    for ((what, one), (_, many)) in one.iter().zip(&many).skip(1) {
        if *what == "an opt-out" {
            // It withdraws what is queued for at most 25 leads.
            assert!(many.read_units <= one.read_units + 25.0 * 2.0, "{one:?} {many:?}");
            assert!(many.write_units <= one.write_units + 25.0 * 4.0, "{one:?} {many:?}");
        } else {
            assert_eq!(one, many, "{what}");
        }
    }
}

#[tokio::test]
async fn a_lead_with_long_fields_costs_little_more() {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan()
        .with("DESTINATIONS", FOUR)
        .with("AWS_ENDPOINT_URL_DYNAMODB", &url)
        .start()
        .await;
    world.expect_one_lead();
    proxy.take();
    let mut body = lead_body();
    body["pageUrl"] = json!(format!("https://www.example.com/?fbclid={}", "x".repeat(150)));
    body["referrer"] = json!("https://www.instagram.com/");
    body["fbp"] = json!("fb.1.1768478000123.1234567890");
    body["utm"] = json!({
        "source": "instagram", "medium": "paid_social", "campaign": "mentoria-2031-05",
        "term": "empreendedoras", "content": "video-depoimento-2",
    });
    body["mainStruggle"] = json!("Trabalho demais e nunca tenho tempo para a família. ".repeat(8));
    world.submit(&body).await;
    world.drain().await;
    let bill = proxy.take();
    println!("a lead with long fields: {bill:?}");
    // Such a lead may cost 64 units. This one is the first, so four destinations also note their
    // first success, and the limiter writes three times.
    assert!(bill.write_units <= 64.0 + 7.0, "{bill:?}");
    world.finish().await;
}

#[tokio::test]
async fn a_request_over_its_rate_costs_one_round_trip() {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan()
        .with("AWS_ENDPOINT_URL_DYNAMODB", &url)
        .with("DESTINATIONS", "none")
        .start()
        .await;
    for number in 0..10 {
        assert_eq!(world.submit(&somebody(number)).await.status, 200);
    }
    proxy.take();
    assert_eq!(world.submit(&somebody(10)).await.status, 429);
    assert_eq!(proxy.take().requests, operations([("UpdateItem", 1)]));
    world.finish().await;
}
