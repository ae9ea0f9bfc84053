//! The record of one request that a simulated provider received.
//!
//! Owns the record that the tests read and the console shows, and the rule that it is serialised
//! without secrets. It must not know what any provider does with a request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// The names of headers, query parameters and members of a body whose values are secrets.
///
/// This is a list because there is nothing to derive it from: each API chooses its own names, and a
/// rule such as "ends with `key`" would also mask `idempotency-key`. The simulated APIs use
/// `authorization` (CRM, MailerLite, Segment, Meta, WhatsApp), `api_secret` (GA4), `writekey`
/// (Segment), `access_token` and `appsecret_proof` (Graph API), `authentication` (Contact2Sale) and `token` (Work API). The
/// others are common names, for
/// providers that are not simulated but recorded too.
const SECRET_NAMES: [&str; 11] = [
    "authorization",
    "authentication",
    "cookie",
    "api-key",
    "x-api-key",
    "api_key",
    "api_secret",
    "access_token",
    "appsecret_proof",
    "token",
    "writekey",
];

/// A request, the status of its response, and what it changed. Secrets are masked when it is
/// serialised, but not in the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// When it arrived, in RFC 3339 by the clock of the providers.
    pub at: String,
    /// The provider, which is the first segment of the request's path.
    pub provider: String,
    /// The method, in capitals.
    pub method: String,
    /// The path below the provider's base URL, not decoded. It is `/` for the base URL itself.
    pub path: String,
    /// The query, decoded.
    #[serde(serialize_with = "masked")]
    pub query: BTreeMap<String, String>,
    /// The headers, by lower-case name.
    #[serde(serialize_with = "masked")]
    pub headers: BTreeMap<String, String>,
    /// The body as JSON, or as a text if it is not JSON. Null if it is empty.
    #[serde(serialize_with = "masked_body")]
    pub body: Value,
    /// The status of the response, or `None` if there was none.
    #[serde(rename = "answered")]
    pub status: Option<u16>,
    /// What the request changed, or why it changed nothing.
    pub note: String,
}

impl Received {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

fn is_secret(name: &str) -> bool {
    SECRET_NAMES.contains(&name.to_ascii_lowercase().as_str())
}

/// Masks a value but keeps the scheme of a credential (`Bearer ***`), because the requests are
/// applied again after a restart and the providers check the scheme.
fn mask(value: &str) -> String {
    match value.split_once(' ') {
        Some((scheme, _)) => format!("{scheme} ***"),
        None => "***".to_owned(),
    }
}

fn masked<S: Serializer>(
    pairs: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(
        pairs
            .iter()
            .map(|(name, value)| (name, if is_secret(name) { mask(value) } else { value.clone() })),
    )
}

fn masked_body<S: Serializer>(body: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    match body.as_object() {
        Some(members) => serializer.collect_map(members.iter().map(|(name, value)| {
            (name, if is_secret(name) { Value::from("***") } else { value.clone() })
        })),
        None => body.serialize(serializer),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_when_a_record_is_serialised() {
        let text = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let received = Received {
            at: "2026-01-02T03:04:05Z".to_owned(),
            provider: "ga4".to_owned(),
            method: "POST".to_owned(),
            path: "/mp/collect".to_owned(),
            query: text(&[("api_secret", "s3cret"), ("measurement_id", "G-1")]),
            headers: text(&[("authorization", "Bearer s3cret"), ("accept", "*/*")]),
            body: json!({"writeKey": "s3cret", "events": []}),
            status: Some(204),
            note: "kept 0 events".to_owned(),
        };
        let shown = serde_json::to_value(&received).unwrap();
        assert!(!shown.to_string().contains("s3cret"));
        assert_eq!(shown["headers"]["authorization"], "Bearer ***");
        assert_eq!(shown["query"], json!({"api_secret": "***", "measurement_id": "G-1"}));
        assert_eq!(shown["body"], json!({"writeKey": "***", "events": []}));
        assert_eq!(received.header("authorization"), Some("Bearer s3cret"));
    }
}
