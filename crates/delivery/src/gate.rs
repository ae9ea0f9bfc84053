//! What one drain may send: by the breaker, which is read once at its start (`docs/design.md`,
//! "Breaker"), and by the tokens of `rate.rs`.
//!
//! Owns when to stop sending to a destination that fails. What happens is noted in memory at once, and in
//! the table outside of every lock, at most once a second. Must not know what is sent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use funil_core::clock::after;
use funil_core::delivery::Outcome;
use funil_core::delivery::breaker::{
    Breaker, FAILURES_TO_OPEN, Health, Open, PROBE_AFTER_S, Permit, health, probe_after_s,
};
use funil_core::destination::Destination;
use funil_store::{AlertKind, Due, Store, StoreError};
use jiff::Timestamp;

use crate::rate::Rate;

/// The least time between two notes of one drain, in seconds, unless the breaker opens or closes.
const NOTED_EVERY_S: i64 = 1;

/// What may happen to a due delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Claim it and send it.
    Send,
    /// Claim it and send it as the probe; everything else waits for how it ends.
    Probe,
    /// Claim it only if it was interrupted in a harmful request, which needs no request to settle.
    SettleInterrupted,
    /// Claim it; it is past its deadline, so no request is made.
    SettleExpired,
}

/// Whether deliveries go through now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Deliveries go through.
    Open,
    /// One delivery goes through, as a probe.
    Probe,
    /// No delivery goes through, because a probe is under way or the breaker is open.
    Closed,
    /// No delivery goes through before this time, because the rate is used up.
    Spent(Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Every delivery is sent.
    Sends,
    /// The next delivery is the probe.
    Probes,
    /// Nothing is sent, because the breaker is open or a probe is under way.
    Waits,
}

struct State {
    breaker: Breaker,
    mode: Mode,
    unwritten: Unwritten,
    noted_at: Option<Timestamp>,
}

/// What happened since the last note in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unwritten {
    succeeded: bool,
    /// Failures in a row, after the success if there was one.
    failures: i64,
    /// What the last failure said.
    last: Option<Health>,
}

/// A note that is to be written.
enum Note {
    Succeeded { failures_since: i64, closes: bool },
    Failed { failures: i64, health: Health },
    Opens { failures: i64, health: Health },
}

/// What one drain may send.
pub(crate) struct Gate<'w> {
    store: &'w Store,
    destination: &'static Destination,
    /// The destination's limit, if it has one.
    pub(crate) rate: Option<Rate<'w>>,
    entered_at: Timestamp,
    state: Mutex<State>,
}

impl<'w> Gate<'w> {
    /// Reads the breaker. Where it may be probed, tries to become the worker that does.
    pub(crate) async fn enter(
        store: &'w Store,
        destination: &'static Destination,
        rate: Option<Rate<'w>>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let breaker = store.breaker(destination.name).await?;
        let mode = match breaker.permit(now) {
            Permit::Send => Mode::Sends,
            Permit::Probe if store.take_probe(destination.name, PROBE_AFTER_S, now).await? => {
                Mode::Probes
            }
            Permit::Wait | Permit::Probe => Mode::Waits,
        };
        let state = State { breaker, mode, unwritten: Unwritten::default(), noted_at: None };
        Ok(Self { store, destination, rate, entered_at: now, state: Mutex::new(state) })
    }

    /// The state. No thread panics while it holds the lock, and none awaits.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a delivery to the destination last went through, as far as the breaker knows.
    pub(crate) fn last_success(&self) -> Option<Timestamp> {
        self.state().breaker.last_success
    }

    /// Whether deliveries go through now.
    pub(crate) fn passage(&self, now: Timestamp) -> Passage {
        let passage = match self.state().mode {
            Mode::Waits => return Passage::Closed,
            Mode::Probes => Passage::Probe,
            Mode::Sends => Passage::Open,
        };
        let spent_until = self.rate.as_ref().and_then(|rate| rate.spent_until(now));
        spent_until.map_or(passage, Passage::Spent)
    }

    /// Decides about a due delivery. Of several only one is the probe, and the others wait for it.
    pub(crate) fn admit(&self, due: &Due, now: Timestamp) -> Admission {
        if due.deadline.is_some_and(|deadline| deadline <= now) {
            return Admission::SettleExpired;
        }
        let mut state = self.state();
        match state.mode {
            Mode::Sends => Admission::Send,
            Mode::Probes => {
                state.mode = Mode::Waits;
                Admission::Probe
            }
            Mode::Waits => Admission::SettleInterrupted,
        }
    }

    /// Takes back an admission that was not used, so that the next delivery can be the probe.
    pub(crate) fn unused(&self, admission: Admission) {
        if admission == Admission::Probe {
            self.state().mode = Mode::Probes;
        }
    }

    /// Ends the drain: writes what is not noted yet, and returns the probe and the tokens that it did not
    /// use.
    pub(crate) async fn leave(&self, now: Timestamp) -> Result<(), StoreError> {
        let (unwritten, mode) = {
            let mut state = self.state();
            (std::mem::take(&mut state.unwritten), state.mode)
        };
        if mode == Mode::Probes {
            let taken = (self.entered_at, PROBE_AFTER_S);
            self.store.return_probe(self.destination.name, taken, now).await?;
        }
        if unwritten.succeeded || unwritten.failures > 0 {
            self.write(unwritten.note(false), now).await?;
        }
        match &self.rate {
            Some(rate) => rate.leave(now).await,
            None => Ok(()),
        }
    }

    /// Notes in the breaker what an outcome says about the destination, and raises an alert when it opens.
    pub(crate) async fn note(&self, outcome: &Outcome, now: Timestamp) -> Result<(), StoreError> {
        let note = self.state().note_outcome(health(outcome), now);
        match note {
            Some(note) => self.write(note, now).await,
            None => Ok(()),
        }
    }

    async fn write(&self, note: Note, now: Timestamp) -> Result<(), StoreError> {
        let name = self.destination.name;
        let (breaker, health) = match note {
            Note::Succeeded { failures_since, closes: true } => {
                self.store.destination_succeeded(name, failures_since, now).await?;
                tracing::info!(destination = name, "the breaker of {name} closed");
                return Ok(());
            }
            Note::Succeeded { failures_since, closes: false } => {
                return self.store.note_success(name, failures_since, now).await;
            }
            Note::Failed { failures, health } => {
                let failed = (failures, &*reason(health));
                let after_s = probe_after_s(health);
                (self.store.destination_failed(name, failed, after_s, now).await?, health)
            }
            Note::Opens { failures, health } => {
                let failed = (failures, &*reason(health));
                (self.store.open_breaker(name, failed, probe_after_s(health), now).await?, health)
            }
        };
        let Some(open) = breaker.open.clone() else { return Ok(()) };
        let opened = {
            let mut state = self.state();
            state.mode = Mode::Waits;
            state.breaker = breaker;
            open.since == now
        };
        let kind = match health {
            Health::Blocked(_) => AlertKind::Blocked,
            Health::Well | Health::Failing(_) | Health::NoEvidence => AlertKind::BreakerOpened,
        };
        if opened {
            tracing::warn!(
                destination = name,
                reason = open.reason,
                "the breaker of {name} opened: {}",
                open.reason
            );
        }
        // The worker that opened it may have died before it raised the alert, so each failed probe
        // checks.
        if opened || !self.store.was_alerted(name, kind, open.since).await? {
            self.store.raise_alert(name, kind, None, open.since).await?;
        }
        Ok(())
    }
}

impl State {
    /// Takes in what an outcome says, and returns what is to be written.
    fn note_outcome(&mut self, health: Health, now: Timestamp) -> Option<Note> {
        let is_time = self.noted_at.is_none_or(|at| after(at, NOTED_EVERY_S) <= now);
        match health {
            Health::NoEvidence => None,
            Health::Well => {
                let was_open = self.breaker.open.is_some();
                if self.breaker.wants_success(now) {
                    self.unwritten = Unwritten { succeeded: true, failures: 0, last: None };
                }
                self.breaker = Breaker { last_success: Some(now), ..Breaker::default() };
                self.mode = Mode::Sends;
                let writes = self.unwritten.succeeded && (is_time || was_open);
                writes.then(|| self.writing(was_open, now))
            }
            Health::Failing(_) | Health::Blocked(_) => {
                self.unwritten.failures += 1;
                self.unwritten.last = Some(health);
                self.breaker.failures += 1;
                self.breaker.last_failure = Some(now);
                let is_open = self.breaker.open.is_some();
                let is_enough = self.breaker.failures >= FAILURES_TO_OPEN;
                if is_open || is_enough || matches!(health, Health::Blocked(_)) {
                    self.mode = Mode::Waits;
                    if is_open && !is_time {
                        return None;
                    }
                    let probe_at = after(now, probe_after_s(health));
                    let since = self.breaker.open.as_ref().map_or(now, |open| open.since);
                    self.breaker.open = Some(Open { since, reason: reason(health), probe_at });
                    let failures = std::mem::take(&mut self.unwritten).failures;
                    self.noted_at = Some(now);
                    return Some(Note::Opens { failures, health });
                }
                is_time.then(|| self.writing(false, now))
            }
        }
    }

    fn writing(&mut self, closes: bool, now: Timestamp) -> Note {
        self.noted_at = Some(now);
        std::mem::take(&mut self.unwritten).note(closes)
    }
}

impl Unwritten {
    fn note(self, closes: bool) -> Note {
        match self.last {
            Some(health) if !self.succeeded => Note::Failed { failures: self.failures, health },
            Some(_) | None => Note::Succeeded { failures_since: self.failures, closes },
        }
    }
}

fn reason(health: Health) -> String {
    match health {
        Health::Failing(reason) | Health::Blocked(reason) => reason.to_string(),
        Health::Well | Health::NoEvidence => String::new(),
    }
}
