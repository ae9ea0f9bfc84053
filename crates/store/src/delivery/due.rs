//! Finds and counts deliveries: what is due, what is dead, and what a lead has for a destination. Also
//! counts what is in quarantine.
//!
//! Only reads. The indexes lag behind the table, so they only find candidates: the claim decides.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::Select;
use funil_core::delivery::{Delivery, Effect, StateKind};
use funil_core::id::LeadId;
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::item::Item;
use crate::table::key::DeliveryKey;
use crate::table::read::{first_items, first_page};
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

/// Which dead deliveries to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadRange {
    /// Only those that died at this time or later.
    pub since: Option<Timestamp>,
    /// Only those that died at this time or earlier.
    pub until: Option<Timestamp>,
    /// Only those that come after this one: the last of the page before.
    pub after: Option<DeadDelivery>,
}

/// Another delivery of the same lead and destination that is pending or leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Its key. Of two leased ones the one with the lower sort key goes first; of two pending ones the
    /// one with the higher sort key is newer.
    pub key: DeliveryKey,
    /// Its slot.
    pub slot: String,
    /// What it does beside bringing the lead's present state.
    pub effect: Effect,
    /// Pending or leased.
    pub state: StateKind,
    /// When it is due, or when its lease ends.
    pub due_at: Timestamp,
}

/// How many deliveries of a lead are looked at for those that are open. One that was leased before so
/// many newer ones is passed over; it sends the lead's present state, too.
const SIBLINGS: i32 = 25;
/// How many deliveries of a lead to one destination are read. A message about a booking that has ended
/// is not sent either where it is older, because sending looks at the booking.
const DELIVERIES: usize = 200;

impl Store {
    /// The deliveries to `destination` that are due at `now`, oldest first.
    pub async fn due(
        &self,
        destination: &str,
        now: Timestamp,
        limit: i32,
    ) -> Result<Vec<Due>, StoreError> {
        let query = self
            .query(key::due(destination))
            .index_name(DUE_INDEX)
            .key_condition_expression("due_pk = :pk AND due_sk <= :now")
            .expression_attribute_values(":now", item::s(key::time(now)))
            .limit(limit);
        let wanted = usize::try_from(limit).unwrap_or(1);
        let mut pages = query.into_paginator().send();
        let mut due = Vec::new();
        // Keys that this code cannot read are passed over: they must not hide what it can deliver.
        while due.len() < wanted
            && let Some(page) = pages.next().await
        {
            let page = page.map_err(|error| StoreError::of("Query", &error))?;
            due.extend(page.items().iter().filter_map(due_delivery));
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
        let dead_pk = key::dead(destination);
        let edge = |at: Option<Timestamp>, otherwise| item::s(key::time(at.unwrap_or(otherwise)));
        let after = range.after.as_ref().map(|last| {
            let mut start = item::keys(last.key.pk(), last.key.sk.clone());
            start.insert("dead_pk".to_owned(), item::s(dead_pk.clone()));
            start.insert("dead_sk".to_owned(), item::s(key::time(last.died_at)));
            start
        });
        let query = self
            .query(dead_pk.clone())
            .index_name(DEAD_INDEX)
            .key_condition_expression("dead_pk = :pk AND dead_sk BETWEEN :since AND :until")
            .expression_attribute_values(":since", edge(range.since, Timestamp::UNIX_EPOCH))
            .expression_attribute_values(":until", edge(range.until, Timestamp::MAX))
            .set_exclusive_start_key(after)
            .limit(limit);
        Ok(first_page(query).await?.iter().filter_map(dead_delivery).collect())
    }

    /// The delivery of `destination` that died last.
    pub async fn newest_dead(&self, destination: &str) -> Result<Option<DeadDelivery>, StoreError> {
        let query = self
            .query(key::dead(destination))
            .index_name(DEAD_INDEX)
            .key_condition_expression("dead_pk = :pk")
            .scan_index_forward(false)
            .limit(1);
        Ok(first_page(query).await?.first().and_then(dead_delivery))
    }

    /// How many deliveries of `destination` are open, whether due or not. One query.
    pub async fn pending_count(&self, destination: &str, cap: i32) -> Result<Counted, StoreError> {
        let query = self.query(key::due(destination)).index_name(DUE_INDEX);
        count(query.key_condition_expression("due_pk = :pk"), cap).await
    }

    /// How many deliveries of `destination` are dead. One query.
    pub async fn dead_count(&self, destination: &str, cap: i32) -> Result<Counted, StoreError> {
        let query = self.query(key::dead(destination)).index_name(DEAD_INDEX);
        count(query.key_condition_expression("dead_pk = :pk"), cap).await
    }

    /// How many requests of `source` are in quarantine. One query.
    pub async fn quarantine_count(&self, source: &str, cap: i32) -> Result<Counted, StoreError> {
        let query = self.query(key::quarantine(source));
        count(query.key_condition_expression("pk = :pk"), cap).await
    }

    /// The lead's other deliveries to the same destination that are open, among the newest 25.
    pub async fn open_siblings(&self, delivery: &DeliveryKey) -> Result<Vec<Sibling>, StoreError> {
        let destination = key::destination_of(&delivery.sk).unwrap_or_default();
        let query = self
            .deliveries(delivery.lead_id, destination)
            .filter_expression("attribute_exists(due_sk)")
            .limit(SIBLINGS);
        let found = first_page(query).await?;
        let siblings = found.into_iter().filter_map(|found| {
            let sibling = item::to_delivery(found).ok()?;
            let (key, due_at) = (DeliveryKey::from(&sibling), sibling.due_at()?);
            let Delivery { slot, effect, state, .. } = sibling;
            let is_other = key.sk != delivery.sk && state.is_open();
            is_other.then(|| Sibling { key, slot, effect, state: state.kind(), due_at })
        });
        Ok(siblings.collect())
    }

    /// The lead's newest deliveries to one destination, at most 200, oldest first, without
    /// those that this code cannot read.
    pub async fn deliveries_of(
        &self,
        lead_id: LeadId,
        destination: &str,
    ) -> Result<Vec<Delivery>, StoreError> {
        let found = first_items(self.deliveries(lead_id, destination), DELIVERIES).await?;
        Ok(found.into_iter().rev().filter_map(|found| item::to_delivery(found).ok()).collect())
    }

    /// The lead's deliveries to one destination, newest first.
    pub(crate) fn deliveries(&self, lead_id: LeadId, destination: &str) -> QueryFluentBuilder {
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

/// Counts at most `cap` items, and no more than one page of 1 MB.
async fn count(query: QueryFluentBuilder, cap: i32) -> Result<Counted, StoreError> {
    let page = query.select(Select::Count).limit(cap).send().await;
    let page = page.map_err(|error| StoreError::of("Query", &error))?;
    Ok(Counted {
        count: u32::try_from(page.count).unwrap_or(0),
        capped: page.last_evaluated_key.is_some(),
    })
}
