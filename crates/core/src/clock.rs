//! Traits for the clock and for randomness.
//!
//! The real implementations are in `funil-lambda`, manual ones in the tests. Code below
//! `funil-lambda` must not ask the operating system for the time or for random bytes; see
//! `docs/design.md` ("Platform").

use jiff::{SignedDuration, Timestamp};
use uuid::{Builder, Uuid};

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// The current time in UTC, truncated to the millisecond, because times in keys have exactly
    /// three decimals.
    fn now(&self) -> Timestamp;
}

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Sixteen new random bytes.
    fn bytes(&self) -> [u8; 16];

    /// A random number, used for jitter.
    fn number(&self) -> u64 {
        let mut low = [0; 8];
        low.copy_from_slice(&self.bytes()[..8]);
        u64::from_le_bytes(low)
    }

    /// A new UUIDv7 (RFC 9562) of the time `now`. Such ids sort by their time.
    fn uuid_v7(&self, now: Timestamp) -> Uuid {
        let mut random = [0; 10];
        random.copy_from_slice(&self.bytes()[..10]);
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A new random UUIDv4.
    fn uuid_v4(&self) -> Uuid {
        Builder::from_random_bytes(self.bytes()).into_uuid()
    }
}

/// The time `seconds` after `at`, or [`Timestamp::MAX`] if that is out of range.
pub fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}
