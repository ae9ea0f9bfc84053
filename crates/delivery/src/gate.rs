//! What one drain may send: the breaker read once at its start, and the tokens it has leased.
//!
//! Owns when to stop asking a destination that fails, and that no request leaves without a token
//! where a rate is configured. Must not know what is sent.

use funil_core::clock::after;
use funil_core::delivery::Outcome;
use funil_core::delivery::breaker::{
    Breaker, Health, PROBE_AFTER_S, Permit, health, probe_after_s,
};
use funil_core::destination::Destination;
use funil_store::{AlertKind, Due, Lease, Store, StoreError};
use jiff::Timestamp;
use tokio::sync::Mutex;

/// Tokens that a delivery must have in hand before its claim: it may make so many requests.
pub(crate) const TOKENS_PER_DELIVERY: i64 = 8;
/// The most tokens leased from the table at once; a drain begins with one delivery's and doubles.
const TOKENS_PER_LEASE_MAX: i64 = 64;
/// A minute's tokens are not used in its last second: the request would arrive in the next minute.
const MINUTE_ENDS_EARLY_S: i64 = -1;

/// What may happen to a due delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Claim and send it.
    Send,
    /// The same, and everything else waits for how it ends.
    Probe,
    /// Claim it only if it was interrupted in a harmful request: no request is made.
    SettleInterrupted,
    /// Claim it: it is past its deadline, so no request is made.
    SettleExpired,
}

/// The tokens of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tokens {
    /// No rate is configured.
    Unlimited,
    /// So many requests until then.
    Leased(Lease),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Sends,
    /// One delivery tells whether the destination is back.
    Probes,
    Waits,
}

struct State {
    breaker: Breaker,
    mode: Mode,
    pool: Option<Lease>,
    next_lease: i64,
    /// The minute in which the table had no tokens left.
    spent_until: Option<Timestamp>,
}

/// What one drain may send.
pub(crate) struct Gate<'w> {
    store: &'w Store,
    destination: &'static Destination,
    requests_per_minute: Option<i64>,
    state: Mutex<State>,
}

impl<'w> Gate<'w> {
    /// Reads the breaker; where it may be probed, tries to be the one that does.
    pub(crate) async fn enter(
        store: &'w Store,
        destination: &'static Destination,
        requests_per_minute: Option<i64>,
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
        let state =
            State { breaker, mode, pool: None, next_lease: TOKENS_PER_DELIVERY, spent_until: None };
        Ok(Self { store, destination, requests_per_minute, state: Mutex::new(state) })
    }

    /// When the destination last took something, as far as is known.
    pub(crate) async fn last_success(&self) -> Option<Timestamp> {
        self.state.lock().await.breaker.last_success
    }

    /// Decides about a due delivery. A probe is given to one delivery; the others wait for it.
    pub(crate) async fn admit(&self, due: &Due, now: Timestamp) -> Admission {
        if due.deadline.is_some_and(|deadline| deadline <= now) {
            return Admission::SettleExpired;
        }
        let mut state = self.state.lock().await;
        match state.mode {
            Mode::Sends => Admission::Send,
            Mode::Probes => {
                state.mode = Mode::Waits;
                Admission::Probe
            }
            Mode::Waits => Admission::SettleInterrupted,
        }
    }

    /// Takes an admission back of which no use was made: a probe is for the next delivery then.
    pub(crate) async fn unused(&self, admission: Admission) {
        if admission == Admission::Probe {
            self.state.lock().await.mode = Mode::Probes;
        }
    }

    /// Tokens for one delivery, or `None` where this minute has none left.
    pub(crate) async fn tokens(&self, now: Timestamp) -> Result<Option<Tokens>, StoreError> {
        let Some(per_minute) = self.requests_per_minute else { return Ok(Some(Tokens::Unlimited)) };
        let needed = TOKENS_PER_DELIVERY;
        let mut state = self.state.lock().await;
        if state.spent_until.is_some_and(|until| now < until) {
            return Ok(None);
        }
        let pooled = state.pool.filter(|pool| now < after(pool.until, MINUTE_ENDS_EARLY_S));
        let mut pool = pooled.unwrap_or(Lease { tokens: 0, until: now });
        if pool.tokens < needed {
            let many = state.next_lease.min(per_minute);
            state.next_lease = (state.next_lease * 2).min(TOKENS_PER_LEASE_MAX);
            let name = self.destination.name;
            let leased = match self.store.lease_requests(name, many, per_minute, now).await? {
                Some(leased) => Some(leased),
                None => self.store.lease_requests(name, needed, per_minute, now).await?,
            };
            let Some(leased) = leased else {
                state.pool = Some(pool);
                state.spent_until = Some(next_minute(now));
                return Ok(None);
            };
            pool = Lease { tokens: pool.tokens + leased.tokens, until: leased.until };
        }
        pool.tokens -= needed;
        state.pool = Some(pool);
        let until = after(pool.until, MINUTE_ENDS_EARLY_S);
        Ok(Some(Tokens::Leased(Lease { tokens: needed, until })))
    }

    /// Takes back what a delivery did not use.
    pub(crate) async fn give_back(&self, tokens: Tokens) {
        if let Tokens::Leased(left) = tokens
            && let Some(pool) = &mut self.state.lock().await.pool
            && after(pool.until, MINUTE_ENDS_EARLY_S) == left.until
        {
            pool.tokens += left.tokens;
        }
    }

    /// Ends the drain: what it leased and did not use goes back to the minute, for other workers.
    pub(crate) async fn leave(&self, now: Timestamp) -> Result<(), StoreError> {
        let pool = self.state.lock().await.pool.take();
        match pool.filter(|pool| pool.tokens > 0 && now < pool.until) {
            Some(pool) => self.store.return_requests(self.destination.name, pool).await,
            None => Ok(()),
        }
    }

    /// Notes what an outcome says about the destination.
    pub(crate) async fn note(&self, outcome: &Outcome, now: Timestamp) -> Result<(), StoreError> {
        let name = self.destination.name;
        let told = health(outcome);
        let mut state = self.state.lock().await;
        let breaker = match told {
            Health::NoEvidence => return Ok(()),
            Health::Well => {
                if state.breaker.wants_success(now) {
                    self.store.destination_succeeded(name, now).await?;
                    if state.breaker.open.is_some() {
                        tracing::info!(destination = name, "the breaker closed");
                    }
                    state.breaker = Breaker { last_success: Some(now), ..Breaker::default() };
                }
                state.mode = Mode::Sends;
                return Ok(());
            }
            Health::Failing(reason) if state.breaker.open.is_none() => {
                let reason = reason.to_string();
                self.store.destination_failed(name, &reason, probe_after_s(told), now).await?
            }
            Health::Failing(reason) | Health::Blocked(reason) => {
                let reason = reason.to_string();
                self.store.open_breaker(name, &reason, probe_after_s(told), now).await?
            }
        };
        if let Some(open) = &breaker.open {
            state.mode = Mode::Waits;
            let kind = match told {
                Health::Blocked(_) => AlertKind::Blocked,
                Health::Well | Health::Failing(_) | Health::NoEvidence => AlertKind::BreakerOpened,
            };
            let opened = state.breaker.open.is_none();
            if opened {
                tracing::warn!(destination = name, reason = open.reason, "the breaker opened");
            }
            // Whoever opened it may have died before it told anybody: a probe that fails looks.
            if opened || !self.store.was_alerted(name, kind, open.since).await? {
                self.store.raise_alert(name, kind, None, open.since).await?;
            }
        }
        state.breaker = breaker;
        Ok(())
    }
}

/// When the next minute begins.
pub(crate) fn next_minute(now: Timestamp) -> Timestamp {
    Timestamp::from_second((now.as_second().div_euclid(60) + 1) * 60).unwrap_or(now)
}
