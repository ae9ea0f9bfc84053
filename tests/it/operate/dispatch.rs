//! Ringing: which function is rung for what, over HTTP and over Lambda's API, and who may ring.

mod functions;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use funil_core::clock::after;
use funil_core::destination;
use funil_core::id::LeaseId;
use funil_store::{Claimed, Claiming, key_time};
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::world::{LEAD, SERVICE_TOKEN, World, lead, lead_body};
use funil_tests::aws_signature::assert_signed;

/// A request that rang.
#[derive(Clone, Debug)]
struct Rung {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: String,
}

/// A server that notes each ring and gives all of them the same response.
#[derive(Clone)]
struct Doorbell {
    url: String,
    rung: Arc<Mutex<Vec<Rung>>>,
    response: StatusCode,
}

impl Doorbell {
    async fn with_status(status: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let response = StatusCode::from_u16(status).unwrap();
        let doorbell = Self { url, rung: Arc::default(), response };
        let router = Router::new().fallback(note).with_state(doorbell.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        doorbell
    }

    /// The rings since the last `take`, sorted by their paths.
    fn take(&self) -> Vec<Rung> {
        let mut rung = std::mem::take(&mut *self.rung.lock().unwrap());
        rung.sort_by(|a, b| a.path.cmp(&b.path));
        rung
    }

    fn paths(&self) -> Vec<String> {
        self.take().into_iter().map(|rung| rung.path).collect()
    }
}

async fn note(State(doorbell): State<Doorbell>, request: Request) -> StatusCode {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1024 * 1024).await.unwrap();
    doorbell.rung.lock().unwrap().push(Rung {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    doorbell.response
}

/// A record of the stream.
fn record(change: &str, sk: &str, due_at: Option<Timestamp>) -> Value {
    let mut image = json!({"type": {"S": "delivery"}});
    if let Some(due_at) = due_at {
        image["due_sk"] = json!({"S": key_time(due_at)});
    }
    json!({
        "eventSource": "aws:dynamodb",
        "eventName": change,
        "dynamodb": {
            "SequenceNumber": "1",
            "Keys": {"pk": {"S": format!("LEAD#{LEAD}")}, "sk": {"S": sk}},
            "NewImage": image,
        },
    })
}

/// A record of a new delivery that a ring names.
fn marked(sk: &str, due: Timestamp) -> Value {
    let mut record = record("INSERT", sk, Some(due));
    record["dynamodb"]["NewImage"]["at_once"] = json!({"BOOL": true});
    record
}

/// The keys that a ring names.
fn named(ring: &Rung) -> Vec<String> {
    let body: Value = serde_json::from_str(&ring.body).unwrap();
    serde_json::from_value(body["deliveries"].clone()).unwrap()
}

fn delivery_of(destination: &str, number: u32) -> String {
    format!("DELIVERY#{destination}#2031-05-05T12:00:00.000Z#{number}")
}

fn schedule() -> Value {
    json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}})
}

#[tokio::test]
async fn a_batch_of_marked_deliveries_rings_by_name_a_hundred_at_a_time() {
    let doorbell = Doorbell::with_status(200).await;
    let world =
        World::plan().with("DOORBELL_URL", &doorbell.url).with("RINGS", "stream").start().await;
    let due = after(world.now(), 65);
    let mut records: Vec<Value> =
        (0..150).map(|number| marked(&delivery_of("crm", number), due)).collect();
    records.push(marked(&delivery_of("ga4", 0), due));
    // A reminder stands in the same batch, and is nobody's concern yet.
    records.push(record("INSERT", &delivery_of("whatsapp", 0), Some(due)));
    records.push(marked(&delivery_of("fax", 0), due));
    world.invoke("dispatch", json!({"Records": records})).await;
    let rung = doorbell.take();
    let counts: Vec<(&str, usize)> =
        rung.iter().map(|ring| (ring.path.as_str(), named(ring).len())).collect();
    assert_eq!(counts.len(), 3);
    assert!(counts.contains(&("/crm-sync", 100)) && counts.contains(&("/crm-sync", 50)));
    assert!(counts.contains(&("/ga4-events", 1)));
    let ga4 = rung.iter().find(|ring| ring.path == "/ga4-events").unwrap();
    assert_eq!(named(ga4), [format!("{LEAD}/{}", delivery_of("ga4", 0))]);
    world.finish().await;
}

#[tokio::test]
async fn intakes_ring_has_the_keys_of_its_transaction_and_nothing_else() {
    let doorbell = Doorbell::with_status(200).await;
    let world = World::plan()
        .with("DESTINATIONS", "crm,mailerlite,ga4,segment")
        .with("DOORBELL_URL", &doorbell.url)
        .with("RINGS", "http")
        .start()
        .await;
    world.looks_at_destinations();
    world.submit(&lead_body()).await;
    let rings = doorbell.take();
    let [ring] = &rings[..] else { panic!("one ring, not {}", rings.len()) };
    assert_eq!(ring.path, "/dispatch");
    assert_eq!(named(ring).len(), 5);
    assert!(!ring.body.contains("ana"), "a ring carries ids and no data: {}", ring.body);
    // `dispatch` passes them on, each to its function, which delivers them.
    let body: Value = serde_json::from_str(&ring.body).unwrap();
    assert_eq!(world.authorised("dispatch", &body).await.status, 200);
    for ring in doorbell.take() {
        let body: Value = serde_json::from_str(&ring.body).unwrap();
        let response = world.authorised(ring.path.trim_start_matches('/'), &body).await;
        assert_eq!(response.json()["settled"], named(&ring).len(), "{}", ring.path);
    }
    assert!(world.states(lead()).await.iter().all(|state| state.ends_with(" delivered")));
    // Keys of another destination, or none, are no reason to do anything.
    let strange = json!({"deliveries": [format!("{LEAD}/{}", delivery_of("crm", 1)), "x", 7]});
    let response = world.authorised("ga4-events", &strange).await;
    assert_eq!((response.status, response.json()["settled"].clone()), (200, json!(0)));
    world.finish().await;
}

#[tokio::test]
async fn what_waits_for_a_ring_is_not_rung_for_by_the_schedule() {
    let doorbell = Doorbell::with_status(200).await;
    let world = World::plan()
        .with("DESTINATIONS", "crm,mailerlite,ga4,segment")
        .with("DOORBELL_URL", &doorbell.url)
        .with("RINGS", "stream")
        .start()
        .await;
    world.looks_at_destinations();
    world.submit(&lead_body()).await;
    assert_eq!(doorbell.paths(), ["/dispatch"], "intake rings where it has a doorbell");
    world.invoke("dispatch", schedule()).await;
    assert_eq!(doorbell.paths(), [""; 0]);
    world.pass(65 + 9);
    world.invoke("dispatch", schedule()).await;
    assert_eq!(doorbell.paths(), [""; 0], "a ring may still be under way");
    world.pass(1);
    world.invoke("dispatch", schedule()).await;
    assert_eq!(doorbell.paths().len(), 4, "it was lost");
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn rings_by_http_need_a_doorbell() {
    let world = World::new().await;
    let env = world.env(&[("RINGS", "http"), ("DOORBELL_URL", "")]);
    let error = funil_dev::functions::all(&env, world.platform()).unwrap_err().to_string();
    assert!(error.contains("RINGS=http needs DOORBELL_URL"), "{error}");
    for (name, value) in [("RINGS", "loud"), ("DUE_SHARDS", "17"), ("RETENTION_DELIVERIES", "89")] {
        let env = world.env(&[(name, value)]);
        let error = funil_dev::functions::all(&env, world.platform()).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_batch_rings_each_destination_with_something_new_and_due_once() {
    let doorbell = Doorbell::with_status(200).await;
    let world = World::plan().with("DOORBELL_URL", &doorbell.url).start().await;
    let now = world.now();
    let batch = json!({"Records": [
        record("INSERT", &delivery_of("crm", 1), Some(now)),
        record("INSERT", &delivery_of("crm", 2), Some(now)),
        record("INSERT", &delivery_of("ga4", 1), Some(after(now, 4))),
        record("INSERT", &delivery_of("mailerlite", 1), Some(after(now, -3600))),
        record("INSERT", &delivery_of("segment", 1), Some(after(now, 61))),
    ]});
    let response = world.invoke("dispatch", batch).await;
    assert_eq!(response, json!({"batchItemFailures": []}));
    let rung = doorbell.take();
    let paths: Vec<&str> = rung.iter().map(|rung| rung.path.as_str()).collect();
    assert_eq!(paths, ["/crm-sync", "/ga4-events", "/mailerlite-sync"]);
    for ring in rung {
        assert_eq!((ring.method, &*ring.body), (Method::POST, ""), "a ring carries no data");
        assert_eq!(ring.headers["authorization"], format!("Bearer {SERVICE_TOKEN}"));
    }
    world.finish().await;
}

#[tokio::test]
async fn what_is_not_a_new_delivery_rings_nobody() {
    let doorbell = Doorbell::with_status(200).await;
    let world = World::plan().with("DOORBELL_URL", &doorbell.url).start().await;
    let now = Some(world.now());
    let batch = json!({"Records": [
        record("MODIFY", &delivery_of("crm", 1), now),
        record("REMOVE", &delivery_of("crm", 1), now),
        record("RENAME", &delivery_of("crm", 1), now),
        record("INSERT", "EVENT#2031-05-05T12:00:00.000Z#form:lead-submit:1", now),
        record("INSERT", "LEAD", now),
        record("INSERT", &delivery_of("crm", 2), None),
        record("INSERT", &delivery_of("fax", 1), now),
        record("INSERT", "DELIVERY#", now),
        Value::Null,
    ]});
    let response = world.invoke("dispatch", batch).await;
    assert_eq!(response, json!({"batchItemFailures": []}));
    assert_eq!(doorbell.paths(), [""; 0]);
    world.finish().await;
}

#[tokio::test]
async fn a_schedule_rings_exactly_the_functions_with_something_due() {
    let doorbell = Doorbell::with_status(202).await;
    let world = World::plan()
        .with("DOORBELL_URL", &doorbell.url)
        .with("DESTINATIONS", "crm,ga4")
        .start()
        .await;
    world.expect_requests("crm", 2);
    world.expect_requests("ga4", 1);
    let nobody = json!({"rung": []});
    assert_eq!(world.invoke("dispatch", schedule()).await, nobody);
    world.submit(&lead_body()).await;
    assert_eq!(doorbell.paths(), ["/dispatch"], "intake rings dispatch");

    let both = json!({"rung": ["crm-sync", "ga4-events"]});
    assert_eq!(world.invoke("dispatch", schedule()).await, both);
    assert_eq!(doorbell.paths(), ["/crm-sync", "/ga4-events"]);
    // A ring and a request with the token do the same.
    assert_eq!(world.invoke("dispatch", json!({"ring": true})).await, both);
    assert_eq!(world.authorised("dispatch", &json!({})).await.json(), both);
    doorbell.take();

    // A leased delivery is not due until its lease ends.
    let key = world.delivery_key(lead(), "crm").await;
    let claimed =
        world.store.claim(&key, Claiming::Due, LeaseId::random(world.entropy()), world.now()).await;
    assert!(matches!(claimed.unwrap(), Claimed::Ours(_)));
    assert_eq!(world.invoke("dispatch", schedule()).await, json!({"rung": ["ga4-events"]}));
    world.pass(60);
    assert_eq!(world.invoke("dispatch", schedule()).await, both);
    world.drain().await;
    assert_eq!(world.invoke("dispatch", schedule()).await, nobody);
    world.finish().await;
}

#[tokio::test]
async fn a_function_that_does_not_exist_never_fails_the_batch() {
    for status in [404, 401, 500] {
        let doorbell = Doorbell::with_status(status).await;
        let world = World::plan().with("DOORBELL_URL", &doorbell.url).start().await;
        world.expect_one_lead();
        assert_eq!(world.submit(&lead_body()).await.status, 200, "the form does not fail either");
        let batch =
            json!({"Records": [record("INSERT", &delivery_of("crm", 1), Some(world.now()))]});
        let response = world.invoke("dispatch", batch).await;
        assert_eq!(response, json!({"batchItemFailures": []}));
        assert_eq!(world.invoke("dispatch", schedule()).await, json!({"rung": []}));
        world.drain().await;
        world.finish().await;
    }
}

#[tokio::test]
async fn an_address_without_a_server_never_fails_the_batch() {
    // There is no server at the usual world's doorbell address.
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.expect_requests("crm", 2);
    assert_eq!(world.submit(&lead_body()).await.status, 200);
    let batch = json!({"Records": [record("INSERT", &delivery_of("crm", 1), Some(world.now()))]});
    assert_eq!(world.invoke("dispatch", batch).await, json!({"batchItemFailures": []}));
    assert_eq!(world.invoke("dispatch", schedule()).await, json!({"rung": []}));
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn only_those_who_know_a_service_token_may_ring() {
    let tokens = format!("{SERVICE_TOKEN},another-token-for-rotation");
    let world = World::plan().with("SERVICE_TOKEN", &tokens).start().await;
    let delivery = destination::ALL.iter().map(|one| (one.function, one.follows_bookings));
    for (function, withdraws) in delivery.chain([("dispatch", false)]) {
        let wrong_case = format!("Bearer {}", SERVICE_TOKEN.to_uppercase());
        let basic = format!("Basic {SERVICE_TOKEN}");
        let part = format!("Bearer {}", &SERVICE_TOKEN[..20]);
        let both = format!("Bearer {tokens}");
        for header in ["", "Bearer", "Bearer ", SERVICE_TOKEN, &wrong_case, &basic, &part, &both] {
            let headers = [("authorization", header)];
            let response = world.send(function, Method::POST, &headers, b"").await;
            assert_eq!(response.status, 401, "{function}: {header}");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
            assert_eq!(response.json()["code"], "unauthorized");
        }
        assert_eq!(world.send(function, Method::POST, &[], b"").await.status, 401);
        let response = world.send(function, Method::GET, &[], b"").await;
        let allow = if withdraws { "POST, DELETE" } else { "POST" };
        assert_eq!((response.status, response.header("allow")), (405, Some(allow)), "{function}");
    }
    for token in [SERVICE_TOKEN, "another-token-for-rotation"] {
        let response = world.authorised_as(token, "dispatch", &json!({})).await;
        assert_eq!(response.status, 200);
    }
    let lower = format!("bearer  {SERVICE_TOKEN} ");
    let response = world.send("dispatch", Method::POST, &[("authorization", &lower)], b"").await;
    assert_eq!(response.status, 200);
    world.finish().await;
}

#[tokio::test]
async fn on_aws_a_ring_is_a_signed_asynchronous_invocation() {
    let doorbell = Doorbell::with_status(202).await;
    let world = World::plan()
        .with("DOORBELL_URL", "")
        .with("DOORBELL_FUNCTION_PREFIX", "funil-prod-")
        .with("AWS_ENDPOINT_URL_LAMBDA", &doorbell.url)
        .with("AWS_SESSION_TOKEN", "the-session")
        .start()
        .await;
    let batch = json!({"Records": [record("INSERT", &delivery_of("crm", 1), Some(world.now()))]});
    let response = world.invoke("dispatch", batch).await;
    assert_eq!(response, json!({"batchItemFailures": []}));
    let [ring] = &doorbell.take()[..] else { panic!("one ring") };
    assert_eq!(ring.method, Method::POST);
    assert_eq!(ring.path, "/2015-03-31/functions/funil-prod-crm-sync/invocations");
    assert_eq!(ring.headers["x-amz-invocation-type"], "Event");
    assert_eq!(ring.headers["x-amz-date"], "20310505T120000Z");
    assert_eq!(ring.headers["x-amz-security-token"], "the-session");
    assert_eq!(ring.body, r#"{"ring":true}"#);
    let authorization = ring.headers["authorization"].to_str().unwrap();
    let scope = "AWS4-HMAC-SHA256 Credential=dispatch/20310505/sa-east-1/lambda/aws4_request, ";
    assert!(authorization.starts_with(scope), "{authorization}");
    assert!(authorization.contains("x-amz-invocation-type"), "{authorization}");
    assert_signed(&ring.method, &ring.path, &ring.headers, ring.body.as_bytes(), "lambda");
    world.finish().await;
}

#[tokio::test]
async fn on_aws_an_intake_does_not_ring_because_the_stream_does() {
    let doorbell = Doorbell::with_status(202).await;
    let world = World::plan()
        .with("DESTINATIONS", "crm")
        .with("DOORBELL_URL", "")
        .with("DOORBELL_FUNCTION_PREFIX", "funil-")
        .with("AWS_ENDPOINT_URL_LAMBDA", &doorbell.url)
        .start()
        .await;
    world.expect_requests("crm", 2);
    world.submit(&lead_body()).await;
    assert_eq!(doorbell.paths(), [""; 0]);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn duplicate_late_and_unreadable_records_neither_double_nor_hold_up_anything() {
    let doorbell = Doorbell::with_status(200).await;
    let world = World::plan()
        .with("DOORBELL_URL", &doorbell.url)
        .with("DESTINATIONS", "crm,segment")
        .start()
        .await;
    world.expect_requests("crm", 2);
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    doorbell.take();
    let now = Some(world.now());
    // The record of a settlement comes before its insertion's, one insertion comes twice, and two
    // records are unreadable.
    let batch = json!({"Records": [
        record("MODIFY", &delivery_of("crm", 1), None),
        json!({"eventSource": "aws:dynamodb", "eventName": "INSERT", "dynamodb": "poison"}),
        record("INSERT", &delivery_of("crm", 1), now),
        json!({"eventSource": "aws:dynamodb"}),
        record("INSERT", &delivery_of("crm", 1), now),
        record("INSERT", &delivery_of("segment", 1), now),
    ]});
    for settled in [2, 0, 0] {
        assert_eq!(world.invoke("dispatch", batch.clone()).await, json!({"batchItemFailures": []}));
        assert_eq!(doorbell.paths(), ["/crm-sync", "/segment-sync"]);
        assert_eq!(world.drain().await, settled, "nothing is settled twice");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_function_that_does_not_respond_to_a_ring_holds_up_no_other() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let rung = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&rung);
    let router = Router::new().fallback(move |request: Request| {
        let path = request.uri().path().to_owned();
        noting.lock().unwrap().push(path.clone());
        async move {
            if path == "/crm-sync" {
                std::future::pending::<()>().await;
            }
            StatusCode::OK
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let world =
        World::plan().with("DOORBELL_URL", &url).with("DESTINATIONS", "crm,segment").start().await;
    world.expect_requests("crm", 2);
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    rung.lock().unwrap().clear();
    let response = world.invoke("dispatch", schedule()).await;
    // It may be at work: a ring does not wait for it.
    assert_eq!(response, json!({"rung": ["crm-sync", "segment-sync"]}));
    let mut paths = rung.lock().unwrap().clone();
    paths.sort();
    assert_eq!(paths, ["/crm-sync", "/segment-sync"]);
    world.drain().await;
    world.finish().await;
}
