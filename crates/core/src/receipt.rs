//! By what a request is recognised as a duplicate (`docs/design.md`, "Accepting").
//!
//! Owns how a client's idempotency key is read and how the key of a receipt is made. Knows no form.

use crate::contact::Email;
use crate::hash::{HashKey, sha256_hex};

/// How long the response to a form with an idempotency key is kept, in seconds: 24 h.
pub const KEYED_RECEIPT_S: i64 = 24 * 60 * 60;
/// How long the response to a form without an idempotency key is kept, in seconds: 5 minutes.
pub const CONTENT_RECEIPT_S: i64 = 5 * 60;

/// The value of an `Idempotency-Key` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The `Idempotency-Key` header holds no valid key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Idempotency-Key header must hold 1 to 255 visible characters")]
pub struct InvalidKey;

impl IdempotencyKey {
    /// Reads the header's value, quoted as draft-ietf-httpapi-idempotency-key-header requires or bare
    /// as most clients send it.
    pub fn parse(header: &str) -> Result<Self, InvalidKey> {
        let text = header.trim();
        let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        if key.is_empty() || key.len() > 255 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidKey);
        }
        Ok(Self(key.to_owned()))
    }
}

/// The key of a receipt, and how long the receipt lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptKey {
    /// For a form the function and a digest of the e-mail, so that a site that always sends the same
    /// key loses nobody; otherwise the provider.
    pub scope: String,
    /// Digest of the idempotency key, of the content, or of the provider's name for the request.
    pub key: String,
    /// How long the receipt lives, in seconds; `None` for a provider's, which is never deleted.
    pub lives_s: Option<i64>,
}

impl ReceiptKey {
    /// The key for a form: by its idempotency key where it has one, otherwise by its content.
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

    /// The key for a provider's request, by the parts of the name that the provider gives it.
    pub fn of_provider(provider: &str, name: &[&str]) -> Self {
        let key = name.join("\n");
        Self { scope: provider.to_owned(), key: sha256_hex(key.as_bytes()), lives_s: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_is_read_quoted_or_bare() {
        let key = |text: &str| IdempotencyKey::parse(text).map(|key| key.0);
        assert_eq!(key("\"8e03978e\"").as_deref(), Ok("8e03978e"));
        assert_eq!(key(" 8e03978e ").as_deref(), Ok("8e03978e"));
        for refused in ["", "\"\"", "a\u{e9}", &"x".repeat(256), "a\nb"] {
            assert_eq!(key(refused), Err(InvalidKey), "{refused}");
        }
    }

    #[test]
    fn the_same_key_sent_for_two_people_makes_two_receipts() {
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
