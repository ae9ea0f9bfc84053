//! An HTTP request, in the same form whichever platform delivered it.
//!
//! Reads API Gateway's two payload formats and Netlify's variant of the first, and is the only
//! place that decides which source to trust for the caller's address. Must not know what a path or
//! a body means. It prints only the method and the path, because everything else may be a person's
//! data.

use std::{fmt, net::IpAddr};

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use funil_core::provider::netlify;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{COOKIE, Entry},
};
use serde_json::{Map, Value};

/// The header in which Netlify's edge names the address that connected to it.
const NETLIFY_CLIENT_IP: HeaderName = HeaderName::from_static(netlify::CLIENT_ADDRESS_HEADER);

/// The header with which Netlify's scheduler starts a scheduled function; its value is `schedule`
/// (<https://github.com/netlify/cli>, `src/lib/functions/server.mjs`).
const NETLIFY_EVENT: HeaderName = HeaderName::from_static("x-nf-event");

/// The path of the function that `deploy/netlify/drop-in/netlify.toml` gives a schedule.
const NETLIFY_SWEEP: &str = "/.netlify/functions/sweep";

/// Fields of payload format 2.0 that no function reads, as JSON pointers.
const V2_FIELDS_UNREAD: [&str; 5] = [
    "/pathParameters",
    "/queryStringParameters",
    "/requestContext/authentication",
    "/requestContext/authorizer",
    "/stageVariables",
];

/// Why an event that is an HTTP request cannot be read. None carries the event or `serde_json`'s error,
/// because that error quotes the offending value, which may be a person's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HttpEventError {
    /// It announces payload format 2.0 of API Gateway and does not have its fields.
    #[error("the event is not an HTTP request in API Gateway's payload format 2.0")]
    HttpV2,
    /// `httpMethod` is there and is not the name of a method.
    #[error("the event's HTTP method is not a method")]
    Method {
        /// The payload format of the response.
        payload_format: PayloadFormat,
    },
    /// `body` is there and is not text: every platform sends a string, base64 for bytes.
    #[error("the event's body is not text")]
    BodyNotText {
        /// The payload format of the response.
        payload_format: PayloadFormat,
    },
    /// The event says that its body is base64, and it is not.
    #[error("the event's body is not the base64 that it says it is")]
    Base64 {
        /// The payload format of the response.
        payload_format: PayloadFormat,
        /// Where the decoder stopped.
        source: base64::DecodeError,
    },
}

impl HttpEventError {
    /// The payload format in which the caller expects the response.
    pub fn payload_format(&self) -> PayloadFormat {
        match self {
            Self::HttpV2 => PayloadFormat::HttpV2,
            Self::Method { payload_format }
            | Self::BodyNotText { payload_format }
            | Self::Base64 { payload_format, .. } => *payload_format,
        }
    }
}

/// An HTTP request. Its `Debug` shows the method and the path and nothing else.
#[derive(Clone, Eq, PartialEq)]
pub struct HttpRequest {
    /// The method, as sent: methods are case-sensitive (RFC 9110 §9.1).
    pub method: Method,
    /// The path that the caller asked for, without the name of API Gateway's stage; not decoded.
    pub path: String,
    /// The query, decoded; repeated names stay repeated.
    pub query: Vec<(String, String)>,
    /// The headers; what is no valid header was left out.
    pub headers: HeaderMap,
    /// The body's bytes, as the caller sent them: signatures are computed over these.
    pub body: Bytes,
    /// The caller's address, where the platform itself vouches for it.
    pub client_ip: Option<IpAddr>,
    /// How the event was formatted, which decides the format of the response.
    pub payload_format: PayloadFormat,
}

/// The payload format of an HTTP event, and of the response that its platform expects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PayloadFormat {
    /// API Gateway, payload format 1.0: its REST APIs, and HTTP APIs that ask for it.
    RestV1,
    /// Netlify's variant of payload format 1.0.
    Netlify,
    /// Payload format 2.0: API Gateway's HTTP APIs, and Function URLs.
    HttpV2,
}

impl HttpRequest {
    /// Reads payload format 2.0. The typed event would refuse a whole request for one invalid
    /// header, or for an oddity in a field that nobody here reads, so both are removed before it is
    /// parsed.
    pub(crate) fn from_v2(mut event: Value) -> Result<Self, HttpEventError> {
        let mut headers = header_map(&take(&mut event, "headers"));
        let cookies = texts(&take(&mut event, "cookies"));
        for unread in V2_FIELDS_UNREAD {
            if let Some(field) = event.pointer_mut(unread) {
                *field = Value::Null;
            }
        }
        // The error is dropped on purpose: its text quotes the offending value.
        let typed: ApiGatewayV2httpRequest =
            serde_json::from_value(event).map_err(|_| HttpEventError::HttpV2)?;
        let context = typed.request_context;

        // The format moves the `cookie` header into a list of its own: move it back.
        if !cookies.is_empty()
            && !headers.contains_key(COOKIE)
            && let Ok(value) = HeaderValue::from_bytes(cookies.join("; ").as_bytes())
        {
            headers.insert(COOKIE, value);
        }

        let path = typed.raw_path.or(context.http.path).unwrap_or_default();
        let query = typed.raw_query_string.unwrap_or_default();
        Ok(Self {
            method: context.http.method,
            path: without_stage(&path, context.stage.as_deref()),
            // Not from `queryStringParameters`, which joins repeated values with commas.
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            headers,
            body: body_bytes(typed.body, typed.is_base64_encoded, PayloadFormat::HttpV2)?,
            client_ip: context.http.source_ip.as_deref().and_then(address),
            payload_format: PayloadFormat::HttpV2,
        })
    }

    /// Reads payload format 1.0 and Netlify's variant of it, field by field, because Netlify leaves
    /// out or sets to `null` what the typed event of `aws_lambda_events` requires.
    pub(crate) fn from_v1(mut event: Value) -> Result<Self, HttpEventError> {
        let payload_format = payload_format_of_v1(&event);
        let method = text_at(&event, "/httpMethod")
            .and_then(|name| Method::from_bytes(name.as_bytes()).ok())
            .ok_or(HttpEventError::Method { payload_format })?;
        let body = match take(&mut event, "body") {
            Value::Null => None,
            Value::String(text) => Some(text),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return Err(HttpEventError::BodyNotText { payload_format });
            }
        };
        let is_base64 = event.get("isBase64Encoded") == Some(&Value::Bool(true));
        let headers = headers_of_v1(&event);
        let client_ip = match payload_format {
            PayloadFormat::Netlify => only_value(&headers, &NETLIFY_CLIENT_IP).and_then(address),
            PayloadFormat::RestV1 | PayloadFormat::HttpV2 => {
                text_at(&event, "/requestContext/identity/sourceIp").and_then(address)
            }
        };
        Ok(Self {
            method,
            path: path_of_v1(&event),
            query: query_of_v1(&event),
            headers,
            body: body_bytes(body, is_base64, payload_format)?,
            client_ip,
            payload_format,
        })
    }

    /// The visitor's address, as Netlify's edge names it. It counts only where the request is known to
    /// come from there: anybody can send the header.
    pub(crate) fn netlify_client_ip(&self) -> Option<IpAddr> {
        only_value(&self.headers, &NETLIFY_CLIENT_IP).and_then(address)
    }

    /// Whether Netlify's scheduler started the function. The header counts only at the path of the one
    /// function that has a schedule, which has no address: anybody can send the header to the others.
    pub(crate) fn is_netlify_schedule(&self) -> bool {
        self.payload_format == PayloadFormat::Netlify
            && self.path == NETLIFY_SWEEP
            && only_value(&self.headers, &NETLIFY_EVENT)
                .is_some_and(|event| event.eq_ignore_ascii_case("schedule"))
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The text at a JSON pointer. Empty counts as absent: a platform that writes its event from a
/// struct writes "" for a field that it does not have.
pub(crate) fn text_at<'event>(event: &'event Value, pointer: &str) -> Option<&'event str> {
    event.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// An event counts as Netlify's where nothing shows that AWS delivered it: no caller's address in
/// its context and no id of an API. The last two pointers are never needed for an honest event;
/// they keep a caller of API Gateway or of a load balancer from passing as Netlify, whose headers
/// are trusted.
fn payload_format_of_v1(event: &Value) -> PayloadFormat {
    let of_aws = [
        "/requestContext/identity/sourceIp",
        "/requestContext/apiId",
        "/requestContext/elb/targetGroupArn",
    ];
    if of_aws.iter().any(|pointer| text_at(event, pointer).is_some()) {
        PayloadFormat::RestV1
    } else {
        PayloadFormat::Netlify
    }
}

/// REST APIs give `path` without the stage and `requestContext.path` with it; HTTP APIs give both
/// with it. So where the context has the same path behind the stage, there is no stage to remove,
/// even if the path begins with the same word.
fn path_of_v1(event: &Value) -> String {
    let path = text_at(event, "/path").unwrap_or_default();
    let stage = text_at(event, "/requestContext/stage");
    let behind_stage = text_at(event, "/requestContext/path")
        .zip(stage)
        .and_then(|(full, stage)| full.strip_prefix('/')?.strip_prefix(stage));
    without_stage(path, if behind_stage == Some(path) { None } else { stage })
}

/// A path without API Gateway's `/<stage>` before it. The stage `$default`, which is also that of
/// Function URLs, is not part of a path.
fn without_stage(path: &str, stage: Option<&str>) -> String {
    let bare = stage
        .filter(|stage| !stage.is_empty() && *stage != "$default")
        .and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .unwrap_or(path);
    if bare.is_empty() { "/".to_owned() } else { bare.to_owned() }
}

/// `multiValueHeaders`, and from `headers` the names that it lacks: Netlify has `host` only there
/// (<https://github.com/netlify/next-on-netlify/issues/40>), and its local server the header of a
/// schedule.
fn headers_of_v1(event: &Value) -> HeaderMap {
    let mut headers = event.get("multiValueHeaders").map(header_map).unwrap_or_default();
    let single = event.get("headers").map(header_map).unwrap_or_default();
    for name in single.keys() {
        if let Entry::Vacant(vacant) = headers.entry(name) {
            let mut values = single.get_all(name).iter().cloned();
            if let Some(first) = values.next() {
                let mut entry = vacant.insert_entry(first);
                values.for_each(|value| entry.append(value));
            }
        }
    }
    headers
}

/// The headers of a JSON object, without what is not valid. A value already there is not added
/// again: Netlify sends one header in two spellings, `accept` and `Accept`, in one object
/// (<https://github.com/front-of-house/presta/issues/89>).
fn header_map(object: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, values) in entries(object) {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        for value in texts(values) {
            let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else { continue };
            if !headers.get_all(&name).iter().any(|known| *known == value) {
                headers.append(&name, value);
            }
        }
    }
    headers
}

/// `multiValueQueryStringParameters`, and from `queryStringParameters` the names that it lacks.
/// The platforms have decoded both.
fn query_of_v1(event: &Value) -> Vec<(String, String)> {
    let read = |field| -> Vec<(String, String)> {
        entries(event.get(field).unwrap_or(&Value::Null))
            .flat_map(|(name, values)| texts(values).into_iter().map(|text| (name.clone(), text)))
            .collect()
    };
    let mut query = read("multiValueQueryStringParameters");
    let mut single = read("queryStringParameters");
    single.retain(|(name, _)| !query.iter().any(|(known, _)| known == name));
    query.append(&mut single);
    query
}

fn body_bytes(
    body: Option<String>,
    is_base64: bool,
    payload_format: PayloadFormat,
) -> Result<Bytes, HttpEventError> {
    let text = body.unwrap_or_default();
    if is_base64 {
        let decoded = STANDARD.decode(text);
        decoded.map(Bytes::from).map_err(|source| HttpEventError::Base64 { payload_format, source })
    } else {
        Ok(Bytes::from(text))
    }
}

/// The value of a header that was sent once. A header with two different values was not written by
/// the platform alone, so neither value is trusted.
fn only_value<'headers>(headers: &'headers HeaderMap, name: &HeaderName) -> Option<&'headers str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// An address in the one form that a rate limit can count by: `::ffff:192.0.2.1` is `192.0.2.1`.
fn address(text: &str) -> Option<IpAddr> {
    text.trim().parse().ok().map(|address: IpAddr| address.to_canonical())
}

fn entries(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flat_map(Map::iter)
}

/// The scalars of a value as text, in order: the value itself, or the items of a list; nulls are
/// left out.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null | Value::Object(_) => Vec::new(),
        Value::Bool(flag) => vec![flag.to_string()],
        Value::Number(number) => vec![number.to_string()],
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
    }
}

fn take(event: &mut Value, field: &str) -> Value {
    event.get_mut(field).map(Value::take).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::platform::trigger::Trigger;

    fn parse(event: Value) -> Result<HttpRequest, HttpEventError> {
        match Trigger::parse(event)? {
            Trigger::Http(request) => Ok(request),
            other @ (Trigger::Stream(_) | Trigger::Schedule | Trigger::Direct(_)) => {
                panic!("not an HTTP request: {other:?}")
            }
        }
    }

    /// An event in a payload format, with the given fields laid over it.
    fn event(payload_format: PayloadFormat, fields: &Value) -> Value {
        let mut event = match payload_format {
            PayloadFormat::RestV1 => json!({
                "httpMethod": "POST", "requestContext": { "identity": { "sourceIp": "192.0.2.1" } },
            }),
            PayloadFormat::Netlify => json!({ "httpMethod": "POST" }),
            PayloadFormat::HttpV2 => {
                json!({ "version": "2.0", "requestContext": { "http": { "method": "POST" } } })
            }
        };
        merge(&mut event, fields);
        event
    }

    fn merge(into: &mut Value, from: &Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (name, value) in from {
                    merge(into.entry(name.as_str()).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from.clone(),
        }
    }

    const PAYLOAD_FORMATS: [PayloadFormat; 3] =
        [PayloadFormat::RestV1, PayloadFormat::Netlify, PayloadFormat::HttpV2];

    /// Parses an event and checks one property of the request.
    fn check<Seen: PartialEq + fmt::Debug>(
        payload_format: PayloadFormat,
        fields: &Value,
        look: impl Fn(&HttpRequest) -> Seen,
        expected: &Seen,
    ) {
        let event = event(payload_format, fields);
        let request = parse(event.clone()).unwrap_or_else(|error| panic!("{error}: {event}"));
        assert_eq!(request.payload_format, payload_format, "{event}");
        assert_eq!(look(&request), *expected, "{event}");
    }

    #[test]
    fn a_named_stage_is_taken_off_the_path() {
        let path = |request: &HttpRequest| request.path.clone();
        let v2 = |stage: &str, raw: &str, expected: &str| {
            let fields = json!({ "rawPath": raw, "requestContext": { "stage": stage } });
            check(PayloadFormat::HttpV2, &fields, path, &expected.to_owned());
        };
        v2("prod", "/prod/lead-submit", "/lead-submit");
        v2("prod", "/prod/prod/x", "/prod/x");
        v2("prod", "/prod", "/");
        v2("prod", "/prod/", "/");
        v2("prod", "/production/x", "/production/x");
        v2("prod", "/api/prod/x", "/api/prod/x");
        v2("prod", "/lead-submit", "/lead-submit");
        v2("$default", "/$default/x", "/$default/x");
        v2("$default", "/lead%20submit/a", "/lead%20submit/a");
        v2("", "/x", "/x");
        v2("", "", "/");

        let v1 = |stage: &str, sent: &str, context: &str, expected: &str| {
            let fields = json!({
                "path": sent, "requestContext": { "stage": stage, "path": context },
            });
            check(PayloadFormat::RestV1, &fields, path, &expected.to_owned());
        };
        v1("prod", "/lead-submit", "/prod/lead-submit", "/lead-submit");
        v1("prod", "/prod/lead-submit", "/prod/lead-submit", "/lead-submit");
        // A resource with the same name as its stage.
        v1("prod", "/prod/x", "/prod/prod/x", "/prod/x");
        v1("Prod", "/test", "/test", "/test");

        // Without a path the context's path is used; without both, the root.
        let context = json!({ "requestContext": { "http": { "path": "/from-context" } } });
        check(PayloadFormat::HttpV2, &context, path, &"/from-context".to_owned());
        for payload_format in PAYLOAD_FORMATS {
            check(payload_format, &json!({}), path, &"/".to_owned());
        }
    }

    #[test]
    fn only_the_platform_is_believed_about_the_callers_address() {
        let look = |request: &HttpRequest| request.client_ip.map(|ip| ip.to_string());
        let ip = |payload_format, fields: &Value, expected: Option<&str>| {
            check(payload_format, fields, look, &expected.map(str::to_owned));
        };
        let claims = json!({
            "x-forwarded-for": "203.0.113.9", "x-real-ip": "203.0.113.9",
            "client-ip": "203.0.113.9", "forwarded": "for=203.0.113.9",
        });
        for payload_format in [PayloadFormat::Netlify, PayloadFormat::HttpV2] {
            ip(payload_format, &json!({ "headers": claims }), None);
        }
        let netlify = json!({ "headers": { "x-nf-client-connection-ip": "203.0.113.7" } });
        ip(PayloadFormat::Netlify, &netlify, Some("203.0.113.7"));
        ip(PayloadFormat::RestV1, &netlify, Some("192.0.2.1"));
        ip(PayloadFormat::HttpV2, &netlify, None);

        let header = |value: Value| json!({ "headers": { "X-Nf-Client-Connection-Ip": value } });
        ip(PayloadFormat::Netlify, &header(json!(" 2001:db8::1 ")), Some("2001:db8::1"));
        ip(PayloadFormat::Netlify, &header(json!("::ffff:203.0.113.7")), Some("203.0.113.7"));
        ip(PayloadFormat::Netlify, &header(json!("203.0.113.7, 203.0.113.8")), None);
        ip(PayloadFormat::Netlify, &header(json!(["203.0.113.7", "203.0.113.8"])), None);
        ip(PayloadFormat::Netlify, &header(json!(["203.0.113.7", null])), Some("203.0.113.7"));
        ip(PayloadFormat::Netlify, &header(json!(null)), None);

        let v1 = |source: &str| json!({ "requestContext": { "identity": { "sourceIp": source } } });
        ip(PayloadFormat::RestV1, &v1("2001:DB8::1"), Some("2001:db8::1"));
        ip(PayloadFormat::RestV1, &v1("test-invoke-source-ip"), None);
        let v2 = |source: Value| json!({ "requestContext": { "http": { "sourceIp": source } } });
        ip(PayloadFormat::HttpV2, &v2(json!("203.0.113.7")), Some("203.0.113.7"));
        ip(PayloadFormat::HttpV2, &v2(json!("not an address")), None);
        ip(PayloadFormat::HttpV2, &v2(json!(null)), None);
    }

    /// The headers as `name: value` lines, sorted by name.
    fn header_lines(request: &HttpRequest) -> String {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let lines = request.headers.iter().map(|(name, value)| format!("{name}: {}", text(value)));
        let mut lines: Vec<String> = lines.collect();
        // A stable sort by name only, because the order of one header's values matters.
        lines.sort_by(|one, other| one.split(':').next().cmp(&other.split(':').next()));
        lines.join("\n")
    }

    #[test]
    fn headers_are_read_from_whatever_holds_them_and_what_is_not_valid_is_skipped() {
        let headers = |payload_format, fields: Value, expected: &[&str]| {
            check(payload_format, &fields, header_lines, &expected.join("\n"));
        };
        for payload_format in PAYLOAD_FORMATS {
            headers(payload_format, json!({}), &[]);
            headers(payload_format, json!({ "headers": null }), &[]);
            headers(payload_format, json!({ "headers": "text" }), &[]);
            headers(
                payload_format,
                json!({ "headers": {
                    "X-Number": 5, "X-Bool": false, "X-Null": null, "X-Object": {}, "X-Empty": "",
                    "X-List": ["a", null, 2], "Not A Name": "x", "": "x", "X-Line": "a\r\nb: c",
                    "X-Name": "José",
                } }),
                &[
                    "x-bool: false",
                    "x-empty: ",
                    "x-list: a",
                    "x-list: 2",
                    "x-name: José",
                    "x-number: 5",
                ],
            );
            headers(
                payload_format,
                json!({ "headers": { "Host": ["example.com"], "host": "example.com" } }),
                &["host: example.com"],
            );
        }
        for payload_format in [PayloadFormat::RestV1, PayloadFormat::Netlify] {
            headers(
                payload_format,
                json!({
                    "multiValueHeaders": {
                        "X-Both": ["1", "2"], "X-Nulls": [null, null], "X-Null": null,
                        "X-Some": [null, "s", null],
                    },
                    "headers": {
                        "x-both": "2", "x-nulls": "kept", "x-null": "kept", "x-some": "t",
                        "x-only": "here",
                    },
                }),
                &[
                    "x-both: 1",
                    "x-both: 2",
                    "x-null: kept",
                    "x-nulls: kept",
                    "x-only: here",
                    "x-some: s",
                ],
            );
            headers(
                payload_format,
                json!({ "multiValueHeaders": null, "headers": { "a": "1" } }),
                &["a: 1"],
            );
            headers(
                payload_format,
                json!({ "multiValueHeaders": { "a": ["1"] }, "headers": null }),
                &["a: 1"],
            );
        }
    }

    #[test]
    fn the_cookies_of_payload_2_are_the_cookie_header_again() {
        let cookies = |fields: Value, expected: &[&str]| {
            check(PayloadFormat::HttpV2, &fields, header_lines, &expected.join("\n"));
        };
        cookies(json!({ "cookies": ["a=1", "b=2"] }), &["cookie: a=1; b=2"]);
        cookies(json!({ "cookies": [null, "b=2"] }), &["cookie: b=2"]);
        cookies(json!({ "cookies": ["a=1"], "headers": { "Cookie": "c=3" } }), &["cookie: c=3"]);
        cookies(json!({ "cookies": ["a=\n"] }), &[]);
        cookies(json!({ "cookies": [] }), &[]);
        cookies(json!({ "cookies": null }), &[]);
    }

    #[test]
    fn a_query_is_decoded_and_keeps_what_is_repeated() {
        let query = |payload_format, fields: Value, expected: &[(&str, &str)]| {
            let expected: Vec<(String, String)> =
                expected.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            check(payload_format, &fields, |request| request.query.clone(), &expected);
        };
        query(
            PayloadFormat::HttpV2,
            json!({ "rawQueryString": "a=1%2C2&b=x+y&a=3&c", "queryStringParameters": { "z": "" } }),
            &[("a", "1,2"), ("b", "x y"), ("a", "3"), ("c", "")],
        );
        query(PayloadFormat::HttpV2, json!({ "rawQueryString": null }), &[]);
        for payload_format in [PayloadFormat::RestV1, PayloadFormat::Netlify] {
            query(
                payload_format,
                json!({
                    "multiValueQueryStringParameters": { "a": ["1,2", "3"], "n": [null] },
                    "queryStringParameters": { "a": "3", "b": "x y", "n": "5", "o": null },
                }),
                &[("a", "1,2"), ("a", "3"), ("b", "x y"), ("n", "5")],
            );
            query(payload_format, json!({ "multiValueQueryStringParameters": null }), &[]);
            query(payload_format, json!({ "queryStringParameters": { "a": 1 } }), &[("a", "1")]);
        }
    }

    #[test]
    fn a_body_is_the_bytes_that_were_sent_in_every_payload_format() {
        for payload_format in PAYLOAD_FORMATS {
            let body = |fields: Value, expected: &[u8]| {
                check(payload_format, &fields, |request| request.body.to_vec(), &expected.to_vec());
            };
            body(json!({}), b"");
            body(json!({ "body": null }), b"");
            body(json!({ "body": null, "isBase64Encoded": true }), b"");
            body(json!({ "body": "" }), b"");
            body(json!({ "body": "{\"a\": \"é\"}\n" }), "{\"a\": \"é\"}\n".as_bytes());
            body(json!({ "body": "aGk=", "isBase64Encoded": false }), b"aGk=");
            body(json!({ "body": "aGk=" }), b"aGk=");
            body(json!({ "body": "aGk=", "isBase64Encoded": true }), b"hi");
            body(json!({ "body": "//79AA==", "isBase64Encoded": true }), b"\xff\xfe\xfd\0");

            for invalid in ["%", "aGk", "a-k_", "aGk=\n"] {
                let fields = json!({ "body": invalid, "isBase64Encoded": true });
                let error = parse(event(payload_format, &fields)).unwrap_err();
                assert!(matches!(error, HttpEventError::Base64 { .. }), "{invalid}: {error}");
                assert_eq!(error.payload_format(), payload_format);
            }
            for invalid in [json!({}), json!([]), json!(1), json!(true)] {
                let error = parse(event(payload_format, &json!({ "body": invalid }))).unwrap_err();
                assert_eq!(error.payload_format(), payload_format, "{invalid}");
            }
        }
    }

    #[test]
    fn what_nobody_reads_of_payload_2_fails_no_request() {
        for odd in [json!(null), json!(1), json!([null]), json!({ "a": null, "jwt": 1 })] {
            let fields = json!({
                "pathParameters": odd, "queryStringParameters": odd, "stageVariables": odd,
                "requestContext": { "authentication": odd, "authorizer": odd }, "body": "kept",
            });
            check(
                PayloadFormat::HttpV2,
                &fields,
                |request| request.body.to_vec(),
                &b"kept".to_vec(),
            );
        }
    }

    #[test]
    fn a_method_is_taken_as_it_was_sent() {
        for (sent, payload_format) in
            [("PATCH", PayloadFormat::RestV1), ("post", PayloadFormat::Netlify)]
        {
            let fields = json!({ "httpMethod": sent });
            check(payload_format, &fields, |request| request.method.to_string(), &sent.to_owned());
        }
        let fields = json!({ "requestContext": { "http": { "method": "OPTIONS" } } });
        check(PayloadFormat::HttpV2, &fields, |request| request.method.clone(), &Method::OPTIONS);
    }
}
