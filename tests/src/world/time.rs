//! The clock and the randomness of a world, both the same in every run.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use funil_core::clock::{Clock, Entropy, after};
use jiff::Timestamp;

use super::BEGINNING;

/// A clock that only a test moves.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    pub(super) fn new() -> Self {
        Self(Mutex::new(BEGINNING.parse().unwrap()))
    }

    /// Sets the time.
    pub fn set(&self, at: Timestamp) {
        *self.0.lock().unwrap() = at;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A clock that moves each time that somebody looks at it, as if everything took long.
#[derive(Debug)]
pub struct HastyClock {
    began: Timestamp,
    step_s: i64,
    looks: AtomicI64,
}

impl HastyClock {
    pub(super) const fn new(began: Timestamp, step_s: i64) -> Self {
        Self { began, step_s, looks: AtomicI64::new(0) }
    }
}

impl Clock for HastyClock {
    fn now(&self) -> Timestamp {
        after(self.began, self.step_s * self.looks.fetch_add(1, Ordering::Relaxed))
    }
}

thread_local! {
    /// How many worlds this test has started.
    static WORLDS: Cell<u64> = const { Cell::new(0) };
}

/// Bytes that look random, never repeat, and are the same in every run.
#[derive(Debug, Default)]
pub struct CountedEntropy(AtomicU64);

impl CountedEntropy {
    /// Bytes for the next world of this test, which no other test has: they share an emulator, and it takes
    /// two transactions with one token for the same.
    pub(super) fn of_next_world() -> Self {
        let number = WORLDS.replace(WORLDS.get() + 1);
        let thread = std::thread::current();
        let test = funil_core::hash::sha256_parts(&[thread.name().unwrap_or_default()]);
        let [a, b, c, d, ..] = test;
        Self(AtomicU64::new(u64::from(u32::from_le_bytes([a, b, c, d])) << 32 | number << 24))
    }
}

impl Entropy for CountedEntropy {
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for half in bytes.chunks_exact_mut(8) {
            // SplitMix64 maps each counter to a value of its own, so no two are equal.
            let mut z = self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            z = z.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            half.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        }
        bytes
    }
}
