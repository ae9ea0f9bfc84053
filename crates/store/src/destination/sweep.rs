//! The lease of a shard's sweep, so that of several workers that were rung at once only one goes through a
//! backlog (`docs/design.md`, "Shards").
//!
//! It only spares refused claims: nothing is delivered twice without it.

use funil_core::clock::after;
use funil_core::delivery::Shard;
use funil_core::id::LeaseId;
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::{item, key};

/// How long a sweep's lease lasts, in seconds. A worker that goes on takes it again.
pub const SWEEP_S: i64 = 20;

impl Store {
    /// Takes the sweep of a shard, or takes it again. Returns whether this worker has it then.
    pub async fn take_sweep(
        &self,
        destination: &str,
        shard: Shard,
        lease: LeaseId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let take = Expression::of_type("sweep")
            .set_as("lease_id", ":lease", item::attribute(&lease, "lease")?)
            .set("lease_until", item::s(key::time(after(now, SWEEP_S))))
            .set("expires_at", item::n(now.as_second() + 3600))
            .condition(
                "attribute_not_exists(#lease_until) OR #lease_until <= :now OR #lease_id = :lease",
            )
            .value(":now", item::s(key::time(now)));
        self.update(keys(destination, shard), take).await
    }

    /// Gives the sweep of a shard back, if this worker has it.
    pub async fn leave_sweep(
        &self,
        destination: &str,
        shard: Shard,
        lease: LeaseId,
    ) -> Result<(), StoreError> {
        let end = Expression::default()
            .remove_all(&["lease_id", "lease_until"])
            .condition("#lease_id = :lease")
            .value(":lease", item::attribute(&lease, "lease")?);
        self.update(keys(destination, shard), end).await?;
        Ok(())
    }
}

fn keys(destination: &str, shard: Shard) -> item::Item {
    item::keys(key::destination(destination), key::sweep(shard))
}
