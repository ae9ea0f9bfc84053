//! The OpenAPI 3.1 document of all endpoints, made of what the functions say of themselves
//! (`funil_lambda::api`) and of the sample events.
//!
//! `docs/openapi.json` is this document, and the dev server shows it. The schemas of fields are in
//! `openapi/schema.rs`. Must not know any endpoint.

mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use funil_core::destination;
use funil_core::form::Takes;
use funil_lambda::api::{
    self, Body, Caller, Operation, Pages, Presence, Refusal, Returned, operations, wrong_method,
};
use funil_lambda::platform::trigger::Trigger;
use http::Method;
use serde_json::{Map, Value, json};

use self::schema::{object, without_null};

/// The document as it is checked in.
pub const CHECKED_IN: &str = include_str!("../../../docs/openapi.json");

/// How the name of a sample begins that is not a valid request.
const INVALID: &str = "invalid";

/// The document, with the sample events of this folder as examples.
pub fn document(events: &Path) -> io::Result<Value> {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for operation in operations() {
        let samples = samples(events, &operation)?;
        let method = operation.method.as_str().to_lowercase();
        let shown = shown(&operation, &samples);
        paths.entry(path(&operation)).or_default().insert(method, shown);
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Funil",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "The backend of a lead funnel",
            "description": "Forms, webhooks and what operators use. A method that a path does not have gets 405, as \
                the component MethodNotAllowed. \
                Unknown fields of a form are ignored; null and empty text count as left out. What is wrong comes as \
                application/problem+json, in Portuguese where Accept-Language prefers it.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/api", "description": "The dev server, or the HTTP API of a stack"}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "serviceToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "One of the site's SERVICE_TOKEN.",
                },
            },
            "schemas": schemas(),
            "headers": headers(),
            "responses": {"MethodNotAllowed": method_not_allowed()},
        },
    }))
}

/// The document as it is checked in.
pub fn text(events: &Path) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(&document(events)?)? + "\n")
}

/// The path of an operation below the server's address.
pub fn path(operation: &Operation) -> String {
    match operation.below {
        "" => format!("/{}", operation.function),
        below => format!("/{}/{below}", operation.function),
    }
}

/// The schemas that more than one operation has.
fn schemas() -> Value {
    let named = api::schemas().into_iter().map(|(name, schema)| (name.to_owned(), schema));
    Value::Object(named.chain([("Problem".to_owned(), problem())]).collect())
}

/// A problem (RFC 9457).
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string", "description": "urn:funil:problem: and the code"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What to do. It repeats nothing that was sent."},
            "code": {"type": "string", "description": "Stable, for programs"},
            "errors": {
                "type": "array",
                "description": "Every field that is wrong, where code is invalid_fields",
                "items": {
                    "type": "object",
                    "required": ["field", "code", "message"],
                    "properties": {
                        "field": {"type": "string"},
                        "code": {"type": "string"},
                        "message": {"type": "string"},
                    },
                },
            },
            "reason": {"type": "string", "description": "Where code is not_understood"},
        },
    })
}

/// The response to a method that a path does not have, which is in no operation.
fn method_not_allowed() -> Value {
    let refusal = wrong_method();
    let headers = refusal.headers.iter().map(String::as_str).chain(OF_ALL);
    json!({
        "description": format!("`{}`: {}.", refusal.code, refusal.title),
        "headers": headers_of(headers),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}

/// What the headers of responses mean, by the name in the components.
const HEADERS: [(&str, &str); 11] = [
    ("Access-Control-Allow-Headers", "The headers that a form may have."),
    ("Access-Control-Allow-Methods", "The methods that a form may have."),
    ("Access-Control-Allow-Origin", "The request's origin, if it is one of CORS_ORIGINS."),
    ("Access-Control-Expose-Headers", "The headers that the page may read."),
    ("Access-Control-Max-Age", "For how many seconds a browser need not ask again."),
    ("Allow", "The methods that the path has."),
    ("Cache-Control", "no-store: nobody may keep a response."),
    ("Idempotency-Replayed", "true: the same was kept before, and this is its response."),
    ("Location", "Where the browser goes on to."),
    ("Retry-After", "After how many seconds to send again."),
    ("Vary", "The headers that the response depends on."),
];

/// The content type of pages.
const PAGE: &str = "text/html; charset=utf-8";
/// The headers that every response has.
const OF_ALL: [&str; 1] = ["Cache-Control"];

fn headers() -> Value {
    let described = HEADERS.iter().map(|(name, meaning)| {
        let header = json!({"description": meaning, "schema": {"type": "string"}});
        ((*name).to_owned(), header)
    });
    Value::Object(described.collect())
}

/// Headers of a response, as references where they are described.
fn headers_of<'h>(names: impl IntoIterator<Item = &'h str>) -> Value {
    let headers = names.into_iter().map(|name| {
        let known = HEADERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        match known {
            Some((known, _)) => {
                let reference = format!("#/components/headers/{known}");
                ((*known).to_owned(), json!({"$ref": reference}))
            }
            None => (name.to_owned(), json!({"schema": {"type": "string"}})),
        }
    });
    Value::Object(headers.collect())
}

/// The bodies of the samples of an operation, by their names.
fn samples(events: &Path, operation: &Operation) -> io::Result<BTreeMap<String, Value>> {
    let mut samples = BTreeMap::new();
    let Ok(folder) = fs::read_dir(events.join(operation.function)) else { return Ok(samples) };
    for entry in folder {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(INVALID) {
            continue;
        }
        let event: Value = serde_json::from_slice(&fs::read(&path)?)?;
        let Ok(Trigger::Http(request)) = Trigger::parse(event) else { continue };
        let last = request.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let below = if last == operation.function { "" } else { last };
        if request.method != operation.method || below != operation.below {
            continue;
        }
        if let Ok(body) = serde_json::from_slice(&request.body) {
            samples.insert(name, body);
        }
    }
    Ok(samples)
}

fn shown(operation: &Operation, samples: &BTreeMap<String, Value>) -> Value {
    let id = path(operation).trim_start_matches('/').replace('/', "-");
    let mut shown = json!({
        "operationId": format!("{}-{id}", operation.method.as_str().to_lowercase()),
        "summary": operation.summary,
        "tags": [operation.function],
        "responses": responses(operation),
    });
    let parameters = parameters(operation);
    if !parameters.is_empty() {
        shown["parameters"] = Value::from(parameters);
    }
    if let Some(body) = request_body(operation, samples) {
        shown["requestBody"] = body;
    }
    shown["security"] = match operation.caller {
        Caller::Anybody | Caller::Provider(_) => json!([]),
        Caller::AnybodyOrServiceToken => json!([{}, {"serviceToken": []}]),
        Caller::ServiceToken => json!([{"serviceToken": []}]),
    };
    shown
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let header = |name: &str, meaning: &str, required: bool| {
        json!({
            "name": name, "in": "header", "description": meaning, "required": required,
            "schema": {"type": "string"},
        })
    };
    let own = operation.headers.iter().map(|one| {
        let mut shown = header(one.name, one.meaning, false);
        shown["schema"]["pattern"] = json!(one.pattern);
        shown
    });
    let language = "Portuguese problems where it prefers pt to en.";
    let language = header("Accept-Language", language, false);
    let signature = match operation.caller {
        Caller::Provider(name) if operation.method != Method::GET => {
            Some(header(name, "The provider's signature of the raw body.", true))
        }
        Caller::Provider(_)
        | Caller::Anybody
        | Caller::AnybodyOrServiceToken
        | Caller::ServiceToken => None,
    };
    let query = operation.query.iter().map(
        |name| json!({"name": name, "in": "query", "required": true, "schema": {"type": "string"}}),
    );
    own.chain(signature).chain([language]).chain(query).collect()
}

fn request_body(operation: &Operation, samples: &BTreeMap<String, Value>) -> Option<Value> {
    let examples: Map<String, Value> =
        samples.iter().map(|(name, body)| (name.clone(), json!({"value": body}))).collect();
    let (schema, required) = match &operation.body {
        Body::None => return None,
        // What is not understood waits for a person.
        Body::OfTags => (
            json!({"description": "An event, a list of events, or an object with the list events."}),
            true,
        ),
        Body::OfProvider => (json!({"description": "What the provider sends, as JSON."}), true),
        Body::Fields(schemas, presence) => {
            let schemas: Vec<Value> = schemas.iter().map(object).collect();
            let schema = match schemas.as_slice() {
                [one] => one.clone(),
                _ => json!({"anyOf": schemas}),
            };
            (schema, *presence == Presence::Required)
        }
    };
    let mut content = json!({"application/json": {"schema": schema}});
    // What only a token opens is sent by programs.
    if matches!(operation.caller, Caller::Anybody | Caller::AnybodyOrServiceToken)
        && let Body::Fields(schemas, _) = &operation.body
        && let Some(of_form) = schemas.first()
    {
        // `utm[source]` is the field `source` of the object `utm`.
        let objects = of_form.fields.iter();
        let objects = objects
            .filter(|field| matches!(field.takes, Takes::Object(_) | Takes::Filled(..)))
            .map(|field| (field.name.clone(), json!({"style": "deepObject", "explode": true})));
        content["application/x-www-form-urlencoded"] = json!({
            "schema": without_null(object(of_form)),
            "encoding": Value::Object(objects.collect()),
        });
    }
    if !examples.is_empty() {
        content["application/json"]["examples"] = Value::Object(examples);
    }
    Some(json!({"required": required, "content": content}))
}

fn responses(operation: &Operation) -> Value {
    let mut responses = Map::new();
    for returned in &operation.returns {
        let Returned { status, when, content, headers } = returned;
        let mut response = json!({"description": when});
        if let Some((content_type, schema)) = content {
            response["content"] = json!({*content_type: {"schema": schema}});
        }
        let headers = headers.iter().chain(operation.response_headers).chain(&OF_ALL).copied();
        response["headers"] = headers_of(headers);
        responses.insert(status.to_string(), response);
    }
    let is_rung = destination::ALL.iter().any(|one| one.function == operation.function);
    if is_rung && operation.method == Method::POST {
        let description = "Only of the dev server, to a ring: the function goes on by itself.";
        responses.insert("202".to_owned(), json!({"description": description}));
    }
    let mut by_status: BTreeMap<u16, Vec<&Refusal>> = BTreeMap::new();
    for refusal in &operation.refusals {
        by_status.entry(refusal.status).or_default().push(refusal);
    }
    for (status, refusals) in by_status {
        let titles = refusals.iter().map(|one| format!("`{}`: {}.", one.code, one.title));
        let codes: Vec<&str> = refusals.iter().map(|one| one.code).collect();
        let mut headers: Vec<&str> =
            refusals.iter().flat_map(|one| one.headers.iter().map(String::as_str)).collect();
        headers.extend(operation.response_headers);
        headers.extend(OF_ALL);
        headers.dedup();
        let schema = json!({
            "allOf": [
                {"$ref": "#/components/schemas/Problem"},
                {"properties": {"code": {"enum": codes}}},
            ],
        });
        let titles = titles.collect::<Vec<_>>().join(" ");
        let (content, headers) = (json!({"schema": schema}), headers_of(headers));
        // A status may have a response of its own, too.
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({}));
        let own = response["description"].as_str().map(|own| format!("{own} "));
        response["description"] = json!(format!("{}{titles}", own.unwrap_or_default()));
        response["content"]["application/problem+json"] = content;
        for (name, header) in headers.as_object().into_iter().flatten() {
            response["headers"][name] = header.clone();
        }
    }
    if operation.pages == Pages::ForBrowsers {
        // A page says what the JSON says.
        for response in responses.values_mut().filter(|one| one["content"].is_object()) {
            response["content"][PAGE] = json!({"schema": {"type": "string"}});
            response["headers"]["Content-Security-Policy"] = json!({"schema": {"type": "string"}});
        }
    }
    Value::Object(responses)
}
