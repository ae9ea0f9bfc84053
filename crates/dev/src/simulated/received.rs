//! One call as a simulated provider received it.
//!
//! Owns the record that tests read and the stage page shows, and the rule that no secret leaves
//! it by serialisation. It must not know what any provider makes of a call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// The names, in headers, queries and at the top of bodies, that carry a secret.
const SECRETS: [&str; 11] = [
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

/// A call, what was answered and what it changed. Secrets are masked when it is serialised and
/// readable here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// When it arrived, by the clock of the providers.
    pub at: String,
    /// The provider: the first segment of the path the call came by.
    pub provider: String,
    /// The method, in capitals.
    pub method: String,
    /// The path below the provider's base URL, as sent: `/` for the base URL itself.
    pub path: String,
    /// The query, decoded.
    #[serde(serialize_with = "masked")]
    pub query: BTreeMap<String, String>,
    /// The headers, by lower-case name.
    #[serde(serialize_with = "masked")]
    pub headers: BTreeMap<String, String>,
    /// The body: JSON, or its text where it is not JSON; null when empty.
    #[serde(serialize_with = "masked_body")]
    pub body: Value,
    /// The status answered; none where no answer was sent.
    #[serde(rename = "answered")]
    pub status: Option<u16>,
    /// What it changed, or why it changed nothing.
    pub note: String,
}

impl Received {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name.to_ascii_lowercase().as_str())
}

/// Keeps the scheme of a credential, because a provider asks for one.
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
    fn secrets_are_masked_when_serialised_and_readable_in_the_struct() {
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
