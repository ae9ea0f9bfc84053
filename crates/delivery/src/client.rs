//! Sends one request to a provider and reads its response.
//!
//! Owns the timeout, the limit on the length of responses, and `Retry-After`. Knows no destination,
//! and logs nothing, because addresses hold e-mails and credentials.

use std::time::Duration;

use funil_core::delivery::exchange::{Method, Request, Response};
use funil_core::pii::Text;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// How long a provider may take for its whole response.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a response is read, in bytes.
const RESPONSE_BYTES_MAX: usize = 256 * 1024;

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoResponse {
    /// No connection could be opened: the provider has seen nothing.
    Connect,
    /// None came in time.
    Timeout,
    /// The connection broke before the response was complete.
    Broken,
}

/// Sends a request and reads the response. `now` is the time from which `Retry-After` counts.
pub(crate) async fn send(
    http: &reqwest::Client,
    request: &Request,
    timeout: Duration,
    now: Timestamp,
) -> Result<Response, NoResponse> {
    receive(outgoing(http, request, timeout), now).await
}

/// A request as the HTTP client sends it.
pub fn outgoing(
    http: &reqwest::Client,
    request: &Request,
    timeout: Duration,
) -> reqwest::RequestBuilder {
    let method = match request.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Delete => reqwest::Method::DELETE,
    };
    let mut outgoing = http.request(method, request.url.clone()).timeout(timeout);
    for (name, value) in &request.headers {
        outgoing = outgoing.header(*name, value.expose().as_str());
    }
    if let Some(body) = &request.body {
        outgoing = outgoing.header("content-type", "application/json").body(body.to_string());
    }
    outgoing
}

/// Sends what was put together, and reads the response. `now` is the time from which `Retry-After`
/// counts.
pub async fn receive(
    outgoing: reqwest::RequestBuilder,
    now: Timestamp,
) -> Result<Response, NoResponse> {
    let response = outgoing.send().await.map_err(|error| no_response(&error))?;
    read(response, now).await
}

/// Reads a response, of limited length. `now` is the time from which `Retry-After` counts.
pub(crate) async fn read(
    mut response: reqwest::Response,
    now: Timestamp,
) -> Result<Response, NoResponse> {
    let status = response.status().as_u16();
    let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let retry_after_s = header.and_then(|text| retry_after_s(text, now));
    let mut body = Vec::new();
    while body.len() < RESPONSE_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return Err(no_response(&error)),
        }
    }
    body.truncate(RESPONSE_BYTES_MAX);
    let body = Text::new(String::from_utf8_lossy(&body).into_owned());
    Ok(Response { status, retry_after_s, body })
}

pub(crate) fn no_response(error: &reqwest::Error) -> NoResponse {
    if error.is_connect() {
        NoResponse::Connect
    } else if error.is_timeout() {
        NoResponse::Timeout
    } else {
        NoResponse::Broken
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 §10.2.3), in seconds from `now`.
fn retry_after_s(text: &str, now: Timestamp) -> Option<u32> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than fit: as long as possible, and limited where it is used.
        return Some(text.parse().unwrap_or(u32::MAX));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    u32::try_from(date.as_second() - now.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sat, 21 Nov 2026 12:01:30 GMT", Some(90)),
            ("Sat, 21 Nov 2026 11:00:00 GMT", None),
            ("99999999999999999999", Some(u32::MAX)),
            ("", None),
            ("soon", None),
            ("-5", None),
        ] {
            assert_eq!(retry_after_s(text, now), expected, "{text}");
        }
    }
}
