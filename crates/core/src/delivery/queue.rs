//! How a delivery comes to a worker: by a ring that names it, or because it is due; and in which shard of
//! the index of due deliveries it stands (`docs/design.md`, "Ringing" and "Shards").

use crate::hash::HashKey;
use crate::id::LeadId;

/// The most shards that the deliveries of a destination may be spread over.
pub const SHARDS_MAX: u8 = 16;

/// Over how many shards deliveries are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shards(u8);

impl Shards {
    /// Only the first one.
    pub const ONE: Self = Self(1);

    /// So many, from 1 to [`SHARDS_MAX`].
    pub fn new(count: u8) -> Option<Self> {
        (1..=SHARDS_MAX).contains(&count).then_some(Self(count))
    }

    /// How many they are.
    pub const fn count(self) -> u8 {
        self.0
    }

    /// Each shard, from the first one.
    pub fn each(self) -> impl Iterator<Item = Shard> {
        (0..self.0).map(Shard)
    }
}

/// A part of the index of due deliveries, and of that of dead ones. DynamoDB writes at most 1,000 units a
/// second under one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard(u8);

impl Shard {
    /// The only shard while there is one. Alerts always use it.
    pub const FIRST: Self = Self(0);

    /// The shard of a lead among these. It follows from a keyed digest, so that nobody can choose ids that
    /// meet in one shard.
    pub fn of(lead: LeadId, hash: &HashKey, shards: Shards) -> Self {
        let [first, ..] = hash.id_bytes("shard", &lead.to_string());
        Self(first % shards.0)
    }

    /// The shard with this number.
    pub fn numbered(number: u8) -> Option<Self> {
        (number < SHARDS_MAX).then_some(Self(number))
    }

    /// Its number in keys, from 0; below [`SHARDS_MAX`].
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// What brings a delivery that is due at once to its first claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// That it is due, like a retry or a reminder.
    #[default]
    WhenDue,
    /// A ring that names it. It is due only [`RING_S`] later, for the case that the ring is lost.
    AtOnce,
}

/// How long after acceptance a delivery is due that a ring names, in seconds: a little longer than a lease,
/// so that its first claim need not move it in the index.
pub const RING_S: i64 = super::LEASE_S + 5;

/// How old a due delivery is before a sweep takes it where rings name deliveries, in seconds. What is newer
/// may be under way.
pub const SWEPT_AFTER_S: i64 = 10;

/// Where the deliveries of a lead stand, and how those start that are due at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// The lead's shard.
    pub shard: Shard,
    /// How a delivery starts that is due at once.
    pub start: Start,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads_are_spread_over_the_shards_that_writers_use() {
        let hash = HashKey::new("hash-key-of-the-tests").unwrap();
        let lead =
            |number: u32| LeadId::parse(&format!("6f1c2f5e-0b0a-4d3e-9a53-{number:012x}")).unwrap();
        for shards in [1, 4, SHARDS_MAX] {
            let used = Shards::new(shards).unwrap();
            let mut counts = vec![0_u32; usize::from(SHARDS_MAX)];
            for number in 0..1_600 {
                let shard = Shard::of(lead(number), &hash, used);
                assert_eq!(shard, Shard::of(lead(number), &hash, used));
                counts[usize::from(shard.number())] += 1;
            }
            let (filled, empty) = counts.split_at(usize::from(shards));
            let even = 1_600 / u32::from(shards);
            assert!(filled.iter().all(|count| count.abs_diff(even) <= even / 2), "{filled:?}");
            assert!(empty.iter().all(|count| *count == 0));
        }
    }
}
