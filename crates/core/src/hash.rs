//! Keyed digests, which stand for personal data in the keys of the table.
//!
//! Owns [`HashKey`] and [`Digest`]. A plain hash of an e-mail can be reversed by trying e-mails; a
//! digest with the site's secret `HASH_KEY` cannot. See `docs/design.md` ("The table"). This module
//! must not know which items or table keys use a digest.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The site's secret key for digests, from `HASH_KEY`. It is permanent: with another key no
/// existing alias or receipt would be found.
#[derive(Clone)]
pub struct HashKey(Vec<u8>);

impl HashKey {
    /// The minimum length of a key, in bytes.
    pub const BYTES_MIN: usize = 16;

    /// Makes a key of the configured text. `None` if it is shorter than [`HashKey::BYTES_MIN`].
    pub fn new(secret: &str) -> Option<Self> {
        (secret.len() >= Self::BYTES_MIN).then(|| Self(secret.as_bytes().to_vec()))
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for part in parts {
            mac.update(part);
            mac.update(&[0]);
        }
        mac.finalize().into_bytes().into()
    }

    /// The digest of a value of this kind (`email`, `phone`, …). Equal values of different kinds
    /// have different digests.
    pub fn digest(&self, kind: &str, value: &str) -> Digest {
        Digest(hex::encode(&self.mac(&[kind.as_bytes(), value.as_bytes()])[..16]))
    }

    /// Sixteen bytes to build an identifier from, derived from `value`.
    pub fn id_bytes(&self, kind: &str, value: &str) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.mac(&[b"id", kind.as_bytes(), value.as_bytes()])[..16]);
        bytes
    }

    /// A digest that changes with the calendar month (UTC), so that it can be compared only within
    /// one month. Used for IP addresses and user agents.
    pub fn monthly_digest(&self, now: Timestamp, kind: &str, value: &str) -> Digest {
        let month = now.strftime("%Y-%m").to_string();
        let derived = Self(self.mac(&[b"month", month.as_bytes()]).to_vec());
        derived.digest(kind, value)
    }

    /// A digest of the key itself. The table keeps it in its identity item, to refuse a different key.
    pub fn fingerprint(&self) -> Digest {
        self.digest("meta", "hash_key")
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A keyed digest, as 32 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(String);

impl Digest {
    /// A digest that was stored as its hex digits.
    pub fn stored(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    /// The hex digits, as used in keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The SHA-256 of bytes as 64 lower-case hex digits. It has no key, so it does not protect personal
/// data.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The SHA-256 of several parts, joined by zero bytes.
pub fn sha256_parts(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update([0]);
        }
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> HashKey {
        HashKey::new(text).unwrap()
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(HashKey::new("fifteen-bytes-x").is_none());
    }

    #[test]
    fn a_digest_depends_on_key_kind_and_value() {
        let ours = key("0123456789abcdef");
        let digest = ours.digest("email", "ana@example.com");
        assert_eq!(digest.as_str().len(), 32);
        assert_eq!(digest, ours.digest("email", "ana@example.com"));
        assert_ne!(digest, ours.digest("phone", "ana@example.com"));
        assert_ne!(digest, ours.digest("email", "bia@example.com"));
        assert_ne!(digest, key("another-key-here").digest("email", "ana@example.com"));
    }

    #[test]
    fn a_monthly_digest_changes_with_the_month() {
        let ours = key("0123456789abcdef");
        let at = |time: &str| ours.monthly_digest(time.parse().unwrap(), "ip", "203.0.113.7");
        assert_eq!(at("2026-11-01T00:00:00Z"), at("2026-11-30T23:59:59Z"));
        assert_ne!(at("2026-11-30T23:59:59Z"), at("2026-12-01T00:00:00Z"));
    }
}
