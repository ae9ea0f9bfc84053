//! What one drain may send: by the breaker, which is read once at its start, and by the tokens that it
//! leases (`docs/design.md`, "Breaker" and "Limiter").
//!
//! Owns when to stop sending to a destination that fails, and that no request is sent without a token
//! where the destination has a rate. Must not know what is sent.

use funil_core::clock::after;
use funil_core::delivery::Outcome;
use funil_core::delivery::breaker::{
    Breaker, Health, PROBE_AFTER_S, Permit, health, probe_after_s,
};
use funil_core::destination::Destination;
use funil_store::{AlertKind, Due, Lease, Store, StoreError};
use jiff::Timestamp;
use tokio::sync::Mutex;

/// How many tokens a delivery needs before its claim: as many as it may make requests.
pub(crate) const TOKENS_PER_DELIVERY: i64 = 8;
/// The most tokens leased from the table at once. A drain begins with those of one delivery and
/// doubles.
const TOKENS_PER_LEASE_MAX: i64 = 64;
/// When the use of tokens ends, in seconds from the end of their minute: a request in the last
/// second would arrive in the next minute.
const MINUTE_ENDS_EARLY_S: i64 = -1;

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

/// The tokens of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tokens {
    /// The destination has no rate.
    Unlimited,
    /// So many requests, until the end of the lease.
    Leased(Lease),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Every delivery is sent.
    Sends,
    /// The next delivery is the probe.
    Probes,
    /// Nothing is sent.
    Waits,
}

struct State {
    breaker: Breaker,
    mode: Mode,
    pool: Option<Lease>,
    next_lease: i64,
    /// The end of the minute in which the table had no tokens left.
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
    /// Reads the breaker. Where it may be probed, tries to become the worker that does.
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

    /// When a delivery to the destination last went through, as far as the breaker knows.
    pub(crate) async fn last_success(&self) -> Option<Timestamp> {
        self.state.lock().await.breaker.last_success
    }

    /// Decides about a due delivery. Of several only one is the probe, and the others wait for it.
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

    /// Takes back an admission that was not used, so that the next delivery can be the probe.
    pub(crate) async fn unused(&self, admission: Admission) {
        if admission == Admission::Probe {
            self.state.lock().await.mode = Mode::Probes;
        }
    }

    /// The tokens for one delivery, or `None` where this minute has too few left.
    pub(crate) async fn tokens(&self, now: Timestamp) -> Result<Option<Tokens>, StoreError> {
        let Some(per_minute) = self.requests_per_minute else { return Ok(Some(Tokens::Unlimited)) };
        let needed = TOKENS_PER_DELIVERY;
        // What is sent in a minute's last second arrives in the next minute, and counts there.
        let counted_at = after(now, -MINUTE_ENDS_EARLY_S);
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
            let leased = match self.store.lease_requests(name, many, per_minute, counted_at).await?
            {
                Some(leased) => Some(leased),
                None => self.store.lease_requests(name, needed, per_minute, counted_at).await?,
            };
            let Some(leased) = leased else {
                state.pool = Some(pool);
                state.spent_until = Some(next_minute(counted_at));
                return Ok(None);
            };
            pool = Lease { tokens: pool.tokens + leased.tokens, until: leased.until };
        }
        pool.tokens -= needed;
        state.pool = Some(pool);
        let until = after(pool.until, MINUTE_ENDS_EARLY_S);
        Ok(Some(Tokens::Leased(Lease { tokens: needed, until })))
    }

    /// Takes back the tokens that a delivery did not use.
    pub(crate) async fn give_back(&self, tokens: Tokens) {
        if let Tokens::Leased(left) = tokens
            && let Some(pool) = &mut self.state.lock().await.pool
            && after(pool.until, MINUTE_ENDS_EARLY_S) == left.until
        {
            pool.tokens += left.tokens;
        }
    }

    /// Ends the drain and returns the tokens that it did not use to their minute, for other workers.
    pub(crate) async fn leave(&self, now: Timestamp) -> Result<(), StoreError> {
        let pool = self.state.lock().await.pool.take();
        match pool.filter(|pool| pool.tokens > 0 && now < pool.until) {
            Some(pool) => self.store.return_requests(self.destination.name, pool).await,
            None => Ok(()),
        }
    }

    /// Notes in the breaker what an outcome says about the destination, and raises an alert when it opens.
    pub(crate) async fn note(&self, outcome: &Outcome, now: Timestamp) -> Result<(), StoreError> {
        let name = self.destination.name;
        let health = health(outcome);
        let mut state = self.state.lock().await;
        let breaker = match health {
            Health::NoEvidence => return Ok(()),
            Health::Well => {
                if state.breaker.wants_success(now) {
                    self.store.destination_succeeded(name, now).await?;
                    if state.breaker.open.is_some() {
                        tracing::info!(destination = name, "the breaker of {name} closed");
                    }
                    state.breaker = Breaker { last_success: Some(now), ..Breaker::default() };
                }
                state.mode = Mode::Sends;
                return Ok(());
            }
            Health::Failing(reason) if state.breaker.open.is_none() => {
                let reason = reason.to_string();
                self.store.destination_failed(name, &reason, probe_after_s(health), now).await?
            }
            Health::Failing(reason) | Health::Blocked(reason) => {
                let reason = reason.to_string();
                self.store.open_breaker(name, &reason, probe_after_s(health), now).await?
            }
        };
        if let Some(open) = &breaker.open {
            state.mode = Mode::Waits;
            let kind = match health {
                Health::Blocked(_) => AlertKind::Blocked,
                Health::Well | Health::Failing(_) | Health::NoEvidence => AlertKind::BreakerOpened,
            };
            let opened = state.breaker.open.is_none();
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
        }
        state.breaker = breaker;
        Ok(())
    }
}

/// The start of the next minute.
pub(crate) fn next_minute(now: Timestamp) -> Timestamp {
    Timestamp::from_second((now.as_second().div_euclid(60) + 1) * 60).unwrap_or(now)
}
