//! Ending a claim: settling the delivery, or releasing one that cannot be read.
//!
//! Both are conditional on the lease, so a worker that is too late overwrites nobody.

use funil_core::delivery::{Settlement, State, StateKind};
use jiff::Timestamp;

use crate::delivery::claim::keys;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::{item, key};
use crate::{Claim, Store, Written};

impl Store {
    /// Writes a settlement, which ends the claim.
    pub async fn settle(
        &self,
        claim: &Claim,
        settlement: &Settlement,
    ) -> Result<Written, StoreError> {
        let Settlement { state, attempts, log, blocked } = settlement;
        let mut settle = Expression::default()
            .set("state", item::s(state.name()))
            .set("attempts", item::n(*attempts))
            .set("claims", item::n(0))
            .set("log", item::attribute(log, "attempt")?)
            .set_or_remove("reason", state.reason().map(|reason| item::s(reason.to_string())))
            .set_or_remove("blocked", (*blocked > 0).then(|| item::n(*blocked)))
            .set_or_remove("doubtful_since", state.unknown_since().map(item::timestamp))
            .remove_all(&["lease_id", "sending"]);
        if let Some(due_at) = state.due_at() {
            settle = settle.set_as("due_sk", ":due", item::s(key::time(due_at)));
        }
        if let Some(at) = state.settled_at() {
            settle =
                settle.set("settled_at", item::timestamp(at)).remove_all(&["due_pk", "due_sk"]);
        }
        if let State::Dead { at, .. } = state {
            let destination = key::destination_of(&claim.key.sk).unwrap_or_default();
            settle = settle
                .set("dead_pk", item::s(key::dead(destination)))
                .set("dead_sk", item::s(key::time(*at)));
        }
        self.write_under_lease(claim, settle).await
    }

    /// Ends the claim of a delivery that this code cannot read: it is due again at `until`, and
    /// nothing else is touched.
    pub async fn release_unread(
        &self,
        claim: &Claim,
        until: Timestamp,
    ) -> Result<Written, StoreError> {
        let release = Expression::default()
            .set_as("due_sk", ":due", item::s(key::time(until)))
            .set("claims", item::n(0))
            .set_as("state", ":pending", item::s(StateKind::Pending.name()))
            .remove("lease_id");
        self.write_under_lease(claim, release).await
    }

    async fn write_under_lease(
        &self,
        claim: &Claim,
        write: Expression,
    ) -> Result<Written, StoreError> {
        let write = write
            .condition("#lease_id = :lease")
            .value(":lease", item::attribute(&claim.lease, "lease")?);
        Ok(self.update(keys(&claim.key), write).await?.into())
    }
}
