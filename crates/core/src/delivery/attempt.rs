//! Attempts: the last tries at a delivery, kept with it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::delivery::message::MessageStatus;
use crate::delivery::reason::StoredReason;
use crate::pii::{self, Text};

/// How many attempts a delivery remembers.
pub const ATTEMPTS_KEPT: usize = 10;

/// One try at a delivery, or one status update that ended it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When the try ended, or when the status update happened.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The HTTP status of the last response, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The time from the claim to the end, in milliseconds.
    pub duration_ms: u32,
    /// Why it ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<StoredReason>,
    /// The beginning of a response that was no success; may echo personal data.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub detail: Option<Text>,
}

impl Attempt {
    /// The text of the reason.
    pub fn reason_text(&self) -> Option<String> {
        self.reason.as_ref().map(ToString::to_string)
    }
}

/// How an attempt ended, as the table keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum AttemptOutcome {
    /// The destination took it.
    Delivered,
    /// It failed and is tried again.
    Retry,
    /// The provider will never take it.
    Rejected,
    /// The destination refuses us as a whole.
    Blocked,
    /// It must not or need not be sent.
    Skipped,
    /// The time by which it had to be delivered passed before it was.
    Expired,
    /// It may have been sent.
    Unknown,
    /// It was not tried. No attempt is kept for it.
    Released,
    /// The provider reported this status of the message.
    Reported(MessageStatus),
    /// An outcome of newer code, by its text.
    Other(String),
}

impl AttemptOutcome {
    /// All outcomes that this code knows.
    const KNOWN: [Self; 12] = [
        Self::Delivered,
        Self::Retry,
        Self::Rejected,
        Self::Blocked,
        Self::Skipped,
        Self::Expired,
        Self::Unknown,
        Self::Released,
        Self::Reported(MessageStatus::Sent),
        Self::Reported(MessageStatus::Delivered),
        Self::Reported(MessageStatus::Read),
        Self::Reported(MessageStatus::Failed),
    ];

    /// The text in the table and in the journey.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Rejected => "rejected",
            Self::Blocked => "blocked",
            Self::Skipped => "skipped",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
            Self::Released => "released",
            Self::Reported(MessageStatus::Sent) => "told_sent",
            Self::Reported(MessageStatus::Delivered) => "told_delivered",
            Self::Reported(MessageStatus::Read) => "told_read",
            Self::Reported(MessageStatus::Failed) => "told_failed",
            Self::Other(text) => text,
        }
    }
}

impl From<String> for AttemptOutcome {
    fn from(text: String) -> Self {
        let known = Self::KNOWN.into_iter().find(|known| known.as_str() == text);
        known.unwrap_or(Self::Other(text))
    }
}

impl From<AttemptOutcome> for String {
    fn from(outcome: AttemptOutcome) -> Self {
        outcome.as_str().to_owned()
    }
}

impl fmt::Display for AttemptOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Adds an attempt to a delivery's log, and drops the oldest above [`ATTEMPTS_KEPT`].
pub fn log_attempt(log: &[Attempt], attempt: Attempt) -> Vec<Attempt> {
    let excess = (log.len() + 1).saturating_sub(ATTEMPTS_KEPT);
    log.iter().skip(excess).cloned().chain([attempt]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_keeps_its_text_also_where_newer_code_wrote_it() {
        for outcome in AttemptOutcome::KNOWN {
            assert_eq!(AttemptOutcome::from(outcome.as_str().to_owned()), outcome);
        }
        let newer: AttemptOutcome = serde_json::from_str("\"postponed\"").unwrap();
        assert_eq!(newer, AttemptOutcome::Other("postponed".to_owned()));
        assert_eq!(serde_json::to_string(&newer).unwrap(), "\"postponed\"");
    }
}
