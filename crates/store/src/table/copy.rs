//! Copies the items of another table into this one: what a restored table has goes into the table of a
//! deployment (`docs/operating.md`, "Restoring").
//!
//! An item that is there stays as it is, so a copy that was interrupted can be run again. Only the command
//! line uses it: no function scans.

use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use funil_core::destination;
use funil_core::replay::held_after_restore;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use crate::Store;
use crate::delivery::backfill::ScanPosition;
use crate::table::error::StoreError;
use crate::table::item::{self, Item};

/// How many items are written at once.
const AT_ONCE: usize = 16;

/// Which items are copied. Deliveries come last, so that none is sent before its lead is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but deliveries.
    AllButDeliveries,
    /// Deliveries.
    Deliveries,
}

/// Whether a copy writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyRun {
    /// It only counts what it would write.
    Dry,
    /// It writes.
    ForReal,
}

/// What became of one page.
#[derive(Clone, Debug, Default)]
pub struct CopiedPage {
    /// How many items were missing and are copied, or would be.
    pub copied: usize,
    /// How many were there already.
    pub known: usize,
    /// How many of the copied deliveries wait for a person, because they may have been sent.
    pub held: usize,
    /// Where the next page begins; `None` at the end.
    pub next: Option<ScanPosition>,
}

/// What became of one item.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Copied,
    Known,
}

impl Store {
    /// Copies one page of the items of `source` into this table.
    pub async fn copy_page(
        &self,
        source: &Self,
        part: Part,
        now: Timestamp,
        run: CopyRun,
        from: Option<ScanPosition>,
    ) -> Result<CopiedPage, StoreError> {
        let page = source
            .client
            .scan()
            .table_name(&*source.table)
            .consistent_read(true)
            .set_exclusive_start_key(from.map(|from| from.0))
            .send()
            .await
            .map_err(|error| StoreError::of("Scan", &error))?;
        let items = page.items.unwrap_or_default().into_iter();
        let of_part = items.filter(|item| {
            let is_delivery = item::text(item, "type") == Some("delivery");
            is_delivery == (part == Part::Deliveries)
        });
        let outcomes: Vec<(bool, Outcome)> = futures::stream::iter(of_part)
            .map(|item| async move {
                let (item, is_held) = as_restored(item, now)?;
                let outcome = match run {
                    CopyRun::ForReal => self.put_missing(item).await?,
                    CopyRun::Dry => self.would_be(item).await?,
                };
                Ok::<_, StoreError>((is_held, outcome))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let count = |wanted: &dyn Fn(&(bool, Outcome)) -> bool| {
            outcomes.iter().filter(|outcome| wanted(outcome)).count()
        };
        Ok(CopiedPage {
            copied: count(&|(_, outcome)| *outcome == Outcome::Copied),
            known: count(&|(_, outcome)| *outcome == Outcome::Known),
            held: count(&|(is_held, outcome)| *is_held && *outcome == Outcome::Copied),
            next: page.last_evaluated_key.filter(|key| !key.is_empty()).map(ScanPosition),
        })
    }

    async fn put_missing(&self, item: Item) -> Result<Outcome, StoreError> {
        let put = self.client.put_item().table_name(&*self.table).set_item(Some(item));
        match put.condition_expression("attribute_not_exists(pk)").send().await {
            Ok(_) => Ok(Outcome::Copied),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => {
                Ok(Outcome::Known)
            }
            Err(error) => Err(StoreError::of("PutItem", &error)),
        }
    }

    async fn would_be(&self, item: Item) -> Result<Outcome, StoreError> {
        let keys = item.into_iter().filter(|(name, _)| ["pk", "sk"].contains(&name.as_str()));
        let found = self.get(keys.collect()).await?;
        Ok(if found.is_some() { Outcome::Known } else { Outcome::Copied })
    }
}

/// The item as it is copied, and whether it is a delivery that waits for a person now. One that this code
/// cannot read is copied as it is.
fn as_restored(item: Item, now: Timestamp) -> Result<(Item, bool), StoreError> {
    if item::text(&item, "type") != Some("delivery") {
        return Ok((item, false));
    }
    let Ok(mut delivery) = item::to_delivery(item.clone()) else { return Ok((item, false)) };
    let found = destination::find(&delivery.destination);
    match found.and_then(|found| held_after_restore(found, &delivery, now)) {
        Some(state) => {
            delivery.state = state;
            Ok((item::of_delivery(&delivery)?, true))
        }
        None => Ok((item, false)),
    }
}
