//! A Stripe on loopback: the webhook endpoints of an account. Like the real API it reads forms, tells an
//! endpoint's secret only when it is made, and repeats a part of a wrong key in its text.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// The server, until it is dropped.
pub(crate) struct SimulatedStripe {
    base: String,
    endpoints: Endpoints,
    server: tokio::task::JoinHandle<()>,
}

type Endpoints = Arc<Mutex<Vec<Value>>>;

impl SimulatedStripe {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let endpoints = Endpoints::default();
        let routes = Router::new()
            .route("/v1/webhook_endpoints", get(list).post(make))
            .route("/v1/webhook_endpoints/{id}", post(change))
            .with_state(endpoints.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { base, endpoints, server }
    }

    /// Its address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The account's webhook endpoints, as they are now.
    pub(crate) fn endpoints(&self) -> Vec<Value> {
        self.endpoints.lock().unwrap().clone()
    }

    /// Changes a member of every endpoint.
    pub(crate) fn set(&self, member: &str, value: &Value) {
        for one in self.endpoints.lock().unwrap().iter_mut() {
            one[member] = value.clone();
        }
    }
}

impl Drop for SimulatedStripe {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn refusal(headers: &HeaderMap) -> Option<Response> {
    let key = headers.get("authorization").and_then(|value| value.to_str().ok())?;
    match key {
        "Bearer rk_live_t0ken" => None,
        "Bearer rk_live_without_rights" => Some(StatusCode::FORBIDDEN.into_response()),
        other => {
            let message = format!("Invalid API Key provided: {other}");
            let error = json!({"error": {"message": message, "type": "invalid_request_error"}});
            Some((StatusCode::UNAUTHORIZED, Json(error)).into_response())
        }
    }
}

async fn list(State(endpoints): State<Endpoints>, headers: HeaderMap) -> Response {
    if let Some(refused) = refusal(&headers) {
        return refused;
    }
    let endpoints = endpoints.lock().unwrap().clone();
    Json(json!({"object": "list", "data": endpoints, "has_more": false})).into_response()
}

/// The members of a form that name an endpoint's.
fn apply(form: &str, endpoint: &mut Value) {
    let pairs: Vec<(String, String)> =
        url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let of = |name: &'static str| pairs.iter().filter(move |(known, _)| known.as_str() == name);
    let events: Vec<&String> = of("enabled_events[]").map(|(_, value)| value).collect();
    if !events.is_empty() {
        endpoint["enabled_events"] = json!(events);
    }
    if let Some((_, version)) = of("api_version").next() {
        endpoint["api_version"] = json!(version);
    }
    if let Some((_, url)) = of("url").next() {
        endpoint["url"] = json!(url);
    }
    if let Some((_, disabled)) = of("disabled").next() {
        endpoint["status"] = json!(if disabled == "true" { "disabled" } else { "enabled" });
    }
}

async fn make(State(endpoints): State<Endpoints>, headers: HeaderMap, form: String) -> Response {
    if let Some(refused) = refusal(&headers) {
        return refused;
    }
    let mut endpoints = endpoints.lock().unwrap();
    let mut endpoint = json!({"id": format!("we_{}", endpoints.len()), "status": "enabled",
        "livemode": true});
    apply(&form, &mut endpoint);
    endpoints.push(endpoint.clone());
    endpoint["secret"] = json!("whsec_told_once");
    Json(endpoint).into_response()
}

async fn change(
    State(endpoints): State<Endpoints>,
    headers: HeaderMap,
    Path(id): Path<String>,
    form: String,
) -> Response {
    if let Some(refused) = refusal(&headers) {
        return refused;
    }
    let mut endpoints = endpoints.lock().unwrap();
    let Some(found) = endpoints.iter_mut().find(|one| one["id"] == id.as_str()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    apply(&form, found);
    Json(found.clone()).into_response()
}
