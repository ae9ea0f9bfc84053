//! The front of the table, the providers and the doorbell of a simulation: one socket for every request
//! of every process.
//!
//! Owns when a request takes effect, what goes wrong with it, and whether its process dies; all of it is
//! drawn. It must not know what must hold: it reports to `watch.rs` what happened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
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

use super::chance::Chance;
use super::quiet::Quiet;
use super::watch::{ProviderRequest, Watch};
use crate::proxy::{cancelled_body, closed};
use crate::table_limits::TableLimits;

/// What goes wrong now: one request in this many, or none where it is zero.
#[derive(Default)]
pub(super) struct Weather {
    /// The table throttles, reports a conflict, fails, is late or loses a response.
    pub(super) table: AtomicU64,
    /// A process dies at a request.
    pub(super) crash: AtomicU64,
    /// A request is slow.
    pub(super) slow: AtomicU64,
    /// How many processes may still die.
    pub(super) deaths_left: AtomicU64,
}

/// The front, with what it passes requests on to.
pub(super) struct Front {
    pub(super) emulator: Embedded,
    pub(super) providers: Providers,
    pub(super) chance: Chance,
    pub(super) quiet: Quiet,
    pub(super) watch: Arc<Mutex<Watch>>,
    pub(super) weather: Weather,
    /// What the table takes of everybody but the checker, and how far its index lags.
    pub(super) limits: Mutex<TableLimits>,
    pub(super) begun: Instant,
    /// One for each process; kills this process when notified.
    pub(super) deaths: Vec<Arc<Notify>>,
    /// The functions that were rung, with the bodies of the rings.
    pub(super) rung: mpsc::UnboundedSender<(String, Value)>,
}

/// Whether a process dies before or after its request takes effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Death {
    Before,
    After,
}

/// What goes wrong with a request to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TableFault {
    Throttled,
    Conflict,
    InProgress,
    ServerError,
    LostBefore,
    LostAfter,
    Late,
}

impl Front {
    /// Listens until the runtime ends.
    pub(super) fn listen(self: Arc<Self>, listener: UnixListener) {
        let router = self.providers.router().layer(from_fn_with_state(Arc::clone(&self), pass));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    }

    fn drawn(&self, level: &AtomicU64) -> bool {
        match level.load(Ordering::Relaxed) {
            0 => false,
            times => self.chance.once_in(times),
        }
    }

    fn death(&self, process: usize) -> Option<Death> {
        // The first process is the checker's, which does not die.
        if process == 0 || !self.drawn(&self.weather.crash) {
            return None;
        }
        let deaths_left = &self.weather.deaths_left;
        deaths_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .ok()?;
        Some(if self.chance.once_in(2) { Death::Before } else { Death::After })
    }

    /// Kills a process; its request gets no response.
    async fn kill(&self, process: usize) -> Response {
        self.watch.lock().unwrap().died(process);
        self.deaths[process].notify_waiters();
        futures::future::pending().await
    }

    async fn wait(&self, usual_ms: u64, slow_ms: u64) {
        let most = if self.drawn(&self.weather.slow) { slow_ms } else { usual_ms };
        tokio::time::sleep(Duration::from_millis(1 + self.chance.below(most))).await;
        self.quiet.disturb();
    }

    fn table_fault(&self, process: usize, operation: &str) -> Option<TableFault> {
        if process == 0 || !self.drawn(&self.weather.table) {
            return None;
        }
        let fault = self.chance.of(&[
            TableFault::Throttled,
            TableFault::Conflict,
            TableFault::InProgress,
            TableFault::ServerError,
            TableFault::LostBefore,
            TableFault::LostAfter,
            TableFault::Late,
        ]);
        match (fault, operation) {
            (TableFault::Conflict, "TransactWriteItems" | "UpdateItem" | "PutItem")
            | (TableFault::InProgress, "TransactWriteItems")
            | (
                TableFault::Throttled
                | TableFault::ServerError
                | TableFault::LostBefore
                | TableFault::LostAfter
                | TableFault::Late,
                _,
            ) => Some(fault),
            (TableFault::Conflict | TableFault::InProgress, _) => Some(TableFault::Throttled),
        }
    }

    async fn table(&self, process: usize, operation: &str, body: &str) -> Response {
        let death = self.death(process);
        let fault = self.table_fault(process, operation);
        self.wait(8, 1_500).await;
        if fault == Some(TableFault::Late) {
            // It takes effect after its sender has stopped waiting and tried again.
            tokio::time::sleep(Duration::from_millis(2_500 + self.chance.below(3_000))).await;
        }
        let refused = match fault {
            Some(TableFault::Throttled) => Some(refusal("ProvisionedThroughputExceededException")),
            Some(TableFault::InProgress) => Some(refusal("TransactionInProgressException")),
            Some(TableFault::Conflict) if operation == "TransactWriteItems" => {
                let reasons = json!([{"Code": "TransactionConflict", "Message": "x"}]);
                let mut refused = refusal("TransactionCanceledException");
                refused.1["CancellationReasons"] = reasons;
                Some(refused)
            }
            Some(TableFault::Conflict) => Some(refusal("TransactionConflictException")),
            Some(TableFault::ServerError) => {
                Some((500, json!({"__type": "InternalServerError", "message": "x"})))
            }
            Some(TableFault::LostBefore | TableFault::LostAfter | TableFault::Late) | None => None,
        };
        if death == Some(Death::Before) {
            return self.kill(process).await;
        }
        if let Some((status, response)) = refused {
            self.watch.lock().unwrap().refused_by_table(process, operation, body, &response);
            return table_response(status, response.to_string());
        }
        if fault == Some(TableFault::LostBefore) {
            self.watch.lock().unwrap().refused_by_table(process, operation, body, &json!("lost"));
            return closed();
        }
        let request: Value = serde_json::from_str(body).unwrap();
        let now = self.begun.elapsed();
        if process != 0 && !self.limits.lock().unwrap().admit(operation, &request, now) {
            let response = match operation {
                "TransactWriteItems" => cancelled_body(&["ProvisionedThroughputExceeded"]),
                _ => refusal("ProvisionedThroughputExceededException").1,
            };
            self.watch.lock().unwrap().refused_by_table(process, operation, body, &response);
            return table_response(400, response.to_string());
        }
        let (status, mut response) = self.emulator.respond(operation, body);
        if status == 200 {
            let mut limits = self.limits.lock().unwrap();
            limits.took_effect(operation, &request, 0.0, now);
            if let Some(lagging) = limits.lagging(&request, &response, now)
                && process != 0
            {
                response = lagging;
            }
        }
        self.watch.lock().unwrap().table(process, operation, body, (status, &response));
        if death == Some(Death::After) {
            return self.kill(process).await;
        }
        if fault == Some(TableFault::LostAfter) {
            return closed();
        }
        self.wait(4, 400).await;
        table_response(status, response)
    }

    async fn provider(&self, process: usize, request: Request, next: Next) -> Response {
        let death = self.death(process);
        let (parts, body) = request.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        self.wait(200, 4_000).await;
        if death == Some(Death::Before) {
            return self.kill(process).await;
        }
        let received = ProviderRequest {
            process,
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        };
        self.watch.lock().unwrap().provider_received(&received, &self.providers);
        let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
        self.quiet.disturb();
        if death == Some(Death::After) {
            return self.kill(process).await;
        }
        self.wait(200, 4_000).await;
        // A body that ends in an error closes the connection, so the sender sees no status.
        let whole = response.body().size_hint().exact();
        let seen = whole.map(|_| response.status().as_u16());
        // An HTML page is not an API's response: a proxy rejected the request.
        let page = response.headers().get("content-type").is_some_and(|kind| kind == "text/html");
        let rejected =
            seen.is_some_and(|status| status >= 400 || page && received.is_rejected_by_page());
        self.watch.lock().unwrap().provider_responded(&received, seen, rejected);
        response
    }
}

async fn pass(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    front.quiet.disturb();
    let process = header(&request, "x-process").parse().unwrap();
    let target = header(&request, "x-amz-target");
    let response = if let Some((_, operation)) = target.split_once('.') {
        let operation = operation.to_owned();
        let body = to_bytes(request.into_body(), 1 << 22).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let front = Arc::clone(&front);
        // A task of its own, so that it takes effect even when its sender has died.
        let work = async move { front.table(process, &operation, &body).await };
        tokio::spawn(work).await.unwrap()
    } else if let Some(function) = request.uri().path().strip_prefix("/ring/") {
        let function = function.to_owned();
        let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        front.rung.send((function, body)).unwrap();
        StatusCode::ACCEPTED.into_response()
    } else {
        front.provider(process, request, next).await
    };
    front.quiet.disturb();
    response
}

fn refusal(kind: &str) -> (u16, Value) {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{kind}");
    (400, json!({"__type": kind, "message": "as drawn"}))
}

/// A response of the table.
pub(super) fn table_response(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/x-amz-json-1.0")], body).into_response()
}

/// A header of a request; empty where it has none.
pub(super) fn header(request: &Request, name: &str) -> String {
    request.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}
