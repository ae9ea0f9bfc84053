//! The functions on the stage's port: in its own process, or passed on to where they run.

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
use serde_json::{Value, json};

use super::Shared;
use crate::server::front_door;

/// How long a function may take, in seconds, as when deployed.
const TIME_S: i64 = 60;
/// How long `dispatch` may take to answer a ring.
const RING: Duration = Duration::from_secs(10);

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
    let rest = PREFIXES.iter().find_map(|prefix| uri.path().strip_prefix(prefix));
    let call = Call {
        path: rest.unwrap_or_default().split('/').map(str::to_owned).collect(),
        whole_path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        method,
        headers,
        body,
        caller: caller.ip(),
    };
    let name = call.path.first().cloned().unwrap_or_default();
    let answered = pass(&shared, call).await;
    if name == "lead-submit" && answered.status().is_success() {
        let (parts, body) = answered.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        note_lead(&shared, &body);
        return Response::from_parts(parts, body.into());
    }
    answered
}

/// An HTTP call of a function.
pub(super) struct Call {
    /// The function's name, and what follows it.
    pub(super) path: Vec<String>,
    /// The path as it was called.
    pub(super) whole_path: String,
    /// The query, without its question mark.
    pub(super) query: String,
    /// How.
    pub(super) method: Method,
    /// With these headers.
    pub(super) headers: HeaderMap,
    /// And this body.
    pub(super) body: Bytes,
    /// By whom.
    pub(super) caller: IpAddr,
}

/// Calls a function as a provider does that signs what it says. Answers with its status.
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
    let call = Call {
        path: vec![function.to_owned()],
        whole_path: format!("/api/{function}"),
        query: String::new(),
        method: Method::POST,
        headers,
        body: Bytes::from(body),
        caller: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    pass(shared, call).await.status()
}

/// Passes a call to its function, in this process or where the functions run.
pub(super) async fn pass(shared: &Shared, call: Call) -> Response {
    let name = call.path.first().map(String::as_str).unwrap_or_default();
    let (status, headers, body) = if let Some(base) = &shared.functions_at {
        let segments: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let mut url = endpoint(base, &segments);
        url.set_query((!call.query.is_empty()).then_some(&*call.query));
        let mut request = shared.platform.http.request(call.method, url).body(call.body);
        for (name, value) in &call.headers {
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
        let Call { whole_path, query, method, headers, body, caller, .. } = &call;
        let event = front_door::event(method, whole_path, query, headers, body, *caller);
        let stop_at = after(shared.platform.clock.now(), TIME_S);
        let function = function.clone();
        // Its own task: like a deployed function it goes on when the caller hangs up.
        let answered = tokio::spawn(async move { function.invoke(event, stop_at).await });
        if is_ring(name, method, body) {
            return StatusCode::ACCEPTED.into_response();
        }
        match answered.await {
            Ok(answer) => front_door::answer(&answer),
            Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
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
        shared.leads.note(lead_id, funil_store::key_time(shared.platform.clock.now()));
    }
}

/// Looks for what is due, again and again, as the schedule of a deployment does.
pub(super) async fn sweep(shared: Arc<Shared>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        sweep_once(&shared).await;
    }
}

/// Looks for what is due.
pub(super) async fn sweep_once(shared: &Shared) {
    if let Some(base) = &shared.functions_at {
        let url = endpoint(base, &["dispatch"]);
        let ring = shared.platform.http.post(url).bearer_auth(shared.token.expose());
        if ring.timeout(RING).send().await.is_err() {
            tracing::debug!("dispatch did not answer the stage's ring");
        }
    } else if let Some(dispatch) = shared.functions.iter().find(|known| known.name == "dispatch") {
        let event = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
        let stop_at = after(shared.platform.clock.now(), TIME_S);
        dispatch.invoke(event, stop_at).await;
    }
}
