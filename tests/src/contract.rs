//! Every response of an endpoint in the tests is compared with the OpenAPI document: its status, its
//! headers, its body and, where it is a success, the body that was sent.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use funil_dev::openapi;
use funil_lambda::platform::request::HttpRequest;
use http::HeaderName;
use serde_json::{Value, json};

use crate::world::Response;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| openapi::document(&events()).unwrap());

/// A compiled schema for each place in the document where one stands.
static SCHEMAS: LazyLock<HashMap<String, jsonschema::Validator>> = LazyLock::new(|| {
    let mut schemas = HashMap::new();
    let paths = DOCUMENT["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            let responses = operation["responses"].as_object().unwrap().iter();
            let of_responses = responses.flat_map(|(status, response)| {
                let content = response["content"].as_object().into_iter().flatten();
                content.map(move |(kind, content)| (format!("{status} {kind}"), &content["schema"]))
            });
            for (place, schema) in of_responses.chain([("body".to_owned(), body)]) {
                if !schema.is_null() {
                    let name = format!("{method} {path} {place}");
                    let members =
                        if place == "body" { Members::Any } else { Members::AllDocumented };
                    schemas.insert(name, compiled(schema, members));
                }
            }
        }
    }
    schemas
});

/// The sample events.
pub fn events() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../events")
}

/// Compiled so that a member of a response that is not documented is wrong.
fn compiled(schema: &Value, members: Members) -> jsonschema::Validator {
    let mut schema = schema.clone();
    if members == Members::AllDocumented {
        close(&mut schema);
    }
    let whole = json!({"allOf": [schema], "components": DOCUMENT["components"]});
    jsonschema::options().should_validate_formats(false).build(&whole).unwrap()
}

/// Which members an object may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    Any,
    AllDocumented,
}

/// Closes every object of a schema that names its members.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            // Parts of a whole are open, because each names only its own.
            if object.contains_key("properties") && object.get("type").is_some() {
                object.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            object.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What a schema of the document finds wrong with a value.
pub fn wrong(place: &str, value: &Value) -> Option<String> {
    let schema = SCHEMAS.get(place).unwrap_or_else(|| panic!("{place} is not documented"));
    let errors: Vec<String> = schema.iter_errors(value).map(|error| error.to_string()).collect();
    (!errors.is_empty()).then(|| format!("{place}: {errors:?} in {value}"))
}

/// Compares a response with the document.
pub fn check(function: &str, request: &HttpRequest, response: &Response) {
    let method = request.method.as_str().to_lowercase();
    let last = request.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let below = DOCUMENT["paths"].get(format!("/{function}/{last}")).is_some();
    let path = if below { format!("/{function}/{last}") } else { format!("/{function}") };
    let asked = format!("{method} {path}: {response:?}");
    let operation = &DOCUMENT["paths"][&path][&method];
    let status = response.status.to_string();
    let documented = if operation.is_null() {
        assert_eq!(response.status, 405, "{asked} is not documented");
        assert!(
            response.header("allow").is_some(),
            "405 names the methods that there are: {asked}"
        );
        &DOCUMENT["components"]["responses"]["MethodNotAllowed"]
    } else {
        &operation["responses"][&status]
    };
    assert!(!documented.is_null(), "the status is not documented: {asked}");
    let headers: Vec<&String> =
        documented["headers"].as_object().into_iter().flat_map(|all| all.keys()).collect();
    for name in response.headers.keys().map(HeaderName::as_str) {
        let is_known = headers.iter().any(|known| known.eq_ignore_ascii_case(name));
        // A form's responses have what lets a page of another origin read them, its 405 too.
        let is_of_cors =
            operation.is_null() && (name == "vary" || name.starts_with("access-control"));
        assert!(
            is_known || is_of_cors || name == "content-type",
            "the header {name} is not documented: {asked}"
        );
    }
    let has_content = documented["content"].is_object() && method != "head";
    // The platform leaves out the body of a response to HEAD.
    assert!(
        method == "head" || has_content != response.body.is_empty(),
        "a body where one is documented: {asked}"
    );
    if has_content && !operation.is_null() {
        let kind = response.header("content-type").unwrap_or_default();
        let text = String::from_utf8(response.body.to_vec()).unwrap();
        let is_json = kind.starts_with("application/");
        let value =
            if is_json { serde_json::from_str(&text).unwrap() } else { Value::String(text) };
        assert_eq!(wrong(&format!("{method} {path} {status} {kind}"), &value), None, "{asked}");
    }
    let sent: Option<Value> = serde_json::from_slice(&request.body).ok();
    if let Some(sent) = sent.filter(|_| funil_lambda::api::is_success(response.status)) {
        assert_eq!(wrong(&format!("{method} {path} body"), &sent), None, "{asked}");
    }
}
