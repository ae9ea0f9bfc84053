//! A booked call: when and where it is, and whether it still takes place.
//!
//! A booking is an item of its own beside its lead, written by whichever word about it comes first: a
//! cancellation that arrives before its booking stays one. Must not know who keeps the calendar, nor
//! what is sent about a call.

pub mod link;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::defaults;
use crate::pii::{self, Text};

/// Not an identifier of a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a booking id")]
pub struct InvalidBookingId;

/// One person's booking of one call: with Calendly, the last part of the invitee's address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BookingId(String);

impl BookingId {
    /// Reads 1 to 64 letters, digits, `-` and `_`.
    pub fn parse(text: &str) -> Result<Self, InvalidBookingId> {
        let fits = (1..=64).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits && plain { Ok(Self(text.to_owned())) } else { Err(InvalidBookingId) }
    }

    /// As it stands in keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BookingId {
    type Error = InvalidBookingId;
    fn try_from(text: String) -> Result<Self, InvalidBookingId> {
        Self::parse(&text)
    }
}

impl From<BookingId> for String {
    fn from(id: BookingId) -> Self {
        id.0
    }
}

impl std::fmt::Display for BookingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a call takes place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "place", rename_all = "snake_case")]
pub enum Place {
    /// At this address on the web.
    Link {
        /// The address.
        #[serde(with = "pii::stored")]
        url: Text,
    },
    /// On the web, at an address that is still being made.
    BeingMade {
        /// One that may lead there already.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
        url: Option<Text>,
    },
    /// At a place or number, in words.
    Words {
        /// The words.
        #[serde(with = "pii::stored")]
        words: Text,
    },
    /// Nothing was said.
    #[default]
    Unsaid,
}

/// What was booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The booking.
    pub booking: BookingId,
    /// The calendar's id of the event, the same for everybody in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar_event: Option<BookingId>,
    /// What the calendar calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// The invitee's time zone, by its IANA name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// Where the person may cancel it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub cancel_url: Option<Text>,
    /// Where the person may move it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub reschedule_url: Option<Text>,
}

impl Call {
    /// The invitee's zone, or the business's where none is known.
    pub fn zone(&self) -> TimeZone {
        let known = self.time_zone.as_deref().and_then(|name| TimeZone::get(name).ok());
        known.unwrap_or_else(defaults::time_zone)
    }

    /// When it begins, by the invitee's clock.
    pub fn local_start(&self) -> Zoned {
        self.starts_at.to_zoned(self.zone())
    }
}

/// Whether a booked call takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BookingStatus {
    /// It does.
    Booked,
    /// It was called off.
    Canceled,
    /// It was moved: another booking stands for it.
    Rescheduled,
    /// The person did not come.
    NoShow,
}

impl BookingStatus {
    /// The name in the table, in the journey and for destinations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Canceled => "canceled",
            Self::Rescheduled => "rescheduled",
            Self::NoShow => "no_show",
        }
    }

    /// Whether messages about the call are to be sent.
    pub const fn stands(self) -> bool {
        match self {
            Self::Booked => true,
            Self::Canceled | Self::Rescheduled | Self::NoShow => false,
        }
    }
}

/// A booking as the table keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// Which.
    pub id: BookingId,
    /// Whether it takes place.
    pub status: BookingStatus,
    /// What was booked; unknown where only its withdrawal was heard of.
    pub call: Option<Call>,
    /// When it was booked, by the calendar's clock.
    pub booked_at: Option<Timestamp>,
}

/// The booking that tells most about a lead: one that stands before one that does not, and the one
/// booked last among equals.
pub fn current(bookings: &[Booking]) -> Option<&Booking> {
    let told = bookings.iter().filter(|booking| booking.call.is_some());
    told.max_by_key(|booking| (booking.status.stands(), booking.booked_at))
}

/// What an event says about one booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingChange {
    /// Which.
    pub id: BookingId,
    /// What was booked, where the event tells.
    pub call: Option<Call>,
    /// When it was booked, where the event tells.
    pub booked_at: Option<Timestamp>,
    /// What becomes of it.
    pub status: StatusChange,
}

/// What becomes of a booking's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusChange {
    /// It is booked, unless a later word was heard first.
    BookedIfNew,
    /// It is this, whatever it was.
    Set(BookingStatus),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booking(id: &str, status: BookingStatus, booked_s: i64) -> Booking {
        let id = BookingId::parse(id).unwrap();
        let at = |seconds| Timestamp::from_second(1_900_000_000 + seconds).unwrap();
        let call = Call {
            booking: id.clone(),
            calendar_event: None,
            title: None,
            starts_at: at(0),
            ends_at: None,
            time_zone: None,
            place: Place::Unsaid,
            cancel_url: None,
            reschedule_url: None,
        };
        Booking { id, status, call: Some(call), booked_at: Some(at(booked_s)) }
    }

    #[test]
    fn what_stands_tells_more_than_what_was_withdrawn_later() {
        let bookings = [
            booking("first", BookingStatus::Rescheduled, 1),
            booking("second", BookingStatus::Booked, 2),
            booking("third", BookingStatus::Canceled, 3),
        ];
        assert_eq!(current(&bookings).unwrap().id.as_str(), "second");
        assert_eq!(current(&bookings[..1]).unwrap().id.as_str(), "first");
        assert_eq!(current(&[]), None);
    }

    #[test]
    fn a_zone_that_does_not_exist_is_the_business_s() {
        let mut call = booking("one", BookingStatus::Booked, 0).call.unwrap();
        assert_eq!(call.zone().iana_name(), Some("America/Sao_Paulo"));
        call.time_zone = Some("Europe/Lisbon".to_owned());
        assert_eq!(call.zone().iana_name(), Some("Europe/Lisbon"));
        call.time_zone = Some("Atlantis/Sunken".to_owned());
        assert_eq!(call.zone().iana_name(), Some("America/Sao_Paulo"));
    }

    #[test]
    fn an_id_is_what_a_key_can_hold() {
        assert!(BookingId::parse("AAAAAAAAAAAAAAAA").is_ok());
        for text in ["", "a/b", "a#b", "é", &"x".repeat(65)] {
            assert!(BookingId::parse(text).is_err(), "{text}");
        }
    }
}
