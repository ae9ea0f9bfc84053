//! What a destination does with an event that it gets again.
//!
//! Judges no delivery: `replay.rs` does.

use jiff::Timestamp;

use crate::clock::after;
use crate::event::Event;

/// What a destination does with an event that it gets again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// It recognises it by a key of ours, or holds one state for each lead.
    Recognised,
    /// It recognises it for a time.
    RecognisedFor {
        /// The time, in hours from the first request.
        hours: i64,
    },
    /// It counts or shows it a second time.
    Counted,
}

/// What a replay has to know of a destination.
#[derive(Clone, Copy, Debug)]
pub struct ReplayPolicy {
    /// What it does with a repetition of an event.
    pub repeats: Repeats,
    /// The age at which it no longer takes an event, in hours.
    pub too_old_h: Option<i64>,
}

impl ReplayPolicy {
    /// Recognises every repetition, and takes events of any age.
    pub const RECOGNISED: Self = Self { repeats: Repeats::Recognised, too_old_h: None };

    /// Until when the destination takes this event; `None` is forever.
    pub(crate) fn ends(&self, event: &Event) -> Option<Timestamp> {
        self.too_old_h.map(|hours| after(event.occurred_at, hours * 3600))
    }
}
