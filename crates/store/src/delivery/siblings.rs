//! The other deliveries of a lead to one destination: which of them are open, and what the destination
//! confirmed last.
//!
//! One read of the newest few, so it costs the same whatever the lead's history is.

use funil_core::clock::after;
use funil_core::delivery::{Delivery, Effect, State, StateKind};
use funil_core::hash::Digest;
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::item;
use crate::table::key::{self, DeliveryKey};

/// How many of a lead's newest deliveries are read. An older one that is still leased is not seen; that does no harm,
/// because it too sends the lead's present state.
const SIBLINGS: i32 = 25;
/// For how long something that a destination confirmed is taken to hold, in seconds.
const CONFIRMED_S: i64 = 24 * 60 * 60;

/// What a lead has for a destination beside the delivery that was claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Siblings {
    /// Those that are pending or leased.
    pub open: Vec<Sibling>,
    /// The last one that was delivered, if that was within a day and nothing was tried since.
    pub confirmed: Option<Confirmed>,
}

/// Another delivery of the same lead and destination that is pending or leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Its key. Of two leased ones the one with the lower sort key goes first; of two pending ones the
    /// one with the higher sort key is newer.
    pub key: DeliveryKey,
    /// The name of its slot, as the table has it.
    pub slot: String,
    /// What it does beside bringing the lead's present state.
    pub effect: Effect,
    /// Whether it is pending or leased; siblings have no other state.
    pub state: StateKind,
    /// When it is due, or when its lease ends.
    pub due_at: Timestamp,
}

/// A delivery that went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// When the destination took it.
    pub at: Timestamp,
    /// The digest of the state that it brought, where that is kept.
    pub state: Option<Digest>,
}

impl Store {
    /// The lead's other deliveries to the same destination, among the newest 25.
    pub async fn siblings(
        &self,
        delivery: &DeliveryKey,
        now: Timestamp,
    ) -> Result<Siblings, StoreError> {
        let destination = key::destination_of(&delivery.sk).unwrap_or_default();
        let query = self.deliveries(delivery.lead_id, destination).limit(SIBLINGS);
        let found = self.first_page(query).await?;
        let count = found.len();
        let read: Vec<Delivery> =
            found.into_iter().filter_map(|found| item::to_delivery(found).ok()).collect();
        // What cannot be read, or is not looked at, may have been tried since.
        let is_whole = read.len() == count && i32::try_from(count).is_ok_and(|n| n < SIBLINGS);
        let is_other = |one: &&Delivery| DeliveryKey::from(*one) != *delivery;
        let others: Vec<&Delivery> = read.iter().filter(is_other).collect();
        let confirmed = confirmed(&others, now).filter(|_| is_whole);
        let open = others.into_iter().filter(|one| one.state.is_open());
        let open = open.filter_map(|one| {
            Some(Sibling {
                key: DeliveryKey::from(one),
                slot: one.slot.clone(),
                effect: one.effect,
                state: one.state.kind(),
                due_at: one.due_at()?,
            })
        });
        Ok(Siblings { open: open.collect(), confirmed })
    }
}

/// The last one that was delivered, unless that was long ago or another one was tried since.
fn confirmed(others: &[&Delivery], now: Timestamp) -> Option<Confirmed> {
    let delivered_at = |one: &&&Delivery| match one.state {
        State::Delivered { at, reason: None } => Some(at),
        State::Pending { .. }
        | State::Leased { .. }
        | State::Unconfirmed { .. }
        | State::Unknown { .. }
        | State::Delivered { .. }
        | State::Skipped { .. }
        | State::Dead { .. } => None,
    };
    let last = others.iter().max_by_key(delivered_at)?;
    let at = delivered_at(&last)?;
    let was_tried_since =
        |one: &&Delivery| one.claims > 0 || one.log.iter().any(|attempt| attempt.at > at);
    let holds = at >= after(now, -CONFIRMED_S) && !others.iter().any(was_tried_since);
    holds.then(|| Confirmed { at, state: last.confirmed.clone() })
}
