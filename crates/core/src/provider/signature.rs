//! HMAC-SHA256 signatures over raw bytes, with which providers sign their webhooks.
//!
//! Owns how a signature is made and compared in constant time. It must not know any provider's
//! header, nor which bytes the provider signs.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use jiff::Timestamp;

use super::{NotSigned, Verified};
use crate::settings::Secret;

/// The signature of the concatenated parts, as lower-case hex.
pub fn sign(key: &Secret, parts: &[&[u8]]) -> String {
    hex::encode(bytes(mac(key, parts)))
}

/// Whether `hex` is the signature of the concatenated parts with any of the keys. There are several
/// keys while one is being replaced. A wrong signature takes as long as a right one.
pub fn is_signed(keys: &[Secret], parts: &[&[u8]], hex: &str) -> bool {
    let mut given = [0; 32];
    if hex::decode_to_slice(hex, &mut given).is_err() {
        return false;
    }
    keys.iter().fold(false, |signed, key| signed | mac(key, parts).verify_slice(&given).is_ok())
}

/// The bytes of a signature.
pub(super) fn bytes(mac: Hmac<Sha256>) -> [u8; 32] {
    mac.finalize().into_bytes().into()
}

pub(super) fn mac(key: &Secret, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::new_from_slice(key.expose().as_bytes()).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

/// Verifies a header `t=<seconds since 1970>,v1=<hex>`, whose signature covers the time, a dot and the
/// raw body, as several providers send it. Any of the keys and any `v1` may match; the time may be at
/// most `tolerance_s` seconds from now, in either direction.
pub fn verify_with_time<'b>(
    body: &'b [u8],
    header: Option<&str>,
    keys: &[Secret],
    now: Timestamp,
    tolerance_s: i64,
) -> Result<Verified<'b>, NotSigned> {
    let parts =
        || header.unwrap_or_default().split(',').filter_map(|part| part.trim().split_once('='));
    let time = parts().find(|(name, _)| *name == "t").map(|(_, time)| time).ok_or(NotSigned)?;
    let at: i64 = time.parse().map_err(|_| NotSigned)?;
    if now.as_second().abs_diff(at) > tolerance_s.unsigned_abs() {
        return Err(NotSigned);
    }
    let signed = [time.as_bytes(), b".", body];
    let signatures = parts().filter(|(name, _)| *name == "v1");
    let valid = signatures.fold(false, |valid, (_, hex)| valid | is_signed(keys, &signed, hex));
    if valid { Ok(Verified(body)) } else { Err(NotSigned) }
}

/// The header that [`verify_with_time`] takes, for samples and tests.
pub fn sign_with_time(body: &[u8], key: &Secret, now: Timestamp) -> String {
    let time = now.as_second().to_string();
    format!("t={time},v1={}", sign(key, &[time.as_bytes(), b".", body]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_vector_that_github_publishes_is_signed_and_recognised() {
        let key = Secret::new("It's a Secret to Everybody");
        let expected = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(sign(&key, &[b"Hello, ", b"World!"]), expected);
        let keys = [Secret::new("another"), key];
        assert!(is_signed(&keys, &[b"Hello, World!"], expected));
        assert!(!is_signed(&keys, &[b"Hello, World?"], expected));
        assert!(!is_signed(&keys[..1], &[b"Hello, World!"], expected));
        assert!(!is_signed(&[], &[b"Hello, World!"], expected));
    }

    #[test]
    fn malformed_signatures_are_refused() {
        let keys = [Secret::new("key")];
        for hex in ["", "zz", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32)] {
            assert!(!is_signed(&keys, &[b""], hex), "{hex}");
        }
    }
}
