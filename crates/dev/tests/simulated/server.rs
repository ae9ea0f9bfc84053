//! Tests of what is recorded of every request, and of the routes and servers.

use std::time::Duration;

use axum::Router;
use funil_dev::simulated::Providers;
use serde_json::json;

use super::{Caller, NOW, Sent, clock};

#[tokio::test]
async fn a_provider_that_is_not_simulated_records_requests_and_responds() {
    let caller = Caller::new().await;
    let response =
        caller.ask("PUT /another-provider/v3/contacts/1?a=b%20c&access_token=s", json!([1])).await;
    assert_eq!((response.status, response.body), (200, json!({})));
    let received = caller.providers.received("another-provider").pop().unwrap();
    assert_eq!((received.method.as_str(), received.path.as_str()), ("PUT", "/v3/contacts/1"));
    assert_eq!(received.query["a"], "b c");
    assert_eq!(received.header("authorization"), Some("Bearer t0ken"));
    assert_eq!((received.body.clone(), received.at.as_str()), (json!([1]), NOW));
    let shown = serde_json::to_value(&received).unwrap();
    assert_eq!(shown["query"]["access_token"], "***");
    assert_eq!(shown["headers"]["authorization"], "Bearer ***");
    let simulated = Providers::new(clock()).names();
    assert!(
        simulated.iter().any(|name| name == "crm")
            && !simulated.iter().any(|name| name == "another-provider")
    );
    assert_eq!(caller.providers.names(), [simulated, vec!["another-provider".to_owned()]].concat());
}

#[tokio::test]
async fn a_body_that_is_not_json_is_recorded_as_text() {
    let caller = Caller::new().await;
    let sent = Sent { headers: &[], body: "a=1".to_owned() };
    caller.send("POST /unknown-provider", sent).await.unwrap();
    caller.send("GET /unknown-provider/", Sent::default()).await.unwrap();
    let received = caller.providers.received("unknown-provider");
    assert_eq!((&received[0].body, &received[1].body), (&json!("a=1"), &json!(null)));
    assert_eq!((received[0].path.as_str(), received[1].path.as_str()), ("/", "/"));
}

#[tokio::test]
async fn the_routes_can_be_nested_under_a_prefix() {
    let providers = Providers::new(clock());
    let router = Router::new().nest("/providers", providers.router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let caller = Caller { providers, address, client: funil_lambda::platform().http };
    for base in ["/providers/crm", "/providers/crm/"] {
        let response = caller.ask(&format!("POST {base}"), json!({"external_id": "l1"})).await;
        assert_eq!(response.body, json!({"id": "1"}));
    }
    caller.ask("GET /providers/crm/contacts?external_id=l1", json!(null)).await;
    let received = caller.providers.received("crm").pop().unwrap();
    assert_eq!(
        (received.path.as_str(), received.query["external_id"].as_str()),
        ("/contacts", "l1")
    );
}

#[tokio::test]
async fn clearing_removes_requests_and_effects_and_keeps_behaviours() {
    let caller = Caller::new().await;
    caller.ask("POST /crm", json!({"external_id": "l1"})).await;
    caller.providers.behave("crm", "status:500".parse().unwrap());
    caller.providers.clear();
    assert!(caller.providers.all_received().is_empty());
    assert_eq!(caller.providers.crm_contact_count(), 0);
    assert_eq!(caller.ask("POST /crm", json!({})).await.status, 500);
}

#[tokio::test]
async fn a_server_stops_when_the_last_clone_is_dropped() {
    let providers = Providers::new(clock());
    let address = providers.serve().await.unwrap();
    assert_eq!(Providers::base_url(address, "crm"), format!("http://{address}/crm"));
    let clone = providers.clone();
    drop(providers);
    tokio::net::TcpStream::connect(address).await.unwrap();
    drop(clone);
    let stopped = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), stopped).await.unwrap();
}
