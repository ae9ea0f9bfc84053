//! Ending a claim: settling the delivery, or releasing one that cannot be read.
//!
//! Both are conditional on the lease, so a worker that is too late overwrites nobody.

use funil_core::delivery::{Settlement, State, StateKind};
use funil_core::destination::Whose;
use jiff::Timestamp;

use crate::delivery::claim::keys;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::{item, key};
use crate::{Claim, Store, Written};

impl Store {
    /// Writes a settlement, which ends the claim. It may be written again where it is not known whether
    /// the table took it.
    pub async fn settle(
        &self,
        claim: &Claim,
        settlement: &Settlement,
    ) -> Result<Written, StoreError> {
        let Settlement { state, attempts, log, blocked, confirmed } = settlement;
        let whose = claim.key.whose();
        let mut settle = Expression::default()
            .set("state", item::s(state.name()))
            .set("attempts", item::n(*attempts))
            .set("claims", item::n(0))
            .set("log", item::attribute(log, "attempt")?)
            .set_or_remove("reason", state.reason().map(|reason| item::s(reason.to_string())))
            .set_or_remove("blocked", (*blocked > 0).then(|| item::n(*blocked)))
            .set_or_remove("doubtful_since", state.unknown_since().map(item::timestamp))
            .remove_all(&["lease_id", "lease_until", "sending", "at_once"]);
        if let Some(confirmed) = confirmed {
            settle = settle.set("confirmed", item::s(confirmed.as_str()));
        }
        if let Some(due_at) = state.due_at() {
            settle = settle.set_as("due_sk", ":due", item::s(key::time(due_at)));
        }
        if let Some(at) = state.settled_at() {
            settle =
                settle.set("settled_at", item::timestamp(at)).remove_all(&["due_pk", "due_sk"]);
            // A dead delivery stays until a person decides about it. A visitor's delivery keeps the expiry that it had.
            if state.kind() != StateKind::Dead && whose == Whose::Leads {
                settle = settle.set("expires_at", self.goes_at(at));
            }
        }
        if let State::Dead { at, .. } = state
            && whose == Whose::Leads
        {
            let destination = key::destination_of(&claim.key.sk).unwrap_or_default();
            let shard = claim.delivery.as_ref().map(|delivery| delivery.shard).unwrap_or_default();
            settle = settle
                .set("dead_pk", item::s(key::dead(destination, shard)))
                .set("dead_sk", item::s(key::time(*at)));
        }
        let settle = settle
            .condition("#lease_id = :lease")
            .value(":lease", item::attribute(&claim.lease, "lease")?);
        let other = self.update_or_get(keys(&claim.key), settle).await?;
        Ok(other.is_none_or(|other| is_settled_so(other, settlement)).into())
    }

    /// Ends the claim of a delivery that this code cannot read: it is due again at `until`, and
    /// nothing else is touched.
    pub async fn release_unread(
        &self,
        claim: &Claim,
        until: Timestamp,
    ) -> Result<Written, StoreError> {
        let release = released(until)
            .remove_all(&["lease_id", "lease_until"])
            .condition("#lease_id = :lease")
            .value(":lease", item::attribute(&claim.lease, "lease")?);
        Ok(self.update(keys(&claim.key), release).await?.into())
    }

    /// Ends the claim of a delivery of which nothing was sent: it is due again at `until`. What the claim noted before
    /// a harmful request goes; if an earlier claim noted it, nothing is written.
    pub async fn release_untried(
        &self,
        claim: &Claim,
        until: Timestamp,
    ) -> Result<Written, StoreError> {
        let release = released(until)
            .remove_all(&["lease_id", "lease_until", "sending"])
            .condition(
                "#lease_id = :lease AND (attribute_not_exists(#sending) OR #sending = :lease)",
            )
            .value(":lease", item::attribute(&claim.lease, "lease")?);
        Ok(self.update(keys(&claim.key), release).await?.into())
    }
}

/// What makes a delivery pending again and due at `until`.
fn released(until: Timestamp) -> Expression {
    Expression::default()
        .set_as("due_sk", ":due", item::s(key::time(until)))
        .set("claims", item::n(0))
        .set_as("state", ":pending", item::s(StateKind::Pending.name()))
}

/// Whether the item is what an earlier try of this settlement made it.
fn is_settled_so(found: Item, settlement: &Settlement) -> bool {
    item::to_delivery(found).is_ok_and(|found| {
        found.state == settlement.state
            && found.attempts == settlement.attempts
            && found.log == settlement.log
    })
}
