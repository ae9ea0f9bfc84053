//! Calls, as the calendar reports them: booked, cancelled, moved, missed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::group::event_group;
use crate::booking::{BookingChange, BookingId, BookingStatus, Call, Recipient, StatusChange};
use crate::contact::{Email, Phone};
use crate::pii::{self, Text};

pub use crate::booking::Attendance;

event_group! {
    /// The calendar reported something about a call.
    CallEvent in EventData::Call {
        /// A call was booked; one that was moved is booked again.
        "call_booked" => Booked(CallBooked),
        /// A booking was cancelled, or moved to another time.
        "call_canceled" => Canceled(CallCanceled),
        /// The person did not come to a call, or a report of that was taken back.
        "call_missed" => Missed(CallMissed),
        /// A booking carried this lead's public id, but its e-mail is another one's.
        "call_booked_elsewhere" => BookedElsewhere(BookedElsewhere),
        /// The person asked in a message to cancel or to move a call. Nobody has done it yet.
        "call_change_requested" => ChangeRequested(CallChangeRequested),
    }
}

impl CallEvent {
    /// The booking, if this is one.
    pub fn booked(&self) -> Option<&CallBooked> {
        match self {
            Self::Booked(booked) => Some(booked),
            Self::Canceled(_)
            | Self::Missed(_)
            | Self::BookedElsewhere(_)
            | Self::ChangeRequested(_) => None,
        }
    }

    /// Whether a call that was to take place will not, or did not. Not for the old half of a move,
    /// and not for a no-show that was taken back.
    pub const fn is_lost_call(&self) -> bool {
        match self {
            Self::Booked(_) | Self::BookedElsewhere(_) | Self::ChangeRequested(_) => false,
            Self::Canceled(canceled) => matches!(canceled.withdrawal, Withdrawal::Canceled),
            Self::Missed(missed) => matches!(missed.attendance, Attendance::Missed),
        }
    }

    /// What the event changes on bookings. A booking that replaces another withdraws that one.
    pub fn bookings(&self) -> Vec<BookingChange> {
        match self {
            Self::Booked(booked) => {
                let replaced = booked.instead_of.iter().map(|id| BookingChange {
                    id: id.clone(),
                    call: None,
                    booked_at: None,
                    recipient: None,
                    status: StatusChange::Withdrawn(BookingStatus::Rescheduled),
                });
                let new = BookingChange {
                    id: booked.call.booking.clone(),
                    call: Some(booked.call.clone()),
                    booked_at: Some(booked.booked_at),
                    recipient: booked.recipient.clone(),
                    status: StatusChange::BookedIfNew,
                };
                replaced.chain([new]).collect()
            }
            Self::Canceled(canceled) => vec![BookingChange {
                id: canceled.of.booking().clone(),
                call: canceled.of.call().cloned(),
                booked_at: canceled.booked_at,
                recipient: None,
                status: StatusChange::Withdrawn(match canceled.withdrawal {
                    Withdrawal::Canceled => BookingStatus::Canceled,
                    Withdrawal::Rescheduled => BookingStatus::Rescheduled,
                }),
            }],
            Self::BookedElsewhere(_) | Self::ChangeRequested(_) => Vec::new(),
            Self::Missed(missed) => vec![BookingChange {
                id: missed.booking.clone(),
                call: None,
                booked_at: None,
                recipient: None,
                status: StatusChange::Attended(missed.attendance),
            }],
        }
    }
}

/// The person who booked, as far as the calendar says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitee {
    /// The e-mail they booked with, which may not be the lead's.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub email: Option<Email>,
    /// The name they booked with.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub name: Option<Text>,
    /// The number they gave for text messages or in an answer.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub phone: Option<Phone>,
}

/// A new booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallBooked {
    /// The call that was booked.
    pub call: Call,
    /// The person who booked it.
    pub invitee: Invitee,
    /// The time of booking, by the calendar's clock.
    pub booked_at: Timestamp,
    /// The booking that this one replaces, if the person moved their call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<BookingId>,
    /// To whom the messages about it go. `None` in events that were kept before this was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<Recipient>,
}

impl CallBooked {
    /// `new` for a first booking, `moved` for one that replaces another.
    pub const fn kind(&self) -> &'static str {
        if self.instead_of.is_none() { "new" } else { "moved" }
    }

    /// Whole days from the booking to the call.
    pub fn days_ahead(&self) -> i64 {
        self.call.starts_at.duration_since(self.booked_at).as_hours().max(0) / 24
    }
}

/// A booking that came through a link with this lead's id, which anybody can learn, for another
/// e-mail. It belongs to the lead of that e-mail; here only this note is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookedElsewhere {
    /// The booking that the other lead has.
    pub booking: BookingId,
}

/// What a person asked for about their call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallWish {
    /// They want to cancel the call.
    Cancel,
    /// They want to move the call to another time.
    Move,
}

/// A person's wish about a call, from a message. It changes neither the booking nor a consent: only the
/// calendar changes a booking, and only the words for opting out revoke a consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallChangeRequested {
    /// What they want.
    pub wish: CallWish,
    /// The booking that stands, the one that takes place next. `None` if none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booking: Option<BookingId>,
}

/// Why a booking was withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withdrawal {
    /// The call was cancelled.
    Canceled,
    /// The call was moved: another booking replaces this one.
    Rescheduled,
}

/// What was withdrawn. The calendar may name no more than the booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canceled {
    /// The call that had been booked.
    Call(Call),
    /// The booking of a call that the calendar did not describe.
    Booking(BookingId),
}

impl Canceled {
    /// The id of the booking, which every webhook about a cancellation has.
    pub const fn booking(&self) -> &BookingId {
        match self {
            Self::Call(call) => &call.booking,
            Self::Booking(booking) => booking,
        }
    }

    /// The call, if the calendar described it.
    pub const fn call(&self) -> Option<&Call> {
        match self {
            Self::Call(call) => Some(call),
            Self::Booking(_) => None,
        }
    }
}

/// A withdrawn booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCanceled {
    /// The booking that was withdrawn, with what is known of it.
    #[serde(flatten)]
    pub of: Canceled,
    /// The person who had booked it.
    #[serde(default)]
    pub invitee: Invitee,
    /// The time of booking, by the calendar's clock, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booked_at: Option<Timestamp>,
    /// Whether it was cancelled or moved.
    pub withdrawal: Withdrawal,
    /// Who withdrew it, in the calendar's words: `host` or `invitee`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The reason that they gave.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub reason: Option<Text>,
}

/// A no-show, or the end of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallMissed {
    /// The booking of the call.
    pub booking: BookingId,
    /// Whether the person missed it.
    pub attendance: Attendance,
}
