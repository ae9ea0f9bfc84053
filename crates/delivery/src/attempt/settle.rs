//! The end of a try: its settlement is written, and what it says about the destination is noted.
//!
//! Owns for how long a result is written again that the table does not take. Must not know how the
//! outcome came about.

use std::time::Duration;

use funil_core::clock::after;
use funil_core::delivery::exchange::Reply;
use funil_core::delivery::{Delivery, LEASE_S, Measured, Outcome, Settlement, StateKind, settle};
use funil_store::{AlertKind, Claim, StoreError, TOTALS_TARGET, Written};
use jiff::Timestamp;

use super::{Handled, Handler, Try};
use crate::bounds::{SETTLING_NEEDS_S, detail};
use crate::gate::Gate;

/// The first wait before a settlement is tried again; each further one is twice as long. Long beside those
/// of intake, which somebody waits for.
const SETTLE_AGAIN_MS: u64 = 400;
/// The longest of these waits.
const SETTLE_AGAIN_MS_MAX: u64 = 4_000;

impl Handler {
    pub(super) async fn settle(
        &self,
        claim: &Claim,
        delivery: &Delivery,
        outcome: &Outcome,
        this_try: &Try<'_>,
        stop_at: Timestamp,
    ) -> Result<Handled, StoreError> {
        let now = self.platform.clock.now();
        let duration = now.as_millisecond() - this_try.started.as_millisecond();
        // If the last request got no response, the one before it is not reported in its place.
        let last = this_try.last.as_ref().zip(this_try.responses.last());
        let failed = last.filter(|_| *outcome != Outcome::Delivered);
        let measured = Measured {
            status: last.map(|(_, response)| response.status),
            duration_ms: u32::try_from(duration).unwrap_or(0),
            detail: failed.and_then(|(sent, response)| match sent.reply {
                Reply::Shown => detail(response, &sent.url),
                Reply::Private => None,
            }),
            others_delivered_at: this_try.gate.last_success(),
            brought: this_try.brings.clone(),
        };
        let (status, duration_ms) = (measured.status, measured.duration_ms);
        let jitter = self.platform.entropy.number();
        let settlement =
            settle(delivery, outcome, self.destination.when_unknown, measured, now, jitter);
        let written = match self.write_settlement(claim, &settlement, this_try, stop_at).await {
            Ok(written) => written,
            Err(error) => {
                // What the try says about the destination stays true. The drain logs the error.
                drop(this_try.gate.note(outcome, now).await);
                return Err(error);
            }
        };
        match written {
            Written::Yes => {
                self.count(outcome);
                tracing::info!(
                    target: TOTALS_TARGET,
                    destination = self.destination.name,
                    slot = delivery.slot,
                    lead = %delivery.lead_id,
                    delivery = %delivery.id,
                    outcome = outcome.name(),
                    state = settlement.state.name(),
                    reason = settlement.state.reason().map(ToString::to_string).unwrap_or_default(),
                    status = status.unwrap_or_default(),
                    attempts = settlement.attempts,
                    Settled = 1,
                    DurationMs = duration_ms,
                    at_ms = now.as_millisecond(),
                    "settled {}", delivery.name()
                );
                let noted = self.note(this_try.gate, delivery, outcome, settlement.state.kind());
                let superseded = self.end_superseded(outcome, &this_try.superseded, now);
                if let Err(error) = futures::try_join!(noted, superseded) {
                    tracing::error!(
                        destination = self.destination.name,
                        lead = %delivery.lead_id,
                        delivery = %delivery.id,
                        "settled {}, but its breaker, its alert or its older siblings were not written: {error}",
                        delivery.name()
                    );
                }
                Ok(Handled::Settled { again: settlement.state.due_at() })
            }
            Written::LeaseLost => {
                tracing::warn!(
                    destination = self.destination.name,
                    lead = %delivery.lead_id,
                    delivery = %delivery.id,
                    "lost the lease of {} before settling; it is due again", delivery.name()
                );
                Ok(Handled::Passed)
            }
        }
    }

    /// Writes a settlement, and again with longer waits while the table does not take it: until the lease
    /// ends or the function does. What was sent and is not settled is sent again by the next worker; a
    /// harmful request left its mark, so that one stays unknown.
    async fn write_settlement(
        &self,
        claim: &Claim,
        settlement: &Settlement,
        this_try: &Try<'_>,
        stop_at: Timestamp,
    ) -> Result<Written, StoreError> {
        let until = writes_until(this_try.started, stop_at);
        let (lead, id) = (claim.key.lead_id, claim.key.delivery_id().unwrap_or_default());
        let write = || self.store.settle(claim, settlement);
        self.patiently("the settlement", &format!("{lead}/{id}"), until, write).await
    }

    /// Writes something of a delivery, and again with longer waits while the table does not take it.
    pub(super) async fn patiently<T, W: Future<Output = Result<T, StoreError>>>(
        &self,
        what: &str,
        delivery: &str,
        until: Timestamp,
        write: impl Fn() -> W,
    ) -> Result<T, StoreError> {
        let patience = self.platform.table_patience.settlement;
        let (mut waited, mut tries) = (Duration::ZERO, 0);
        loop {
            let error = match write().await {
                Err(error @ StoreError::Unavailable { .. }) => error,
                written => return written,
            };
            self.refusals.note(&error);
            let most = SETTLE_AGAIN_MS_MAX.min(SETTLE_AGAIN_MS << tries);
            let wait_ms = most / 2 + self.platform.entropy.number() % (most / 2 + 1);
            let wait = Duration::from_millis(wait_ms);
            waited += wait;
            if waited > patience || self.platform.clock.now() >= until {
                return Err(error);
            }
            tries = (tries + 1).min(8);
            tracing::warn!(
                destination = self.destination.name,
                delivery,
                "{what} of {delivery} was not written, and is tried again: {error}"
            );
            tokio::time::sleep(wait).await;
        }
    }

    /// Notes what the outcome says about the destination in its breaker, and raises an alert for a
    /// dead delivery.
    async fn note(
        &self,
        gate: &Gate<'_>,
        delivery: &Delivery,
        outcome: &Outcome,
        state: StateKind,
    ) -> Result<(), StoreError> {
        let now = self.platform.clock.now();
        gate.note(outcome, now).await?;
        if state != StateKind::Dead {
            return Ok(());
        }
        if let Some(reason) = outcome.reason().filter(|reason| reason.is_about_number())
            && let Some(number) = &delivery.phone_digest
        {
            // The other messages to this number would fail in the same way.
            let (of, entropy) =
                ((delivery.lead_id, self.destination.name), &*self.platform.entropy);
            self.store.withdraw_messages_to(number, of, reason, now, entropy).await?;
        }
        let kind = if *outcome == Outcome::Expired { AlertKind::Expired } else { AlertKind::Dead };
        let example = delivery.name().to_string();
        self.store.raise_alert(self.destination.name, kind, Some(&example), now).await
    }
}

/// Until when a try's results are written: the lease and the function must not end before.
pub(super) fn writes_until(started: Timestamp, stop_at: Timestamp) -> Timestamp {
    let lease_ends = after(started, LEASE_S - SETTLING_NEEDS_S);
    lease_ends.min(after(stop_at, SETTLING_NEEDS_S - 1))
}
