//! `funil doctor` against a Calendly on loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use funil_core::settings::Env;
use funil_dev::cli::doctor;
use serde_json::{Value, json};
use std::collections::HashMap;

const USER: &str = "https://api.calendly.com/users/U1";
const ORGANIZATION: &str = "https://api.calendly.com/organizations/O1";

/// Whom the token belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Owner,
    Member,
    Guest,
}

async fn me(headers: HeaderMap) -> Response {
    if headers.get("authorization").is_none_or(|token| token != "Bearer calendly-t0ken") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let user = json!({"uri": USER, "current_organization": ORGANIZATION, "email": "a@b.example"});
    Json(json!({"resource": user})).into_response()
}

fn listed(id: &str, slug: &Value, active: bool) -> Value {
    json!({"uri": format!("https://api.calendly.com/event_types/{id}"), "slug": slug, "active": active})
}

async fn event_types(
    State(role): State<Role>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let whole = query.get("organization").is_some_and(|uri| uri == ORGANIZATION);
    let own = query.get("user").is_some_and(|uri| uri == USER);
    let allowed = match role {
        Role::Owner => whole,
        Role::Member => own,
        Role::Guest => false,
    };
    if !allowed {
        return StatusCode::FORBIDDEN.into_response();
    }
    let (found, next) = match query.get("page_token").map(String::as_str) {
        None => (listed("AAAA", &json!("mentoria"), true), json!("second")),
        Some(_) => (listed("BBBB", &Value::Null, false), Value::Null),
    };
    Json(json!({"collection": [found], "pagination": {"count": 1, "next_page_token": next}}))
        .into_response()
}

/// What the command prints, and the error that it ends with.
async fn run(role: Role, variables: &[(&str, &str)]) -> (String, Option<String>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new()
        .route("/users/me", get(me))
        .route("/event_types", get(event_types))
        .with_state(role);
    let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let all = variables.iter().copied().chain([("CALENDLY_BASE_URL", base.as_str())]);
    let env: Env = all.collect();
    let mut out = Vec::new();
    let ended = doctor::run(&env, &funil_lambda::platform(), &mut out).await;
    server.abort();
    (String::from_utf8(out).unwrap(), ended.err().map(|error| error.to_string()))
}

const TOKEN: (&str, &str) = ("CALENDLY_API_TOKEN", "calendly-t0ken");

#[tokio::test]
async fn every_page_of_event_types_is_listed_with_its_slug() {
    for role in [Role::Owner, Role::Member] {
        let (out, error) = run(role, &[TOKEN]).await;
        assert_eq!(
            out,
            "https://api.calendly.com/event_types/AAAA  mentoria  sales call\n\
             https://api.calendly.com/event_types/BBBB  -  sales call, switched off at Calendly\n\
             CALENDLY_EVENT_TYPES is not set, so bookings of every event type are sales calls.\n"
        );
        assert_eq!(error, None);
    }
}

#[tokio::test]
async fn what_the_variable_names_is_compared_with_the_list() {
    let named = "https://api.calendly.com/event_types/AAAA";
    let (out, error) = run(Role::Owner, &[TOKEN, ("CALENDLY_EVENT_TYPES", named)]).await;
    assert!(
        out.contains("AAAA  mentoria  sales call\n") && out.contains("BBBB  -  ignored"),
        "{out}"
    );
    assert_eq!(error, None);

    let gone = format!("{named},https://api.calendly.com/event_types/GONE");
    let (_, error) = run(Role::Owner, &[TOKEN, ("CALENDLY_EVENT_TYPES", &gone)]).await;
    assert!(error.unwrap().starts_with("1 of the event types in CALENDLY_EVENT_TYPES"));

    let (_, error) = run(Role::Owner, &[TOKEN, ("CALENDLY_EVENT_TYPES", "mentoria")]).await;
    assert!(error.unwrap().starts_with("CALENDLY_EVENT_TYPES has mentoria; give an address"));
}

#[tokio::test]
async fn a_token_that_is_of_no_use_is_named() {
    let (_, error) = run(Role::Owner, &[]).await;
    assert!(error.unwrap().contains("CALENDLY_API_TOKEN"));
    let (_, error) = run(Role::Owner, &[("CALENDLY_API_TOKEN", "old-t0ken")]).await;
    assert_eq!(error.unwrap(), "Calendly does not accept CALENDLY_API_TOKEN; make a new one.");
    let (out, error) = run(Role::Guest, &[TOKEN]).await;
    assert!(error.unwrap().contains("may not read event types"));
    assert_eq!(out, "");
}
