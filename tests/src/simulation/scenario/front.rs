//! The front of a scenario's table, providers and Lambda API: one socket for every request of every
//! function.
//!
//! Owns how long each takes, what the table's limits refuse, how the providers fare, and which records
//! the table's stream has. It must not know what any request is for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use funil_dev::emulator::Embedded;
use funil_dev::simulated::Providers;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::Plan;
use crate::proxy::{cancelled_body, consumed, error_body};
use crate::simulation::chance::Chance;
use crate::simulation::front::{header, table_response};
use crate::simulation::quiet::Quiet;
use crate::table_limits::TableLimits;

/// Who sends the requests of the checker, which nothing limits and nobody counts.
pub(super) const OF_CHECKER: &str = "checker";
/// How long a provider takes at most to take a request in, and again to respond; half of it at least.
const PROVIDER_MS: u64 = 50;
/// How long a request of a tail takes.
const TAIL: Duration = Duration::from_secs(9);
/// One request in so many is one of the tail.
const TAIL_ONE_IN: u64 = 100;

/// What the requests to the table took.
#[derive(Clone, Debug, Default)]
pub(super) struct Bill {
    pub(super) requests: u64,
    /// Write units by the function that wrote.
    pub(super) written: BTreeMap<String, f64>,
    pub(super) read_units: f64,
    /// How many requests of each function the table refused for its load.
    pub(super) refused: BTreeMap<String, u64>,
}

/// A shard of the table's stream.
#[derive(Default)]
pub(super) struct StreamShard {
    pub(super) records: Mutex<VecDeque<Value>>,
    pub(super) arrived: Notify,
}

/// The front, with what it passes requests on to.
pub(super) struct Front {
    emulator: Embedded,
    pub(super) providers: Providers,
    chance: Chance,
    quiet: Quiet,
    plan: Plan,
    begun: Instant,
    table: Mutex<TableLimits>,
    bill: Mutex<Bill>,
    pub(super) stream: Vec<StreamShard>,
    /// Asynchronous invocations, which Lambda queues.
    queue: mpsc::UnboundedSender<(String, Value)>,
    /// When MailerLite got its last requests, for a minute.
    of_last_minute: Mutex<VecDeque<Duration>>,
}

impl Front {
    pub(super) fn new(
        emulator: Embedded,
        providers: Providers,
        chance: Chance,
        quiet: Quiet,
        plan: Plan,
        begun: Instant,
        queue: mpsc::UnboundedSender<(String, Value)>,
    ) -> Arc<Self> {
        let table = Mutex::new(TableLimits::new(plan.limits));
        let stream = (0..plan.stream_shards).map(|_| StreamShard::default()).collect();
        let (bill, of_last_minute) = (Mutex::default(), Mutex::default());
        Arc::new(Self {
            emulator,
            providers,
            chance,
            quiet,
            plan,
            begun,
            table,
            bill,
            stream,
            queue,
            of_last_minute,
        })
    }

    /// Listens until the runtime ends.
    pub(super) fn listen(self: Arc<Self>, listener: UnixListener) {
        let router = self.providers.router().layer(from_fn_with_state(Arc::clone(&self), pass));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    }

    /// How many deliveries are open.
    pub(super) fn open_deliveries(&self) -> usize {
        self.table.lock().unwrap().open_deliveries()
    }

    /// What the requests to the table took so far.
    pub(super) fn bill(&self) -> Bill {
        self.bill.lock().unwrap().clone()
    }

    /// The key that refused the most, and how often it did.
    pub(super) fn narrowest(&self) -> Option<(String, u32)> {
        let table = self.table.lock().unwrap();
        let most = table.refused().iter().max_by_key(|(_, times)| **times);
        most.map(|(key, times)| (key.clone(), *times))
    }

    async fn wait(&self, least_ms: u64, most_ms: u64) {
        let wait = least_ms + self.chance.below(most_ms - least_ms + 1);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        self.quiet.disturb();
    }

    async fn table(&self, function: &str, operation: &str, body: &str) -> Response {
        if function == OF_CHECKER {
            let (status, response) = self.emulator.respond(operation, body);
            return table_response(status, response);
        }
        self.wait(2, 6).await;
        let mut request: Value = serde_json::from_str(body).unwrap();
        self.bill.lock().unwrap().requests += 1;
        if !self.table.lock().unwrap().admit(operation, &request, self.begun.elapsed()) {
            *self.bill.lock().unwrap().refused.entry(function.to_owned()).or_default() += 1;
            let refused = if operation == "TransactWriteItems" {
                cancelled_body(&["None", "ProvisionedThroughputExceeded", "None"])
            } else {
                error_body("ProvisionedThroughputExceededException")
            };
            return table_response(400, refused.to_string());
        }
        request["ReturnConsumedCapacity"] = json!("INDEXES");
        let (status, response) = self.emulator.respond(operation, &request.to_string());
        let consumed = consumed(&serde_json::from_str(&response).unwrap_or_default());
        let reads = matches!(operation, "BatchGetItem" | "GetItem" | "Query");
        {
            let mut bill = self.bill.lock().unwrap();
            if reads {
                bill.read_units += consumed;
            } else {
                // A condition that fails costs the write nevertheless.
                let units = if status == 200 { consumed } else { 1.0 };
                *bill.written.entry(function.to_owned()).or_default() += units;
            }
        }
        let now = self.begun.elapsed();
        let mut lagging = None;
        if status == 200 {
            let mut table = self.table.lock().unwrap();
            table.took_effect(operation, &request, if reads { 0.0 } else { consumed }, now);
            lagging = table.lagging(&request, &response, now);
        }
        if status == 200 && operation == "TransactWriteItems" {
            self.stream(&request);
        }
        self.wait(1, 3).await;
        table_response(status, lagging.unwrap_or(response))
    }

    /// Puts the new deliveries of a transaction into the table's stream.
    fn stream(&self, request: &Value) {
        let writes = request["TransactItems"].as_array().into_iter().flatten();
        let items = writes.map(|write| &write["Put"]["Item"]);
        for item in items.filter(|item| item["at_once"]["BOOL"] == true) {
            let record = json!({
                "eventSource": "aws:dynamodb",
                "eventName": "INSERT",
                "dynamodb": {
                    "SequenceNumber": "1",
                    "Keys": {"pk": item["pk"], "sk": item["sk"]},
                    "NewImage": item,
                },
            });
            let pk = item["pk"]["S"].as_str().unwrap_or_default();
            let sum: usize = pk.bytes().map(usize::from).sum();
            let shard = &self.stream[sum % self.stream.len()];
            shard.records.lock().unwrap().push_back(record);
            shard.arrived.notify_one();
        }
    }

    async fn provider(&self, request: Request, next: Next) -> Response {
        let path = request.uri().path().trim_start_matches('/').to_owned();
        let name = path.split('/').next().unwrap_or_default();
        let (parts, body) = request.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        self.wait(PROVIDER_MS / 2, PROVIDER_MS).await;
        let now = self.begun.elapsed();
        let is_down = |(down, from, until)| down == name && (from..until).contains(&now);
        if self.plan.down.is_some_and(is_down) {
            return (StatusCode::SERVICE_UNAVAILABLE, "down").into_response();
        }
        if name == "mailerlite" && !self.mailerlite_admits(now) {
            return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "60")], "").into_response();
        }
        if self.plan.tail == Some(name) && self.chance.once_in(TAIL_ONE_IN) {
            tokio::time::sleep(TAIL).await;
        }
        let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
        self.quiet.disturb();
        self.wait(PROVIDER_MS / 2, PROVIDER_MS).await;
        response
    }

    fn mailerlite_admits(&self, now: Duration) -> bool {
        let mut last = self.of_last_minute.lock().unwrap();
        while last.front().is_some_and(|at| *at + Duration::from_mins(1) <= now) {
            last.pop_front();
        }
        let count = f64::from(u32::try_from(last.len()).unwrap());
        let admits = count < self.plan.mailerlite_per_minute.max(6.0);
        if admits {
            last.push_back(now);
        }
        admits
    }
}

async fn pass(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    front.quiet.disturb();
    let function = header(&request, "x-process");
    let target = header(&request, "x-amz-target");
    let path = request.uri().path().to_owned();
    let response = if let Some((_, operation)) = target.split_once('.') {
        let operation = operation.to_owned();
        let body = to_bytes(request.into_body(), 1 << 22).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let front = Arc::clone(&front);
        // A task of its own, so that it takes effect even when its sender has stopped waiting.
        let work = async move { front.table(&function, &operation, &body).await };
        tokio::spawn(work).await.unwrap()
    } else if let Some(invoked) = path.strip_prefix("/2015-03-31/functions/") {
        let name = invoked.trim_end_matches("/invocations").to_owned();
        let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
        front.wait(5, 20).await;
        front.queue.send((name, serde_json::from_slice(&body).unwrap())).unwrap();
        StatusCode::ACCEPTED.into_response()
    } else {
        front.provider(request, next).await
    };
    front.quiet.disturb();
    response
}
