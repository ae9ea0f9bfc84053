//! Rings that functions answer: a form alone, or the schedule alone, gets everything delivered.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use funil_core::clock::after;
use funil_core::destination::{self, Destination};
use funil_dev::server::front_door;
use funil_lambda::Function;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::schedule;
use crate::world::{DESTINATIONS, World, lead, lead_body, list};

/// The functions behind an HTTP server, and where the result of each request goes.
#[derive(Clone)]
struct Server {
    functions: Vec<Function>,
    done: mpsc::UnboundedSender<(String, Value)>,
    stop_at: Timestamp,
}

async fn serve_function(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1024 * 1024).await.unwrap();
    let caller = Ipv4Addr::LOCALHOST.into();
    let path = parts.uri.path();
    let event = front_door::event(&parts.method, path, "", &parts.headers, &body, caller);
    let name = path.trim_start_matches('/').to_owned();
    let Some(function) = server.functions.iter().find(|function| function.name == name).cloned()
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Whoever rings does not wait for the end, and the function goes on nevertheless.
    let work = tokio::spawn(async move {
        let response = function.invoke(event, server.stop_at).await;
        server.done.send((name, response.clone())).unwrap();
        response
    });
    front_door::response(&work.await.unwrap()).into_response()
}

/// The functions of the destinations that the lead has deliveries for.
async fn functions_for_the_lead(world: &World) -> Vec<&'static str> {
    let deliveries = world.journey(lead()).await.deliveries;
    let planned =
        |one: &&&Destination| deliveries.iter().any(|delivery| delivery.destination == one.name);
    let planned: Vec<_> = destination::ALL.iter().filter(planned).collect();
    assert_eq!(list(planned.iter().copied()), DESTINATIONS);
    planned.iter().map(|one| one.function).collect()
}

/// The next function that has worked, and its response. A function that is never rung would be
/// waited for without end.
async fn next_work(works: &mut mpsc::UnboundedReceiver<(String, Value)>) -> (String, Value) {
    let work = tokio::time::timeout(Duration::from_secs(30), works.recv()).await;
    work.expect("a function that should have been rung was not").unwrap()
}

/// Whether a delivery of the world's lead, who agreed to all but ads, ended as it should.
fn is_settled(state: &str) -> bool {
    state.ends_with(" delivered") || state == "meta/lead skipped no_consent_ads"
}

#[tokio::test]
async fn a_form_alone_gets_every_function_rung_that_its_lead_needs() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let world = World::plan().with("DOORBELL_URL", &url).start().await;
    world.expect_one_lead();
    let (done, mut works) = mpsc::unbounded_channel();
    let functions = world.functions().to_vec();
    let server = Server { functions, done, stop_at: world.stop_at() };
    let router = Router::new().fallback(serve_function).with_state(server);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    assert_eq!(world.submit(&lead_body()).await.status, 200);
    let mut expected = functions_for_the_lead(&world).await;
    expected.push("dispatch");
    expected.sort_unstable();
    let mut worked = Vec::new();
    for _ in &expected {
        let (name, response) = next_work(&mut works).await;
        assert_eq!(response["statusCode"], 200, "{name}");
        worked.push(name);
    }
    worked.sort();
    assert_eq!(worked, expected);
    assert!(world.states(lead()).await.iter().all(|state| is_settled(state)));
    world.finish().await;
}

#[tokio::test]
async fn a_day_without_a_stream_is_caught_up_by_the_schedule() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let world = World::plan().with("DOORBELL_URL", &url).start().await;
    world.expect_one_lead();
    let (done, mut works) = mpsc::unbounded_channel();
    // `dispatch` does not get the intake's ring, as if there were no stream.
    let functions = world.functions().iter().filter(|function| function.name != "dispatch");
    let stop_at = after(world.stop_at(), 24 * 3600);
    let server = Server { functions: functions.cloned().collect(), done, stop_at };
    let router = Router::new().fallback(serve_function).with_state(server);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    assert_eq!(world.submit(&lead_body()).await.status, 200);
    world.pass(24 * 3600);
    assert!(world.states(lead()).await.iter().all(|state| state.ends_with(" pending")));
    let response = world.invoke("dispatch", schedule()).await;
    let expected = functions_for_the_lead(&world).await;
    assert_eq!(response, json!({"rung": expected}));
    for _ in expected {
        let (name, response) = next_work(&mut works).await;
        assert_eq!(response["statusCode"], 200, "{name}");
    }
    assert!(world.states(lead()).await.iter().all(|state| is_settled(state)));
    world.finish().await;
}
