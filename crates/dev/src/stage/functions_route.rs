//! The functions on the stage's port: in its own process, or passed on to where they run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use funil_core::clock::after;
use funil_core::destination;
use funil_core::exchange::endpoint;
use funil_core::id::LeadId;
use serde_json::{Value, json};

use super::Shared;
use crate::front_door;

/// How long a function may take, in seconds, as when deployed.
const TIME_S: i64 = 60;

/// Where functions are.
const PREFIXES: [&str; 2] = ["/api/", "/.netlify/functions/"];

/// A call of a function by its name, or of a path below it.
pub(super) async fn call(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path: Vec<&str> = PREFIXES
        .iter()
        .find_map(|prefix| uri.path().strip_prefix(prefix))
        .map(|path| path.split('/').collect())
        .unwrap_or_default();
    let name = path.first().copied().unwrap_or_default();
    let (status, headers, body) = if let Some(base) = &shared.functions_at {
        let mut url = endpoint(base, &path);
        url.set_query(uri.query());
        let mut request = shared.shell.http.request(method, url).body(body);
        for (name, value) in &headers {
            if name != header::HOST && name != header::CONTENT_LENGTH {
                request = request.header(name, value);
            }
        }
        match request.send().await {
            Ok(answer) => {
                let (status, headers) = (answer.status(), answer.headers().clone());
                (status, headers, answer.bytes().await.unwrap_or_default())
            }
            Err(_) => {
                return (StatusCode::BAD_GATEWAY, "The functions are not running.\n")
                    .into_response();
            }
        }
    } else {
        let Some(function) = shared.functions.iter().find(|known| known.name == name) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let query = uri.query().unwrap_or_default();
        let event = front_door::event(&method, uri.path(), query, &headers, &body, caller.ip());
        let stop_at = after(shared.shell.clock.now(), TIME_S);
        let function = function.clone();
        // Its own task: like a deployed function it goes on when the caller hangs up.
        let answered = tokio::spawn(async move { function.invoke(event, stop_at).await });
        if is_ring(name, &method, &body) {
            return StatusCode::ACCEPTED.into_response();
        }
        match answered.await {
            Ok(answer) => front_door::answer(&answer),
            Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
    if name == "lead-submit" && status.is_success() {
        note_lead(&shared, &body);
    }
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer.headers_mut().remove(header::TRANSFER_ENCODING);
    answer
}

/// A ring of a delivery function is answered before the work, as an asynchronous invocation and a
/// background function are: whoever rings never waits for a provider.
fn is_ring(function: &str, method: &Method, body: &[u8]) -> bool {
    let delivers = destination::ALL.iter().any(|known| known.function == function);
    delivers && method == Method::POST && body.is_empty()
}

fn note_lead(shared: &Shared, body: &[u8]) {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let lead_id = answer["leadId"].as_str().and_then(|text| LeadId::parse(text).ok());
    if let Some(lead_id) = lead_id {
        shared.leads.note(lead_id, funil_store::key_time(shared.shell.clock.now()));
    }
}

/// Looks for what is due, again and again, as the schedule of a deployment does.
pub(super) async fn sweep(shared: Arc<Shared>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        if let Some(base) = &shared.functions_at {
            let url = endpoint(base, &["dispatch"]);
            let ring = shared.shell.http.post(url).bearer_auth(shared.token.expose());
            if ring.timeout(every).send().await.is_err() {
                tracing::debug!("dispatch did not answer the stage's ring");
            }
        } else {
            let dispatch = shared.functions.iter().find(|known| known.name == "dispatch");
            if let Some(dispatch) = dispatch {
                let event = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
                let stop_at = after(shared.shell.clock.now(), TIME_S);
                dispatch.invoke(event, stop_at).await;
            }
        }
    }
}
