//! What the real SDK and `lead-submit` make of each error that DynamoDB can answer.
//!
//! A scripted HTTP server stands in for DynamoDB. The table below is the one of ARCHITECTURE.md:
//! how often a call is made in all while the error lasts, and what the form is answered.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::proxy::{cancelled_body, closed, error_body};
use crate::world::{Answer, LEAD, World, lead_body};

/// What the scripted server does with a call.
#[derive(Clone, Debug)]
enum Say {
    /// Does what it was asked.
    Ok,
    /// Answers this.
    Error(u16, Value),
    /// Closes the connection without an answer.
    Close,
}

/// An error with DynamoDB's name for it.
fn error(status: u16, code: &str) -> Say {
    Say::Error(status, error_body(code))
}

/// A cancelled transaction, with the code of each write.
fn cancelled(codes: &[&str]) -> Say {
    Say::Error(400, cancelled_body(codes))
}

/// A table that follows a script for one operation and is well otherwise.
struct Scripted {
    operation: &'static str,
    script: Mutex<VecDeque<Say>>,
    lasting: Say,
    hash_key: String,
    calls: Mutex<Vec<(String, Value)>>,
}

async fn answer(State(table): State<Arc<Scripted>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers["x-amz-target"].to_str().unwrap();
    let operation = target.rsplit('.').next().unwrap().to_owned();
    let asked: Value = serde_json::from_slice(&body).unwrap();
    table.calls.lock().unwrap().push((operation.clone(), asked));
    let say = if operation == table.operation {
        let next = table.script.lock().unwrap().pop_front();
        next.unwrap_or_else(|| table.lasting.clone())
    } else {
        Say::Ok
    };
    let (status, body) = match say {
        Say::Ok if operation == "GetItem" => {
            (200, json!({"Item": {"hash_key": {"S": table.hash_key}, "schema": {"N": "1"}}}))
        }
        Say::Ok => (200, json!({})),
        Say::Error(status, body) => (status, body),
        Say::Close => return closed(),
    };
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/x-amz-json-1.0")], body.to_string()).into_response()
}

/// Submits a lead to a table that follows a script: the answer, and each call of the operation.
async fn submit_to(
    operation: &'static str,
    script: Vec<Say>,
    lasting: Say,
) -> (Answer, Vec<Value>) {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let table = Arc::new(Scripted {
        operation,
        script: Mutex::new(script.into()),
        lasting,
        hash_key: world.hash.fingerprint().as_str().to_owned(),
        calls: Mutex::default(),
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(Arc::clone(&table));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    // The SDK rations retries per region and process: a region of its own keeps tests apart.
    let region = format!("test-{}", address.port());
    let endpoint = format!("http://{address}");
    let deployment =
        world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", &endpoint), ("AWS_REGION", &region)]);
    let answered = deployment.submit(&lead_body()).await;
    world.finish().await;
    let calls = std::mem::take(&mut *table.calls.lock().unwrap());
    let calls = calls.into_iter().filter(|(made, _)| made == operation);
    (answered, calls.map(|(_, asked)| asked).collect())
}

/// Every error as `(name, answer, calls while it lasts)`; what passes after one is tried again.
fn errors() -> Vec<(&'static str, Say, usize)> {
    vec![
        ("TransactionConflict", cancelled(&["None", "TransactionConflict", "None"]), 4),
        ("ThrottlingError", cancelled(&["None", "None", "ThrottlingError"]), 4),
        (
            "ProvisionedThroughputExceeded",
            cancelled(&["ProvisionedThroughputExceeded", "None", "None"]),
            4,
        ),
        ("ThrottlingException", error(400, "ThrottlingException"), 3),
        (
            "ProvisionedThroughputExceededException",
            error(400, "ProvisionedThroughputExceededException"),
            3,
        ),
        ("RequestLimitExceeded", error(400, "RequestLimitExceeded"), 3),
        ("TransactionInProgressException", error(400, "TransactionInProgressException"), 3),
        ("InternalServerError", error(500, "InternalServerError"), 3),
        ("ServiceUnavailable", error(503, "ServiceUnavailable"), 3),
        ("a 502 that is no JSON", Say::Error(502, json!("<html>Bad Gateway</html>")), 3),
        ("connection closed", Say::Close, 3),
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
async fn an_error_that_lasts_is_answered_with_503_after_so_many_calls() {
    let mut table = Vec::new();
    let cases = errors().into_iter().map(|(name, lasting, _)| async move {
        let (answer, calls) = submit_to("TransactWriteItems", vec![], lasting).await;
        assert_eq!(answer.status, 503, "{name}");
        assert_eq!(answer.json()["code"], "unavailable", "{name}");
        assert_eq!(answer.header("retry-after"), Some("5"), "{name}");
        (name, calls.len())
    });
    table.extend(futures::future::join_all(cases).await);
    for (name, calls) in &table {
        println!("{name:45} {calls} calls, then 503");
    }
    let expected: Vec<_> = errors().into_iter().map(|(name, _, calls)| (name, calls)).collect();
    assert_eq!(table, expected);
}

#[tokio::test]
async fn an_error_that_passes_is_not_seen_by_the_person() {
    for (name, once, lasting_calls) in errors() {
        let (answer, calls) = submit_to("TransactWriteItems", vec![once], Say::Ok).await;
        if lasting_calls == 1 {
            assert_eq!((answer.status, calls.len()), (503, 1), "{name}");
        } else {
            assert_eq!((answer.status, calls.len()), (200, 2), "{name}");
            assert_eq!(answer.json()["leadId"], LEAD);
        }
    }
}

#[tokio::test]
async fn the_sdks_retries_of_a_transaction_are_one_write() {
    let twice = vec![Say::Close, error(500, "InternalServerError")];
    let (answer, calls) = submit_to("TransactWriteItems", twice, Say::Ok).await;
    assert_eq!((answer.status, calls.len()), (200, 3));
    let tokens: Vec<&Value> = calls.iter().map(|call| &call["ClientRequestToken"]).collect();
    assert!(tokens[0].is_string());
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
}

#[tokio::test]
async fn a_transaction_that_is_tried_anew_after_a_conflict_is_another_write() {
    let conflict = || cancelled(&["TransactionConflict"]);
    let (answer, calls) =
        submit_to("TransactWriteItems", vec![conflict(), conflict()], Say::Ok).await;
    assert_eq!((answer.status, calls.len()), (200, 3));
    assert_ne!(calls[0]["ClientRequestToken"], calls[1]["ClientRequestToken"]);
    assert_eq!(calls[0]["TransactItems"], calls[1]["TransactItems"]);
}

/// A cancelled transaction whose receipt was there, with the answer it holds.
fn replayed(fingerprint: &str) -> Say {
    let receipt = json!({
        "pk": {"S": "RECEIPT#x"}, "sk": {"S": "RECEIPT"}, "v": {"N": "1"},
        "type": {"S": "receipt"}, "fingerprint": {"S": fingerprint},
        "status": {"N": "200"}, "headers": {"L": []}, "body": {"S": "{\"kept\":true}"},
        "expires_at": {"N": "9999999999"},
    });
    Say::Error(
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
async fn a_receipt_that_was_there_is_the_answer_whatever_else_failed() {
    let fingerprint = funil_core::form::lead::LeadForm::parse(&lead_body()).unwrap().fingerprint();
    let (answer, calls) = submit_to("TransactWriteItems", vec![], replayed(&fingerprint)).await;
    assert_eq!((answer.status, calls.len()), (200, 1));
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
    assert_eq!(answer.json(), json!({"kept": true}));
    let (answer, calls) = submit_to("TransactWriteItems", vec![], replayed("another")).await;
    assert_eq!((answer.status, calls.len()), (422, 1));
}

#[tokio::test]
async fn the_rate_check_is_tried_again_and_never_skipped() {
    for (code, calls_made) in [("ThrottlingException", 3), ("ResourceNotFoundException", 1)] {
        let (answer, calls) = submit_to("UpdateItem", vec![], error(400, code)).await;
        assert_eq!((answer.status, calls.len()), (503, calls_made), "{code}");
        let (answer, calls) = submit_to("TransactWriteItems", vec![], Say::Ok).await;
        assert_eq!((answer.status, calls.len()), (200, 1));
    }
}

#[tokio::test]
async fn a_form_is_not_accepted_before_the_table_is_known_to_be_ours() {
    let (answer, calls) = submit_to("GetItem", vec![], error(400, "AccessDeniedException")).await;
    assert_eq!((answer.status, calls.len()), (503, 1));
    let foreign = Say::Error(200, json!({"Item": {"hash_key": {"S": "somebody else's"}}}));
    let (answer, calls) = submit_to("GetItem", vec![], foreign).await;
    assert_eq!((answer.status, calls.len()), (503, 1));
}
