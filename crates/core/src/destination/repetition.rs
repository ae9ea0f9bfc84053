//! What a destination does with an event that it gets a second time, as its registration says.
//!
//! Must not judge any delivery: that is `replay.rs`.

use jiff::Timestamp;

use crate::clock::after;
use crate::event::{Event, EventData};

/// What a destination does with something that it gets again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// It knows it by a key of ours, or holds one state per lead.
    Recognised,
    /// It knows it for so many hours.
    RecognisedFor {
        /// How many.
        hours: i64,
    },
    /// It counts or shows it once more.
    Counted,
}

/// What a destination says about replays.
#[derive(Clone, Copy, Debug)]
pub struct ReplayPolicy {
    /// What it does with a repetition of an event.
    pub repeats: fn(&EventData) -> Repeats,
    /// From this age of the event on, in hours, it takes it no more.
    pub too_old_h: Option<i64>,
}

impl ReplayPolicy {
    /// Takes a key of ours with everything, however old it is.
    pub const RECOGNISED: Self = Self { repeats: |_| Repeats::Recognised, too_old_h: None };

    /// The latest moment at which the destination takes an event.
    pub(crate) fn ends(&self, event: &Event) -> Option<Timestamp> {
        self.too_old_h.map(|hours| after(event.occurred_at, hours * 3600))
    }
}
