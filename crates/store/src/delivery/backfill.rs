//! Backfill: plans what was accepted while a destination was off (`docs/design.md`, "Replay").
//!
//! It scans the table, as only the command line does: no index lists every event, and a function never
//! scans. A delivery has the same key each time it is planned, so a backfill that was
//! interrupted can be run again.

use aws_sdk_dynamodb::operation::get_item::GetItemInput;
use aws_sdk_dynamodb::operation::scan::ScanInput;
use aws_sdk_dynamodb::types::AttributeValue;
use funil_core::clock::Entropy;
use funil_core::delivery::Delivery;
use funil_core::event::Event;
use jiff::Timestamp;

use crate::Store;
use crate::intake::accept::planned_for;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::key::DeliveryKey;
use crate::table::transaction::{Transacted, Write};
use crate::table::{item, key};

/// Where a scan continues.
#[derive(Clone, Debug)]
pub struct ScanPosition(pub(crate) Item);

/// One page of the events that a scan finds.
#[derive(Clone, Debug)]
pub struct EventsPage {
    /// The events, in no order.
    pub events: Vec<Event>,
    /// How many items this code cannot read.
    pub unread: usize,
    /// Where the next page begins; `None` at the end.
    pub next: Option<ScanPosition>,
}

impl Store {
    /// One page of the events that were accepted from `since` to `until`, both included. Scans the
    /// table, so no function may use it.
    pub async fn scan_events(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        from: Option<ScanPosition>,
    ) -> Result<EventsPage, StoreError> {
        let edge = |at: Option<Timestamp>, otherwise: Timestamp, end: &str| {
            let time = key::time(at.unwrap_or(otherwise));
            AttributeValue::S(format!("{}{time}{end}", key::EVENT_PREFIX))
        };
        let scan = ScanInput::builder()
            .table_name(&*self.table)
            .consistent_read(true)
            .filter_expression("sk BETWEEN :since AND :until")
            .expression_attribute_values(":since", edge(since, Timestamp::UNIX_EPOCH, ""))
            // `~` sorts after every id.
            .expression_attribute_values(":until", edge(until, Timestamp::MAX, "~"))
            .set_exclusive_start_key(from.map(|from| from.0));
        let page = self.client.send(scan).await;
        let page = page.map_err(|error| StoreError::of("Scan", &error))?;
        let found = page.items.unwrap_or_default();
        let count = found.len();
        let events: Vec<Event> =
            found.into_iter().filter_map(|found| item::to_event(found).ok()).collect();
        let unread = count - events.len();
        let next = page.last_evaluated_key.filter(|key| !key.is_empty()).map(ScanPosition);
        Ok(EventsPage { events, unread, next })
    }

    /// Whether a delivery exists in the table.
    pub async fn is_planned(&self, delivery: &Delivery) -> Result<bool, StoreError> {
        let key = DeliveryKey::from(delivery);
        let get = GetItemInput::builder()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key.pk(), key.sk)))
            .consistent_read(true)
            .projection_expression("pk");
        let found = self.client.send(get).await;
        let found = found.map_err(|error| StoreError::of("GetItem", &error))?;
        Ok(found.item.is_some())
    }

    /// Writes a delivery that does not exist yet, with the mark of its destination on its lead. Returns
    /// whether it was missing.
    pub async fn plan_missing(
        &self,
        delivery: &Delivery,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.transaction();
        transaction.create(Write::Delivery, item::of_delivery(delivery)?)?;
        let mark = planned_for(Expression::default(), std::slice::from_ref(delivery));
        let lead_keys = item::keys(key::lead(delivery.lead_id), key::LEAD);
        transaction.update(Write::Lead, lead_keys, mark.condition("attribute_exists(pk)"))?;
        match transaction.send(entropy).await? {
            Transacted::Done => Ok(true),
            Transacted::Conflict { write: Write::Delivery, .. } => Ok(false),
            Transacted::Conflict { write, .. } => Err(write.conflict()),
        }
    }
}
