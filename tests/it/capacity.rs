//! What a lead costs at DynamoDB: round trips, and units by the engine's own count.
//!
//! A proxy stands before the engine, asks it for the capacity of each call, and adds up.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::world::{World, client, engine, lead, lead_body};

/// Operations on items: the ones that cost units.
const COSTLY: [&str; 7] = [
    "BatchGetItem",
    "DeleteItem",
    "GetItem",
    "PutItem",
    "Query",
    "TransactWriteItems",
    "UpdateItem",
];

/// What was asked of the table so far.
#[derive(Clone, Debug, Default, PartialEq)]
struct Bill {
    calls: BTreeMap<String, u32>,
    write_units: f64,
    read_units: f64,
}

/// A proxy that keeps the bill.
struct Proxy {
    engine: String,
    client: reqwest::Client,
    bill: Mutex<Bill>,
}

impl Proxy {
    async fn start() -> (Arc<Self>, String) {
        let proxy =
            Arc::new(Self { engine: engine().await, client: client(), bill: Mutex::default() });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass_on).with_state(Arc::clone(&proxy));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (proxy, url)
    }

    /// The bill since the last look.
    fn take(&self) -> Bill {
        std::mem::take(&mut *self.bill.lock().unwrap())
    }
}

async fn pass_on(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> Response {
    let operation = headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap();
    let mut asked: Value = serde_json::from_slice(&body).unwrap();
    let costs = COSTLY.contains(&operation);
    if costs {
        asked["ReturnConsumedCapacity"] = json!("INDEXES");
    }
    let mut onward = headers.clone();
    for name in ["host", "content-length"] {
        onward.remove(name);
    }
    let answer = proxy.client.post(&proxy.engine).headers(onward).body(asked.to_string());
    let answer = answer.send().await.unwrap();
    let status = answer.status();
    let bytes = answer.bytes().await.unwrap();
    if costs {
        let told: Value = serde_json::from_slice(&bytes).unwrap();
        let consumed = match &told["ConsumedCapacity"] {
            Value::Array(tables) => tables.iter().map(units).sum(),
            one => units(one),
        };
        let mut bill = proxy.bill.lock().unwrap();
        *bill.calls.entry(operation.to_owned()).or_default() += 1;
        match operation {
            "BatchGetItem" | "GetItem" | "Query" => bill.read_units += consumed,
            // A condition that fails costs its write all the same, and its answer does not tell.
            _ => bill.write_units += if status == StatusCode::OK { consumed } else { 1.0 },
        }
    }
    (status, [("content-type", "application/x-amz-json-1.0")], bytes).into_response()
}

/// The units of one table, its indexes included.
fn units(consumed: &Value) -> f64 {
    consumed["CapacityUnits"].as_f64().unwrap_or_default()
}

fn calls<const N: usize>(expected: [(&str, u32); N]) -> BTreeMap<String, u32> {
    expected.into_iter().map(|(operation, count)| (operation.to_owned(), count)).collect()
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
    world.expect_one_lead();
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
    assert!(written <= 54.0, "{written}");
    assert!(written >= 30.0, "the engine counts: {written}");
    // A claim, its settlement, and GA4's mark.
    assert_eq!(delivered.calls["UpdateItem"], 5 * 2 + 1);
    world.finish().await;
}

#[tokio::test]
async fn what_a_lead_costs_does_not_depend_on_how_many_there_are() {
    let (proxy, url) = Proxy::start().await;
    let world =
        World::plan().with("AWS_ENDPOINT_URL_DYNAMODB", &url).with("DESTINATIONS", "ga4").start().await;
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
