//! The breaker of a destination, as all workers share it (`docs/design.md`, "Breaker").
//!
//! Each write is one update that needs no read: failures are counted in the table, and the worker
//! that probes is chosen by a condition.

use funil_core::clock::after;
use funil_core::delivery::breaker::{Breaker, FAILURES_TO_OPEN, Open};
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::{item, key};

impl Store {
    /// The breaker of a destination; closed where it was never written.
    pub async fn breaker(&self, destination: &str) -> Result<Breaker, StoreError> {
        let found = self.get(keys(destination)).await?;
        Ok(found.as_ref().map(read).unwrap_or_default())
    }

    /// Counts failures in a row, and opens the breaker where they are [`FAILURES_TO_OPEN`] together with
    /// those of others. Returns the breaker as it is then.
    pub async fn destination_failed(
        &self,
        destination: &str,
        (failures, reason): (i64, &str),
        probe_after_s: i64,
        now: Timestamp,
    ) -> Result<Breaker, StoreError> {
        let count = Expression::of_type("breaker")
            .set("last_failure", item::timestamp(now))
            .add("failures", failures);
        let counted = self.update_and_get(keys(destination), count).await?;
        let breaker = counted.as_ref().map(read).unwrap_or_default();
        if breaker.failures < FAILURES_TO_OPEN {
            return Ok(breaker);
        }
        self.open_breaker(destination, (0, reason), probe_after_s, now).await
    }

    /// Opens the breaker after further failures, or moves the next probe of an open one. Returns the
    /// breaker as it is then.
    pub async fn open_breaker(
        &self,
        destination: &str,
        (failures, reason): (i64, &str),
        probe_after_s: i64,
        now: Timestamp,
    ) -> Result<Breaker, StoreError> {
        let open = Expression::of_type("breaker")
            .set_once("opened_at", item::timestamp(now))
            .set("reason", item::s(reason))
            .set("probe_at", item::s(key::time(after(now, probe_after_s))))
            .set("last_failure", item::timestamp(now))
            .add("failures", failures);
        let opened = self.update_and_get(keys(destination), open).await?;
        Ok(opened.as_ref().map(read).unwrap_or_default())
    }

    /// Becomes the one worker that probes an open destination. Returns whether this worker does; the
    /// next one may after `probe_after_s`.
    pub async fn take_probe(
        &self,
        destination: &str,
        probe_after_s: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // Only an open breaker has a time for its probe.
        let take = Expression::default()
            .set("probe_at", item::s(key::time(after(now, probe_after_s))))
            .condition("#probe_at <= :now")
            .value(":now", item::s(key::time(now)));
        self.update(keys(destination), take).await
    }

    /// Gives back a probe that was taken with `probe_after_s` at `taken_at` and not sent, so that the next
    /// worker sends it at once. Does nothing where the breaker has changed since.
    pub async fn return_probe(
        &self,
        destination: &str,
        (taken_at, probe_after_s): (Timestamp, i64),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let give_back = Expression::default()
            .set("probe_at", item::s(key::time(now)))
            .condition("#probe_at = :taken")
            .value(":taken", item::s(key::time(after(taken_at, probe_after_s))));
        self.update(keys(destination), give_back).await?;
        Ok(())
    }

    /// Notes a success, which closes the breaker, and how many failures in a row came after it.
    pub async fn destination_succeeded(
        &self,
        destination: &str,
        failures_since: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let close = Expression::of_type("breaker")
            .set("last_success", item::timestamp(now))
            .set("failures", item::n(failures_since))
            .remove_all(&["opened_at", "reason", "probe_at"]);
        self.update(keys(destination), close).await?;
        Ok(())
    }

    /// Like [`destination_succeeded`](Self::destination_succeeded) for a success of a moment ago, which
    /// closes no breaker that another worker has opened since.
    pub async fn note_success(
        &self,
        destination: &str,
        failures_since: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let note = Expression::of_type("breaker")
            .set("last_success", item::timestamp(now))
            .set("failures", item::n(failures_since))
            .condition("attribute_not_exists(#opened_at)");
        self.update(keys(destination), note).await?;
        Ok(())
    }
}

fn keys(destination: &str) -> Item {
    item::keys(key::destination(destination), key::BREAKER)
}

fn read(found: &Item) -> Breaker {
    let time = |name: &str| item::text(found, name).and_then(|text| text.parse().ok());
    let open = time("opened_at").zip(time("probe_at")).map(|(since, probe_at)| Open {
        since,
        reason: item::text(found, "reason").unwrap_or_default().to_owned(),
        probe_at,
    });
    Breaker {
        failures: item::number(found, "failures").and_then(|n| n.try_into().ok()).unwrap_or(0),
        open,
        last_success: time("last_success"),
        last_failure: time("last_failure"),
    }
}
