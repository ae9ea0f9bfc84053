//! The OpenAPI 3.1 document of all endpoints, made of what the functions say of themselves
//! (`funil_lambda::api`) and of the sample events.
//!
//! `docs/openapi.json` is this document, and the dev server shows it. Must not know any endpoint.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use funil_core::destination;
use funil_core::form::{EMAIL_CHARS_MAX, Fault, Field, NO, Need, Schema, Takes, YES};
use funil_lambda::api::{
    self, Body, Caller, Operation, Pages, Presence, Refusal, Returned, operations, wrong_method,
};
use funil_lambda::platform::trigger::Trigger;
use http::Method;
use serde_json::{Map, Value, json};

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

/// A schema without `null`, which an HTML form cannot send.
fn without_null(schema: Value) -> Value {
    match schema {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, without_null(value)));
            Value::Object(members.collect())
        }
        Value::Array(items) => {
            let is_null = |item: &Value| *item == "null" || *item == json!({"type": "null"});
            let items = items.into_iter().filter(|item| !is_null(item)).map(without_null);
            Value::Array(items.collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
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

/// The JSON Schema of an object with these fields.
fn object(schema: &Schema) -> Value {
    let mut properties: Map<String, Value> =
        schema.fields.iter().map(|field| (field.name.clone(), of_field(field))).collect();
    for name in schema.only.iter().flatten() {
        properties.entry(name.clone()).or_insert_with(|| json!({}));
    }
    let required = schema.fields.iter().filter(|field| field.need == Need::Required);
    let required: Vec<&str> = required.map(|field| field.name.as_str()).collect();
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    if schema.only.is_some() {
        object["additionalProperties"] = json!(false);
    }
    object
}

/// The JSON Schema of a field. `null` and blank text count as left out.
fn of_field(field: &Field) -> Value {
    let mut schema = of(&field.takes);
    match (field.need, &field.takes) {
        // Any text may be blank.
        (Need::Optional, Takes::Text(_) | Takes::CutText(_)) => {
            schema["type"] = json!(["string", "null"]);
            schema
        }
        // What anything may be needs no alternative.
        (Need::Optional, Takes::SpamField(_) | Takes::Deliveries | Takes::OrDropped(_)) => {
            json!({"description": schema["description"]})
        }
        (Need::Optional, Takes::List(..) | Takes::Object(_) | Takes::Filled(..)) => {
            json!({"anyOf": [schema, {"type": "null"}]})
        }
        (Need::Optional, _) => json!({"anyOf": [schema, blank()]}),
        (Need::Required, Takes::Text(_)) => {
            schema["pattern"] = json!("\\S");
            schema
        }
        (Need::Required, _) => schema,
    }
}

/// What counts as left out.
fn blank() -> Value {
    json!({"type": ["string", "null"], "pattern": "^\\s*$"})
}

fn of(takes: &Takes) -> Value {
    match takes {
        Takes::Text(most) => json!({"type": "string", "maxLength": most}),
        Takes::CutText(most) => {
            json!({"type": "string", "description": format!("Cut to {most} characters.")})
        }
        Takes::Name(most) => {
            json!({"type": "string", "maxLength": most, "pattern": "[\\p{L}\\p{N}]"})
        }
        Takes::Email => json!({"type": "string", "format": "email", "maxLength": EMAIL_CHARS_MAX}),
        Takes::Phone => json!({
            "type": "string",
            "format": "phone",
            "description": "Brazilian or international.",
            "examples": ["(11) 98765-4321", "+351 912 345 678"],
        }),
        Takes::LeadId => json!({"type": "string", "format": "uuid"}),
        Takes::Answer(most) => json!({"type": ["string", "number"], "maxLength": most}),
        Takes::Number(least, most) => json!({
            "anyOf": [
                {"type": "number", "minimum": least, "maximum": most},
                {"type": "string", "pattern": digits(*least, *most), "description": "Its digits."},
            ],
        }),
        Takes::Flag => json!({
            "anyOf": [
                {"type": "boolean"},
                {
                    "enum": (YES.iter().chain(&NO).collect::<Vec<_>>()),
                },
            ],
        }),
        Takes::True => json!({"const": true}),
        Takes::Ticked => {
            json!({"enum": (YES.iter().map(|yes| json!(yes)).chain([json!(true)]).collect::<Vec<_>>())})
        }
        Takes::Moment => json!({
            "type": ["string", "integer"],
            "format": "date-time",
            "description": "A time in RFC 3339, or in milliseconds since 1970.",
        }),
        Takes::Parsed(fault) => of_fault(*fault),
        Takes::OneOf(options) => json!({"enum": options}),
        // A plain HTML form sends dates as one text.
        Takes::List(most, fault @ Fault::FutureDate) => json!({
            "anyOf": [
                {"type": "array", "maxItems": most, "items": of_fault(*fault)},
                {"type": "string", "description": "The same, with commas between them."},
            ],
        }),
        Takes::List(most, fault) => {
            json!({"type": "array", "maxItems": most, "items": of_fault(*fault)})
        }
        Takes::Deliveries => json!({
            "type": "array",
            "description": "Deliveries, as `<lead>/<sort key>`. What is none is passed over.",
        }),
        Takes::OrDropped(otherwise) => {
            let is_id = **otherwise == Takes::LeadId;
            let what = if is_id { "A UUID" } else { "What no person types" };
            json!({"description": format!("{what}. Anything else is dropped, and noted on the event.")})
        }
        Takes::SpamField(what) => json!({"description": what}),
        Takes::Object(schema) => object(schema),
        Takes::Filled(schema, most) => {
            let mut filled = object(schema);
            filled["description"] = json!(format!("1 to {most} of them are filled in."));
            filled["not"] = json!({"additionalProperties": blank()});
            filled
        }
    }
}

/// A regular expression of the digits of a whole number from the one to the other, neither below 0.
fn digits(least: i64, most: i64) -> String {
    let mut alternatives = Vec::new();
    let mut number = least;
    while number <= most {
        if number % 10 == 0 && number + 9 <= most {
            let tens = if number == 0 { String::new() } else { (number / 10).to_string() };
            alternatives.push(format!("{tens}[0-9]"));
            number += 10;
        } else {
            alternatives.push(number.to_string());
            number += 1;
        }
    }
    format!("^\\s*\\+?0*({})\\s*$", alternatives.join("|"))
}

/// Text that is refused with a fault.
fn of_fault(fault: Fault) -> Value {
    match fault {
        Fault::Time => json!({"type": "string", "format": "date-time"}),
        Fault::Url => json!({"type": "string", "format": "iri", "pattern": "^https?://"}),
        Fault::Uuid => json!({
            "type": "string",
            "format": "uuid",
            "pattern": "^\\s*[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?7",
            "description": "A UUID of version 7.",
        }),
        Fault::BookingId => json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}),
        Fault::TimeZone => {
            json!({"type": "string", "format": "time-zone",
                "description": "The IANA name of a time zone.",
                "examples": ["America/Sao_Paulo"]})
        }
        Fault::FutureDate => json!({
            "type": "string",
            "pattern": "^\\s*[0-9]{4}-[0-9]{2}-[0-9]{2}",
            "description": "A day, or a time with its offset or in the time zone, in the future.",
            "examples": ["2026-12-01", "2026-12-01T15:00", "2026-12-01T15:00:00-03:00"],
        }),
        Fault::DeliveryName => {
            json!({"type": "string", "format": "delivery-name",
                "description": "A delivery, as `<lead>/<delivery>`."})
        }
        Fault::Required
        | Fault::Consent
        | Fault::WrongType(_)
        | Fault::TooLong(_)
        | Fault::Email
        | Fault::Phone
        | Fault::OutOfRange(..)
        | Fault::Choice
        | Fault::TooMany(_)
        | Fault::Unexpected => json!({"type": "string"}),
    }
}
