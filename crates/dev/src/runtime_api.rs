//! A small Lambda Runtime API on loopback, with which a function's real binary runs on one machine.
//!
//! Owns the server side of the protocol:
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>. [`FunctionProcess`] runs the
//! binary that is its client. This module must not know any function, nor the content of an event.

mod process;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use bytes::Bytes;
use futures::FutureExt as _;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

pub use process::{FunctionProcess, Lines, Watch};

/// The maximum size of a function's response on Lambda, in bytes; see `docs/platforms.md`
/// ("Lambda").
const RESPONSE_BYTES_MAX: usize = 6 * 1024 * 1024;

/// Why an invocation has no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// The function reported an error.
    #[error("the function failed: {kind}: {message}")]
    Failed {
        /// The error's type, as the function named it.
        kind: String,
        /// The error's message.
        message: String,
    },
    /// The function reported an error at its start.
    #[error("the function could not start: {kind}: {message}")]
    NotStarted {
        /// The error's type, as the function named it.
        kind: String,
        /// The error's message.
        message: String,
    },
    /// The function's response is not JSON.
    #[error("the function's response is not JSON")]
    NotJson,
    /// There was no response in time.
    #[error("the function did not respond within {time_s} s")]
    TimedOut {
        /// The time that the function had, in seconds.
        time_s: u64,
    },
    /// The process, or the server of this API, ended first.
    #[error("the function ended before it responded ({how})")]
    Ended {
        /// The exit status in words.
        how: String,
    },
}

type Invoked = Result<Value, InvocationError>;

/// The server for one function. It stops when this is dropped.
#[derive(Debug)]
pub struct RuntimeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// This field is dropped first. A request that waits in `next` then ends, so that the server
    /// can stop.
    invocations: mpsc::UnboundedSender<Invocation>,
    _stop: oneshot::Sender<()>,
}

/// What the routes share.
#[derive(Debug)]
struct Shared {
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    /// How many invocations the function has taken.
    taken: AtomicU64,
    under_way: Mutex<HashMap<String, oneshot::Sender<Invoked>>>,
    not_started: watch::Sender<Option<InvocationError>>,
}

/// An invocation that the function has not taken yet.
#[derive(Debug)]
struct Invocation {
    event: Value,
    deadline_ms: u128,
    respond: oneshot::Sender<Invoked>,
}

impl RuntimeApi {
    /// Starts the server on a free loopback port.
    pub async fn start() -> io::Result<Self> {
        let (invocations, waiting) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            waiting: tokio::sync::Mutex::new(waiting),
            taken: AtomicU64::new(0),
            under_way: Mutex::default(),
            not_started: watch::Sender::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopping) = oneshot::channel();
        // Without this a response can wait 40 ms for the client's acknowledgement.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let served = axum::serve(listener, router(Arc::clone(&shared)))
            .with_graceful_shutdown(stopping.map(drop))
            .into_future();
        tokio::spawn(served.map(move |served| {
            if let Err(error) = served {
                tracing::warn!("the Runtime API on {address} stopped serving: {error}");
            }
        }));
        Ok(Self { address, shared, invocations, _stop: stop })
    }

    /// The address of the server, `127.0.0.1:<port>`, as in `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Invokes the function and waits up to `time_s` seconds for its response. As on Lambda, the
    /// function takes invocations one after another. The time starts now, not when the function
    /// takes the invocation.
    pub async fn invoke(&self, event: Value, time_s: u64) -> Result<Value, InvocationError> {
        let ended = || InvocationError::Ended { how: "its server stopped".to_owned() };
        let (respond, mut responded) = oneshot::channel();
        let deadline_ms = now_ms() + u128::from(time_s) * 1000;
        let mut not_started = self.shared.not_started.subscribe();
        self.invocations
            .send(Invocation { event, deadline_ms, respond })
            .map_err(|mpsc::error::SendError(_)| ended())?;
        tokio::select! {
            biased;
            response = &mut responded => response.unwrap_or_else(|_| Err(ended())),
            failed = not_started.wait_for(Option::is_some) => {
                Err(failed.ok().and_then(|failed| failed.clone()).unwrap_or_else(ended))
            }
            () = tokio::time::sleep(Duration::from_secs(time_s)) => {
                Err(InvocationError::TimedOut { time_s })
            }
        }
    }
}

impl Shared {
    fn under_way(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Invoked>>> {
        self.under_way.lock().expect("no holder of this lock panics")
    }

    /// Passes the result of an invocation to the caller that waits for it.
    fn finish(&self, id: &str, result: Invoked) -> Response {
        let waiting = self.under_way().remove(id);
        let Some(waiting) = waiting else {
            let refusal = json!({
                "errorType": "InvalidRequestID",
                "errorMessage": "No invocation of this id is under way.",
            });
            return (StatusCode::BAD_REQUEST, Json(refusal)).into_response();
        };
        // The caller may have given up waiting.
        drop(waiting.send(result));
        (StatusCode::ACCEPTED, Json(json!({"status": "OK"}))).into_response()
    }
}

/// The body with which a function reports an error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reported {
    error_type: String,
    error_message: String,
}

impl Default for Reported {
    fn default() -> Self {
        let (error_type, error_message) = ("Unknown".to_owned(), "it gave no reason".to_owned());
        Self { error_type, error_message }
    }
}

impl Reported {
    fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(axum::extract::DefaultBodyLimit::max(RESPONSE_BYTES_MAX))
        .with_state(shared)
}

/// Waits for the next invocation. One whose caller gave up waiting is skipped.
async fn next(State(shared): State<Arc<Shared>>) -> Response {
    let invocation = {
        let mut waiting = shared.waiting.lock().await;
        loop {
            match waiting.recv().await {
                Some(invocation) if invocation.respond.is_closed() => {}
                Some(invocation) => break invocation,
                None => return StatusCode::GONE.into_response(),
            }
        }
    };
    let Invocation { event, deadline_ms, respond } = invocation;
    let taken = shared.taken.fetch_add(1, Ordering::Relaxed) + 1;
    // Lambda's ids are UUIDs.
    let id = format!("00000000-0000-4000-8000-{taken:012}");
    shared.under_way().insert(id.clone(), respond);
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", FUNCTION_ARN.to_owned()),
        ("lambda-runtime-trace-id", TRACE_ID.to_owned()),
    ];
    (headers, Json(event)).into_response()
}

const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:local";
const TRACE_ID: &str = "Root=1-00000000-000000000000000000000000;Sampled=0";

async fn response(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    shared.finish(&id, serde_json::from_slice(&body).map_err(|_| InvocationError::NotJson))
}

async fn error(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> Response {
    let Reported { error_type: kind, error_message: message } = Reported::read(&body);
    shared.finish(&id, Err(InvocationError::Failed { kind, message }))
}

async fn init_error(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let Reported { error_type: kind, error_message: message } = Reported::read(&body);
    shared.not_started.send_replace(Some(InvocationError::NotStarted { kind, message }));
    (StatusCode::ACCEPTED, Json(json!({"status": "OK"}))).into_response()
}

#[expect(
    clippy::disallowed_methods,
    reason = "stands in for Lambda, which sends a function's deadline by its own clock"
)]
fn now_ms() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function that is played by the test.
    struct ByHand {
        base: String,
        http: reqwest::Client,
    }

    impl ByHand {
        fn of(api: &RuntimeApi) -> Self {
            let base = format!("http://{}/2018-06-01/runtime", api.address());
            Self { base, http: funil_lambda::platform().http }
        }

        /// Takes the next invocation: its id and its event.
        async fn next(&self) -> (String, Value) {
            let url = format!("{}/invocation/next", self.base);
            let response = self.http.get(url).send().await.unwrap();
            assert_eq!(response.status(), 200);
            let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
            assert!(header("lambda-runtime-deadline-ms").parse::<u128>().unwrap() > now_ms());
            assert!(header("lambda-runtime-invoked-function-arn").starts_with("arn:aws:lambda:"));
            assert!(header("lambda-runtime-trace-id").starts_with("Root=1-"));
            let id = header("lambda-runtime-aws-request-id");
            (id, serde_json::from_str(&response.text().await.unwrap()).unwrap())
        }

        async fn post(&self, path: &str, body: &str) -> u16 {
            let url = format!("{}/{path}", self.base);
            self.http.post(url).body(body.to_owned()).send().await.unwrap().status().as_u16()
        }
    }

    #[tokio::test]
    async fn an_invocation_gets_the_response_with_its_id() {
        let api = RuntimeApi::start().await.unwrap();
        let function = ByHand::of(&api);
        let given_up = api.invoke(json!({"n": 0}), 0).await;
        assert_eq!(given_up, Err(InvocationError::TimedOut { time_s: 0 }));
        let working = async {
            let (id, event) = function.next().await;
            assert_eq!(event, json!({"n": 1}), "not the invocation that nobody waits for");
            assert_eq!(function.post("invocation/another/response", "{}").await, 400);
            let path = format!("invocation/{id}/response");
            assert_eq!(function.post(&path, r#"{"n":2}"#).await, 202);
            assert_eq!(function.post(&path, r#"{"n":3}"#).await, 400, "it has a response already");
        };
        let (response, ()) = tokio::join!(api.invoke(json!({"n": 1}), 30), working);
        assert_eq!(response, Ok(json!({"n": 2})));
    }

    #[tokio::test]
    async fn each_failure_has_its_own_error() {
        let api = RuntimeApi::start().await.unwrap();
        let function = ByHand::of(&api);
        let reported = r#"{"errorType":"Odd","errorMessage":"so it is"}"#;
        for (what, body) in [("error", reported), ("error", "?"), ("response", "?")] {
            let working = async {
                let (id, _) = function.next().await;
                function.post(&format!("invocation/{id}/{what}"), body).await
            };
            let (result, status) = tokio::join!(api.invoke(json!({}), 30), working);
            let message = result.unwrap_err().to_string();
            let expected = match (what, body) {
                ("response", _) => "the function's response is not JSON",
                (_, "?") => "the function failed: Unknown: it gave no reason",
                _ => "the function failed: Odd: so it is",
            };
            assert_eq!((message.as_str(), status), (expected, 202));
        }
        assert_eq!(function.post("init/error", reported).await, 202);
        let message = api.invoke(json!({}), 30).await.unwrap_err().to_string();
        assert_eq!(message, "the function could not start: Odd: so it is");
    }

    #[tokio::test]
    async fn dropping_the_server_ends_a_waiting_request() {
        let api = RuntimeApi::start().await.unwrap();
        let function = ByHand::of(&api);
        let url = format!("{}/invocation/next", function.base);
        let waiting = tokio::spawn(function.http.get(url).send());
        drop(api);
        let result = waiting.await.unwrap();
        assert!(result.is_err() || result.is_ok_and(|response| response.status() == 410));
    }
}
