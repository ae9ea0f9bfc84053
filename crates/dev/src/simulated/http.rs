//! The HTTP side of the simulated providers: routes, servers, and answers that never come.
//!
//! Owns how a call is read, recorded and answered, or left without an answer, as its provider
//! has been told to behave. It must not know what any provider's interface says.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use futures::FutureExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::oneshot;

use super::exchange::{Body, ProviderResponse};
use super::{Behaviour, Providers, Received, Shared};

/// No interface here takes more.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What becomes of a call.
enum Outcome {
    Answer(ProviderResponse),
    Close,
    /// Wait, then answer or, without an answer, close.
    Hold {
        released: OwnedNotified,
        serial: u64,
        late: Option<ProviderResponse>,
    },
}

impl Providers {
    /// The routes `/<provider>` and `/<provider>/…`, to serve or to nest under a prefix.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/{provider}", any(handle))
            .route("/{provider}/", any(handle))
            .route("/{provider}/{*path}", any(handle))
            .with_state(Arc::clone(&self.shared))
    }

    /// Serves the routes on a free loopback port until the last clone of this is dropped.
    pub async fn serve(&self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopping) = oneshot::channel();
        self.servers.stop_with(stop);
        // Without this, an answer can wait 40 ms for the client's acknowledgement.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let served = axum::serve(listener, self.router())
            .with_graceful_shutdown(stopping.map(drop))
            .into_future();
        tokio::spawn(served.map(|served| {
            if let Err(error) = served {
                tracing::warn!(%error, "the simulated providers stopped serving");
            }
        }));
        Ok(address)
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    match shared.take_in(&parts, &bytes) {
        Outcome::Answer(reply) => respond(reply),
        Outcome::Close => closed(),
        Outcome::Hold { released, serial, late } => {
            released.await;
            match late {
                Some(reply) => {
                    if let Some(received) = shared.lock().received.get_mut(&serial) {
                        received.status = Some(reply.status);
                    }
                    respond(reply)
                }
                None => closed(),
            }
        }
    }
}

impl Shared {
    /// Lets the provider treat a call as it has been told to, and records it.
    fn take_in(&self, parts: &Parts, bytes: &Bytes) -> Outcome {
        let mut received = read(parts, bytes, (self.clock)());
        let size = bytes.len();
        let mut world = self.lock();
        let desk = world.desk(&received.provider);
        let behaviour = desk.script.pop_front().unwrap_or_else(|| desk.standing.clone());
        // Made under the lock, so that no release can be missed.
        let released = Arc::clone(&desk.hung).notified_owned();
        let (reply, applied) = if let Some(reply) = told(&behaviour) {
            received.note = format!("told to {}", reply.note);
            (reply, false)
        } else {
            let reply = world.apply(&received, size);
            received.note.clone_from(&reply.note);
            if !behaviour.responds() {
                received.note.push_str("; told to answer nothing");
            }
            let applied = reply.is_success();
            (reply, applied)
        };
        received.status = behaviour.responds().then_some(reply.status);
        let serial = world.file(received, size, applied);
        drop(world);
        self.arrived.notify_waiters();
        match behaviour {
            Behaviour::Normal
            | Behaviour::Status(_)
            | Behaviour::StatusWith { .. }
            | Behaviour::Throttle { .. }
            | Behaviour::Garbage => Outcome::Answer(reply),
            Behaviour::Hang => Outcome::Hold { released, serial, late: None },
            Behaviour::HangAfterEffect => Outcome::Hold { released, serial, late: Some(reply) },
            Behaviour::CloseConnection | Behaviour::CloseAfterEffect => Outcome::Close,
        }
    }
}

/// The answer of a behaviour that applies nothing; none where the provider itself answers.
fn told(behaviour: &Behaviour) -> Option<ProviderResponse> {
    let message = |status: u16| {
        StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason())
    };
    match behaviour {
        Behaviour::Normal | Behaviour::HangAfterEffect | Behaviour::CloseAfterEffect => None,
        Behaviour::Status(status) => {
            let body = json!({"message": message(*status).unwrap_or("Told to.")});
            Some(ProviderResponse::json(*status, body, format!("answer {status}")))
        }
        Behaviour::StatusWith { status, headers, body } => Some(ProviderResponse {
            status: *status,
            headers: headers.clone(),
            body: Some(Body::Text(body.clone())),
            note: format!("answer {status}"),
        }),
        Behaviour::Throttle { retry_after_s } => {
            // MailerLite's body, and the headers of MailerLite and of Segment.
            let body = json!({"message": "Too Many Attempts."});
            let mut reply =
                ProviderResponse::json(429, body, format!("throttle for {retry_after_s} s"));
            let seconds = retry_after_s.to_string();
            reply.headers = vec![
                ("retry-after".to_owned(), seconds.clone()),
                ("x-ratelimit-limit".to_owned(), "120".to_owned()),
                ("x-ratelimit-remaining".to_owned(), "0".to_owned()),
                ("x-ratelimit-reset".to_owned(), seconds),
            ];
            Some(reply)
        }
        Behaviour::Garbage => Some(ProviderResponse {
            status: 200,
            headers: vec![("content-type".to_owned(), "text/html".to_owned())],
            body: Some(Body::Text("<html><body>Welcome to nginx!</body></html>".to_owned())),
            note: "answer garbage".to_owned(),
        }),
        Behaviour::Hang => Some(ProviderResponse::empty(200, "hang")),
        Behaviour::CloseConnection => Some(ProviderResponse::empty(200, "close the connection")),
    }
}

fn read(parts: &Parts, bytes: &Bytes, at: String) -> Received {
    let path = parts.uri.path().trim_start_matches('/');
    let (provider, below) = path.split_once('/').unwrap_or((path, ""));
    let query = Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri)
        .map(|Query(query)| query)
        .unwrap_or_default();
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|values| {
                values.push_str(", ");
                values.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(bytes)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(bytes).into_owned()))
    };
    Received {
        at,
        provider: provider.to_owned(),
        method: parts.method.as_str().to_owned(),
        path: format!("/{below}"),
        query,
        headers,
        body,
        status: None,
        note: String::new(),
    }
}

fn respond(reply: ProviderResponse) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match reply.body {
        Some(Body::Json(body)) => {
            ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
        }
        Some(Body::Text(text)) => Bytes::from(text).into_response(),
        None => ().into_response(),
    };
    *response.status_mut() = status;
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A response whose body fails at once: the server gives the connection up before it has sent
/// the first byte.
fn closed() -> Response {
    let failing =
        futures::stream::once(async { Err::<Bytes, _>(io::Error::other("told to close")) });
    axum::body::Body::from_stream(failing).into_response()
}
