//! The HTTP side of the simulated providers: routes, servers, and withheld responses.
//!
//! Owns how a request is read and recorded, and how the response is sent or withheld according to
//! the provider's behaviour. It must not know the API of any provider.

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

/// The maximum size of a request's body, in bytes. It is larger than the limit of any simulated
/// API.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How a request ends.
enum Outcome {
    Respond(ProviderResponse),
    Close,
    /// Wait until the request is released. Then send the late response, or close the connection if
    /// there is none.
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

    /// Serves the routes on a free loopback port, until the last clone of these providers is
    /// dropped.
    pub async fn serve(&self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopping) = oneshot::channel();
        self.servers.stop_with(stop);
        // Without this a response can wait 40 ms for the client's acknowledgement.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let served = axum::serve(listener, self.router())
            .with_graceful_shutdown(stopping.map(drop))
            .into_future();
        tokio::spawn(served.map(move |served| {
            if let Err(error) = served {
                tracing::warn!("the simulated providers on {address} stopped serving: {error}");
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
        Outcome::Respond(response) => respond(response),
        Outcome::Close => closed(),
        Outcome::Hold { released, serial, late } => {
            released.await;
            match late {
                Some(response) => {
                    if let Some(received) = shared.lock().received.get_mut(&serial) {
                        received.status = Some(response.status);
                    }
                    respond(response)
                }
                None => closed(),
            }
        }
    }
}

impl Shared {
    /// Records a request and treats it according to the provider's behaviour.
    fn take_in(&self, parts: &Parts, bytes: &Bytes) -> Outcome {
        let mut received = read(parts, bytes, (self.clock)());
        let size = bytes.len();
        let mut world = self.lock();
        let desk = world.desk(&received.provider);
        let behaviour = desk.script.pop_front().unwrap_or_else(|| desk.standing.clone());
        // It is created under the lock, so that no release is missed.
        let released = Arc::clone(&desk.hung).notified_owned();
        let (response, applied) = if let Some(response) = fixed_response(&behaviour) {
            received.note = format!("behaviour: {}", response.note);
            (response, false)
        } else {
            let response = world.apply(&received, size);
            received.note.clone_from(&response.note);
            if !behaviour.responds() {
                received.note.push_str("; behaviour: no response");
            }
            let applied = response.is_success();
            (response, applied)
        };
        received.status = behaviour.responds().then_some(response.status);
        let serial = world.file(received, size, applied);
        drop(world);
        self.arrived.notify_waiters();
        match behaviour {
            Behaviour::Normal
            | Behaviour::Status(_)
            | Behaviour::StatusWith { .. }
            | Behaviour::Throttle { .. }
            | Behaviour::Garbage => Outcome::Respond(response),
            Behaviour::Hang => Outcome::Hold { released, serial, late: None },
            Behaviour::HangAfterEffect => Outcome::Hold { released, serial, late: Some(response) },
            Behaviour::CloseConnection | Behaviour::CloseAfterEffect => Outcome::Close,
        }
    }
}

/// The response of a behaviour that applies nothing. `None` for a behaviour that applies the
/// request.
fn fixed_response(behaviour: &Behaviour) -> Option<ProviderResponse> {
    let message = |status: u16| {
        StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason())
    };
    match behaviour {
        Behaviour::Normal | Behaviour::HangAfterEffect | Behaviour::CloseAfterEffect => None,
        Behaviour::Status(status) => {
            let body = json!({"message": message(*status).unwrap_or("Simulated.")});
            Some(ProviderResponse::json(*status, body, format!("status {status}")))
        }
        Behaviour::StatusWith { status, headers, body } => Some(ProviderResponse {
            status: *status,
            headers: headers.clone(),
            body: Some(Body::Text(body.clone())),
            note: format!("status {status}"),
        }),
        Behaviour::Throttle { retry_after_s } => {
            // The body is MailerLite's, the headers are those of MailerLite and of Segment.
            let body = json!({"message": "Too Many Attempts."});
            let mut response =
                ProviderResponse::json(429, body, format!("throttle for {retry_after_s} s"));
            let seconds = retry_after_s.to_string();
            response.headers = vec![
                ("retry-after".to_owned(), seconds.clone()),
                ("x-ratelimit-limit".to_owned(), "120".to_owned()),
                ("x-ratelimit-remaining".to_owned(), "0".to_owned()),
                ("x-ratelimit-reset".to_owned(), seconds),
            ];
            Some(response)
        }
        Behaviour::Garbage => Some(ProviderResponse {
            status: 200,
            headers: vec![("content-type".to_owned(), "text/html".to_owned())],
            body: Some(Body::Text("<html><body>Welcome to nginx!</body></html>".to_owned())),
            note: "garbage".to_owned(),
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

fn respond(given: ProviderResponse) -> Response {
    let status = StatusCode::from_u16(given.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match given.body {
        Some(Body::Json(body)) => {
            ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
        }
        Some(Body::Text(text)) => Bytes::from(text).into_response(),
        None => ().into_response(),
    };
    *response.status_mut() = status;
    for (name, value) in given.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A response that makes the server close the connection before it has sent the first byte. Its
/// body fails at once.
fn closed() -> Response {
    let failing = futures::stream::once(async {
        Err::<Bytes, _>(io::Error::other("closed by its behaviour"))
    });
    axum::body::Body::from_stream(failing).into_response()
}
