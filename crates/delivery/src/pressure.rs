//! How much of the table a drain uses: less as soon as the table refuses something for its load, so that
//! the units that are left go to intake (`docs/design.md`, "Load").
//!
//! Half as many deliveries go side by side after a refusal, and nothing starts for a moment; each
//! delivery that went through without one lets one more start. Must not know what was refused.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use funil_store::StoreError;
use tokio::time::Instant;

/// For how long nothing starts after a refusal.
const HOLDS: Duration = Duration::from_millis(200);
/// A drain ends after so many refusals in a row, once it sends only one delivery at a time.
const ALL_REFUSED: u32 = 16;
/// For how long after a refusal rings that name deliveries leave them to the sweep.
const LEAVES: Duration = Duration::from_secs(10);

/// What a worker's drains learn of the table's load. They share it: rings come side by side, and a
/// process that saw a refusal sees to it that the next rings start nothing either.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Seen>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    count: u64,
    last: Option<Instant>,
}

impl Refusals {
    /// Notes an error, if it says that the table has too much to do.
    pub(crate) fn note(&self, error: &StoreError) {
        if error.is_overload() {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *seen = Seen { count: seen.count + 1, last: Some(Instant::now()) };
        }
    }

    /// Whether the table refused something so recently that deliveries named by rings are left to the sweep.
    pub(crate) fn are_recent(&self, now: Instant) -> bool {
        self.seen().last.is_some_and(|last| now < last + LEAVES)
    }

    fn seen(&self) -> Seen {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the deliveries that ended said of the table's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// The table refused nothing for its load.
    Fine,
    /// The table refused something for its load.
    Refused,
}

/// How many deliveries of a drain go side by side.
#[derive(Debug)]
pub(crate) struct Pressure {
    most: usize,
    allowed: usize,
    /// The worker's count of refusals when it was looked at last.
    taken_in: u64,
    /// How many deliveries ended in a row with a refusal.
    in_a_row: u32,
    holds_until: Option<Instant>,
}

impl Pressure {
    pub(crate) fn new(most: usize, refusals: &Refusals) -> Self {
        Self {
            most,
            allowed: most,
            taken_in: refusals.seen().count,
            in_a_row: 0,
            holds_until: None,
        }
    }

    /// Adapts to whether something was refused since the last delivery ended.
    pub(crate) fn delivery_ended(&mut self, refusals: &Refusals, now: Instant) -> Load {
        let count = refusals.seen().count;
        if std::mem::replace(&mut self.taken_in, count) == count {
            self.allowed = (self.allowed + 1).min(self.most);
            self.in_a_row = 0;
            return Load::Fine;
        }
        self.in_a_row += 1;
        // Deliveries that run side by side are refused together, which counts as one refusal.
        if !self.holds(now) {
            self.allowed = (self.allowed / 2).max(1);
            self.holds_until = Some(now + HOLDS);
        }
        Load::Refused
    }

    /// Whether nothing goes through any more, even one by one.
    pub(crate) const fn is_all_refused(&self) -> bool {
        self.allowed == 1 && self.in_a_row >= ALL_REFUSED
    }

    /// How many deliveries may go side by side now.
    pub(crate) fn allowed(&self, now: Instant) -> usize {
        if self.holds(now) { 0 } else { self.allowed }
    }

    /// For how much longer no delivery starts; `None` if one may start now.
    pub(crate) fn holds_for(&self, now: Instant) -> Option<Duration> {
        self.holds_until.filter(|until| now < *until).map(|until| until - now)
    }

    fn holds(&self, now: Instant) -> bool {
        self.holds_for(now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(refusals: &Refusals) {
        let code = "ThrottlingException".to_owned();
        refusals.note(&StoreError::Unavailable { operation: "UpdateItem", code });
    }

    #[tokio::test]
    async fn a_refusal_halves_what_goes_side_by_side_and_successes_let_it_grow_again() {
        let (refusals, begun) = (Refusals::default(), Instant::now());
        let mut pressure = Pressure::new(64, &refusals);
        assert_eq!(pressure.delivery_ended(&refusals, begun), Load::Fine);
        assert_eq!(pressure.allowed(begun), 64);
        for _ in 0..3 {
            refused(&refusals);
            assert_eq!(pressure.delivery_ended(&refusals, begun), Load::Refused);
        }
        assert_eq!(pressure.allowed(begun), 0, "nothing starts for a moment");
        let later = begun + HOLDS;
        assert_eq!(pressure.allowed(later), 32, "refusals of one moment are one");
        for _ in 0..5 {
            pressure.delivery_ended(&refusals, later);
        }
        assert_eq!(pressure.allowed(later), 37);
        let conflict = StoreError::Conflict { what: "event" };
        refusals.note(&conflict);
        pressure.delivery_ended(&refusals, later);
        assert_eq!(pressure.allowed(later), 38, "a conflict says nothing about the load");
    }

    #[tokio::test]
    async fn all_is_refused_after_many_refusals_in_a_row_the_last_ones_one_by_one() {
        let (refusals, begun) = (Refusals::default(), Instant::now());
        let mut pressure = Pressure::new(64, &refusals);
        for number in 1..ALL_REFUSED {
            refused(&refusals);
            pressure.delivery_ended(&refusals, begun + number * HOLDS);
            assert!(!pressure.is_all_refused());
        }
        refused(&refusals);
        pressure.delivery_ended(&refusals, begun + ALL_REFUSED * HOLDS);
        assert!(pressure.is_all_refused());
        pressure.delivery_ended(&refusals, begun + ALL_REFUSED * HOLDS);
        assert!(!pressure.is_all_refused(), "one went through");
    }
}
