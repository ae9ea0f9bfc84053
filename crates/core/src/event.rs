//! What happened, typed.
//!
//! An event is written once, when it is accepted, and never changed. Scores, answers, page and ids
//! stand in it as they were; who the person is now stands on the lead. Knows no destination.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::amanda::{AmandaScore, ClientScore};
use crate::id::{EventId, LeadId};
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
}

impl EventData {
    /// The name that stands in the table, in logs and in the journey.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LeadSubmitted(_) => "lead_submitted",
            Self::SyncRequested(_) => "sync_requested",
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
