//! What happened, typed.
//!
//! An event is written once, when it is accepted, and never changed. Scores, answers, page and ids
//! stand in it as they were; who the person is now stands on the lead. Knows no destination.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::amanda::{AmandaScore, ClientScore};
use crate::id::{DeliveryId, EventId, LeadId};
use crate::lead_form::LeadForm;

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
            Self::SyncRequested(_) => "sync_requested",
            Self::DeliveryReplayed(_) => "delivery_replayed",
            Self::DeliverySettled(_) => "delivery_settled",
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
