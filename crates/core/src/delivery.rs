//! A delivery: an event for a destination and slot, with its state.
//!
//! ```text
//!            claim                 Delivered / Skipped ───► delivered / skipped
//! pending ─────────► leased ──┬─►  Rejected / Expired  ───► dead  (waits for a person)
//!    ▲                 │      ├─►  Unknown             ───► unknown, or dead ("may have been sent")
//!    └─────────────────┴──────┘
//!      Retry, Blocked, Released, or the lease's end
//! ```
//!
//! [`settle`] makes every transition that ends a claim, but for items that this code cannot read,
//! which are released as they are. Must not know how a delivery is claimed or
//! stored, nor any destination.

mod attempt;
pub mod breaker;
pub mod exchange;
mod kept;
pub mod limit;
mod message;
mod outcome;
mod progress;
mod queue;
mod reason;
mod settle;
mod state;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use attempt::{ATTEMPTS_KEPT, Attempt, AttemptOutcome, log_attempt};
pub use kept::KeptReply;
pub use message::MessageStatus;
pub use outcome::{Outcome, judge};
pub use progress::Progress;
pub use queue::{Queue, RING_S, SHARDS_MAX, SWEPT_AFTER_S, Shard, Shards, Start};
pub use reason::{Reason, StoredReason};
pub use settle::{
    Measured, RETRY_AFTER_S_MAX, SCHEDULE_S, Settlement, UNKNOWN_WAIT_S, WhenUnknown, settle,
};
pub use state::{Sending, State, StateKind};

use crate::booking::BookingId;
use crate::event::Event;
use crate::hash::Digest;
use crate::id::{DeliveryId, DeliveryName, EventId, LeadId};

/// How long a claim lasts, in seconds. This includes the clock skew between workers.
pub const LEASE_S: i64 = 60;
/// A delivery that is claimed more often than this in a row, without any settlement, is dead:
/// something in it kills its worker.
pub const CLAIMS_MAX: u32 = 20;
/// How long a delivery waits that is blocked or that this code cannot read, in seconds.
pub const BLOCKED_S: i64 = 5 * 60;
/// A delivery that was blocked so often, while another went through after each time, is itself at
/// fault.
pub const BLOCKED_ALONE: u32 = 3;

/// What a delivery does beside bringing the lead's present state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing: a newer delivery of the same lead and slot makes it unnecessary.
    StateAlone,
    /// Something of its own, such as starting an automation: it is always sent.
    #[default]
    Own,
}

impl Effect {
    /// Whether it is the one that items without the attribute have.
    pub const fn is_own(&self) -> bool {
        matches!(self, Self::Own)
    }
}

/// An event for a destination and slot, with its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, derived from event, destination and slot.
    pub id: DeliveryId,
    /// The lead that the event is about.
    pub lead_id: LeadId,
    /// The event that is delivered.
    pub event_id: EventId,
    /// When the event was first accepted: part of the keys of both.
    pub accepted_at: Timestamp,
    /// The destination's name, as the table has it.
    pub destination: String,
    /// The slot's name, as the table has it. A worker releases a delivery whose slot it does not know.
    pub slot: String,
    /// What it does beside bringing the lead's present state.
    pub effect: Effect,
    /// How far it is, with what belongs to that: when it is due, its lease, or its outcome.
    pub state: State,
    /// When it expires: it is not sent at or after this time.
    pub deadline: Timestamp,
    /// Attempts spent.
    pub attempts: u32,
    /// Claims in a row that no settlement followed.
    pub claims: u32,
    /// The last attempts, oldest first.
    pub log: Vec<Attempt>,
    /// The booking that it is about: it is sent only while that booking stands.
    pub booking: Option<BookingId>,
    /// The status of the message, as the provider last reported it.
    pub message: Option<MessageStatus>,
    /// How often in a row it was blocked while another delivery of the destination went through after
    /// it.
    pub blocked: u32,
    /// Digest of the lead's e-mail, to read what was revoked under it.
    pub email_digest: Option<Digest>,
    /// Digest of the lead's phone, to read what was revoked under it.
    pub phone_digest: Option<Digest>,
    /// Where it stands in the index while it is open.
    pub shard: Shard,
    /// What brings it to its first claim.
    pub start: Start,
    /// Digest of the state that the destination confirmed with it, where that is kept.
    pub confirmed: Option<Digest>,
}

impl Delivery {
    /// A delivery of `event` that is due when the event was accepted, and whose deadline is that time
    /// too: whoever plans it sets a later one.
    pub fn planned(event: &Event, destination: &str, slot: &str) -> Self {
        Self {
            id: DeliveryId::derive(&event.id, destination, slot),
            lead_id: event.lead_id,
            event_id: event.id.clone(),
            accepted_at: event.accepted_at,
            destination: destination.to_owned(),
            slot: slot.to_owned(),
            effect: Effect::Own,
            state: State::due(event.accepted_at),
            deadline: event.accepted_at,
            attempts: 0,
            claims: 0,
            log: Vec::new(),
            booking: None,
            message: None,
            blocked: 0,
            email_digest: None,
            phone_digest: None,
            shard: Shard::FIRST,
            start: Start::WhenDue,
            confirmed: None,
        }
    }

    /// The name in logs, alerts and callback data: `<lead>/<delivery>`.
    pub const fn name(&self) -> DeliveryName {
        DeliveryName { lead_id: self.lead_id, delivery_id: self.id }
    }

    /// When it is due, or when its lease ends; `None` once it is settled for good.
    pub const fn due_at(&self) -> Option<Timestamp> {
        self.state.due_at()
    }

    /// When it was settled for good.
    pub const fn settled_at(&self) -> Option<Timestamp> {
        self.state.settled_at()
    }

    /// The text of the reason why it is in its state.
    pub fn reason_text(&self) -> Option<String> {
        self.state.reason().map(ToString::to_string)
    }

    /// The outcome that its record already has: the provider confirmed the message, or a harmful
    /// request may have been sent. Nothing is sent then, whatever else is known.
    pub fn recorded_outcome(&self) -> Option<Outcome> {
        if self.message.is_some_and(MessageStatus::was_sent) {
            return Some(Outcome::Delivered);
        }
        let may_have_been_sent = self.state.sending().may_have_been_sent();
        may_have_been_sent.then_some(Outcome::Unknown(Reason::MayHaveBeenSent))
    }

    /// Whether it is this delivery, not the destination, that is refused: it was blocked
    /// [`BLOCKED_ALONE`] times, and each time another one went through afterwards.
    pub fn is_blocked_alone(&self, others_delivered_at: Option<Timestamp>) -> bool {
        self.blocked >= BLOCKED_ALONE && self.was_passed_over(others_delivered_at)
    }

    /// Whether its last try was blocked and another delivery went through since.
    fn was_passed_over(&self, others_delivered_at: Option<Timestamp>) -> bool {
        let is_blocked = |attempt: &&Attempt| attempt.outcome == AttemptOutcome::Blocked;
        let last = self.log.last().filter(is_blocked);
        last.zip(others_delivered_at).is_some_and(|(blocked, delivered)| blocked.at < delivered)
    }
}
