//! The authorised `POST {"check": true}` that every function takes which takes a POST: what the function finds
//! of its own configuration, its table and its provider.
//!
//! It changes nothing, and it is for a person who deploys. What an endpoint checks beside the table is its
//! own. Must not know any endpoint.

use funil_core::check::{Finding, Report, Verdict};
use funil_core::form::{Field, Need, Schema, Takes};
use funil_store::StoreError;
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{Body, Caller, Operation, Presence, list, object, text};
use crate::app::App;
use crate::http::endpoint::HttpEndpoint;
use crate::http::guard;
use crate::http::problem::{Problem, json_response};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

/// The only field of the body.
const FIELD: &str = "check";
/// The longest body that can be one, in bytes: a long one is not parsed to find out.
const BYTES_MAX: usize = 100;

/// Whether a body asks for a check, and for nothing else.
pub(crate) fn is_asked(body: &Value) -> bool {
    let asked = body.as_object().filter(|members| members.len() == 1);
    asked.is_some_and(|members| members.get(FIELD) == Some(&Value::Bool(true)))
}

/// Whether a request asks for a check. Only one with credentials can: without them it is whatever the
/// endpoint takes it for.
pub(crate) fn asks(request: &HttpRequest, app: &App) -> Result<bool, Problem> {
    let may = request.method == Method::POST
        && request.body.len() <= BYTES_MAX
        && request.headers.contains_key(AUTHORIZATION);
    if !may || !guard::form_body(request).is_ok_and(|(_, body)| is_asked(&body)) {
        return Ok(false);
    }
    guard::authorised(request, &app.config.service_tokens)?;
    Ok(true)
}

/// What a function finds.
pub(crate) async fn report<E: HttpEndpoint>(endpoint: &E) -> Report {
    let app = endpoint.app();
    let mut findings = vec![Finding::ok("configuration", "everything that it needs is set")];
    let table = app.store.verify_identity(&app.config.hash_key).await;
    let reached = table.is_ok();
    findings.push(of_table("table", table, "the table responds, and is the one of HASH_KEY"));
    if let Some(doorbell) = &app.doorbell {
        findings.push(doorbell.check(&app.platform, "dispatch").await);
    }
    if reached {
        findings.extend(endpoint.check().await);
    }
    let function = endpoint.function().to_owned();
    Report { function, at: app.platform.clock.now(), findings }
}

/// The response with what was found. Its status is 200 whatever was found: the check itself worked.
pub(crate) fn response(report: &Report) -> HttpResponse {
    json_response(StatusCode::OK, &json!(report))
}

/// What a read of the table says of it.
pub(crate) fn of_table<T>(
    subject: &'static str,
    read: Result<T, StoreError>,
    ok: &'static str,
) -> Finding {
    match read {
        Ok(_) => Finding::ok(subject, ok),
        Err(error) => Finding::failed(subject, format!("{error}.")),
    }
}

/// The name of the report's schema in the document.
pub(crate) const REPORT: &str = "CheckReport";

/// The schema of a report.
pub(crate) fn schema() -> Value {
    let verdicts: Vec<&str> = Verdict::ALL.iter().map(|verdict| verdict.name()).collect();
    let verdict = json!({"enum": verdicts});
    let finding = object([("subject", text()), ("verdict", verdict), ("says", text())]);
    let at = json!({"type": "string", "format": "date-time"});
    object([("function", text()), ("at", at), ("findings", list(&finding))])
}

/// Adds to an operation what a check takes and returns.
pub(crate) fn documented(mut operation: Operation) -> Operation {
    if operation.method != Method::POST || !operation.below.is_empty() {
        return operation;
    }
    let field = Field { name: FIELD.to_owned(), need: Need::Required, takes: Takes::True };
    let schema = Schema { fields: vec![field], only: Some(vec![FIELD.to_owned()]) };
    match &mut operation.body {
        Body::Fields(schemas, _) => schemas.push(schema),
        Body::None => operation.body = Body::Fields(vec![schema], Presence::Optional),
        Body::OfProvider | Body::OfTags => {}
    }
    if operation.caller == Caller::Anybody {
        operation.caller = Caller::AnybodyOrServiceToken;
    }
    if operation.refusals.iter().all(|refusal| *refusal != Problem::Unauthorised.refusal()) {
        operation = operation.refuses([Problem::Unauthorised]);
    }
    let report = json!({"$ref": format!("#/components/schemas/{REPORT}")});
    let returned = operation.returns.iter_mut().find(|one| one.status == 200);
    match returned.and_then(|one| one.content.as_mut()) {
        Some((_, schema)) => match schema.get_mut("anyOf").and_then(Value::as_array_mut) {
            Some(alternatives) => alternatives.push(report),
            None => *schema = json!({"anyOf": [schema.take(), report]}),
        },
        None => operation = operation.returns("What a check finds.", report),
    }
    operation
}
