//! Bookings, as items beside their lead.
//!
//! A booking is written by whichever booking update arrives first. A request for messages about a
//! call leaves the status of a known booking as it is, so that a withdrawn booking stays withdrawn.
//!
//! Whether the person came is kept beside the status, with its own time: Calendly promises no order, and
//! the newest report counts. The status of a booking follows from both.

use funil_core::booking::{
    Attendance, Booking, BookingChange, BookingId, BookingStatus, Call, Recipient, StatusChange,
};
use funil_core::id::LeadId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::{item, key};

/// How many bookings of a lead are read. Anybody can book with somebody's e-mail.
const BOOKINGS: usize = 100;

/// The attributes of a booking. The whole call is one attribute, so that two updates never mix.
#[derive(Serialize, Deserialize)]
struct BookingRecord {
    booking_id: BookingId,
    /// The status that the booking or its withdrawal gave.
    status: BookingStatus,
    /// When it was withdrawn. Absent in bookings that were withdrawn before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attendance: Option<Attendance>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attendance_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call: Option<Call>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    booked_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recipient: Option<Recipient>,
}

pub(crate) fn to_booking(found: Item) -> Result<Booking, StoreError> {
    let record: BookingRecord = item::read(found, "booking")?;
    let report = record.attendance.zip(record.attendance_at);
    let status = record.status.with_attendance(record.status_at, report);
    let BookingRecord { booking_id, call, booked_at, recipient, .. } = record;
    Ok(Booking { id: booking_id, status, call, booked_at, recipient })
}

/// The update that writes what an event of `at` says about a booking. Its condition fails for a report of whether the
/// person came that is older than the one that is stored.
pub(crate) fn booking_update(
    change: &BookingChange,
    at: Timestamp,
) -> Result<Expression, StoreError> {
    let update = Expression::of_type("booking").set("booking_id", item::s(change.id.as_str()));
    let mut update = match change.status {
        StatusChange::BookedIfNew => {
            update.set_once("status", item::s(BookingStatus::Booked.name()))
        }
        StatusChange::Withdrawn(status) => {
            update.set("status", item::s(status.name())).set("status_at", item::s(key::time(at)))
        }
        StatusChange::Attended(attendance) => update
            .set_once("status", item::s(BookingStatus::Booked.name()))
            .set("attendance", item::s(attendance.name()))
            .set("attendance_at", item::s(key::time(at)))
            .condition("attribute_not_exists(#attendance_at) OR #attendance_at <= :attendance_at"),
    };
    if let Some(call) = &change.call {
        update = update.set("call", item::attribute(call, "booking")?);
    }
    if let Some(recipient) = &change.recipient {
        update = update.set("recipient", item::attribute(recipient, "booking")?);
    }
    if let Some(booked_at) = change.booked_at {
        update = update.set("booked_at", item::timestamp(booked_at));
    }
    Ok(update)
}

impl Store {
    /// The bookings of a lead, at most 100, in no order, without those that this code cannot read.
    pub async fn bookings(&self, lead_id: LeadId) -> Result<Vec<Booking>, StoreError> {
        let query = self.query_prefix(key::lead(lead_id), key::BOOKING_PREFIX);
        let found = self.first_items(query, BOOKINGS).await?;
        Ok(found.into_iter().filter_map(|found| to_booking(found).ok()).collect())
    }

    /// A booking of a lead, if it is known.
    pub async fn booking(
        &self,
        lead_id: LeadId,
        id: &BookingId,
    ) -> Result<Option<Booking>, StoreError> {
        let found = self.get(item::keys(key::lead(lead_id), key::booking(id))).await?;
        found.map(to_booking).transpose()
    }
}
