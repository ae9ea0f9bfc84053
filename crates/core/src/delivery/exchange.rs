//! One request to a provider and its reply, as data.
//!
//! Destinations make requests and read replies; the sending loop moves them. Neither knows the
//! other. Nothing here prints what it carries: addresses, headers and bodies hold personal data and
//! credentials.

use std::fmt;

use serde_json::Value;
use url::Url;

use crate::pii::Text;

/// An HTTP method that destinations use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
}

impl Method {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// What happens if a request is sent a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing: it reads, upserts, or carries a key that the provider knows.
    Safe,
    /// A person would notice, or a figure would be wrong.
    Harmful,
}

/// A request to a provider.
#[derive(Clone)]
pub struct Request {
    /// How.
    pub method: Method,
    /// Where to; may hold an e-mail or a credential.
    pub url: Url,
    /// Header names, in lower case, and their values.
    pub headers: Vec<(&'static str, Text)>,
    /// A JSON body.
    pub body: Option<Value>,
    /// What a repetition does.
    pub repeat: Repeat,
}

impl Request {
    /// A request that may be repeated.
    pub const fn safe(method: Method, url: Url, body: Option<Value>) -> Self {
        Self { method, url, headers: Vec::new(), body, repeat: Repeat::Safe }
    }

    /// A request that must not be repeated.
    pub const fn harmful(method: Method, url: Url, body: Option<Value>) -> Self {
        Self { method, url, headers: Vec::new(), body, repeat: Repeat::Harmful }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Text::new(value.into())));
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [request]", self.method.name())
    }
}

/// A provider's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, in seconds from the answer.
    pub retry_after_s: Option<u32>,
    /// The body, capped; providers echo personal data.
    pub body: Text,
}

impl Response {
    /// The body as JSON; `Null` where it is none.
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
    use super::*;

    #[test]
    fn an_endpoint_keeps_the_base_path_and_encodes_segments() {
        for base in ["https://api.example.com/v1", "https://api.example.com/v1/"] {
            let url = endpoint(&Url::parse(base).unwrap(), &["subscribers", "a/b?c@x.com"]);
            assert_eq!(url.as_str(), "https://api.example.com/v1/subscribers/a%2Fb%3Fc@x.com");
        }
    }

    #[test]
    fn a_request_prints_nothing_personal() {
        let url = Url::parse("https://x.example/ana@example.com?api_secret=s3cr3t").unwrap();
        let request = Request::safe(Method::Get, url, None).header("authorization", "Bearer key");
        assert_eq!(format!("{request:?}"), "GET [request]");
    }
}
