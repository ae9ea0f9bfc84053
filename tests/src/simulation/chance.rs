//! The randomness of a simulation: a sequence of numbers that follows from a seed, and nothing else.

use std::sync::{Arc, Mutex};

use funil_core::clock::Entropy;

/// The generator `SplitMix64` (Steele, Lea and Flood 2014). Clones draw from the same sequence.
#[derive(Clone, Debug)]
pub(super) struct Chance(Arc<Mutex<u64>>);

impl Chance {
    /// The sequence that begins with a seed.
    pub(super) fn of_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    /// The next number of the sequence.
    pub(super) fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `most`.
    pub(super) fn below(&self, most: u64) -> u64 {
        self.next() % most
    }

    /// An index below `most`.
    pub(super) fn index(&self, most: usize) -> usize {
        usize::try_from(self.below(u64::try_from(most).unwrap())).unwrap()
    }

    /// True once in this many times, on average.
    pub(super) fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these choices, all equally likely.
    pub(super) fn of<T: Clone>(&self, choices: &[T]) -> T {
        choices[self.index(choices.len())].clone()
    }
}

impl Entropy for Chance {
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for half in bytes.chunks_exact_mut(8) {
            half.copy_from_slice(&self.next().to_le_bytes());
        }
        bytes
    }
}
