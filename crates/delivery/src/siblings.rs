//! Deliveries of one lead to a state destination: which of them waits, and which the newest makes
//! unnecessary (`docs/design.md`, "State and event destinations").
//!
//! Must not know what any of them sends.

use funil_core::delivery::{Delivery, Effect, Outcome, Reason, StateKind};
use funil_store::{Claim, DeliveryKey, Sibling, StoreError, TOTALS_TARGET};
use jiff::Timestamp;

use crate::attempt::Handler;

/// The least wait for a newer delivery, in seconds: one whose ring is under way is due already.
const NEWER_S: i64 = 5;

impl Handler {
    /// How long to wait because another delivery of this lead is leased, in seconds: until its lease
    /// ends if its key is lower, and for a moment otherwise.
    pub(crate) fn wait_for_leased(
        &self,
        claim: &Claim,
        siblings: &[Sibling],
        now: Timestamp,
    ) -> Option<i64> {
        let leased =
            |sibling: &&Sibling| sibling.state == StateKind::Leased && sibling.due_at > now;
        let mut held = siblings.iter().filter(leased).peekable();
        held.peek()?;
        let before_us = held.filter(|sibling| sibling.key.sk < claim.key.sk);
        let moment_s = 5 + i64::try_from(self.platform.entropy.number() % 5).unwrap_or(0);
        Some(before_us.map(|sibling| seconds_until(sibling.due_at, now)).max().unwrap_or(moment_s))
    }

    /// Ends the older deliveries whose state this one brought.
    pub(crate) async fn end_superseded(
        &self,
        outcome: &Outcome,
        superseded: &[DeliveryKey],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if *outcome != Outcome::Delivered {
            return Ok(());
        }
        for older in superseded {
            if self.store.supersede(older, now).await? {
                let (lead, id) = (older.lead_id, older.delivery_id().unwrap_or_default());
                self.count(&Outcome::Skipped(Reason::Superseded));
                tracing::info!(
                    target: TOTALS_TARGET,
                    destination = self.destination.name,
                    lead = %lead,
                    delivery = id,
                    outcome = Outcome::Skipped(Reason::Superseded).name(),
                    state = StateKind::Skipped.name(),
                    reason = %Reason::Superseded,
                    Settled = 1,
                    DurationMs = 0,
                    at_ms = now.as_millisecond(),
                    "settled {lead}/{id}, because a newer delivery brought the lead's state"
                );
            }
        }
        Ok(())
    }
}

/// How long a delivery waits that has nothing but the lead's state, in seconds, because a newer one of
/// its slot is pending: until that is due. It is ended when the newer one is delivered.
pub(crate) fn wait_for_newer(
    claim: &Claim,
    delivery: &Delivery,
    siblings: &[Sibling],
    now: Timestamp,
) -> Option<i64> {
    if delivery.effect != Effect::StateAlone {
        return None;
    }
    let is_newer = |sibling: &&Sibling| {
        sibling.state == StateKind::Pending
            && sibling.slot == delivery.slot
            && sibling.key.sk > claim.key.sk
    };
    let newer = siblings.iter().filter(is_newer);
    newer.map(|sibling| seconds_until(sibling.due_at, now).max(NEWER_S)).min()
}

/// The older deliveries that end when this one is delivered.
pub(crate) fn superseded(
    claim: &Claim,
    delivery: &Delivery,
    siblings: &[Sibling],
) -> Vec<DeliveryKey> {
    let is_superseded = |sibling: &&Sibling| {
        sibling.state == StateKind::Pending
            && sibling.effect == Effect::StateAlone
            && sibling.slot == delivery.slot
            && sibling.key.sk < claim.key.sk
    };
    siblings.iter().filter(is_superseded).map(|sibling| sibling.key.clone()).collect()
}

/// At least one second.
fn seconds_until(at: Timestamp, now: Timestamp) -> i64 {
    (at.as_second() - now.as_second()).max(1)
}
