//! A Calendly on loopback: its users, event types and webhook subscriptions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde_json::{Value, json};

/// The number of the next subscription.
static NEXT: AtomicUsize = AtomicUsize::new(1);

const USER: &str = "https://api.calendly.com/users/U1";
const ORGANIZATION: &str = "https://api.calendly.com/organizations/O1";

/// Whom the token belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Who sees everything of the organization.
    Owner,
    /// Who sees what is their own.
    Member,
    /// Who sees no subscription at all.
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
    most_at_once: Arc<AtomicUsize>,
    refuses_new: Arc<AtomicBool>,
}

impl SimulatedCalendly {
    pub(crate) async fn start(role: Role) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let account = Account {
            role,
            subscriptions: Arc::default(),
            most_at_once: Arc::default(),
            refuses_new: Arc::default(),
        };
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

    /// How many subscriptions there were at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.account.most_at_once.load(Ordering::Relaxed)
    }

    /// Refuses every further subscription, as Calendly does in a plan without them.
    pub(crate) fn refuse_new(&self) {
        self.account.refuses_new.store(true, Ordering::Relaxed);
    }

    /// Adds a working subscription of the user's own.
    pub(crate) fn add_of_user(&self, address: &str) {
        let events = [
            "invitee.created",
            "invitee.canceled",
            "invitee_no_show.created",
            "invitee_no_show.deleted",
        ];
        let uri = "https://api.calendly.com/webhook_subscriptions/U1";
        self.account.subscriptions.lock().unwrap().push(json!({
            "uri": uri, "callback_url": address, "state": "active", "scope": "user",
            "events": events, "retry_started_at": null,
        }));
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
    let scope = query.get("scope").map(String::as_str).unwrap_or_default();
    let of_user = query.get("user").is_some_and(|uri| uri == USER);
    let allowed = match (account.role, scope) {
        (Role::Owner, "organization") => !of_user,
        (Role::Owner | Role::Member, "user") => of_user,
        _ => false,
    };
    if !allowed || query.get("organization").is_none_or(|uri| uri != ORGANIZATION) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let all = account.subscriptions.lock().unwrap().clone();
    let found: Vec<Value> = all.into_iter().filter(|one| one["scope"] == scope).collect();
    Json(json!({"collection": found, "pagination": {"next_page_token": null}})).into_response()
}

async fn subscribe(State(account): State<Account>, Json(mut body): Json<Value>) -> Response {
    if account.refuses_new.load(Ordering::Relaxed) {
        let message = json!({"message": "Please upgrade your Calendly account."});
        return (StatusCode::FORBIDDEN, Json(message)).into_response();
    }
    let mut all = account.subscriptions.lock().unwrap();
    if all.iter().any(|one| one["callback_url"] == body["url"]) {
        let message = json!({"message": "Hook with this url already exists"});
        return (StatusCode::CONFLICT, Json(message)).into_response();
    }
    body["callback_url"] = body["url"].take();
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    body["uri"] = json!(format!("https://api.calendly.com/webhook_subscriptions/S{id}"));
    body["state"] = json!("active");
    body["retry_started_at"] = Value::Null;
    all.push(body.clone());
    account.most_at_once.fetch_max(all.len(), Ordering::Relaxed);
    (StatusCode::CREATED, Json(json!({"resource": body}))).into_response()
}

async fn remove(State(account): State<Account>, Path(id): Path<String>) -> StatusCode {
    let mut all = account.subscriptions.lock().unwrap();
    all.retain(|one| !one["uri"].as_str().is_some_and(|uri| uri.ends_with(&format!("/{id}"))));
    StatusCode::NO_CONTENT
}
