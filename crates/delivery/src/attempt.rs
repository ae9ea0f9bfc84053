//! One delivery, from its claim to its settlement (`docs/design.md`, "Delivering").
//!
//! Owns the order of the checks before a try, and how long a try may take. Its requests are in
//! `attempt/send.rs`, and its end is in `attempt/settle.rs`. Every path ends in a settlement, or
//! leaves the delivery to fall due when its lease ends.

mod inputs;
mod send;
mod settle;

use std::time::Duration;

use funil_core::clock::after;
use funil_core::delivery::breaker::{Health, health};
use funil_core::delivery::exchange::Response;
use funil_core::delivery::limit::Token;
use funil_core::delivery::{
    BLOCKED_S, CLAIMS_MAX, Delivery, Effect, LEASE_S, Outcome, Reason, WhenUnknown,
};
use funil_core::destination::{Adapter, Context, Destination, Kind, Known};
use funil_core::hash::{Digest, HashKey};
use funil_core::id::LeaseId;
use funil_store::{
    Claim, Claimed, Claiming, Count, DeliveryInputs, DeliveryKey, Found, Platform, Store,
    StoreError,
};
use jiff::Timestamp;

use self::send::Sent;
use crate::backlog::Task;
use crate::bounds::{REQUEST_NEEDS_S, withdrawn, without_inputs};
use crate::gate::{Admission, Gate};
use crate::pressure::Refusals;
use crate::rate::Rate;
use crate::siblings::{superseded, wait_for_newer};

/// How long one try may take, in seconds.
const TRY_S_MAX: i64 = 25;
const _: () = assert!(TRY_S_MAX + REQUEST_NEEDS_S <= LEASE_S, "a request may outlive its lease");

/// Whether this deployment sends to the destination.
pub(crate) enum Mode {
    /// It sends, with this adapter and its credentials.
    Sends(Box<dyn Adapter>),
    /// It is not production: due deliveries are settled as skipped.
    OutsideProduction,
    /// The destination is not listed in `DESTINATIONS`: due deliveries are left alone.
    Off,
}

/// What handling the deliveries of one destination needs.
pub(crate) struct Handler {
    pub(crate) destination: &'static Destination,
    pub(crate) mode: Mode,
    pub(crate) store: Store,
    pub(crate) platform: Platform,
    /// How long a provider may take to respond to one request.
    pub(crate) request_timeout: Duration,
    /// For the digest of a phone, under which the pause between messages is counted.
    pub(crate) hash_key: HashKey,
    /// The most messages to one number in a day, where the destination has such a limit.
    pub(crate) daily_per_number: Option<i64>,
    /// What the table refused for its load.
    pub(crate) refusals: Refusals,
}

/// How handling a due delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It was claimed and settled.
    Settled {
        /// When it is due again, if it is not settled for good.
        again: Option<Timestamp>,
    },
    /// It was not claimed, because another worker holds it or was faster.
    Passed,
    /// Nothing goes through now, because of the breaker or the rate. It was not claimed.
    NotAdmitted,
    /// The table failed before or during the claim. If the claim was written after all, the delivery is due again when
    /// that lease ends.
    NotClaimed(StoreError),
}

/// A try under way: its bounds, and the responses so far.
struct Try<'g> {
    gate: &'g Gate<'g>,
    started: Timestamp,
    ends: Timestamp,
    responses: Vec<Response>,
    /// How many of the responses came before the last step that was kept.
    done: usize,
    /// The last request, if it got a response.
    last: Option<Sent>,
    /// The requests that it may make, where the destination has a rate.
    tokens: Vec<Token>,
    /// Older deliveries that this one makes unnecessary, because it brings the same state of the lead.
    superseded: Vec<DeliveryKey>,
    /// The digest of the state that it brings.
    brings: Option<Digest>,
}

/// For how long (in seconds) a confirmation from the destination counts, so that the lead need not be looked up there
/// again.
const LATELY_S: i64 = 10 * 60;
/// After how long a delivery is due again whose try the table ended before any response, in seconds.
const UNTRIED_S: i64 = 60;

impl Handler {
    /// Counts what was settled with an outcome.
    pub(crate) fn count(&self, outcome: &Outcome) {
        let (destination, outcome) = (self.destination.name, outcome.name());
        self.platform.totals.count(Count::Settled { destination, outcome });
    }

    /// Claims a delivery, if the gate admits it, and settles it.
    pub(crate) async fn handle(
        &self,
        gate: &Gate<'_>,
        task: &Task,
        stop_at: Timestamp,
    ) -> Result<Handled, StoreError> {
        let now = self.platform.clock.now();
        let due = &task.due;
        let admission = gate.admit(due, now);
        let tokens = match (admission, &gate.rate) {
            (Admission::Send | Admission::Probe, Some(rate)) => match rate.reserve(now).await {
                Ok(Some(tokens)) => tokens,
                Ok(None) => {
                    gate.unused(admission);
                    return Ok(Handled::NotAdmitted);
                }
                Err(error) => {
                    gate.unused(admission);
                    return Ok(Handled::NotClaimed(error));
                }
            },
            // Without harmful requests no delivery can have been interrupted in one, and one that a
            // ring names was never begun.
            (Admission::SettleInterrupted, _)
                if self.destination.when_unknown == WhenUnknown::Never
                    || task.claiming == Claiming::Named =>
            {
                return Ok(Handled::NotAdmitted);
            }
            (Admission::Send | Admission::Probe, None)
            | (Admission::SettleInterrupted | Admission::SettleExpired, _) => Vec::new(),
        };
        let lease = LeaseId::random(&*self.platform.entropy);
        let claiming = match admission {
            Admission::Send | Admission::Probe | Admission::SettleExpired => task.claiming,
            Admission::SettleInterrupted => Claiming::Interrupted,
        };
        let claim = match self.store.claim(&due.key, claiming, lease, now).await {
            Err(error) => {
                gate.unused(admission);
                give_back(gate, tokens).await;
                return Ok(Handled::NotClaimed(error));
            }
            Ok(Claimed::NotDue) => {
                gate.unused(admission);
                give_back(gate, tokens).await;
                return Ok(Handled::Passed);
            }
            Ok(Claimed::Ours(claim)) => claim,
        };
        let delivery = match &claim.delivery {
            Ok(delivery) => delivery,
            Err(error) => {
                let (lead, id) = (due.key.lead_id, due.key.delivery_id().unwrap_or_default());
                tracing::warn!(
                    destination = self.destination.name,
                    lead = %lead,
                    delivery = id,
                    "released {lead}/{id} for {BLOCKED_S} s, because it cannot be read: {error}"
                );
                gate.unused(admission);
                give_back(gate, tokens).await;
                self.store.release_unread(&claim, after(now, BLOCKED_S)).await?;
                return Ok(Handled::Settled { again: None });
            }
        };
        let ends = after(now, TRY_S_MAX);
        let mut this_try = Try {
            gate,
            started: now,
            ends,
            responses: Vec::new(),
            done: 0,
            last: None,
            tokens,
            superseded: Vec::new(),
            brings: None,
        };
        let outcome = match self.outcome(&claim, delivery, &mut this_try, stop_at).await {
            Ok(outcome) => outcome,
            Err(error) => {
                // The next delivery can be the probe.
                gate.unused(admission);
                give_back(gate, this_try.tokens).await;
                if this_try.responses.is_empty() {
                    self.release_untried(&claim, now).await;
                }
                return Err(error);
            }
        };
        let Some(outcome) = outcome else {
            tracing::warn!(
                destination = self.destination.name,
                lead = %delivery.lead_id,
                delivery = %delivery.id,
                "lost the lease of {} before sending; another worker has it", delivery.name()
            );
            gate.unused(admission);
            give_back(gate, this_try.tokens).await;
            return Ok(Handled::Passed);
        };
        // An outcome that says nothing about the destination leaves the probe to the next delivery.
        if health(&outcome) == Health::NoEvidence {
            gate.unused(admission);
        }
        give_back(gate, std::mem::take(&mut this_try.tokens)).await;
        self.settle(&claim, delivery, &outcome, &this_try, stop_at).await
    }

    /// Gives back a claim whose try the table ended before any response. Otherwise it would count as one
    /// that ended its worker, and a table that cannot be read for half an hour would make it dead.
    async fn release_untried(&self, claim: &Claim, now: Timestamp) {
        if let Err(error) = self.store.release_untried(claim, after(now, UNTRIED_S)).await {
            let (lead, id) = (claim.key.lead_id, claim.key.delivery_id().unwrap_or_default());
            tracing::warn!(
                destination = self.destination.name,
                lead = %lead,
                delivery = id,
                "could not release {lead}/{id}, which is due when its lease ends: {error}"
            );
        }
    }

    /// The outcome of the try; `None` where the lease was lost before a harmful request.
    async fn outcome(
        &self,
        claim: &Claim,
        delivery: &Delivery,
        this_try: &mut Try<'_>,
        stop_at: Timestamp,
    ) -> Result<Option<Outcome>, StoreError> {
        let now = this_try.started;
        if let Some(outcome) = delivery.recorded_outcome() {
            return Ok(Some(outcome));
        }
        // `claims` counts this claim too.
        if delivery.claims > CLAIMS_MAX {
            return Ok(Some(Outcome::Rejected(Reason::KillsItsWorker)));
        }
        if now >= delivery.deadline {
            return Ok(Some(Outcome::Expired));
        }
        let Some(slot) = self.destination.slot(&delivery.slot) else {
            return Ok(Some(Outcome::Released {
                reason: Reason::NotUnderstood,
                after_s: BLOCKED_S,
            }));
        };
        if delivery.is_blocked_alone(this_try.gate.last_success()) {
            return Ok(Some(Outcome::Rejected(Reason::BlockedAlone)));
        }
        let adapter = match &self.mode {
            Mode::Sends(adapter) => adapter,
            Mode::OutsideProduction => {
                return Ok(Some(Outcome::Skipped(Reason::OutsideProduction)));
            }
            Mode::Off => {
                return Ok(Some(Outcome::Released { reason: Reason::Off, after_s: BLOCKED_S }));
            }
        };
        if let Some(rate) = &this_try.gate.rate
            && !rate.adjust(&mut this_try.tokens, adapter.requests_max(slot), now).await?
        {
            return Ok(Some(out_of_tokens(rate, now)));
        }
        let mut confirmed = None;
        if self.destination.kind == Kind::State {
            let found = self.store.siblings(&claim.key, now).await?;
            let siblings = found.open;
            // An earlier try that failed may still have changed the lead at the destination.
            let is_first = delivery.claims <= 1 && delivery.log.is_empty();
            confirmed = found.confirmed.filter(|_| is_first);
            if let Some(after_s) = self.wait_for_leased(claim, &siblings, now) {
                return Ok(Some(Outcome::Released { reason: Reason::SiblingLeased, after_s }));
            }
            if let Some(after_s) = wait_for_newer(claim, delivery, &siblings, now) {
                return Ok(Some(Outcome::Released { reason: Reason::NewerFirst, after_s }));
            }
            this_try.superseded = superseded(claim, delivery, &siblings);
        }
        let inputs = self.inputs(delivery, slot).await?;
        let DeliveryInputs { lead, event, revocations, booking, oldest, others, bookings, kept } =
            inputs;
        let (lead, event) = match (lead, event) {
            (Found::There(lead), Found::There(event)) => (lead, event),
            (lead, event) => return Ok(Some(without_inputs(&lead, &event))),
        };
        // Anybody can send a form under a derived id, so its boxes count for its own deliveries alone.
        let consents = match event.data.consent().as_deref() {
            Some(form) if lead.id.is_derived() => form.over(&lead.consents, event.accepted_at),
            Some(_) | None => lead.consents.clone(),
        };
        if let Err(reason) = slot.permitted(&consents, &revocations) {
            return Ok(Some(Outcome::Skipped(reason)));
        }
        if let Some(outcome) = withdrawn(delivery, &booking) {
            return Ok(Some(outcome));
        }
        let bookings = match booking {
            Found::There(booking) => vec![booking],
            Found::Missing | Found::NotUnderstood => bookings,
        };
        let elder = self.elder(oldest, &lead, slot).await?;
        let context = Context {
            lead: &lead,
            revocations: &revocations,
            event: &event,
            bookings: &bookings,
            delivery,
            slot,
            oldest,
            elder: elder.as_ref(),
            known: match &confirmed {
                Some(confirmed) if now < after(confirmed.at, LATELY_S) => Known::Lately,
                Some(_) | None => Known::NotLately,
            },
            kept: &kept,
        };
        this_try.brings = adapter
            .state(&context)
            .map(|state| self.hash_key.digest(self.destination.name, &state));
        // Where one record is kept for an e-mail, another lead of it may have changed it since.
        let is_only = !self.destination.keyed_by_email
            || others.iter().chain([&oldest]).flatten().all(|other| *other == lead.id);
        if delivery.effect == Effect::StateAlone
            && !event.data.is_sync()
            && is_only
            && this_try.brings.is_some()
            && confirmed.is_some_and(|confirmed| confirmed.state == this_try.brings)
        {
            return Ok(Some(Outcome::Skipped(Reason::Unchanged)));
        }
        // In a box of its own: what sends is larger than all that comes before.
        Box::pin(self.send_all(claim, &context, &**adapter, this_try, stop_at)).await
    }
}

/// Gives the gate back the tokens that a delivery did not use.
async fn give_back(gate: &Gate<'_>, tokens: Vec<Token>) {
    if let Some(rate) = &gate.rate {
        rate.give_back(tokens).await;
    }
}

/// The outcome of a delivery for which the rate leaves too few requests.
fn out_of_tokens(rate: &Rate<'_>, now: Timestamp) -> Outcome {
    let after_s = rate.spent_until(now).map_or(1, |until| until.as_second() - now.as_second() + 1);
    Outcome::Released { reason: Reason::OutOfTokens, after_s }
}
