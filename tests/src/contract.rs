//! Every response of an endpoint in the tests is compared with the OpenAPI document: its status, its
//! headers, its body and, where it is a success, the body that was sent.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use funil_dev::openapi;
use http::Method;
use serde_json::{Value, json};

use crate::world::Response;

/// Headers that any response may have.
const OF_ALL: [&str; 2] = ["content-type", "cache-control"];

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
                    schemas.insert(name, compiled(schema));
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

fn compiled(schema: &Value) -> jsonschema::Validator {
    let whole = json!({"allOf": [schema], "components": DOCUMENT["components"]});
    jsonschema::options().should_validate_formats(false).build(&whole).unwrap()
}

/// What a schema of the document finds wrong with a value.
pub fn wrong(place: &str, value: &Value) -> Option<String> {
    let schema = SCHEMAS.get(place).unwrap_or_else(|| panic!("{place} is not documented"));
    let errors: Vec<String> = schema.iter_errors(value).map(|error| error.to_string()).collect();
    (!errors.is_empty()).then(|| format!("{place}: {errors:?} in {value}"))
}

/// Compares a response with the document.
pub fn check(method: &Method, path: &str, body: &[u8], response: &Response) {
    let method = method.as_str().to_lowercase();
    let asked = format!("{method} {path}: {response:?}");
    let Some(operation) = DOCUMENT["paths"].get(path).and_then(|methods| methods.get(&method))
    else {
        assert_eq!(response.status, 405, "{asked} is not documented");
        return;
    };
    let status = response.status.to_string();
    let documented = &operation["responses"][&status];
    assert!(!documented.is_null(), "the status is not documented: {asked}");
    for name in response.headers.keys().filter(|name| !OF_ALL.contains(&name.as_str())) {
        let mut known = documented["headers"].as_object().into_iter().flat_map(|all| all.keys());
        let is_known = known.any(|known| known.eq_ignore_ascii_case(name.as_str()));
        assert!(is_known, "the header {name} is not documented: {asked}");
    }
    if !response.body.is_empty() {
        let kind = response.header("content-type").unwrap_or_default();
        let text = String::from_utf8(response.body.to_vec()).unwrap();
        let is_json = kind.starts_with("application/");
        let value =
            if is_json { serde_json::from_str(&text).unwrap() } else { Value::String(text) };
        assert_eq!(wrong(&format!("{method} {path} {status} {kind}"), &value), None, "{asked}");
    }
    let sent: Option<Value> = serde_json::from_slice(body).ok();
    if let Some(sent) = sent.filter(|_| funil_lambda::api::is_success(response.status)) {
        assert_eq!(wrong(&format!("{method} {path} body"), &sent), None, "{asked}");
    }
}
