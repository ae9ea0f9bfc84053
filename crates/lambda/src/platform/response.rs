//! The response to an HTTP request, written in the payload format that its platform expects. Must
//! not know what a response means, and prints only the status.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header::SET_COOKIE};
use serde_json::{Map, Value, json};

use crate::platform::request::PayloadFormat;

/// The response to an HTTP request. Its `Debug` shows the status and nothing else.
#[derive(Clone, Eq, PartialEq)]
pub struct HttpResponse {
    /// The HTTP status, which is all that `Debug` shows.
    pub status: StatusCode,
    /// The headers; a name may have several values.
    pub headers: HeaderMap,
    /// The body's bytes; a body that is not UTF-8 is sent as base64.
    pub body: Bytes,
}

impl HttpResponse {
    /// Writes the response as the value that the function returns to its platform.
    ///
    /// - [`PayloadFormat::RestV1`]: everything is in `multiValueHeaders`, and what came once in
    ///   `headers` too; API Gateway merges the two without repeating a pair
    ///   (<https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html>).
    /// - [`PayloadFormat::Netlify`]: `headers`, and only repeated names in `multiValueHeaders`,
    ///   which Netlify has been seen to ignore (<https://github.com/netlify/cli/issues/923>).
    /// - [`PayloadFormat::HttpV2`]: `headers`, joined as RFC 9110 §5.3 allows for all but
    ///   `set-cookie`, which has its own list, `cookies`
    ///   (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>).
    pub fn into_event(self, payload_format: PayloadFormat) -> Value {
        let status = self.status.as_u16();
        let (body, is_base64) = match std::str::from_utf8(&self.body) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (STANDARD.encode(&self.body), true),
        };
        match payload_format {
            PayloadFormat::RestV1 => json!({
                "statusCode": status,
                "headers": self.single_headers(),
                "multiValueHeaders": self.multi_headers(|_| true),
                "body": body,
                "isBase64Encoded": is_base64,
            }),
            PayloadFormat::Netlify => json!({
                "statusCode": status,
                "headers": self.single_headers(),
                "multiValueHeaders": self.multi_headers(|values| values.len() > 1),
                "body": body,
                "isBase64Encoded": is_base64,
            }),
            PayloadFormat::HttpV2 => json!({
                "statusCode": status,
                "headers": self.joined_headers(),
                "cookies": self.values(&SET_COOKIE),
                "body": body,
                "isBase64Encoded": is_base64,
            }),
        }
    }

    fn single_headers(&self) -> Map<String, Value> {
        let named = self.headers.keys().map(|name| (name, self.values(name)));
        named
            .filter(|(_, values)| values.len() == 1)
            .map(|(name, values)| (name.to_string(), values.concat().into()))
            .collect()
    }

    fn multi_headers(&self, wanted: impl Fn(&[String]) -> bool) -> Map<String, Value> {
        let named = self.headers.keys().map(|name| (name, self.values(name)));
        named
            .filter(|(_, values)| wanted(values))
            .map(|(name, values)| (name.to_string(), values.into()))
            .collect()
    }

    fn joined_headers(&self) -> Map<String, Value> {
        let names = self.headers.keys().filter(|name| **name != SET_COOKIE);
        names.map(|name| (name.to_string(), self.values(name).join(", ").into())).collect()
    }

    fn values(&self, name: &HeaderName) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HttpResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(
        headers: &[(&str, &str)],
        body: &[u8],
        payload_format: PayloadFormat,
        expected: &Value,
    ) {
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| _ = map.append(name, value));
        let response = HttpResponse {
            status: StatusCode::CREATED,
            headers: map,
            body: Bytes::copy_from_slice(body),
        };
        assert_eq!(response.into_event(payload_format), *expected, "{payload_format:?}");
    }

    #[test]
    fn each_payload_format_gets_its_headers_where_its_platform_looks_for_them() {
        let headers = [
            ("Content-Type", "application/json"),
            ("Vary", "origin"),
            ("vary", "accept-language"),
            ("Set-Cookie", "a=1; Expires=Thu, 01 Jan 2026 00:00:00 GMT"),
            ("set-cookie", "b=2"),
        ];
        let cookies = ["a=1; Expires=Thu, 01 Jan 2026 00:00:00 GMT", "b=2"];
        let vary = ["origin", "accept-language"];
        check(
            &headers,
            b"{}",
            PayloadFormat::RestV1,
            &json!({
                "statusCode": 201,
                "headers": { "content-type": "application/json" },
                "multiValueHeaders": {
                    "content-type": ["application/json"], "vary": vary, "set-cookie": cookies,
                },
                "body": "{}",
                "isBase64Encoded": false,
            }),
        );
        check(
            &headers,
            b"{}",
            PayloadFormat::Netlify,
            &json!({
                "statusCode": 201,
                "headers": { "content-type": "application/json" },
                "multiValueHeaders": { "vary": vary, "set-cookie": cookies },
                "body": "{}",
                "isBase64Encoded": false,
            }),
        );
        check(
            &headers,
            b"{}",
            PayloadFormat::HttpV2,
            &json!({
                "statusCode": 201,
                "headers": {
                    "content-type": "application/json", "vary": "origin, accept-language",
                },
                "cookies": cookies,
                "body": "{}",
                "isBase64Encoded": false,
            }),
        );
    }

    #[test]
    fn a_cookie_that_stands_alone_goes_where_its_platform_looks_for_it() {
        let cookie = [("set-cookie", "a=1")];
        let event = |headers: Value, multi: Value| {
            json!({
                "statusCode": 201, "headers": headers, "multiValueHeaders": multi, "body": "",
                "isBase64Encoded": false,
            })
        };
        let single = json!({ "set-cookie": "a=1" });
        let multi = json!({ "set-cookie": ["a=1"] });
        check(&cookie, b"", PayloadFormat::RestV1, &event(single.clone(), multi));
        check(&cookie, b"", PayloadFormat::Netlify, &event(single, json!({})));
        let v2 = json!({
            "statusCode": 201, "headers": {}, "cookies": ["a=1"], "body": "",
            "isBase64Encoded": false,
        });
        check(&cookie, b"", PayloadFormat::HttpV2, &v2);
    }

    #[test]
    fn only_a_body_that_is_no_text_travels_as_base64() {
        for payload_format in [PayloadFormat::RestV1, PayloadFormat::Netlify, PayloadFormat::HttpV2]
        {
            let body = |body: &[u8]| {
                let (status, headers) = (StatusCode::OK, HeaderMap::new());
                let response = HttpResponse { status, headers, body: Bytes::copy_from_slice(body) };
                let event = response.into_event(payload_format);
                (event["body"].clone(), event["isBase64Encoded"].clone())
            };
            assert_eq!(body(b""), (json!(""), json!(false)));
            assert_eq!(body("Olá\0".as_bytes()), (json!("Olá\0"), json!(false)));
            assert_eq!(body(b"\xff\xfe\xfd\0"), (json!("//79AA=="), json!(true)));
        }
    }

    #[test]
    fn a_response_prints_its_status_and_nothing_else() {
        let headers =
            HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_static("ana@example.com"))]);
        let response =
            HttpResponse { status: StatusCode::OK, headers, body: "ana@example.com".into() };
        assert_eq!(format!("{response:?}"), "HttpResponse { status: 200, .. }");
    }
}
