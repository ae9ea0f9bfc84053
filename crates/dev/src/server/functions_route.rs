//! The functions on the port of the dev server.
//!
//! Owns how a request reaches a function: by an invocation in this process, or passed on to the
//! address where the functions run. Also runs `dispatch` regularly, in place of a schedule. It must
//! not know what a function does, except which requests are rings and that a form's response may
//! have a lead id.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use funil_core::clock::after;
use funil_core::delivery::exchange::endpoint;
use funil_core::destination;
use funil_core::id::LeadId;
use funil_lambda::functions::intake;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::{Shared, crm, forward};
use crate::server::front_door;
use crate::whose::Whose;

/// How long a function may take, in seconds. It is the limit with which functions are deployed.
const TIME_S: i64 = 60;
/// How long `dispatch` may take to respond to a ring.
const RING: Duration = Duration::from_secs(10);

/// The prefixes of the paths of functions.
const PREFIXES: [&str; 2] = ["/api/", "/.netlify/functions/"];

/// Handles a request to a function, or to a path below it.
pub(super) async fn invoke(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let rest = PREFIXES.iter().find_map(|prefix| uri.path().strip_prefix(prefix));
    let request = FunctionRequest {
        path: rest.unwrap_or_default().split('/').map(str::to_owned).collect(),
        whole_path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        method,
        headers,
        body,
        caller: caller.ip(),
    };
    let name = request.path.first().cloned().unwrap_or_default();
    let sent = request.body.clone();
    let response = pass(&shared, request).await;
    let status = response.status();
    let was_taken = status.is_success() || status.is_redirection();
    if intake().any(|one| one.name == name) && was_taken {
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        add_lead(&shared, &sent, &body).await;
        return Response::from_parts(parts, body.into());
    }
    response
}

/// An HTTP request to a function.
struct FunctionRequest {
    /// The segments of the path: the function's name and what follows it.
    path: Vec<String>,
    /// The path of the original request.
    whole_path: String,
    /// The query, without its question mark.
    query: String,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    /// The address of the client.
    caller: IpAddr,
}

/// Sends a signed webhook to a function, as a provider does. Returns the status of the response.
pub(super) async fn webhook(
    shared: &Shared,
    function: &str,
    header_name: &'static str,
    signature: &str,
    body: String,
) -> StatusCode {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(value) = HeaderValue::from_str(signature) {
        headers.insert(header_name, value);
    }
    let request = FunctionRequest {
        path: vec![function.to_owned()],
        whole_path: format!("/api/{function}"),
        query: String::new(),
        method: Method::POST,
        headers,
        body: Bytes::from(body),
        caller: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    pass(shared, request).await.status()
}

/// Passes a request to its function, in this process or where the functions run.
async fn pass(shared: &Shared, original: FunctionRequest) -> Response {
    let name = original.path.first().map(String::as_str).unwrap_or_default();
    if name == "c2s-webhook" {
        crm::make_known(shared, &original.body);
    }
    if let Some(base) = &shared.functions_at {
        let segments: Vec<&str> = original.path.iter().map(String::as_str).collect();
        let mut url = endpoint(base, &segments);
        url.set_query((!original.query.is_empty()).then_some(&*original.query));
        let request = shared.platform.http.request(original.method, url);
        return forward(request, &original.headers, original.body).await.unwrap_or_else(|| {
            (StatusCode::BAD_GATEWAY, "The functions did not respond.\n").into_response()
        });
    }
    let Some(function) = shared.functions.iter().find(|known| known.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let FunctionRequest { whole_path, query, method, headers, body, caller, .. } = &original;
    let event = front_door::event(method, whole_path, query, headers, body, *caller);
    let stop_at = after(shared.platform.clock.now(), TIME_S);
    let function = function.clone();
    // In its own task it goes on when the client closes the connection, as a deployed function
    // does.
    let invoked = tokio::spawn(async move { function.invoke(event, stop_at).await });
    let token = format!("Bearer {}", shared.token.expose());
    let is_authorised = headers.get(AUTHORIZATION).is_some_and(|given| given == token.as_str());
    if is_authorised && is_ring(name, method, body) {
        return StatusCode::ACCEPTED.into_response();
    }
    match invoked.await {
        Ok(result) => front_door::response(&result).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Whether a request rings a delivery function. The response to a ring is sent before the work is
/// done, as with an asynchronous invocation, so that a ring never waits for a provider.
fn is_ring(function: &str, method: &Method, body: &[u8]) -> bool {
    let delivers = destination::ALL.iter().any(|known| known.function == function);
    delivers && method == Method::POST && body.is_empty()
}

/// Adds the lead of a form or of a webhook to the console's list: the one that the response names, else the newest of the e-mail
/// that was sent. A robot's e-mail has none.
pub(super) async fn add_lead(shared: &Shared, sent: &[u8], received: &[u8]) {
    let response: Value = serde_json::from_slice(received).unwrap_or_default();
    let mut lead_id = response["leadId"].as_str().and_then(|text| LeadId::parse(text).ok());
    if lead_id.is_none()
        && let Some(whose) = Whose::of_body(sent)
        && let Ok(hash) = shared.environment.hash_key()
    {
        let leads = whose.leads(&shared.store, &hash).await.unwrap_or_default();
        lead_id = leads.first().copied();
    }
    if let Some(lead_id) = lead_id {
        shared.leads.add(lead_id, funil_store::key_time(shared.platform.clock.now()));
    }
}

/// Runs `dispatch` at regular intervals, as the schedule of a deployment does.
pub(super) async fn schedule(shared: Arc<Shared>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        dispatch_once(&shared).await;
    }
}

/// Runs `dispatch` once, which rings the destinations with due deliveries.
pub(super) async fn dispatch_once(shared: &Shared) {
    if let Some(base) = &shared.functions_at {
        let url = endpoint(base, &["dispatch"]);
        let ring = shared.platform.http.post(url).bearer_auth(shared.token.expose());
        if ring.timeout(RING).send().await.is_err() {
            tracing::debug!("dispatch at {base} did not respond to the ring of the dev server");
        }
    } else if let Some(dispatch) = shared.functions.iter().find(|known| known.name == "dispatch") {
        let event = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
        let stop_at = after(shared.platform.clock.now(), TIME_S);
        dispatch.invoke(event, stop_at).await;
    }
}
