//! One delivery, from its claim to its settlement (`docs/design.md`, "Delivering").
//!
//! Owns the order of the checks, how long a try may take, and what it means that a harmful request
//! got no response. Every path ends in a settlement, or leaves the delivery to fall due when its
//! lease ends.

use std::time::Duration;

use funil_core::clock::after;
use funil_core::contact::consent::Purpose;
use funil_core::delivery::breaker::{Health, health};
use funil_core::delivery::exchange::{Repeat, Request, Response};
use funil_core::delivery::{
    BLOCKED_S, CLAIMS_MAX, Delivery, LEASE_S, Measured, Outcome, Reason, StateKind, WhenUnknown,
    settle,
};
use funil_core::destination::{Adapter, AliasDigests, Context, Destination, Kind, Slot, Step};
use funil_core::hash::HashKey;
use funil_core::id::LeaseId;
use funil_store::{
    AlertKind, Claim, Claimed, Claiming, DeliveryInputs, DeliveryKey, Due, Found, Platform, Store,
    StoreError, Written,
};
use jiff::Timestamp;

use crate::bounds::{REQUEST_NEEDS_S, bound, detail, withdrawn, without_inputs};
use crate::client::{self, NoResponse};
use crate::gate::{Admission, Gate, Tokens, next_minute};
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
}

/// How handling a due delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It was claimed and settled.
    Settled,
    /// Another worker has it or had it, or nothing may be sent now.
    Passed,
    /// The destination's rate is used up for this minute.
    OutOfTokens,
}

/// A try under way: its bounds, and the responses so far.
struct Try<'g> {
    gate: &'g Gate<'g>,
    started: Timestamp,
    ends: Timestamp,
    responses: Vec<Response>,
    tokens: Tokens,
    /// Older deliveries that have nothing but the state that this one brings.
    superseded: Vec<DeliveryKey>,
}

impl Handler {
    /// Claims a due delivery, if the gate admits it, and settles it.
    pub(crate) async fn handle(
        &self,
        gate: &Gate<'_>,
        due: &Due,
        stop_at: Timestamp,
    ) -> Result<Handled, StoreError> {
        let now = self.platform.clock.now();
        let admission = gate.admit(due, now).await;
        let tokens = match admission {
            Admission::Send | Admission::Probe => {
                let Some(tokens) = gate.tokens(now).await? else {
                    gate.unused(admission).await;
                    return Ok(Handled::OutOfTokens);
                };
                tokens
            }
            // Without harmful requests no delivery can have been interrupted in one.
            Admission::SettleInterrupted if self.destination.when_unknown == WhenUnknown::Never => {
                return Ok(Handled::Passed);
            }
            Admission::SettleInterrupted | Admission::SettleExpired => Tokens::Unlimited,
        };
        let lease = LeaseId::random(&*self.platform.entropy);
        let claiming = match admission {
            Admission::Send | Admission::Probe | Admission::SettleExpired => Claiming::Due,
            Admission::SettleInterrupted => Claiming::Interrupted,
        };
        let claim = match self.store.claim(&due.key, claiming, lease, now).await? {
            Claimed::NotDue => {
                gate.unused(admission).await;
                gate.give_back(tokens).await;
                return Ok(Handled::Passed);
            }
            Claimed::Ours(claim) => claim,
        };
        let delivery = match &claim.delivery {
            Ok(delivery) => delivery,
            Err(error) => {
                let (lead, id) = (due.key.lead_id, due.key.delivery_id().unwrap_or_default());
                tracing::warn!(
                    destination = self.destination.name,
                    lead = %lead,
                    delivery = id,
                    error = %error,
                    "released {lead}/{id} for {BLOCKED_S} s, because it cannot be read"
                );
                self.store.release_unread(&claim, after(now, BLOCKED_S)).await?;
                gate.unused(admission).await;
                gate.give_back(tokens).await;
                return Ok(Handled::Settled);
            }
        };
        let ends = after(now, TRY_S_MAX);
        let mut this_try =
            Try { gate, started: now, ends, responses: Vec::new(), tokens, superseded: Vec::new() };
        let Some(outcome) = self.outcome(&claim, delivery, &mut this_try, stop_at).await? else {
            tracing::warn!(
                destination = self.destination.name,
                lead = %delivery.lead_id,
                delivery = %delivery.id,
                "lost the lease of {} before sending; another worker has it", delivery.name()
            );
            gate.unused(admission).await;
            gate.give_back(this_try.tokens).await;
            return Ok(Handled::Passed);
        };
        // What was settled without a request says nothing about the destination.
        if this_try.responses.is_empty() && health(&outcome) == Health::NoEvidence {
            gate.unused(admission).await;
        }
        self.settle(&claim, delivery, &outcome, &this_try).await
    }

    async fn settle(
        &self,
        claim: &Claim,
        delivery: &Delivery,
        outcome: &Outcome,
        this_try: &Try<'_>,
    ) -> Result<Handled, StoreError> {
        let now = self.platform.clock.now();
        let duration = now.as_millisecond() - this_try.started.as_millisecond();
        let last = this_try.responses.last();
        let failed = last.filter(|_| *outcome != Outcome::Delivered);
        let measured = Measured {
            status: last.map(|response| response.status),
            duration_ms: u32::try_from(duration).unwrap_or(0),
            detail: failed.and_then(detail),
            others_delivered_at: this_try.gate.last_success().await,
        };
        let (status, duration_ms) = (measured.status, measured.duration_ms);
        let jitter = self.platform.entropy.number();
        let settlement =
            settle(delivery, outcome, self.destination.when_unknown, measured, now, jitter);
        let written = self.store.settle(claim, &settlement).await?;
        this_try.gate.give_back(this_try.tokens).await;
        match written {
            Written::Yes => {
                tracing::info!(
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
                        error = %error,
                        "settled {}, but its breaker, its alert or its older siblings were not written",
                        delivery.name()
                    );
                }
                Ok(Handled::Settled)
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
        if delivery.is_blocked_alone(this_try.gate.last_success().await) {
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
        if self.destination.kind == Kind::State {
            let siblings = self.store.open_siblings(&claim.key).await?;
            if let Some(after_s) = self.wait_for_leased(claim, &siblings, now) {
                return Ok(Some(Outcome::Released { reason: Reason::SiblingLeased, after_s }));
            }
            if let Some(after_s) = wait_for_newer(claim, delivery, &siblings, now) {
                return Ok(Some(Outcome::Released { reason: Reason::NewerFirst, after_s }));
            }
            this_try.superseded = superseded(claim, delivery, &siblings);
        }
        let DeliveryInputs { lead, event, revocations, booking, oldest, bookings } =
            self.inputs(delivery, slot).await?;
        let (lead, event) = match (lead, event) {
            (Found::There(lead), Found::There(event)) => (lead, event),
            (lead, event) => return Ok(Some(without_inputs(&lead, &event))),
        };
        // Anybody can send a form under a derived id, so its boxes count for its own deliveries alone.
        let consents = match event.data.consent() {
            Some(form) if lead.id.is_derived() => form.over(&lead.consents, event.accepted_at),
            Some(_) | None => lead.consents.clone(),
        };
        if let Err(purpose) = slot.permitted(&consents, &revocations) {
            return Ok(Some(Outcome::Skipped(Reason::NoConsent(purpose))));
        }
        if let Some(outcome) = withdrawn(delivery, &booking) {
            return Ok(Some(outcome));
        }
        let bookings = match booking {
            Found::There(booking) => vec![booking],
            Found::Missing | Found::NotUnderstood => bookings,
        };
        let context = Context {
            lead: &lead,
            revocations: &revocations,
            event: &event,
            bookings: &bookings,
            delivery,
            slot,
            oldest,
        };
        self.send_all(claim, &context, &**adapter, this_try, stop_at).await
    }

    /// Reads everything that the delivery is built from. A message that was planned before its
    /// recipient was decided then goes to the number that the lead has now, so what was revoked for
    /// that number counts too.
    async fn inputs(&self, delivery: &Delivery, slot: &Slot) -> Result<DeliveryInputs, StoreError> {
        let mut inputs = self.store.delivery_inputs(delivery, self.destination).await?;
        let is_message =
            slot.purpose == Purpose::Whatsapp || slot.unless_revoked == Some(Purpose::Whatsapp);
        if let Found::There(lead) = &inputs.lead
            && let Found::There(event) = &inputs.event
            && is_message
            && event.data.recipient().is_none()
            && let Some(phone) = AliasDigests::of(&lead.latest, &self.hash_key).phone
            && delivery.phone_digest.as_ref() != Some(&phone)
        {
            inputs.revocations.push(self.store.revocations_of(("phone", &phone)).await?);
        }
        Ok(inputs)
    }

    /// Sends one request after another, as the adapter asks for them, until it returns an outcome.
    async fn send_all(
        &self,
        claim: &Claim,
        context: &Context<'_>,
        adapter: &dyn Adapter,
        this_try: &mut Try<'_>,
        stop_at: Timestamp,
    ) -> Result<Option<Outcome>, StoreError> {
        let delivery = context.delivery;
        loop {
            let request = match adapter.next(context, &this_try.responses) {
                Step::Done(outcome) => return Ok(Some(outcome)),
                Step::Send(request) => request,
            };
            let now = self.platform.clock.now();
            if let Some(outcome) = bound(this_try.responses.len(), this_try.ends, stop_at, now) {
                return Ok(Some(outcome));
            }
            if let Tokens::Leased(left) = &mut this_try.tokens {
                if left.tokens == 0 || now >= left.until {
                    let after_s = next_minute(now).as_second() - now.as_second();
                    return Ok(Some(Outcome::Released { reason: Reason::OutOfTokens, after_s }));
                }
                left.tokens -= 1;
            }
            if request.repeat == Repeat::Harmful {
                if let Some(outcome) = self.too_many(context, now).await? {
                    return Ok(Some(outcome));
                }
                if self.store.mark_sending(claim).await? == Written::LeaseLost {
                    return Ok(None);
                }
                if let Some(outcome) = self.withdrawn_since_claim(delivery, context.slot).await? {
                    return Ok(Some(outcome));
                }
            }
            match self.send(&request).await {
                Ok(response) => {
                    tracing::debug!(
                        destination = self.destination.name,
                        lead = %delivery.lead_id,
                        delivery = %delivery.id,
                        request = this_try.responses.len() + 1,
                        status = response.status,
                        "{} got a response to request {}",
                        delivery.name(),
                        this_try.responses.len() + 1
                    );
                    this_try.responses.push(response);
                }
                Err(outcome) => return Ok(Some(outcome)),
            }
        }
    }

    /// The outcome of a message about a booking, if the booking was cancelled or consent revoked
    /// since the claim. `sending` is written first: so a withdrawal either sees it, or is seen
    /// here.
    async fn withdrawn_since_claim(
        &self,
        delivery: &Delivery,
        slot: &Slot,
    ) -> Result<Option<Outcome>, StoreError> {
        if delivery.booking.is_none() {
            return Ok(None);
        }
        let now = self.inputs(delivery, slot).await?;
        if let Some(outcome) = withdrawn(delivery, &now.booking) {
            return Ok(Some(outcome));
        }
        let Found::There(lead) = &now.lead else {
            return Ok(Some(without_inputs(&now.lead, &now.event)));
        };
        let refused = slot.permitted(&lead.consents, &now.revocations).err();
        Ok(refused.map(|purpose| Outcome::Skipped(Reason::NoConsent(purpose))))
    }

    /// Sends one request. Without a response, returns the outcome of the try.
    async fn send(&self, request: &Request) -> Result<Response, Outcome> {
        let timeout = self.request_timeout;
        let now = self.platform.clock.now();
        let no_response = match client::send(&self.platform.http, request, timeout, now).await {
            Ok(response) => return Ok(response),
            Err(no_response) => no_response,
        };
        let reason = match no_response {
            NoResponse::Connect => Reason::Connect,
            NoResponse::Timeout => Reason::Timeout,
            NoResponse::Broken => Reason::Transport,
        };
        match (request.repeat, no_response) {
            // The provider may have got the request and acted on it.
            (Repeat::Harmful, NoResponse::Timeout | NoResponse::Broken) => {
                Err(Outcome::Unknown(reason))
            }
            (Repeat::Harmful, NoResponse::Connect) | (Repeat::Safe, _) => {
                Err(Outcome::Retry { reason, retry_after_s: None })
            }
        }
    }
}
