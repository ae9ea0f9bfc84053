//! A proxy before the engine: counts what each call of the table costs, and breaks calls when told.
//!
//! It must not know what the calls are for.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::world::{client, engine};

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
pub struct Bill {
    /// How often each operation was asked for.
    pub calls: BTreeMap<String, u32>,
    /// Units written, indexes included.
    pub write_units: f64,
    /// Units read.
    pub read_units: f64,
}

/// How a call breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The connection closes before the table has seen it.
    BeforeEffect,
    /// The connection closes when the table has done it.
    AfterEffect,
}

/// Which calls on items break: these, counted from zero.
#[derive(Clone, Debug)]
struct Fault {
    calls: std::ops::Range<u32>,
    how: Break,
}

/// A proxy that keeps the bill.
pub struct Proxy {
    engine: String,
    client: reqwest::Client,
    bill: Mutex<Bill>,
    fault: Mutex<Option<Fault>>,
    seen: Mutex<u32>,
}

impl Proxy {
    /// Starts one; answers where it listens, too.
    pub async fn start() -> (Arc<Self>, String) {
        let proxy = Arc::new(Self {
            engine: engine().await,
            client: client(),
            bill: Mutex::default(),
            fault: Mutex::default(),
            seen: Mutex::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass_on).with_state(Arc::clone(&proxy));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (proxy, url)
    }

    /// The bill since the last look.
    pub fn take(&self) -> Bill {
        std::mem::take(&mut *self.bill.lock().unwrap())
    }

    /// How many calls on items there were since this was last told to break some.
    pub fn seen(&self) -> u32 {
        *self.seen.lock().unwrap()
    }

    /// Breaks so many calls on items, after the first `at` of those to come.
    pub fn break_calls(&self, at: u32, count: u32, how: Break) {
        *self.seen.lock().unwrap() = 0;
        *self.fault.lock().unwrap() = Some(Fault { calls: at..at + count, how });
    }

    /// Whether the next call breaks.
    fn next_break(&self) -> Option<Break> {
        let mut seen = self.seen.lock().unwrap();
        let number = *seen;
        *seen += 1;
        let fault = self.fault.lock().unwrap().clone()?;
        fault.calls.contains(&number).then_some(fault.how)
    }
}

async fn pass_on(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> Response {
    let operation = headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap();
    let mut asked: Value = serde_json::from_slice(&body).unwrap();
    let costs = COSTLY.contains(&operation);
    let breaks = if costs { proxy.next_break() } else { None };
    if breaks == Some(Break::BeforeEffect) {
        return closed();
    }
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
        let consumed = &told["ConsumedCapacity"];
        let consumed = consumed
            .as_array()
            .map_or_else(|| units(consumed), |tables| tables.iter().map(units).sum());
        let mut bill = proxy.bill.lock().unwrap();
        *bill.calls.entry(operation.to_owned()).or_default() += 1;
        match operation {
            "BatchGetItem" | "GetItem" | "Query" => bill.read_units += consumed,
            // A condition that fails costs its write all the same, and its answer does not tell.
            _ => bill.write_units += if status == StatusCode::OK { consumed } else { 1.0 },
        }
    }
    if breaks == Some(Break::AfterEffect) {
        return closed();
    }
    (status, [("content-type", "application/x-amz-json-1.0")], bytes).into_response()
}

/// A response whose body fails at once, so that the connection ends without an answer.
pub fn closed() -> Response {
    let fail = async { Err::<Bytes, _>(std::io::Error::other("told to close")) };
    Body::from_stream(futures::stream::once(fail)).into_response()
}

/// The units of one table, its indexes included.
fn units(consumed: &Value) -> f64 {
    consumed["CapacityUnits"].as_f64().unwrap_or_default()
}
