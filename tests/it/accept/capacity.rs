//! What a lead costs at DynamoDB: round trips, and units by the engine's own count.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::world::{World, lead, lead_body};

fn calls<const N: usize>(expected: [(&str, u32); N]) -> BTreeMap<String, u32> {
    expected.into_iter().map(|(operation, count)| (operation.to_owned(), count)).collect()
}

/// The same lead of another person.
fn somebody_whole() -> Value {
    let mut body = lead_body();
    body["leadId"] = json!("0c8a5b1e-6a0b-4b6e-8a6e-1f2d3c4b5a69");
    body["email"] = json!("another@example.com");
    body
}

/// The lead of another person.
fn somebody(number: u32) -> Value {
    let mut body = lead_body();
    body["leadId"] = Value::Null;
    body["email"] = json!(format!("somebody{number}@example.com"));
    body
}

#[tokio::test]
async fn an_accepted_lead_costs_two_round_trips_and_a_third_for_a_caller_of_seconds_ago() {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan()
        .with("AWS_ENDPOINT_URL_DYNAMODB", &url)
        .with("DESTINATIONS", "crm,mailerlite,ga4,segment")
        .start()
        .await;
    for (provider, count) in [("crm", 10), ("mailerlite", 30), ("ga4", 5), ("segment", 5)] {
        world.expect_calls(provider, count);
    }
    proxy.take();
    world.submit_from("203.0.113.1", &somebody(1)).await;
    let first = calls([("GetItem", 1), ("TransactWriteItems", 1), ("UpdateItem", 1)]);
    assert_eq!(proxy.take().calls, first, "the first call of a process looks at META too");

    let two = calls([("TransactWriteItems", 1), ("UpdateItem", 1)]);
    for number in 2..4 {
        world.submit_from(&format!("203.0.113.{number}"), &somebody(number)).await;
        assert_eq!(proxy.take().calls, two);
    }
    let three = calls([("TransactWriteItems", 1), ("UpdateItem", 2)]);
    world.submit_from("203.0.113.3", &somebody(4)).await;
    assert_eq!(proxy.take().calls, three);
    world.pass(60);
    world.submit_from("203.0.113.3", &somebody(5)).await;
    assert_eq!(proxy.take().calls, two, "a minute later the caller is new again");

    world.submit_from("203.0.113.9", &somebody(5)).await;
    assert_eq!(proxy.take().calls, two, "a repetition costs no more");
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_lead_with_five_deliveries_stays_within_its_write_units() {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan().with("AWS_ENDPOINT_URL_DYNAMODB", &url).start().await;
    for (provider, calls) in [("crm", 4), ("mailerlite", 12), ("ga4", 2), ("segment", 2)] {
        world.expect_calls(provider, calls);
    }
    // The first lead of a process and of a destination also writes what is written now and then:
    // the breaker's last success, the limiter's lease.
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
    // Budget (design §5): 1 + 2·(6 + n) + 6·n and one per harmful send, for n = 5.
    // The limiter's leases and their return come on top where a rate is configured (MailerLite).
    assert!(written <= 54.0 + 3.0, "{written}");
    assert!(written >= 30.0, "the engine counts: {written}");
    // A claim, its settlement, and GA4's mark.
    // MailerLite's two leases and their return.
    assert_eq!(delivered.calls["UpdateItem"], 5 * 2 + 1 + 3);
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
    world.expect_calls("ga4", 40);
    let mut bills = Vec::new();
    for number in 0..40 {
        proxy.take();
        world.submit_from(&format!("198.51.100.{number}"), &somebody(100 + number)).await;
        world.drain().await;
        bills.push(proxy.take());
    }
    // The first of a process looks at META, for the form and for each worker.
    assert!(bills[2..].iter().all(|bill| bill == &bills[1]), "{bills:?}");
    world.finish().await;
}

#[tokio::test]
async fn a_wordy_lead_costs_little_more() {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan().with("AWS_ENDPOINT_URL_DYNAMODB", &url).start().await;
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
    println!("a wordy lead: {bill:?}");
    // The budget of design §11 is 64; a first lead also writes four notes of success, and the
    // limiter three times.
    assert!(bill.write_units <= 64.0 + 7.0, "{bill:?}");
    world.finish().await;
}

#[tokio::test]
async fn a_refused_call_costs_one_round_trip() {
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
    assert_eq!(proxy.take().calls, calls([("UpdateItem", 1)]));
    world.finish().await;
}
