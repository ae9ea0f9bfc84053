//! Which calls are the same call.
//!
//! Owns how a caller's key is read and how the receipt's key is made (design §7). Knows no form.

use crate::contact::Email;
use crate::hash::{HashKey, sha256_hex};

/// How long the answer to a form with a key of its own is kept, in seconds: 24 h.
pub const KEYED_RECEIPT_S: i64 = 24 * 60 * 60;
/// How long the answer to a form known only by its content is kept, in seconds: 5 minutes.
pub const CONTENT_RECEIPT_S: i64 = 5 * 60;

/// The value of an `Idempotency-Key` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The header is there but no key can be read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Idempotency-Key header must hold 1 to 255 visible characters")]
pub struct InvalidKey;

impl IdempotencyKey {
    /// Reads the header, quoted as the draft says (draft-ietf-httpapi-idempotency-key-header) or
    /// bare as most callers send it.
    pub fn parse(header: &str) -> Result<Self, InvalidKey> {
        let text = header.trim();
        let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        if key.is_empty() || key.len() > 255 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidKey);
        }
        Ok(Self(key.to_owned()))
    }
}

/// Where the answer to a call is kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptKey {
    /// Function and digest of the e-mail, so that a site with a constant key loses nobody; or the
    /// provider.
    pub scope: String,
    /// Digest of the caller's key, of the content, or of what the provider names the call by.
    pub key: String,
    /// Seconds for which the receipt stands; a provider's stands as long as its event.
    pub lives_s: Option<i64>,
}

impl ReceiptKey {
    /// The receipt of a form: by its key where it has one, else by its content.
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
}

impl ReceiptKey {
    /// The receipt of a provider's call, by what the provider names it by.
    pub fn of_provider(provider: &str, call: &[&str]) -> Self {
        let key = call.join("\n");
        Self { scope: provider.to_owned(), key: sha256_hex(key.as_bytes()), lives_s: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_quoted_or_not() {
        let key = |text: &str| IdempotencyKey::parse(text).map(|key| key.0);
        assert_eq!(key("\"8e03978e\"").as_deref(), Ok("8e03978e"));
        assert_eq!(key(" 8e03978e ").as_deref(), Ok("8e03978e"));
        for refused in ["", "\"\"", "a\u{e9}", &"x".repeat(256), "a\nb"] {
            assert_eq!(key(refused), Err(InvalidKey), "{refused}");
        }
    }

    #[test]
    fn one_key_of_two_people_makes_two_receipts() {
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
