//! A Calendly on loopback: its users, event types and webhook subscriptions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde_json::{Value, json};

const USER: &str = "https://api.calendly.com/users/U1";
const ORGANIZATION: &str = "https://api.calendly.com/organizations/O1";

/// Whom the token belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Who sees everything of the organization.
    Owner,
    /// Who sees what is their own.
    Member,
    /// Who sees nothing.
    Guest,
}

/// The server, until it is dropped.
pub(crate) struct SimulatedCalendly {
    base: String,
    account: Account,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Account {
    role: Role,
    subscriptions: Arc<Mutex<Vec<Value>>>,
}

impl SimulatedCalendly {
    /// Starts one.
    pub(crate) async fn start(role: Role) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let account = Account { role, subscriptions: Arc::default() };
        let routes = Router::new()
            .route("/users/me", get(me))
            .route("/event_types", get(event_types))
            .route("/webhook_subscriptions", get(subscriptions).post(subscribe))
            .route("/webhook_subscriptions/{id}", delete(remove))
            .with_state(account.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { base, account, server }
    }

    /// Its address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The subscriptions, with their keys.
    pub(crate) fn subscriptions(&self) -> Vec<Value> {
        self.account.subscriptions.lock().unwrap().clone()
    }

    /// Changes a member of every subscription.
    pub(crate) fn change(&self, member: &str, value: &Value) {
        for one in self.account.subscriptions.lock().unwrap().iter_mut() {
            one[member] = value.clone();
        }
    }
}

impl Drop for SimulatedCalendly {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn me(headers: HeaderMap) -> Response {
    if headers.get("authorization").is_none_or(|token| token != "Bearer calendly-t0ken") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let user = json!({"uri": USER, "current_organization": ORGANIZATION, "email": "a@b.example"});
    Json(json!({"resource": user})).into_response()
}

/// Whether the role may see what a query asks for.
fn allows(role: Role, query: &HashMap<String, String>) -> bool {
    let own = query.get("user").is_some_and(|uri| uri == USER);
    match role {
        Role::Owner => !own && query.get("organization").is_some_and(|uri| uri == ORGANIZATION),
        Role::Member => own,
        Role::Guest => false,
    }
}

fn listed(id: &str, slug: &Value, active: bool) -> Value {
    json!({"uri": format!("https://api.calendly.com/event_types/{id}"), "slug": slug, "active": active})
}

async fn event_types(
    State(account): State<Account>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    if !allows(account.role, &query) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let (found, next) = match query.get("page_token").map(String::as_str) {
        None => (listed("AAAA", &json!("mentoria"), true), json!("second")),
        Some(_) => (listed("BBBB", &Value::Null, false), Value::Null),
    };
    Json(json!({"collection": [found], "pagination": {"count": 1, "next_page_token": next}}))
        .into_response()
}

async fn subscriptions(
    State(account): State<Account>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let scope = if account.role == Role::Owner { "organization" } else { "user" };
    if !allows(account.role, &query) || query.get("scope").is_none_or(|wanted| wanted != scope) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let found = account.subscriptions.lock().unwrap().clone();
    Json(json!({"collection": found, "pagination": {"next_page_token": null}})).into_response()
}

async fn subscribe(State(account): State<Account>, Json(mut body): Json<Value>) -> Response {
    let mut all = account.subscriptions.lock().unwrap();
    if all.iter().any(|one| one["callback_url"] == body["url"]) {
        let message = json!({"message": "Hook with this url already exists"});
        return (StatusCode::CONFLICT, Json(message)).into_response();
    }
    body["callback_url"] = body["url"].take();
    body["uri"] = json!("https://api.calendly.com/webhook_subscriptions/S1");
    body["state"] = json!("active");
    body["retry_started_at"] = Value::Null;
    all.push(body.clone());
    (StatusCode::CREATED, Json(json!({"resource": body}))).into_response()
}

async fn remove(State(account): State<Account>, Path(id): Path<String>) -> StatusCode {
    let mut all = account.subscriptions.lock().unwrap();
    all.retain(|one| !one["uri"].as_str().is_some_and(|uri| uri.ends_with(&format!("/{id}"))));
    StatusCode::NO_CONTENT
}
