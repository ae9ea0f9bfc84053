//! The keys of receipts, by which a repeated request is recognised.
//!
//! Owns how an `Idempotency-Key` header is parsed and how the key of a receipt is made; see
//! `docs/design.md` ("Accepting"). It must not know any particular form.

use crate::contact::Email;
use crate::hash::{HashKey, sha256_hex};

/// How long the receipt of a form with an `Idempotency-Key` is kept, in seconds: 24 hours.
pub const KEYED_RECEIPT_S: i64 = 24 * 60 * 60;
/// How long the receipt of a form without an `Idempotency-Key` is kept, in seconds: 5 minutes.
pub const CONTENT_RECEIPT_S: i64 = 5 * 60;

/// The value of an `Idempotency-Key` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The `Idempotency-Key` header is present and not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Idempotency-Key header must hold 1 to 255 visible characters")]
pub struct InvalidKey;

impl IdempotencyKey {
    /// A regular expression of the header's value.
    pub const PATTERN: &'static str = r#"^\s*("[!-~]{1,255}"|[!#-~][!-~]{0,254})\s*$"#;

    /// Parses the header's value: quoted, as draft-ietf-httpapi-idempotency-key-header requires, or
    /// bare, as most clients send it.
    pub fn parse(header: &str) -> Result<Self, InvalidKey> {
        let text = header.trim();
        let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        if key.is_empty() || key.len() > 255 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidKey);
        }
        Ok(Self(key.to_owned()))
    }
}

/// The key of the receipt of one request, and how long the receipt is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptKey {
    /// For a form the function and the digest of the e-mail; for a provider its name. The e-mail is
    /// part of it so that a site that always sends the same key still keeps every person.
    pub scope: String,
    /// The digest of the `Idempotency-Key`, of the form's content, or of what identifies a
    /// provider's request.
    pub key: String,
    /// How long the receipt is kept, in seconds. `None` for a provider: as long as its event.
    pub lives_s: Option<i64>,
}

impl ReceiptKey {
    /// The receipt of a form. It is found by its `Idempotency-Key`, or by the fingerprint of its
    /// content if there is no key.
    pub fn of_form(
        hash: &HashKey,
        function: &str,
        email: &Email,
        key: Option<&IdempotencyKey>,
        fingerprint: &str,
    ) -> Self {
        let scope = format!("{function}#{}", hash.digest("email", email.as_str()).as_str());
        match key {
            Some(key) => Self {
                scope,
                key: format!("key#{}", sha256_hex(key.0.as_bytes())),
                lives_s: Some(KEYED_RECEIPT_S),
            },
            None => Self {
                scope,
                key: format!("content#{fingerprint}"),
                lives_s: Some(CONTENT_RECEIPT_S),
            },
        }
    }

    /// The receipt of the same key and this content alone. For a key that somebody else used for other
    /// content: it is theirs, and this submission is a new one.
    #[must_use]
    pub fn and_content(&self, fingerprint: &str) -> Self {
        Self { key: format!("{}#content#{fingerprint}", self.key), ..self.clone() }
    }

    /// The receipt of a provider's request. `identity` is what identifies the request among those
    /// of the provider.
    pub fn of_provider(provider: &str, identity: &[&str]) -> Self {
        let key = identity.join("\n");
        Self { scope: provider.to_owned(), key: sha256_hex(key.as_bytes()), lives_s: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_parsed_quoted_or_bare() {
        let key = |text: &str| IdempotencyKey::parse(text).map(|key| key.0);
        assert_eq!(key("\"8e03978e\"").as_deref(), Ok("8e03978e"));
        assert_eq!(key(" 8e03978e ").as_deref(), Ok("8e03978e"));
        for refused in ["", "\"\"", "a\u{e9}", &"x".repeat(256), "a\nb"] {
            assert_eq!(key(refused), Err(InvalidKey), "{refused}");
        }
    }

    #[test]
    fn two_people_with_the_same_key_have_two_receipts() {
        let hash = HashKey::new("0123456789abcdef").unwrap();
        let key = IdempotencyKey::parse("constant").unwrap();
        let receipt = |email: &str| {
            ReceiptKey::of_form(
                &hash,
                "lead-submit",
                &Email::parse(email).unwrap(),
                Some(&key),
                "f",
            )
        };
        assert_eq!(receipt("ana@example.com"), receipt("Ana@example.com"));
        assert_ne!(receipt("ana@example.com"), receipt("bia@example.com"));
        assert!(!receipt("ana@example.com").scope.contains("ana"));
    }
}
