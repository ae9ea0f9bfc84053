//! Bookings, as items beside their lead, and the deliveries that end with one.
//!
//! A booking is written by whatever tells of it first; only a booking's own word leaves an earlier
//! withdrawal as it is.

use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use funil_core::booking::{Booking, BookingChange, BookingId, BookingStatus, Call, StatusChange};
use funil_core::delivery::{Reason, State};
use funil_core::id::LeadId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::delivery::due;
use crate::intake::accept::SetExpression;
use crate::table::error::StoreError;
use crate::table::item::Item;
use crate::table::key::DeliveryKey;
use crate::table::{item, key};

/// A booking's attributes. The whole call stands in one, so that words about it never mix.
#[derive(Serialize, Deserialize)]
struct BookingRecord {
    booking_id: BookingId,
    status: BookingStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call: Option<Call>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    booked_at: Option<Timestamp>,
}

pub(crate) fn to_booking(found: Item) -> Result<Booking, StoreError> {
    let record: BookingRecord = item::read(found, "booking")?;
    let BookingRecord { booking_id, status, call, booked_at } = record;
    Ok(Booking { id: booking_id, status, call, booked_at })
}

impl Store {
    /// The bookings of a lead, in no order; without those that newer code wrote.
    pub async fn bookings(&self, lead_id: LeadId) -> Result<Vec<Booking>, StoreError> {
        let query = self
            .query(key::lead(lead_id))
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":prefix", item::s(key::BOOKING_PREFIX));
        let found = due::all_pages(query).await?;
        Ok(found.into_iter().filter_map(|found| to_booking(found).ok()).collect())
    }

    /// A booking, if there is one.
    pub async fn booking(
        &self,
        lead_id: LeadId,
        id: &BookingId,
    ) -> Result<Option<Booking>, StoreError> {
        let found = self
            .client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::lead(lead_id), key::booking(id))))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::of("GetItem", &error))?;
        found.item.map(to_booking).transpose()
    }

    /// What an event says about a booking.
    pub(crate) fn booking_update(
        &self,
        lead_id: LeadId,
        change: &BookingChange,
    ) -> Result<TransactWriteItem, StoreError> {
        let mut set = SetExpression::default();
        set.always("v", item::n(1));
        set.always("type", item::s("booking"));
        set.always("booking_id", item::s(change.id.as_str()));
        match change.status {
            StatusChange::BookedIfNew => {
                set.once("status", item::s(BookingStatus::Booked.name()));
            }
            StatusChange::Set(status) => set.always("status", item::s(status.name())),
        }
        if let Some(call) = &change.call {
            set.always("call", item::attribute(call, "booking")?);
        }
        if let Some(booked_at) = &change.booked_at {
            set.always("booked_at", item::attribute(booked_at, "booking")?);
        }
        let (expression, names, values) = set.finish();
        let update = Update::builder()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::lead(lead_id), key::booking(&change.id))))
            .update_expression(expression)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()
            .map_err(|_| StoreError::Unreadable { what: "booking" })?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// Ends a delivery that nobody holds without sending it.
    pub(crate) fn withdrawal(
        &self,
        delivery: &DeliveryKey,
        reason: Reason,
        now: Timestamp,
    ) -> Result<TransactWriteItem, StoreError> {
        let update = Update::builder()
            .table_name(&*self.table)
            .set_key(Some(item::keys(delivery.pk(), delivery.sk.clone())))
            .update_expression(
                "SET #state = :skipped, settled_at = :now, reason = :reason REMOVE due_pk, due_sk",
            )
            .condition_expression("#state = :pending")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":pending", item::s(State::Pending.name()))
            .expression_attribute_values(":skipped", item::s(State::Skipped.name()))
            .expression_attribute_values(":now", item::attribute(&now, "time")?)
            .expression_attribute_values(":reason", item::s(reason.to_string()))
            .build()
            .map_err(|_| StoreError::Unreadable { what: "delivery" })?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// Ends a delivery that nobody holds without sending it. Answers whether it was so.
    pub async fn withdraw(
        &self,
        delivery: &DeliveryKey,
        reason: Reason,
        now: Timestamp,
        entropy: &dyn funil_core::clock::Entropy,
    ) -> Result<bool, StoreError> {
        let writes = vec![self.withdrawal(delivery, reason, now)?];
        match self.transact(writes, entropy).await? {
            crate::intake::accept::Transacted::Done => Ok(true),
            crate::intake::accept::Transacted::Failed { .. } => Ok(false),
        }
    }
}
