//! Converts an HTTP request to the event that a Function URL sends, and the result to a response.
//!
//! The dev server and the tests invoke functions with payload format 2.0, as AWS does, so that they
//! use the code that is deployed. See `docs/platforms.md` ("Payload formats"). This module must not
//! know any function.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

/// The event for an HTTP request. A body that is not UTF-8 is sent as base64.
pub fn event(
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
    caller: IpAddr,
) -> Value {
    let mut fields = Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        fields.insert(name.as_str().to_owned(), Value::from(values.join(",")));
    }
    let (text, is_base64) = match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (base64(body), true),
    };
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": fields,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "local",
            "http": {
                "method": method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": caller.to_string(),
                "userAgent": headers.get("user-agent").and_then(|v| v.to_str().ok()).unwrap_or(""),
            },
            "requestId": "local",
            "routeKey": "$default",
            "stage": "$default",
            "time": "01/Jan/1970:00:00:00 +0000",
            "timeEpoch": 0,
        },
        "body": text,
        "isBase64Encoded": is_base64,
    })
}

fn base64(body: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(body)
}

/// The HTTP response in a function's result: status, headers and body. Status 502 if the result has
/// no valid status.
pub fn response(result: &Value) -> (StatusCode, HeaderMap, Bytes) {
    let status = result["statusCode"].as_u64().and_then(|code| u16::try_from(code).ok());
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    let mut headers = HeaderMap::new();
    for (name, value) in result["headers"].as_object().into_iter().flatten() {
        let name = HeaderName::try_from(name.as_str());
        let value = HeaderValue::try_from(value.as_str().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.insert(name, value);
        }
    }
    let body = result["body"].as_str().unwrap_or_default().to_owned();
    (status.unwrap_or(StatusCode::BAD_GATEWAY), headers, body.into())
}
