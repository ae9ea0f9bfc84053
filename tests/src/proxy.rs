//! A proxy in front of the emulator: counts what each request about items costs, and breaks requests
//! on demand.
//!
//! It must not know what the requests are for.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::table_limits::{Limits, TableLimits};
use crate::world::{client, emulator};

/// The operations on items, which cost capacity units.
const COSTLY: [&str; 7] = [
    "BatchGetItem",
    "DeleteItem",
    "GetItem",
    "PutItem",
    "Query",
    "TransactWriteItems",
    "UpdateItem",
];

/// What the requests cost so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bill {
    /// How many requests there were of each operation.
    pub requests: BTreeMap<String, u32>,
    /// How many of them the table refused, for a condition or otherwise.
    pub refused: u32,
    /// Units written, indexes included.
    pub write_units: f64,
    /// Units read.
    pub read_units: f64,
}

/// How a request breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The connection closes before the table has seen it.
    BeforeEffect,
    /// The connection closes after the table has done it.
    AfterEffect,
    /// The table never sees it, and there is no response.
    HangBefore,
    /// The table has done it, and there is no response.
    HangAfter,
    /// The table has no capacity left: a transaction is cancelled for
    /// `ProvisionedThroughputExceeded`, any other request gets the exception of that name.
    Exceeded,
    /// `ThrottlingException`, whatever the request.
    Throttled,
    /// Another transaction has the item: a transaction is cancelled for `TransactionConflict`, a single
    /// write gets `TransactionConflictException`. For a read there is no such error, so it fails with
    /// 500.
    Conflict,
    /// A transaction gets `TransactionInProgressException`, any other request `RequestLimitExceeded`.
    InProgress,
}

impl Break {
    /// Whether the request still takes effect.
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

/// The body of a response with DynamoDB's name for an error.
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

/// Which requests about items break: these, counted from zero, for this many tries each.
#[derive(Clone, Debug)]
struct Fault {
    requests: std::ops::Range<usize>,
    tries: u32,
    how: Break,
}

/// A request about items, whose tries have one id.
#[derive(Debug)]
struct Seen {
    number: usize,
    broken: u32,
}

/// A proxy that counts the cost.
pub struct Proxy {
    emulator: String,
    client: reqwest::Client,
    bill: Mutex<Bill>,
    fault: Mutex<Option<Fault>>,
    /// By the id of the request.
    seen: Mutex<HashMap<String, Seen>>,
    held: Notify,
    /// How many requests about items pass before one waits.
    until_delay: Mutex<Option<usize>>,
    let_go: Notify,
    limits: Mutex<Option<TableLimits>>,
    /// The first response to each query of the index, while it stands still.
    still: Mutex<Option<HashMap<String, Bytes>>>,
    started: Instant,
}

impl Proxy {
    /// Starts a proxy; returns it with its address.
    pub async fn start() -> (Arc<Self>, String) {
        let proxy = Arc::new(Self {
            emulator: emulator().await,
            client: client(),
            bill: Mutex::default(),
            fault: Mutex::default(),
            seen: Mutex::default(),
            held: Notify::new(),
            until_delay: Mutex::default(),
            let_go: Notify::new(),
            limits: Mutex::default(),
            still: Mutex::default(),
            started: Instant::now(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass_on).with_state(Arc::clone(&proxy));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (proxy, url)
    }

    /// What the requests cost since the last `take`.
    pub fn take(&self) -> Bill {
        std::mem::take(&mut *self.bill.lock().unwrap())
    }

    /// How many requests about items there were since [`Proxy::break_requests`]. The SDK's tries of one
    /// request count once.
    pub fn seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Breaks these of the following requests about items, counted from zero, for this many of the
    /// SDK's tries each.
    pub fn break_requests(&self, requests: std::ops::Range<usize>, tries: u32, how: Break) {
        self.seen.lock().unwrap().clear();
        *self.fault.lock().unwrap() = Some(Fault { requests, tries, how });
    }

    /// Limits what the table takes from now on.
    pub fn limit(&self, limits: Limits) {
        *self.limits.lock().unwrap() = Some(TableLimits::new(limits));
    }

    /// How often each key, or the table, refused a request since it was limited.
    pub fn refused_by_key(&self) -> HashMap<String, u32> {
        let limits = self.limits.lock().unwrap();
        limits.as_ref().map(|limits| limits.refused().clone()).unwrap_or_default()
    }

    /// How many deliveries were written since the table was limited and are open.
    pub fn open_deliveries(&self) -> usize {
        self.limits.lock().unwrap().as_ref().map_or(0, TableLimits::open_deliveries)
    }

    /// From now on the index of due deliveries lags behind for ever: a query of a shard has the response
    /// that it had at first.
    pub fn hold_index_still(&self) {
        *self.still.lock().unwrap() = Some(HashMap::new());
    }

    /// The response to a query of the index that stands still: the first one, which this may be.
    fn as_at_first(&self, request: &Value, response: Bytes) -> Bytes {
        let mut still = self.still.lock().unwrap();
        let Some(still) = still.as_mut().filter(|_| request["IndexName"] == "due") else {
            return response;
        };
        let shard = &request["ExpressionAttributeValues"][":pk"];
        let page = format!("{shard} {}", request["ExclusiveStartKey"]);
        still.entry(page).or_insert(response).clone()
    }

    /// Whether the table's limits leave room for a request.
    fn admits(&self, operation: &str, request: &Value) -> bool {
        let mut limits = self.limits.lock().unwrap();
        let now = self.started.elapsed();
        limits.as_mut().is_none_or(|limits| limits.admit(operation, request, now))
    }

    /// Notes that a request took effect, which wrote so many units.
    fn took_effect(&self, operation: &str, request: &Value, units: f64) {
        if let Some(limits) = &mut *self.limits.lock().unwrap() {
            limits.took_effect(operation, request, units, self.started.elapsed());
        }
    }

    /// Stops breaking and delaying requests.
    pub fn mend(&self) {
        *self.until_delay.lock().unwrap() = None;
        *self.fault.lock().unwrap() = None;
    }

    /// How many requests broke since [`Proxy::break_requests`].
    pub fn broken(&self) -> usize {
        self.seen.lock().unwrap().values().filter(|request| request.broken > 0).count()
    }

    /// Returns when the next request hangs or is delayed, or at once for one that hung since the last time.
    pub async fn held(&self) {
        self.held.notified().await;
    }

    /// Keeps this one of the following requests about items, counted from zero, until [`Proxy::let_go`]. Then it
    /// is done as usual.
    pub fn delay_request(&self, request: usize) {
        *self.until_delay.lock().unwrap() = Some(request);
    }

    /// Lets the delayed request go on.
    pub fn let_go(&self) {
        self.let_go.notify_one();
    }

    fn is_next_delayed(&self) -> bool {
        let mut until_delay = self.until_delay.lock().unwrap();
        let left = until_delay.take();
        *until_delay = left.and_then(|left| left.checked_sub(1));
        left == Some(0)
    }

    /// How this try of a request breaks, if it does.
    fn next_break(&self, id: &str) -> Option<Break> {
        let mut seen = self.seen.lock().unwrap();
        let number = seen.len();
        let request = seen.entry(id.to_owned()).or_insert(Seen { number, broken: 0 });
        let fault = self.fault.lock().unwrap().clone()?;
        if !fault.requests.contains(&request.number) || request.broken >= fault.tries {
            return None;
        }
        request.broken += 1;
        Some(fault.how)
    }
}

/// A task of its own, so that a request takes effect and is counted even when its sender has died.
async fn pass_on(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> Response {
    tokio::spawn(handle(proxy, headers, body)).await.unwrap()
}

async fn handle(proxy: Arc<Proxy>, headers: HeaderMap, body: Bytes) -> Response {
    let operation = headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap();
    let mut request: Value = serde_json::from_slice(&body).unwrap();
    let costs = COSTLY.contains(&operation);
    let breaks = if costs {
        let id = headers.get("amz-sdk-invocation-id").and_then(|id| id.to_str().ok());
        // A request that a test makes by hand has no id, and does not count.
        id.and_then(|id| proxy.next_break(id))
    } else {
        None
    };
    if costs && proxy.is_next_delayed() {
        proxy.held.notify_one();
        proxy.let_go.notified().await;
    }
    if let Some(how) = breaks.filter(|how| !how.takes_effect()) {
        return broken(&proxy, how, operation).await;
    }
    if !proxy.admits(operation, &request) {
        return broken(&proxy, Break::Exceeded, operation).await;
    }
    if costs {
        request["ReturnConsumedCapacity"] = json!("INDEXES");
    }
    let mut onward = headers.clone();
    for name in ["host", "content-length"] {
        onward.remove(name);
    }
    let response = proxy.client.post(&proxy.emulator).headers(onward).body(request.to_string());
    let response = response.send().await.unwrap();
    let status = response.status();
    let bytes = response.bytes().await.unwrap();
    if costs {
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        let consumed = consumed(&body);
        let reads = matches!(operation, "BatchGetItem" | "GetItem" | "Query");
        // A condition that fails costs the write nevertheless, and the response does not say so.
        let written = if status == StatusCode::OK { consumed } else { 1.0 };
        if status == StatusCode::OK {
            proxy.took_effect(operation, &request, if reads { 0.0 } else { written });
        }
        let mut bill = proxy.bill.lock().unwrap();
        *bill.requests.entry(operation.to_owned()).or_default() += 1;
        bill.refused += u32::from(status != StatusCode::OK);
        if reads {
            bill.read_units += consumed;
        } else {
            bill.write_units += written;
        }
    }
    if let Some(how) = breaks {
        return broken(&proxy, how, operation).await;
    }
    let bytes = proxy.as_at_first(&request, bytes);
    (status, [("content-type", "application/x-amz-json-1.0")], bytes).into_response()
}

/// The response to a broken request, if there is one.
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

/// A response whose body fails at once, so that the connection closes without a response.
pub fn closed() -> Response {
    let fail = async { Err::<Bytes, _>(std::io::Error::other("closed on purpose")) };
    Body::from_stream(futures::stream::once(fail)).into_response()
}

/// The units that a response says were consumed, indexes included.
pub(crate) fn consumed(response: &Value) -> f64 {
    let of_table = |table: &Value| table["CapacityUnits"].as_f64().unwrap_or_default();
    let consumed = &response["ConsumedCapacity"];
    consumed.as_array().map_or_else(|| of_table(consumed), |all| all.iter().map(of_table).sum())
}
