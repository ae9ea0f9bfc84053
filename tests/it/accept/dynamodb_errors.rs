//! How the store's client and `lead-submit` treat each error that DynamoDB can return.
//!
//! A scripted HTTP server stands in for DynamoDB. [`errors`] is the table of ARCHITECTURE.md: how
//! many requests are made in all while an error lasts, before the form gets 503.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response as HttpResponse};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::proxy::{cancelled_body, closed, error_body};
use crate::world::{LEAD, Response, World, lead_body};
use funil_tests::aws_signature::assert_signed;

/// How the scripted server replies to a request.
#[derive(Clone, Debug)]
enum Reply {
    /// Responds to the request with success.
    Ok,
    /// Responds with this status and this body.
    Error(u16, Value),
    /// Responds with this status and a body that is no JSON.
    Raw(u16, &'static str),
    /// Closes the connection without a response.
    Close,
}

/// An error with DynamoDB's name for it.
fn error(status: u16, code: &str) -> Reply {
    Reply::Error(status, error_body(code))
}

/// A cancelled transaction, with the code of each write.
fn cancelled(codes: &[&str]) -> Reply {
    Reply::Error(400, cancelled_body(codes))
}

/// A table that follows a script for one operation and succeeds at every other.
struct Scripted {
    operation: &'static str,
    script: Mutex<VecDeque<Reply>>,
    lasting: Reply,
    hash_key: String,
    requests: Mutex<Vec<(String, Value)>>,
}

async fn respond(
    State(table): State<Arc<Scripted>>,
    headers: HeaderMap,
    body: Bytes,
) -> HttpResponse {
    assert_signed(&Method::POST, "/", &headers, &body, "dynamodb");
    let target = headers["x-amz-target"].to_str().unwrap();
    let operation = target.rsplit('.').next().unwrap().to_owned();
    let asked: Value = serde_json::from_slice(&body).unwrap();
    table.requests.lock().unwrap().push((operation.clone(), asked));
    let reply = if operation == table.operation {
        let next = table.script.lock().unwrap().pop_front();
        next.unwrap_or_else(|| table.lasting.clone())
    } else {
        Reply::Ok
    };
    let (status, body) = match reply {
        Reply::Ok if operation == "GetItem" => {
            let identity = json!({"hash_key": {"S": table.hash_key}, "schema": {"N": "1"}});
            (200, json!({"Item": identity}).to_string())
        }
        Reply::Ok => (200, json!({}).to_string()),
        Reply::Error(status, body) => (status, body.to_string()),
        Reply::Raw(status, body) => (status, body.to_owned()),
        Reply::Close => return closed(),
    };
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/x-amz-json-1.0")], body).into_response()
}

/// Submits a lead to a scripted table; returns the response and each request of the operation.
async fn submit_to(
    operation: &'static str,
    script: Vec<Reply>,
    lasting: Reply,
) -> (Response, Vec<Value>) {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let table = Arc::new(Scripted {
        operation,
        script: Mutex::new(script.into()),
        lasting,
        hash_key: world.hash.fingerprint().as_str().to_owned(),
        requests: Mutex::default(),
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(respond).with_state(Arc::clone(&table));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let endpoint = format!("http://{address}");
    let deployment = world.deployment(&[
        ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint),
        ("AWS_SESSION_TOKEN", "the-session"),
    ]);
    let response = deployment.submit(&lead_body()).await;
    world.finish().await;
    let requests = std::mem::take(&mut *table.requests.lock().unwrap());
    let requests = requests.into_iter().filter(|(made, _)| made == operation);
    (response, requests.map(|(_, asked)| asked).collect())
}

/// Every error as `(name, reply, requests while it lasts)`. More than one request means a retry.
fn errors() -> Vec<(&'static str, Reply, usize)> {
    vec![
        ("TransactionConflict", cancelled(&["None", "TransactionConflict", "None"]), 4),
        ("ThrottlingError", cancelled(&["None", "None", "ThrottlingError"]), 6),
        (
            "ProvisionedThroughputExceeded",
            cancelled(&["ProvisionedThroughputExceeded", "None", "None"]),
            6,
        ),
        ("ThrottlingException", error(400, "ThrottlingException"), 3),
        (
            "ProvisionedThroughputExceededException",
            error(400, "ProvisionedThroughputExceededException"),
            3,
        ),
        ("RequestLimitExceeded", error(400, "RequestLimitExceeded"), 3),
        ("RequestTimeout", error(408, "RequestTimeoutException"), 3),
        ("TransactionInProgressException", error(400, "TransactionInProgressException"), 3),
        ("InternalServerError", error(500, "InternalServerError"), 3),
        ("ServiceUnavailable", error(503, "ServiceUnavailable"), 3),
        ("a 502 that is no JSON", Reply::Raw(502, "<html>Bad Gateway</html>"), 3),
        ("connection closed", Reply::Close, 3),
        ("ValidationError of an item", cancelled(&["None", "ValidationError", "None"]), 1),
        (
            "ItemCollectionSizeLimitExceeded",
            cancelled(&["None", "ItemCollectionSizeLimitExceeded", "None"]),
            1,
        ),
        ("ResourceNotFoundException", error(400, "ResourceNotFoundException"), 1),
        ("AccessDeniedException", error(400, "AccessDeniedException"), 1),
        ("UnrecognizedClientException", error(400, "UnrecognizedClientException"), 1),
        ("ExpiredTokenException", error(400, "ExpiredTokenException"), 1),
        ("ValidationException", error(400, "ValidationException"), 1),
        (
            "IdempotentParameterMismatchException",
            error(400, "IdempotentParameterMismatchException"),
            1,
        ),
    ]
}

#[tokio::test]
async fn an_error_that_lasts_is_a_503_after_the_listed_number_of_requests() {
    let mut table = Vec::new();
    let cases = errors().into_iter().map(|(name, lasting, _)| async move {
        let (response, requests) = submit_to("TransactWriteItems", vec![], lasting).await;
        assert_eq!(response.status, 503, "{name}");
        assert_eq!(response.json()["code"], "unavailable", "{name}");
        assert_eq!(response.header("retry-after"), Some("5"), "{name}");
        (name, requests.len())
    });
    table.extend(futures::future::join_all(cases).await);
    for (name, requests) in &table {
        println!("{name:45} {requests} requests, then 503");
    }
    let expected: Vec<_> =
        errors().into_iter().map(|(name, _, requests)| (name, requests)).collect();
    assert_eq!(table, expected);
}

#[tokio::test]
async fn an_error_that_is_retried_and_passes_is_not_seen_by_the_person() {
    for (name, once, requests_if_it_lasts) in errors() {
        let (response, requests) = submit_to("TransactWriteItems", vec![once], Reply::Ok).await;
        if requests_if_it_lasts == 1 {
            assert_eq!((response.status, requests.len()), (503, 1), "{name}");
        } else {
            assert_eq!((response.status, requests.len()), (200, 2), "{name}");
            assert_eq!(response.json()["leadId"], LEAD);
        }
    }
}

#[tokio::test]
async fn the_sdks_retries_of_a_transaction_are_one_write() {
    let twice = vec![Reply::Close, error(500, "InternalServerError")];
    let (response, requests) = submit_to("TransactWriteItems", twice, Reply::Ok).await;
    assert_eq!((response.status, requests.len()), (200, 3));
    let tokens: Vec<&Value> =
        requests.iter().map(|request| &request["ClientRequestToken"]).collect();
    assert!(tokens[0].is_string());
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
}

#[tokio::test]
async fn a_transaction_retried_after_a_conflict_is_a_new_write() {
    let conflict = || cancelled(&["TransactionConflict"]);
    let (response, requests) =
        submit_to("TransactWriteItems", vec![conflict(), conflict()], Reply::Ok).await;
    assert_eq!((response.status, requests.len()), (200, 3));
    assert_ne!(requests[0]["ClientRequestToken"], requests[1]["ClientRequestToken"]);
    assert_eq!(requests[0]["TransactItems"], requests[1]["TransactItems"]);
}

/// A response that was kept.
const RESPONSE: &str = r#"{"amandaScore":20,"leadId":"6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11","success":true,"tier":"low"}"#;

/// A cancelled transaction whose receipt existed already, with the response that it holds.
fn duplicate(fingerprint: &str) -> Reply {
    let receipt = json!({
        "pk": {"S": "RECEIPT#x"}, "sk": {"S": "RECEIPT"}, "v": {"N": "1"},
        "type": {"S": "receipt"}, "fingerprint": {"S": fingerprint},
        "status": {"N": "200"}, "headers": {"L": []}, "body": {"S": RESPONSE},
        "expires_at": {"N": "9999999999"},
    });
    Reply::Error(
        400,
        json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "CancellationReasons": [
                {"Code": "ConditionalCheckFailed", "Item": receipt},
                {"Code": "None"},
                {"Code": "TransactionConflict"},
            ],
        }),
    )
}

#[tokio::test]
async fn an_existing_receipt_decides_the_response_whatever_else_failed() {
    let fingerprint = funil_core::form::lead::LeadForm::parse(&lead_body()).unwrap().fingerprint();
    let (response, requests) =
        submit_to("TransactWriteItems", vec![], duplicate(&fingerprint)).await;
    assert_eq!((response.status, requests.len()), (200, 1));
    assert_eq!(response.header("idempotency-replayed"), Some("true"));
    assert_eq!(response.body, RESPONSE);
    let (response, requests) = submit_to("TransactWriteItems", vec![], duplicate("another")).await;
    assert_eq!((response.status, requests.len()), (422, 1));
}

#[tokio::test]
async fn the_rate_check_is_retried_and_never_skipped() {
    // Where the table has too much to do, four times the client's three tries, and three for the totals.
    for (code, expected) in [("ThrottlingException", 12 + 3), ("ResourceNotFoundException", 1 + 1)]
    {
        let (response, requests) = submit_to("UpdateItem", vec![], error(400, code)).await;
        assert_eq!((response.status, requests.len()), (503, expected), "{code}");
    }
}

#[tokio::test]
async fn a_form_is_not_accepted_before_the_table_identity_is_checked() {
    let (response, requests) =
        submit_to("GetItem", vec![], error(400, "AccessDeniedException")).await;
    // Once for the form, and once for the totals.
    assert_eq!((response.status, requests.len()), (503, 2));
    let foreign = Reply::Error(200, json!({"Item": {"hash_key": {"S": "somebody else's"}}}));
    let (response, requests) = submit_to("GetItem", vec![], foreign).await;
    assert_eq!((response.status, requests.len()), (503, 2));
}
