//! A request to a provider and its response, as data.
//!
//! Destinations build requests and read responses; the worker sends and receives them. Addresses,
//! headers and bodies hold personal data and credentials, so nothing here prints them.

use std::fmt;

use serde_json::Value;
use url::Url;

use crate::pii::Text;
use crate::text::outgoing;

/// An HTTP method that destinations use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads, and changes nothing.
    Get,
    /// Creates or does something.
    Post,
    /// Writes under an address that we name.
    Put,
    /// Removes what is under the address.
    Delete,
}

impl Method {
    /// The name in the HTTP request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// What a second sending of the same request would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing: the request reads, upserts, or carries a key that the provider recognises.
    Safe,
    /// A person would notice, or a figure would be wrong.
    Harmful,
}

/// Whether the beginning of a response that was no success may be kept, for the person who looks for the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It may be kept and shown.
    Shown,
    /// It may not be kept: it is about people, and not only about the lead.
    Private,
}

/// A request to a provider.
#[derive(Clone)]
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// The address; may hold an e-mail or a credential.
    pub url: Url,
    /// Header names in lower case, and values.
    pub headers: Vec<(&'static str, Text)>,
    /// The JSON body, if there is one.
    pub body: Option<Value>,
    /// Whether the request may be sent twice.
    pub repeat: Repeat,
    /// Whether its response may be kept.
    pub reply: Reply,
}

impl Request {
    /// A request that may be sent twice.
    pub fn safe(method: Method, url: Url, body: Option<Value>) -> Self {
        let (headers, body) = (Vec::new(), body.map(shown));
        Self { method, url, headers, body, repeat: Repeat::Safe, reply: Reply::Shown }
    }

    /// A request that must not be sent twice.
    pub fn harmful(method: Method, url: Url, body: Option<Value>) -> Self {
        Self { repeat: Repeat::Harmful, ..Self::safe(method, url, body) }
    }

    /// Nothing of its response is kept as it came.
    #[must_use]
    pub fn private(self) -> Self {
        Self { reply: Reply::Private, ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Text::new(value.into())));
        self
    }
}

/// A body whose names and texts have no characters that a reader does not see. This is the one place
/// through which text of strangers goes out.
fn shown(body: Value) -> Value {
    match body {
        Value::String(text) => Value::String(outgoing(&text)),
        Value::Array(items) => items.into_iter().map(shown).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            members.map(|(name, value)| (outgoing(&name), shown(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => body,
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [request]", self.method.name())
    }
}

/// A provider's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, in seconds from when the response came.
    pub retry_after_s: Option<u32>,
    /// The body, of limited length; providers echo personal data in it.
    pub body: Text,
}

impl Response {
    /// The body as JSON; `Null` where it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.body.expose()).unwrap_or(Value::Null)
    }

    /// Whether the status is 2xx.
    pub const fn succeeded(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}

/// `base` with path segments added, each percent-encoded.
pub fn endpoint(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_endpoint_keeps_the_base_path_and_encodes_segments() {
        for base in ["https://api.example.com/v1", "https://api.example.com/v1/"] {
            let url = endpoint(&Url::parse(base).unwrap(), &["subscribers", "a/b?c@x.com"]);
            assert_eq!(url.as_str(), "https://api.example.com/v1/subscribers/a%2Fb%3Fc@x.com");
        }
    }

    #[test]
    fn a_body_has_no_hidden_characters_at_any_depth() {
        let url = Url::parse("https://x.example").unwrap();
        let body = json!({"a\u{202e}": [{"b": "Ana\u{0}\u{202e}\n"}, 1, null, true]});
        for request in [Request::safe, Request::harmful] {
            let request = request(Method::Post, url.clone(), Some(body.clone()));
            assert_eq!(request.body, Some(json!({"a": [{"b": "Ana\n"}, 1, null, true]})));
        }
    }

    #[test]
    fn a_request_prints_nothing_personal() {
        let url = Url::parse("https://x.example/ana@example.com?api_secret=s3cr3t").unwrap();
        let request = Request::safe(Method::Get, url, None).header("authorization", "Bearer key");
        assert_eq!(format!("{request:?}"), "GET [request]");
    }
}
