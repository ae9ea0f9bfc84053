//! A booked call: when and where it takes place, and whether it still does.
//!
//! A booking is a separate item beside its lead. Whichever booking update arrives first creates it:
//! a cancellation that arrives before its booking stays in force. See `docs/design.md` ("Bookings
//! and messages"). This module must not know which calendar is used, nor what is sent about a call.

pub mod link;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::contact::Phone;
use crate::defaults;
use crate::pii::{self, Text};

/// The text is not a booking id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a booking id")]
pub struct InvalidBookingId;

/// The id of one person's booking of one call. With Calendly it is the last part of the invitee's
/// URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BookingId(String);

impl BookingId {
    /// Parses an id of 1 to 64 ASCII letters, digits, `-` and `_`.
    pub fn parse(text: &str) -> Result<Self, InvalidBookingId> {
        let fits = (1..=64).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits && plain { Ok(Self(text.to_owned())) } else { Err(InvalidBookingId) }
    }

    /// The id as text, as used in keys.
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
    /// Online, at this address.
    Link {
        /// The page of the video call, as the calendar gives it.
        #[serde(with = "pii::stored")]
        url: Text,
    },
    /// Online, in a conference that the calendar has not finished creating.
    BeingMade {
        /// An address that may already work.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
        url: Option<Text>,
    },
    /// At a place or phone number, described in free text.
    Words {
        /// The text that the calendar has for the place; may hold a phone number.
        #[serde(with = "pii::stored")]
        words: Text,
    },
    /// No place was stated.
    #[default]
    Unsaid,
}

/// A call as it was booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The id of the booking.
    pub booking: BookingId,
    /// The calendar's id of the event, which is the same for all its invitees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar_event: Option<BookingId>,
    /// The name of the event in the calendar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When the call starts.
    pub starts_at: Timestamp,
    /// When the call ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// The IANA name of the invitee's time zone. It may not exist; see [`Call::zone`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Where the call takes place.
    #[serde(flatten)]
    pub place: Place,
    /// The page where the person can cancel it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub cancel_url: Option<Text>,
    /// The page where the person can move it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub reschedule_url: Option<Text>,
}

/// To whom the messages about a call go. It is decided when they are planned, and nothing that a form
/// says later changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// They go to this number.
    Number {
        /// The WhatsApp number that gets the messages.
        #[serde(with = "pii::stored")]
        phone: Phone,
        /// How to address its owner.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
        name: Option<Text>,
    },
    /// Nobody, because no number is known to be the person's.
    Nobody {
        /// Why it is not known.
        why: NoNumber,
    },
}

/// Why no number is known to be the person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoNumber {
    /// The booking came through a link without a lead's id, and gave no number itself.
    BareLink,
    /// Nobody was ever asked for one.
    NotGiven,
    /// The forms of the e-mail give different numbers, or one gives none.
    Disputed,
    /// The e-mail has more leads than are compared.
    TooManyLeads,
}

impl NoNumber {
    /// Every reason, for reading one by its stored name.
    pub const ALL: [Self; 4] = [Self::BareLink, Self::NotGiven, Self::Disputed, Self::TooManyLeads];

    /// The name in the table and in the journey.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BareLink => "bare_link",
            Self::NotGiven => "not_given",
            Self::Disputed => "disputed",
            Self::TooManyLeads => "too_many_leads",
        }
    }
}

impl Call {
    /// The invitee's time zone, or that of the business if the invitee's is absent or unknown.
    pub fn zone(&self) -> TimeZone {
        let own = self.time_zone.as_deref().and_then(|name| TimeZone::get(name).ok());
        own.unwrap_or_else(defaults::time_zone)
    }

    /// When the call starts, in the time zone of [`Call::zone`].
    pub fn local_start(&self) -> Zoned {
        self.starts_at.to_zoned(self.zone())
    }
}

/// The status of a booking, as it is stored, sent to destinations and shown in the journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BookingStatus {
    /// The call takes place.
    Booked,
    /// The call was cancelled.
    Canceled,
    /// The call was moved: another booking replaces this one.
    Rescheduled,
    /// The person did not come.
    NoShow,
}

impl BookingStatus {
    /// The name in the table, in the journey and in requests to destinations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Canceled => "canceled",
            Self::Rescheduled => "rescheduled",
            Self::NoShow => "no_show",
        }
    }

    /// The status that follows from the one that a booking or its withdrawal gave, at `since`, and
    /// from the newest report of whether the person came. A withdrawal is overruled only by a missed
    /// call that was reported later; a missed call that is taken back brings back no withdrawn booking.
    ///
    /// Bookings that were kept before these reports had attributes of their own have no `since`, and
    /// may have [`NoShow`](Self::NoShow) as the status that was given.
    #[must_use]
    pub fn with_attendance(
        self,
        since: Option<Timestamp>,
        report: Option<(Attendance, Timestamp)>,
    ) -> Self {
        let Some((attendance, at)) = report else { return self };
        match (self, attendance) {
            (Self::Booked | Self::NoShow, Attendance::Missed) => Self::NoShow,
            (Self::Booked | Self::NoShow, Attendance::MissedTakenBack) => Self::Booked,
            (Self::Canceled | Self::Rescheduled, Attendance::Missed)
                if since.is_some_and(|since| since < at) =>
            {
                Self::NoShow
            }
            (
                Self::Canceled | Self::Rescheduled,
                Attendance::Missed | Attendance::MissedTakenBack,
            ) => self,
        }
    }

    /// Whether the booking is in force, so that messages about the call are sent.
    pub const fn stands(self) -> bool {
        match self {
            Self::Booked => true,
            Self::Canceled | Self::Rescheduled | Self::NoShow => false,
        }
    }
}

/// Whether a person missed a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attendance {
    /// They did not come.
    Missed,
    /// They were reported as missing, and the report was taken back.
    MissedTakenBack,
}

impl Attendance {
    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::MissedTakenBack => "missed_taken_back",
        }
    }
}

/// A booking as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// The calendar's id of it, or the one that an authorised request gave it.
    pub id: BookingId,
    /// Whether it is in force.
    pub status: BookingStatus,
    /// What was booked. `None` if only its withdrawal has arrived.
    pub call: Option<Call>,
    /// When it was booked, by the calendar's clock.
    pub booked_at: Option<Timestamp>,
    /// To whom messages about it go, where that was decided.
    pub recipient: Option<Recipient>,
}

/// The booking that describes a lead best: one in force before one that is not, and of several the
/// one that was booked last. Bookings without a known call are ignored.
pub fn current(bookings: &[Booking]) -> Option<&Booking> {
    let known = bookings.iter().filter(|booking| booking.call.is_some());
    known.max_by_key(|booking| (booking.status.stands(), booking.booked_at))
}

/// The booking in force whose call takes place next.
pub fn next(bookings: &[Booking], now: Timestamp) -> Option<&Booking> {
    let starts_at = |booking: &&Booking| booking.call.as_ref().map(|call| call.starts_at);
    let ahead = bookings.iter().filter(|booking| booking.status.stands());
    ahead.filter(|booking| starts_at(booking) > Some(now)).min_by_key(starts_at)
}

/// How an event changes one booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingChange {
    /// The id of the booking.
    pub id: BookingId,
    /// What was booked, if the event states it.
    pub call: Option<Call>,
    /// When it was booked, if the event states it.
    pub booked_at: Option<Timestamp>,
    /// To whom messages about it go, if the event decides it.
    pub recipient: Option<Recipient>,
    /// The change of its status.
    pub status: StatusChange,
}

/// How an event changes the status of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusChange {
    /// The booking becomes [`BookingStatus::Booked`] if it has no status yet: a withdrawal that
    /// arrived first stays in force.
    BookedIfNew,
    /// The booking is withdrawn and gets this status, whatever it was before.
    Withdrawn(BookingStatus),
    /// The newest report of whether the person came. An older one changes nothing.
    Attended(Attendance),
}

impl StatusChange {
    /// The status with which the booking ends by this change, if it does.
    pub const fn end(self) -> Option<BookingStatus> {
        match self {
            Self::Withdrawn(status) => Some(status),
            Self::Attended(Attendance::Missed) => Some(BookingStatus::NoShow),
            Self::BookedIfNew | Self::Attended(Attendance::MissedTakenBack) => None,
        }
    }
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
        Booking { id, status, call: Some(call), booked_at: Some(at(booked_s)), recipient: None }
    }

    #[test]
    fn the_current_booking_is_one_in_force_even_if_a_later_one_was_withdrawn() {
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
    fn reports_of_attendance_count_by_their_time_and_bring_no_withdrawn_booking_back() {
        use Attendance::{Missed, MissedTakenBack};
        use BookingStatus::{Booked, Canceled, NoShow, Rescheduled};
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        for (given, since, report, expected) in [
            (Booked, None, None, Booked),
            (Booked, None, Some((Missed, 5)), NoShow),
            (Booked, None, Some((MissedTakenBack, 5)), Booked),
            (Canceled, Some(6), Some((Missed, 5)), Canceled),
            (Canceled, Some(5), Some((Missed, 5)), Canceled),
            (Canceled, Some(4), Some((Missed, 5)), NoShow),
            (Canceled, Some(4), Some((MissedTakenBack, 5)), Canceled),
            (Rescheduled, Some(6), Some((Missed, 5)), Rescheduled),
            // Bookings that were stored before their time was kept.
            (Canceled, None, Some((Missed, 5)), Canceled),
            (NoShow, None, None, NoShow),
            (NoShow, None, Some((MissedTakenBack, 5)), Booked),
        ] {
            let dated = report.map(|(attendance, second)| (attendance, at(second)));
            let status = given.with_attendance(since.map(at), dated);
            assert_eq!(status, expected, "{given:?} at {since:?}, {report:?}");
        }
    }

    #[test]
    fn an_unknown_time_zone_falls_back_to_that_of_the_business() {
        let mut call = booking("one", BookingStatus::Booked, 0).call.unwrap();
        assert_eq!(call.zone().iana_name(), Some("America/Sao_Paulo"));
        call.time_zone = Some("Europe/Lisbon".to_owned());
        assert_eq!(call.zone().iana_name(), Some("Europe/Lisbon"));
        call.time_zone = Some("Atlantis/Sunken".to_owned());
        assert_eq!(call.zone().iana_name(), Some("America/Sao_Paulo"));
    }

    #[test]
    fn a_booking_id_has_only_characters_that_are_safe_in_keys() {
        assert!(BookingId::parse("AAAAAAAAAAAAAAAA").is_ok());
        for text in ["", "a/b", "a#b", "é", &"x".repeat(65)] {
            assert!(BookingId::parse(text).is_err(), "{text}");
        }
    }
}
