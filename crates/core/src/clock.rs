//! Time and randomness as the inside sees them: two small traits.
//!
//! Their real implementations live in the shell (`funil-lambda`), manual ones in the tests. No
//! module below the shell may ask the operating system for either.

use jiff::{SignedDuration, Timestamp};
use uuid::{Builder, Uuid};

/// Tells the time. Whole milliseconds, because keys carry exactly three decimals.
pub trait Clock: Send + Sync {
    /// Now, in UTC, truncated to the millisecond.
    fn now(&self) -> Timestamp;
}

/// Gives unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Sixteen fresh random bytes.
    fn bytes(&self) -> [u8; 16];

    /// A random number, for jitter.
    fn number(&self) -> u64 {
        let mut low = [0; 8];
        low.copy_from_slice(&self.bytes()[..8]);
        u64::from_le_bytes(low)
    }

    /// A UUIDv7 (RFC 9562): sortable by the time it was made.
    fn uuid_v7(&self, now: Timestamp) -> Uuid {
        let mut random = [0; 10];
        random.copy_from_slice(&self.bytes()[..10]);
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A UUIDv4.
    fn uuid_v4(&self) -> Uuid {
        Builder::from_random_bytes(self.bytes()).into_uuid()
    }
}

/// `seconds` after `at`; the end of time where there is no such moment.
pub fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}
