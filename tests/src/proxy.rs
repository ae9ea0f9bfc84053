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
use tokio::sync::Notify;

use crate::world::{client, emulator};

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
    /// The table never sees it, and nobody answers.
    HangBefore,
    /// The table has done it, and nobody answers.
    HangAfter,
    /// The table has no capacity left: `ProvisionedThroughputExceeded` as the reason of a transaction's
    /// cancellation, the exception of that name for any other call.
    Exceeded,
    /// `ThrottlingException`, whatever the call.
    Throttled,
    /// Another transaction is at the item: `TransactionConflict` as the reason of a cancellation,
    /// `TransactionConflictException` for a single write. A read knows none: it fails with 500.
    Conflict,
    /// `TransactionInProgressException`; what is no transaction gets `RequestLimitExceeded`.
    InProgress,
}

impl Break {
    /// Whether the table does what it was asked.
    const fn takes_effect(self) -> bool {
        match self {
            Self::AfterEffect | Self::HangAfter => true,
            Self::BeforeEffect
            | Self::HangBefore
            | Self::Exceeded
            | Self::Throttled
            | Self::Conflict
            | Self::InProgress => false,
        }
    }
}

/// DynamoDB's name for an error, as it stands in the answer's body.
pub fn error_body(code: &str) -> Value {
    json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "scripted"})
}

/// The body of a cancelled transaction, with the code of each write.
pub fn cancelled_body(codes: &[&str]) -> Value {
    let reasons: Vec<Value> =
        codes.iter().map(|code| json!({"Code": code, "Message": "scripted"})).collect();
    json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": reasons,
    })
}

/// Which calls on items break: these, counted from zero, for so many of the SDK's tries each.
#[derive(Clone, Debug)]
struct Fault {
    calls: std::ops::Range<usize>,
    tries: u32,
    how: Break,
}

/// A call on items, as the SDK names it in each of its tries.
#[derive(Debug)]
struct Call {
    id: String,
    broken: u32,
}

/// A proxy that keeps the bill.
pub struct Proxy {
    emulator: String,
    client: reqwest::Client,
    bill: Mutex<Bill>,
    fault: Mutex<Option<Fault>>,
    seen: Mutex<Vec<Call>>,
    held: Notify,
}

impl Proxy {
    /// Starts one; answers where it listens, too.
    pub async fn start() -> (Arc<Self>, String) {
        let proxy = Arc::new(Self {
            emulator: emulator().await,
            client: client(),
            bill: Mutex::default(),
            fault: Mutex::default(),
            seen: Mutex::default(),
            held: Notify::new(),
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

    /// How many calls on items there were since this was last told to break some; what the SDK tries
    /// again is one call.
    pub fn seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Breaks these of the calls on items to come, counted from zero, for so many of the SDK's tries.
    pub fn break_calls(&self, calls: std::ops::Range<usize>, tries: u32, how: Break) {
        self.seen.lock().unwrap().clear();
        *self.fault.lock().unwrap() = Some(Fault { calls, tries, how });
    }

    /// Breaks nothing any more.
    pub fn mend(&self) {
        *self.fault.lock().unwrap() = None;
    }

    /// How many calls broke since this was last told to break some.
    pub fn broken(&self) -> usize {
        self.seen.lock().unwrap().iter().filter(|call| call.broken > 0).count()
    }

    /// Returns once a call hangs that nobody has been told of.
    pub async fn held(&self) {
        self.held.notified().await;
    }

    /// Whether this try of a call breaks.
    fn next_break(&self, id: &str) -> Option<Break> {
        let mut seen = self.seen.lock().unwrap();
        let number = seen.iter().position(|call| call.id == id).unwrap_or_else(|| {
            seen.push(Call { id: id.to_owned(), broken: 0 });
            seen.len() - 1
        });
        let fault = self.fault.lock().unwrap().clone()?;
        if !fault.calls.contains(&number) || seen[number].broken >= fault.tries {
            return None;
        }
        seen[number].broken += 1;
        Some(fault.how)
    }
}

async fn pass_on(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> Response {
    let operation = headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap();
    let mut asked: Value = serde_json::from_slice(&body).unwrap();
    let costs = COSTLY.contains(&operation);
    let breaks = if costs {
        let id = headers.get("amz-sdk-invocation-id").and_then(|id| id.to_str().ok());
        // What a test asks by hand is no call of the system's.
        id.and_then(|id| proxy.next_break(id))
    } else {
        None
    };
    if let Some(how) = breaks.filter(|how| !how.takes_effect()) {
        return broken(&proxy, how, operation).await;
    }
    if costs {
        asked["ReturnConsumedCapacity"] = json!("INDEXES");
    }
    let mut onward = headers.clone();
    for name in ["host", "content-length"] {
        onward.remove(name);
    }
    let answer = proxy.client.post(&proxy.emulator).headers(onward).body(asked.to_string());
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
    if let Some(how) = breaks {
        return broken(&proxy, how, operation).await;
    }
    (status, [("content-type", "application/x-amz-json-1.0")], bytes).into_response()
}

/// What the caller gets of a broken call, if anything.
async fn broken(proxy: &Proxy, how: Break, operation: &str) -> Response {
    let transaction = operation == "TransactWriteItems";
    let read = matches!(operation, "BatchGetItem" | "GetItem" | "Query");
    let refused = match how {
        Break::BeforeEffect | Break::AfterEffect => return closed(),
        Break::HangBefore | Break::HangAfter => {
            proxy.held.notify_one();
            return std::future::pending().await;
        }
        Break::Exceeded if transaction => {
            cancelled_body(&["None", "ProvisionedThroughputExceeded", "None"])
        }
        Break::Exceeded => error_body("ProvisionedThroughputExceededException"),
        Break::Throttled => error_body("ThrottlingException"),
        Break::Conflict if transaction => cancelled_body(&["None", "TransactionConflict", "None"]),
        Break::Conflict if read => error_body("InternalServerError"),
        Break::Conflict => error_body("TransactionConflictException"),
        Break::InProgress if transaction => error_body("TransactionInProgressException"),
        Break::InProgress => error_body("RequestLimitExceeded"),
    };
    let status = if how == Break::Conflict && read {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::BAD_REQUEST
    };
    (status, [("content-type", "application/x-amz-json-1.0")], refused.to_string()).into_response()
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
