//! What happened, typed.
//!
//! An event is written once, when it is accepted, and never changed. Scores, answers, page and ids
//! stand in it as they were; who the person is now stands on the lead. Knows no destination.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::booking::{BookingChange, BookingId, BookingStatus, Call, StatusChange};
use crate::contact::{Email, Phone};
use crate::form::lead::LeadForm;
use crate::form::questionnaire::{NextStep, QuestionnaireForm};
use crate::id::{DeliveryId, EventId, LeadId};
use crate::pii::{self, Text};
use crate::score::amanda::{AmandaScore, ClientScore};
use crate::score::readiness::ReadinessScore;

/// Something that happened to a lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its identity: the provider's own, or one made at acceptance.
    pub id: EventId,
    /// Whom it happened to.
    pub lead_id: LeadId,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was first accepted: part of its key and of its deliveries' keys.
    pub accepted_at: Timestamp,
    /// The lead id that the caller gave, where it belongs to another e-mail.
    pub supplied_lead_id: Option<LeadId>,
    /// What happened.
    pub data: EventData,
}

/// What happened, with what came along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum EventData {
    /// Somebody submitted the landing page's form.
    LeadSubmitted(Box<LeadSubmitted>),
    /// A lead answered the questionnaire.
    QuestionnaireCompleted(Box<QuestionnaireCompleted>),
    /// Somebody booked a call.
    CallBooked(Box<CallBooked>),
    /// A booked call was called off, or moved.
    CallCanceled(Box<CallCanceled>),
    /// Somebody did not come to a booked call, or it turned out that they did.
    CallMissed(CallMissed),
    /// An authorised caller asked for the messages about a call.
    SequenceRequested(Box<SequenceRequested>),
    /// An authorised caller withdrew the messages about a call.
    SequenceWithdrawn(SequenceWithdrawn),
    /// An authorised caller asked to bring one destination up to date.
    SyncRequested(SyncRequested),
    /// A person had a delivery sent again.
    DeliveryReplayed(DeliveryReplayed),
    /// A person said what became of a delivery.
    DeliverySettled(DeliverySettled),
}

impl EventData {
    /// The name that stands in the table, in logs and in the journey.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LeadSubmitted(_) => "lead_submitted",
            Self::QuestionnaireCompleted(_) => "questionnaire_completed",
            Self::CallBooked(_) => "call_booked",
            Self::CallCanceled(_) => "call_canceled",
            Self::CallMissed(_) => "call_missed",
            Self::SequenceRequested(_) => "sequence_requested",
            Self::SequenceWithdrawn(_) => "sequence_withdrawn",
            Self::SyncRequested(_) => "sync_requested",
            Self::DeliveryReplayed(_) => "delivery_replayed",
            Self::DeliverySettled(_) => "delivery_settled",
        }
    }

    /// The call whose messages this event plans.
    pub fn call(&self) -> Option<&Call> {
        match self {
            Self::CallBooked(booked) => Some(&booked.call),
            Self::SequenceRequested(requested) => Some(&requested.call),
            Self::LeadSubmitted(_)
            | Self::QuestionnaireCompleted(_)
            | Self::CallCanceled(_)
            | Self::CallMissed(_)
            | Self::SequenceWithdrawn(_)
            | Self::SyncRequested(_)
            | Self::DeliveryReplayed(_)
            | Self::DeliverySettled(_) => None,
        }
    }

    /// Whether a call that was to take place will not, or did not: no word that is taken back, and not
    /// the old half of a move.
    pub const fn is_lost_call(&self) -> bool {
        match self {
            Self::CallCanceled(canceled) => matches!(canceled.withdrawal, Withdrawal::Canceled),
            Self::CallMissed(missed) => matches!(missed.attendance, Attendance::Missed),
            Self::LeadSubmitted(_)
            | Self::QuestionnaireCompleted(_)
            | Self::CallBooked(_)
            | Self::SequenceRequested(_)
            | Self::SequenceWithdrawn(_)
            | Self::SyncRequested(_)
            | Self::DeliveryReplayed(_)
            | Self::DeliverySettled(_) => false,
        }
    }

    /// What it says about bookings: a booking that stands for another one withdraws that one.
    pub fn bookings(&self) -> Vec<BookingChange> {
        match self {
            Self::CallBooked(booked) => {
                let moved = booked.instead_of.iter().map(|id| BookingChange {
                    id: id.clone(),
                    call: None,
                    booked_at: None,
                    status: StatusChange::Set(BookingStatus::Rescheduled),
                });
                let new = BookingChange {
                    id: booked.call.booking.clone(),
                    call: Some(booked.call.clone()),
                    booked_at: Some(booked.booked_at),
                    status: StatusChange::BookedIfNew,
                };
                moved.chain([new]).collect()
            }
            Self::CallCanceled(canceled) => vec![BookingChange {
                id: canceled.call.booking.clone(),
                call: Some(canceled.call.clone()),
                booked_at: Some(canceled.booked_at),
                status: StatusChange::Set(match canceled.withdrawal {
                    Withdrawal::Canceled => BookingStatus::Canceled,
                    Withdrawal::Rescheduled => BookingStatus::Rescheduled,
                }),
            }],
            Self::CallMissed(missed) => vec![BookingChange {
                id: missed.booking.clone(),
                call: None,
                booked_at: None,
                status: StatusChange::Set(match missed.attendance {
                    Attendance::Missed => BookingStatus::NoShow,
                    Attendance::MissedTakenBack => BookingStatus::Booked,
                }),
            }],
            Self::SequenceRequested(requested) => vec![BookingChange {
                id: requested.call.booking.clone(),
                call: Some(requested.call.clone()),
                booked_at: None,
                status: StatusChange::BookedIfNew,
            }],
            Self::SequenceWithdrawn(withdrawn) => vec![BookingChange {
                id: withdrawn.booking.clone(),
                call: None,
                booked_at: None,
                status: StatusChange::Set(BookingStatus::Canceled),
            }],
            Self::LeadSubmitted(_)
            | Self::QuestionnaireCompleted(_)
            | Self::SyncRequested(_)
            | Self::DeliveryReplayed(_)
            | Self::DeliverySettled(_) => Vec::new(),
        }
    }
}

/// The form, scored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadSubmitted {
    /// What was submitted.
    pub form: LeadForm,
    /// Our score of it.
    pub score: AmandaScore,
    /// The client's own score, where it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_score: Option<ClientScore>,
}

/// The questionnaire, scored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionnaireCompleted {
    /// What was submitted.
    pub form: QuestionnaireForm,
    /// Our score of it.
    pub score: ReadinessScore,
    /// What it leads to.
    pub next_step: NextStep,
    /// The link to book a call, where it leads to one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub booking_url: Option<Text>,
}

/// Who booked, as the calendar knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitee {
    /// E-mail, which may not be the lead's.
    #[serde(with = "pii::stored")]
    pub email: Email,
    /// Name.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub name: Option<Text>,
    /// Phone.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub phone: Option<Phone>,
}

/// A booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallBooked {
    /// What was booked.
    pub call: Call,
    /// By whom.
    pub invitee: Invitee,
    /// When, by the calendar's clock.
    pub booked_at: Timestamp,
    /// The booking that this one stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<BookingId>,
}

impl CallBooked {
    /// Whether the person booked, or moved what they had booked.
    pub const fn kind(&self) -> &'static str {
        if self.instead_of.is_none() { "new" } else { "moved" }
    }

    /// How many whole days lie between the booking and the call.
    pub fn days_ahead(&self) -> i64 {
        self.call.starts_at.duration_since(self.booked_at).as_hours().max(0) / 24
    }
}

/// Why a booking no longer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withdrawal {
    /// It was called off.
    Canceled,
    /// It was moved to another time.
    Rescheduled,
}

/// A booking that no longer stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCanceled {
    /// What was booked.
    pub call: Call,
    /// By whom.
    pub invitee: Invitee,
    /// When it had been booked, by the calendar's clock.
    pub booked_at: Timestamp,
    /// Why.
    pub withdrawal: Withdrawal,
    /// Who called it off: `host` or `invitee`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What they said.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub reason: Option<Text>,
}

/// Whether a person came to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attendance {
    /// They did not.
    Missed,
    /// It was said that they did not, and taken back.
    MissedTakenBack,
}

/// A word about whether a person came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallMissed {
    /// The booking.
    pub booking: BookingId,
    /// Whether they came.
    pub attendance: Attendance,
}

/// Messages about a call that no calendar told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceRequested {
    /// The call.
    pub call: Call,
}

/// Messages about a call that are not to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceWithdrawn {
    /// The booking.
    pub booking: BookingId,
}

/// A sync of one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequested {
    /// The destination's name: the only one that this event is planned for.
    pub destination: String,
}

/// From where a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// The command line.
    Cli,
    /// An authorised call.
    Http,
}

impl Operator {
    /// The name in the journey.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Http => "http",
        }
    }
}

/// A delivery that is sent again, under its own id. Nothing is planned for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryReplayed {
    /// Which.
    pub delivery_id: DeliveryId,
    /// Its destination.
    pub destination: String,
    /// Its slot.
    pub slot: String,
    /// From where it was asked for.
    pub by: Operator,
    /// Why the delivery had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a person says of a delivery that waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The destination has it.
    Delivered,
    /// It is not to be sent.
    Skipped,
}

impl Verdict {
    /// The name in the journey.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Skipped => "skipped",
        }
    }
}

/// A delivery that a person settled. Nothing is planned for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverySettled {
    /// Which.
    pub delivery_id: DeliveryId,
    /// Its destination.
    pub destination: String,
    /// Its slot.
    pub slot: String,
    /// From where it was settled.
    pub by: Operator,
    /// As what.
    pub verdict: Verdict,
    /// Why the delivery had waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::Value;

    use super::*;
    use crate::destination::samples::every_event;

    #[test]
    fn an_event_is_stored_under_its_flat_name() {
        for event in every_event() {
            let name = event.name();
            assert_snapshot!(name, serde_json::to_string_pretty(&event).unwrap());
        }
    }

    #[test]
    fn a_stored_event_is_read_back() {
        for event in every_event() {
            let stored = serde_json::to_value(&event).unwrap();
            assert_eq!(stored["event"], event.name());
            assert_eq!(serde_json::from_value::<EventData>(stored).unwrap(), event);
        }
    }

    /// An item has its attributes in any order, and others beside the event's.
    #[test]
    fn an_event_is_read_from_between_other_attributes_in_any_order() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Item {
            event_id: EventId,
            #[serde(flatten)]
            data: EventData,
        }
        for data in every_event() {
            let item = Item { event_id: EventId::of_provider("test", "1"), data };
            let Value::Object(stored) = serde_json::to_value(&item).unwrap() else { panic!() };
            assert_eq!(stored.keys().collect::<Vec<_>>(), ["data", "event", "event_id"]);
            let ordered = |names: [&str; 3]| {
                let entries = names.map(|name| format!("{name:?}:{}", stored[name]));
                format!("{{{}}}", entries.join(","))
            };
            for names in [["data", "event", "event_id"], ["event_id", "event", "data"]] {
                assert_eq!(serde_json::from_str::<Item>(&ordered(names)).unwrap(), item);
            }
        }
    }

    #[test]
    fn an_event_that_cannot_be_read_is_an_error() {
        let submitted = serde_json::to_value(&every_event()[0]).unwrap();
        let with = |name: &str, value: Value| {
            let mut stored = submitted.clone();
            stored[name] = value;
            serde_json::from_value::<EventData>(stored).map_err(|error| error.to_string())
        };
        assert!(with("event", "call_rated".into()).unwrap_err().contains("call_rated"));
        assert!(with("event", Value::Null).is_err());
        assert!(with("data", Value::Null).is_err());
        assert!(with("data", "text".into()).is_err());
        assert!(with("added_by_newer_code", "text".into()).is_ok());
    }
}
