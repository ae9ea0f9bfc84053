//! What an authorised person requested for a lead.

use serde::{Deserialize, Serialize};

use super::group::event_group;
use crate::booking::{BookingChange, BookingId, BookingStatus, Call, Recipient, StatusChange};
use crate::id::DeliveryId;

event_group! {
    /// Somebody with authority had us do something about a lead.
    OperationEvent in EventData::Operation {
        /// The messages about a call were requested.
        "sequence_requested" => SequenceRequested(SequenceRequested),
        /// The messages about a call were withdrawn.
        "sequence_withdrawn" => SequenceWithdrawn(SequenceWithdrawn),
        /// One destination was to be brought up to date.
        "sync_requested" => SyncRequested(SyncRequested),
        /// A delivery that had ended was sent again.
        "delivery_replayed" => DeliveryReplayed(DeliveryReplayed),
        /// A delivery that had ended was settled by hand.
        "delivery_settled" => DeliverySettled(DeliverySettled),
    }
}

impl OperationEvent {
    /// The sync, if this is one.
    pub fn sync(&self) -> Option<&SyncRequested> {
        match self {
            Self::SyncRequested(sync) => Some(sync),
            Self::SequenceRequested(_)
            | Self::SequenceWithdrawn(_)
            | Self::DeliveryReplayed(_)
            | Self::DeliverySettled(_) => None,
        }
    }

    /// The call whose messages were requested.
    pub fn call(&self) -> Option<&Call> {
        match self {
            Self::SequenceRequested(requested) => Some(&requested.call),
            Self::SequenceWithdrawn(_)
            | Self::SyncRequested(_)
            | Self::DeliveryReplayed(_)
            | Self::DeliverySettled(_) => None,
        }
    }

    /// What the event changes on bookings.
    pub fn bookings(&self) -> Vec<BookingChange> {
        match self {
            Self::SequenceRequested(requested) => vec![BookingChange {
                id: requested.call.booking.clone(),
                call: Some(requested.call.clone()),
                booked_at: None,
                recipient: requested.recipient.clone(),
                status: StatusChange::BookedIfNew,
            }],
            Self::SequenceWithdrawn(withdrawn) => vec![BookingChange {
                id: withdrawn.booking.clone(),
                call: None,
                booked_at: None,
                recipient: None,
                status: StatusChange::Withdrawn(BookingStatus::Canceled),
            }],
            Self::SyncRequested(_) | Self::DeliveryReplayed(_) | Self::DeliverySettled(_) => {
                Vec::new()
            }
        }
    }
}

/// A request for the messages about a call that no calendar reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceRequested {
    /// The call, as the caller described it.
    pub call: Call,
    /// To whom the messages go. `None` in events that were kept before this was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<Recipient>,
    /// Only these messages, by their slots. `None` is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<Vec<String>>,
}

/// A request to send no more messages about a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceWithdrawn {
    /// The booking of the call.
    pub booking: BookingId,
}

/// A request to bring one destination up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequested {
    /// The destination's name. The event is planned for no other.
    pub destination: String,
}

/// Where an operator's decision came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// The command line.
    Cli,
    /// An authorised HTTP request.
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

/// A delivery that is sent again under its own id. No destination takes this event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryReplayed {
    /// The delivery that is sent again.
    pub delivery_id: DeliveryId,
    /// The delivery's destination, by name.
    pub destination: String,
    /// The delivery's slot, by name.
    pub slot: String,
    /// Where the decision came in.
    pub by: Operator,
    /// The reason with which the delivery had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an operator decides about a delivery that waits for a person.
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

/// A delivery that an operator settled. No destination takes this event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverySettled {
    /// The delivery that is settled.
    pub delivery_id: DeliveryId,
    /// The delivery's destination, by name.
    pub destination: String,
    /// The delivery's slot, by name.
    pub slot: String,
    /// Where the decision came in.
    pub by: Operator,
    /// How it is settled.
    pub verdict: Verdict,
    /// The reason with which the delivery had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
