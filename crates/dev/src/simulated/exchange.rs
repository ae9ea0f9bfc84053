//! Requests to simulated providers and their responses, independent of any HTTP library.
//!
//! Owns how a path is parsed and the formats of responses that several providers share. It must not
//! know any provider's routes.

use serde_json::{Map, Value, json};

use super::received::Received;

/// A request, with what a simulated provider needs to read from it.
pub(super) struct ProviderRequest<'a> {
    /// The record of the request. Its status and note are not set yet.
    pub(super) received: &'a Received,
    /// The segments of the path, percent-decoded, without empty ones.
    pub(super) segments: Vec<String>,
    /// The length of the body in bytes.
    pub(super) size: usize,
}

/// The response to a request, and what the request changed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ProviderResponse {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// `None` is an empty body.
    pub(super) body: Option<Body>,
    pub(super) note: String,
}

/// The body of a response.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    Json(Value),
    /// Sent as it is, without a content type.
    Text(String),
}

impl<'a> ProviderRequest<'a> {
    pub(super) fn new(received: &'a Received, size: usize) -> Self {
        let segments =
            received.path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
        Self { received, segments, size }
    }

    /// The segments of the path, to match on.
    pub(super) fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    pub(super) fn method(&self) -> &str {
        &self.received.method
    }

    /// The body, if it is a JSON object.
    pub(super) fn object(&self) -> Option<&Map<String, Value>> {
        self.received.body.as_object()
    }

    /// A text member of the body. An empty text counts as absent.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.object()?.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Whether the request has a bearer token. Any token will do.
    pub(super) fn has_bearer(&self) -> bool {
        self.received
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "))
            .is_some_and(|token| !token.trim().is_empty())
    }
}

impl ProviderResponse {
    pub(super) fn json(status: u16, body: Value, note: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: Some(Body::Json(body)), note: note.into() }
    }

    pub(super) fn empty(status: u16, note: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: None, note: note.into() }
    }

    /// A refusal with a reason, in the format of most providers: `{"message": …}`.
    pub(super) fn refusal(status: u16, message: &str) -> Self {
        Self::json(status, json!({"message": message}), format!("refused: {message}"))
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Decodes percent escapes such as `%40`. Everything else stays, such as `+` in a path.
fn decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| segment.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        text.push(escape.unwrap_or(bytes[at]));
        at += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_escapes_are_decoded_and_a_plus_stays() {
        for (sent, meant) in [
            ("ana%2Bx%40ex.com", "ana+x@ex.com"),
            ("ana+x@ex.com", "ana+x@ex.com"),
            ("a%2fb", "a/b"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%C3%A3", "ã"),
            ("%é9", "%é9"),
        ] {
            assert_eq!(decoded(sent), meant);
        }
    }
}
