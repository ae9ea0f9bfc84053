//! Claiming a delivery, and what its holder writes before sending (`docs/design.md`, "Delivering").
//!
//! A claim is one conditional update that sets a lease and moves the due time to the lease's end, so
//! a worker that dies leaves a delivery that falls due again. The first claim of a delivery that a ring
//! named finds it due after the lease's end already, and spares the index the move.

use funil_core::clock::after;
use funil_core::delivery::{Delivery, LEASE_S, RING_S, StateKind};
use funil_core::id::LeaseId;
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::{Expression, Updated};
use crate::table::item::Item;
use crate::table::key::DeliveryKey;
use crate::table::{item, key};

/// A delivery that this worker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The delivery's key.
    pub key: DeliveryKey,
    /// The lease under which this worker may write to it.
    pub lease: LeaseId,
    /// The delivery as it was claimed, or why this code cannot read it.
    pub delivery: Result<Delivery, StoreError>,
}

/// Which deliveries a claim takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claiming {
    /// A delivery that is due and has no lease that goes on.
    Due,
    /// A delivery that a ring named and that nobody has claimed. Its place in the index is not changed if it is already
    /// due after the lease's end.
    Named,
    /// Any that is due or that a ring could name.
    Now,
    /// Only one that is due and may have been sent: its last worker was interrupted in a harmful request,
    /// or it waits for a status update.
    Interrupted,
}

/// It is due, and no lease of it goes on.
const IS_DUE: &str =
    "#due_sk <= :now AND (attribute_not_exists(#lease_until) OR #lease_until <= :now)";
/// A ring could name it, and nobody has claimed it yet.
const IS_NEW: &str = "attribute_exists(#at_once) AND #state = :pending";

/// How claiming ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// This worker holds the delivery.
    Ours(Box<Claim>),
    /// The delivery is not due, or another worker was faster.
    NotDue,
}

/// Whether a write that needs the lease was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The write was made.
    Yes,
    /// The write was not made: the lease ran out, and another worker may hold the delivery.
    LeaseLost,
}

impl From<bool> for Written {
    fn from(written: bool) -> Self {
        if written { Self::Yes } else { Self::LeaseLost }
    }
}

impl Store {
    /// Claims a due delivery for [`LEASE_S`] seconds.
    pub async fn claim(
        &self,
        delivery: &DeliveryKey,
        claiming: Claiming,
        lease: LeaseId,
        now: Timestamp,
    ) -> Result<Claimed, StoreError> {
        let ends = after(now, LEASE_S);
        // A settled delivery has no due time, and neither has one that does not exist.
        let condition = match claiming {
            Claiming::Due => IS_DUE.to_owned(),
            Claiming::Named => IS_NEW.to_owned(),
            Claiming::Now => format!("({IS_NEW}) OR ({IS_DUE})"),
            Claiming::Interrupted => format!(
                "{IS_DUE} AND (attribute_exists(#sending) OR attribute_exists(#doubtful_since))"
            ),
        };
        let mut claim = Expression::default()
            .set_as("lease_id", ":lease", item::attribute(&lease, "lease")?)
            .set_as("state", ":leased", item::s(StateKind::Leased.name()))
            .set_as("lease_until", ":end", item::s(key::time(ends)))
            .remove("at_once")
            .add("claims", 1)
            .condition(&condition);
        if claiming != Claiming::Named {
            claim = claim.value(":now", item::s(key::time(now)));
        }
        if matches!(claiming, Claiming::Named | Claiming::Now) {
            claim = claim.value(":pending", item::s(StateKind::Pending.name()));
        }
        // What is leased must not stand among what is due.
        let stays = delivery.accepted_at().is_some_and(|at| after(at, RING_S) >= ends);
        if claiming != Claiming::Named || !stays {
            claim = claim.set_as("due_sk", ":end", item::s(key::time(ends)));
        }
        let ours = item::attribute(&lease, "lease")?;
        let item = match self.update_and_get_either(keys(delivery), claim).await? {
            Updated::Now(item) => item,
            // The response to an earlier try of this very claim was lost.
            Updated::Not(item) if item.get("lease_id") == Some(&ours) => item,
            Updated::Not(_) => return Ok(Claimed::NotDue),
        };
        let read = item::to_delivery(item);
        Ok(Claimed::Ours(Box::new(Claim { key: delivery.clone(), lease, delivery: read })))
    }

    /// Notes that a harmful request is about to be sent.
    pub async fn mark_sending(&self, claim: &Claim) -> Result<Written, StoreError> {
        let lease = item::attribute(&claim.lease, "lease")?;
        let sending = Expression::default()
            .set_as("sending", ":lease", lease)
            .condition("#lease_id = :lease");
        Ok(self.update(keys(&claim.key), sending).await?.into())
    }

    /// Makes a pending delivery due now. Returns whether it was pending; nothing is written otherwise.
    pub async fn hurry(&self, delivery: &DeliveryKey, now: Timestamp) -> Result<bool, StoreError> {
        let hurry = Expression::default()
            .set_as("due_sk", ":now", item::s(key::time(now)))
            .remove("at_once")
            .condition("#state = :pending")
            .value(":pending", item::s(StateKind::Pending.name()));
        self.update(keys(delivery), hurry).await
    }
}

/// The key of a delivery as an item's.
pub(crate) fn keys(delivery: &DeliveryKey) -> Item {
    item::keys(delivery.pk(), delivery.sk.clone())
}
