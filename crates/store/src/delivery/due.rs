//! Finds and counts deliveries: what is due, what is dead, and what a lead has for a destination. Also
//! counts what is in quarantine.
//!
//! Only reads. The indexes lag behind the table, so they only find candidates: the claim decides.

use aws_sdk_dynamodb::operation::query::builders::QueryInputBuilder;
use aws_sdk_dynamodb::types::Select;
use funil_core::clock::after;
use funil_core::delivery::{Delivery, RING_S, Shard};
use funil_core::id::LeadId;
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::item::Item;
use crate::table::key::DeliveryKey;
use crate::table::{DEAD_INDEX, DUE_INDEX};
use crate::table::{item, key};

/// An open delivery, as the index of due deliveries has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The delivery's key.
    pub key: DeliveryKey,
    /// Its due time, or the end of its lease.
    pub due_at: Timestamp,
    /// When it expires; absent where the index does not have it.
    pub deadline: Option<Timestamp>,
}

impl Due {
    /// Since when it waits. A delivery whose ring was lost has waited since it was accepted.
    pub fn waits_since(&self) -> Timestamp {
        let accepted = self.key.accepted_at();
        accepted.filter(|at| after(*at, RING_S) == self.due_at).unwrap_or(self.due_at)
    }
}

/// What a delivery function is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// To deliver everything that is due.
    Due,
    /// To deliver these, which a ring names, if nobody has claimed them yet.
    Named(Vec<DeliveryKey>),
    /// To deliver these now, if they are due or wait for a ring.
    Now(Vec<DeliveryKey>),
}

/// A dead delivery, as the index of dead deliveries has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadDelivery {
    /// The delivery's key.
    pub key: DeliveryKey,
    /// When it died.
    pub died_at: Timestamp,
}

/// A count that stops at a cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many were counted.
    pub count: u32,
    /// Whether counting stopped at the cap, so that there may be more.
    pub capped: bool,
}

impl Counted {
    /// The sum of the shards' counts, at most `cap`.
    fn sum(shards: &[Self], cap: i32) -> Self {
        let cap = u32::try_from(cap).unwrap_or(0);
        let count: u32 = shards.iter().map(|one| one.count).sum();
        let capped = count > cap || shards.iter().any(|one| one.capped);
        Self { count: count.min(cap), capped }
    }
}

impl DeadDelivery {
    /// Its place among the dead ones of all shards.
    fn place(&self) -> (Timestamp, &DeliveryKey) {
        (self.died_at, &self.key)
    }
}

/// Which dead deliveries to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadRange {
    /// Only those that died at this time or later.
    pub since: Option<Timestamp>,
    /// Only those that died at this time or earlier.
    pub until: Option<Timestamp>,
    /// Only those that come after this one: the last of the page before. Shards are read side by side,
    /// so it is skipped by its place among all of them.
    pub after: Option<DeadDelivery>,
}

/// How many deliveries of a lead to one destination are read. An older message about a booking that has ended is not
/// read here, but it is not sent either, because the worker looks at the booking before it sends.
const DELIVERIES: usize = 200;

impl Store {
    /// The deliveries to `destination` that are due at `now` in all shards, oldest first, at most `limit`.
    pub async fn due(
        &self,
        destination: &str,
        now: Timestamp,
        limit: i32,
    ) -> Result<Vec<Due>, StoreError> {
        let pages =
            self.shards().each().map(|shard| self.due_in(destination, shard, now, None, limit));
        let mut due = futures::future::try_join_all(pages).await?.concat();
        due.sort_by(|one, other| (one.due_at, &one.key).cmp(&(other.due_at, &other.key)));
        due.truncate(usize::try_from(limit).unwrap_or(1));
        Ok(due)
    }

    /// The deliveries to `destination` that are due at `now` in one shard, oldest first, that come after
    /// `after`. Fewer than `limit` mean that there are no more.
    pub async fn due_in(
        &self,
        destination: &str,
        shard: Shard,
        now: Timestamp,
        after: Option<&Due>,
        limit: i32,
    ) -> Result<Vec<Due>, StoreError> {
        let due_pk = key::due(destination, shard);
        let after = after.map(|last| {
            let mut start = item::keys(last.key.pk(), last.key.sk.clone());
            start.insert("due_pk".to_owned(), item::s(due_pk.clone()));
            start.insert("due_sk".to_owned(), item::s(key::time(last.due_at)));
            start
        });
        let query = self
            .query(due_pk)
            .index_name(DUE_INDEX)
            .key_condition_expression("due_pk = :pk AND due_sk <= :now")
            .expression_attribute_values(":now", item::s(key::time(now)))
            .set_exclusive_start_key(after)
            .limit(limit);
        let wanted = usize::try_from(limit).unwrap_or(1);
        let mut pages = self.pages(query);
        let mut due = Vec::new();
        // Keys that this code cannot read are passed over: they must not hide what it can deliver.
        while due.len() < wanted
            && let Some(page) = pages.next().await
        {
            due.extend(page?.iter().filter_map(due_delivery));
        }
        Ok(due)
    }

    /// The dead deliveries of `destination`, oldest first.
    pub async fn dead(
        &self,
        destination: &str,
        limit: i32,
    ) -> Result<Vec<DeadDelivery>, StoreError> {
        self.dead_within(destination, &DeadRange::default(), limit).await
    }

    /// The dead deliveries of `destination` within a range, oldest first. An empty page means that
    /// the range has no more.
    pub async fn dead_within(
        &self,
        destination: &str,
        range: &DeadRange,
        limit: i32,
    ) -> Result<Vec<DeadDelivery>, StoreError> {
        // DynamoDB refuses a range that ends before it begins, and keys before 1970 are in no order.
        let since = range.since.unwrap_or_default().max(Timestamp::UNIX_EPOCH);
        if range.until.is_some_and(|until| until < since) {
            return Ok(Vec::new());
        }
        let range = &DeadRange { since: Some(since), ..range.clone() };
        let pages =
            self.shards().each().map(|shard| self.dead_in(destination, shard, range, limit));
        let mut dead = futures::future::try_join_all(pages).await?.concat();
        dead.sort_by(|one, other| one.place().cmp(&other.place()));
        dead.truncate(usize::try_from(limit).unwrap_or(1));
        Ok(dead)
    }

    async fn dead_in(
        &self,
        destination: &str,
        shard: Shard,
        range: &DeadRange,
        limit: i32,
    ) -> Result<Vec<DeadDelivery>, StoreError> {
        let edge = |at: Option<Timestamp>, otherwise| item::s(key::time(at.unwrap_or(otherwise)));
        // A shard may have several of one time, of which those up to the last one were read.
        let after = range.after.as_ref();
        let since = after.map(|last| last.died_at).max(range.since);
        let query = self
            .query(key::dead(destination, shard))
            .index_name(DEAD_INDEX)
            .key_condition_expression("dead_pk = :pk AND dead_sk BETWEEN :since AND :until")
            .expression_attribute_values(":since", edge(since, Timestamp::UNIX_EPOCH))
            .expression_attribute_values(":until", edge(range.until, Timestamp::MAX))
            .limit(limit);
        let wanted = usize::try_from(limit).unwrap_or(1);
        let mut pages = self.pages(query);
        let mut dead: Vec<DeadDelivery> = Vec::new();
        // Those of one time are in no order of ours, so all of them are read before a page is cut.
        let is_whole = |dead: &[DeadDelivery]| {
            let cut = dead.get(wanted.saturating_sub(1));
            cut.zip(dead.last()).is_some_and(|(cut, last)| cut.died_at < last.died_at)
        };
        while !is_whole(&dead)
            && let Some(page) = pages.next().await
        {
            let page = page?;
            let found = page.iter().filter_map(dead_delivery);
            dead.extend(found.filter(|one| after.is_none_or(|last| one.place() > last.place())));
        }
        Ok(dead)
    }

    /// The delivery of `destination` that died last.
    pub async fn newest_dead(&self, destination: &str) -> Result<Option<DeadDelivery>, StoreError> {
        let newest = self.shards().each().map(|shard| async move {
            let query = self
                .query(key::dead(destination, shard))
                .index_name(DEAD_INDEX)
                .key_condition_expression("dead_pk = :pk")
                .scan_index_forward(false)
                .limit(1);
            Ok::<_, StoreError>(self.first_page(query).await?.first().and_then(dead_delivery))
        });
        let newest = futures::future::try_join_all(newest).await?;
        Ok(newest.into_iter().flatten().max_by_key(|one| one.died_at))
    }

    /// How many deliveries of `destination` are open, whether due or not. One query for each shard.
    pub async fn pending_count(&self, destination: &str, cap: i32) -> Result<Counted, StoreError> {
        let counts = self.shards().each().map(|shard| {
            let query = self.query(key::due(destination, shard)).index_name(DUE_INDEX);
            self.count(query.key_condition_expression("due_pk = :pk"), cap)
        });
        Ok(Counted::sum(&futures::future::try_join_all(counts).await?, cap))
    }

    /// How many deliveries of `destination` are dead. One query for each shard.
    pub async fn dead_count(&self, destination: &str, cap: i32) -> Result<Counted, StoreError> {
        let counts = self.shards().each().map(|shard| {
            let query = self.query(key::dead(destination, shard)).index_name(DEAD_INDEX);
            self.count(query.key_condition_expression("dead_pk = :pk"), cap)
        });
        Ok(Counted::sum(&futures::future::try_join_all(counts).await?, cap))
    }

    /// How many requests of `source` are in quarantine. One query.
    pub async fn quarantine_count(&self, source: &str, cap: i32) -> Result<Counted, StoreError> {
        let query = self.query(key::quarantine(source));
        self.count(query.key_condition_expression("pk = :pk"), cap).await
    }

    /// Counts at most `cap` items, and no more than one page of 1 MB.
    async fn count(&self, query: QueryInputBuilder, cap: i32) -> Result<Counted, StoreError> {
        let page = self.client.send(query.select(Select::Count).limit(cap)).await;
        let page = page.map_err(|error| StoreError::of("Query", &error))?;
        Ok(Counted {
            count: u32::try_from(page.count).unwrap_or(0),
            capped: page.last_evaluated_key.is_some(),
        })
    }

    /// The lead's newest deliveries to one destination, at most 200, oldest first, without
    /// those that this code cannot read.
    pub async fn deliveries_of(
        &self,
        lead_id: LeadId,
        destination: &str,
    ) -> Result<Vec<Delivery>, StoreError> {
        let found = self.first_items(self.deliveries(lead_id, destination), DELIVERIES).await?;
        Ok(found.into_iter().rev().filter_map(|found| item::to_delivery(found).ok()).collect())
    }

    /// The lead's deliveries to one destination, newest first.
    pub(crate) fn deliveries(&self, lead_id: LeadId, destination: &str) -> QueryInputBuilder {
        self.query_prefix(key::lead(lead_id), &key::deliveries_of(destination))
            .scan_index_forward(false)
    }
}

fn dead_delivery(found: &Item) -> Option<DeadDelivery> {
    let died_at = item::text(found, "dead_sk")?.parse().ok()?;
    Some(DeadDelivery { key: key_of(found)?, died_at })
}

fn due_delivery(found: &Item) -> Option<Due> {
    let due_at = item::text(found, "due_sk")?.parse().ok()?;
    let deadline = item::text(found, "deadline").and_then(|text| text.parse().ok());
    Some(Due { key: key_of(found)?, due_at, deadline })
}

/// The key of an item that is a delivery.
pub(crate) fn key_of(found: &Item) -> Option<DeliveryKey> {
    DeliveryKey::parse(item::text(found, "pk")?, item::text(found, "sk")?)
}
