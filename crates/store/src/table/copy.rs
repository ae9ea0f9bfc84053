//! Copies the items of another table into this one: what a restored table has goes into the table of a
//! deployment (`docs/operating.md`, "Restoring").
//!
//! The table that is copied into has no leads of its own, so that nothing has to be merged; a mark on its
//! identity says which table it is restored from, and a copy that was interrupted can be run again. Only
//! the command line uses it: no function scans.

use aws_sdk_dynamodb::operation::put_item::PutItemInput;
use aws_sdk_dynamodb::operation::scan::ScanInput;
use funil_core::destination;
use funil_core::hash::HashKey;
use funil_core::replay::held_after_restore;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use crate::Store;
use crate::delivery::backfill::ScanPosition;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::{self, Item};
use crate::table::key;

/// How many items are written at once.
const AT_ONCE: usize = 16;

/// Which items are copied. Deliveries come last, so that none is sent before its lead is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Every item that is no delivery.
    AllButDeliveries,
    /// Only the deliveries.
    Deliveries,
}

/// Whether a copy writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyRun {
    /// It only counts what it would write.
    Dry,
    /// It writes the items to the other table.
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

/// The attribute of the identity with the name of the table that this one is restored from.
const RESTORED_FROM: &str = "restored_from";
/// The types of items that a table has because somebody was there.
const OF_PEOPLE: [&str; 3] = ["lead", "event", "revocation"];

impl Store {
    /// Whether `source` may be copied into this table: it is being restored from it already, or it has
    /// nothing of people.
    pub async fn may_be_restored_from(&self, source: &Self) -> Result<bool, StoreError> {
        let identity = self.get(item::keys(key::TABLE_IDENTITY, key::TABLE_IDENTITY)).await?;
        let restored_from = identity.as_ref().and_then(|found| item::text(found, RESTORED_FROM));
        if restored_from == Some(&*source.table) {
            return Ok(true);
        }
        let mut from = None;
        loop {
            let page = self.scan_page(from).await?;
            let is_of_people = |item: &Item| {
                item::text(item, "type").is_some_and(|kind| OF_PEOPLE.contains(&kind))
            };
            if page.0.iter().any(is_of_people) {
                return Ok(false);
            }
            from = page.1;
            if from.is_none() {
                return Ok(true);
            }
        }
    }

    /// Marks this table as restored from `source`, and spreads deliveries over as many shards as the
    /// source ever did: otherwise nobody would look where they stand.
    pub async fn begin_restore(&self, source: &Self, hash_key: &HashKey) -> Result<(), StoreError> {
        self.ready(hash_key).await?;
        self.spread_over(source.look_at_shards().await?).await?;
        let mark = Expression::default().set(RESTORED_FROM, item::s(&*source.table));
        self.update(item::keys(key::TABLE_IDENTITY, key::TABLE_IDENTITY), mark).await?;
        Ok(())
    }

    async fn scan_page(
        &self,
        from: Option<ScanPosition>,
    ) -> Result<(Vec<Item>, Option<ScanPosition>), StoreError> {
        let scan = ScanInput::builder().table_name(&*self.table).consistent_read(true);
        let scan = scan.set_exclusive_start_key(from.map(|from| from.0));
        let page = self.client.send(scan).await;
        let page = page.map_err(|error| StoreError::of("Scan", &error))?;
        let next = page.last_evaluated_key.filter(|key| !key.is_empty()).map(ScanPosition);
        Ok((page.items.unwrap_or_default(), next))
    }

    /// Copies one page of the items of `source` into this table.
    pub async fn copy_page(
        &self,
        source: &Self,
        part: Part,
        now: Timestamp,
        run: CopyRun,
        from: Option<ScanPosition>,
    ) -> Result<CopiedPage, StoreError> {
        let (items, next) = source.scan_page(from).await?;
        let of_part = items.into_iter().filter(|item| {
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
            next,
        })
    }

    async fn put_missing(&self, item: Item) -> Result<Outcome, StoreError> {
        let put = PutItemInput::builder().table_name(&*self.table).set_item(Some(item));
        match self.client.send(put.condition_expression("attribute_not_exists(pk)")).await {
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
