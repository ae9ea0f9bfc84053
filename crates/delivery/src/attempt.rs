//! One delivery, from its claim to its settlement (`docs/design.md`, "Delivering").
//!
//! Owns the order of the checks, how long a try may take, and what it means that a harmful request
//! got no response. Every path ends in a settlement, or leaves the delivery to fall due when its
//! lease ends.

use std::time::Duration;

use funil_core::clock::after;
use funil_core::contact::consent::Purpose;
use funil_core::delivery::breaker::{Health, health};
use funil_core::delivery::exchange::{Repeat, Reply, Request, Response};
use funil_core::delivery::limit::Token;
use funil_core::delivery::{
    BLOCKED_S, CLAIMS_MAX, Delivery, Effect, KeptReply, LEASE_S, Measured, Outcome, Reason,
    Settlement, StateKind, WhenUnknown, settle,
};
use funil_core::destination::{
    Adapter, AliasDigests, Context, Destination, Keeps, Kind, Known, Reaches, Slot, Step, ToKeep,
};
use funil_core::hash::{Digest, HashKey};
use funil_core::id::{LeadId, LeaseId};
use funil_core::lead::Lead;
use funil_store::{
    AlertKind, Claim, Claimed, Claiming, Count, DeliveryInputs, DeliveryKey, Found, Platform,
    Store, StoreError, TOTALS_TARGET, Written,
};
use jiff::Timestamp;
use url::Url;

use crate::backlog::Task;
use crate::bounds::{REQUEST_NEEDS_S, SETTLING_NEEDS_S, bound, detail, withdrawn, without_inputs};
use crate::client::{self, NoResponse};
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
    /// Another worker has it or had it.
    Passed,
    /// Nothing goes through now, because of the breaker or the rate. It was not claimed.
    NotAdmitted,
    /// The table failed before or during the claim. If the claim was written after all, the delivery is due again when
    /// that lease ends.
    NotClaimed(StoreError),
}

/// A request that was sent and got a response.
struct Sent {
    /// Where it went, which may hold a credential.
    url: Url,
    /// Whether its response may be kept.
    reply: Reply,
}

/// A try under way: its bounds, and the responses so far.
struct Try<'g> {
    gate: &'g Gate<'g>,
    started: Timestamp,
    ends: Timestamp,
    responses: Vec<Response>,
    /// How many of them are behind what was kept last.
    done: usize,
    /// The last request, if it got a response.
    last: Option<Sent>,
    /// The requests that it may make, where the destination has a rate.
    tokens: Vec<Token>,
    /// Older deliveries that have nothing but the state that this one brings.
    superseded: Vec<DeliveryKey>,
    /// The digest of the state that it brings.
    brings: Option<Digest>,
}

/// For how long (in seconds) a confirmation from the destination counts, so that the lead need not be looked up there
/// again.
const LATELY_S: i64 = 10 * 60;
/// After how long a delivery is due again whose try the table ended before any response, in seconds.
const UNTRIED_S: i64 = 60;
/// The first wait before a settlement is tried again; each further one is twice as long. Long beside those
/// of intake, which somebody waits for.
const SETTLE_AGAIN_MS: u64 = 400;
/// The longest of these waits.
const SETTLE_AGAIN_MS_MAX: u64 = 4_000;

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
        if let Err(error) = self.store.release_unread(claim, after(now, UNTRIED_S)).await {
            let (lead, id) = (claim.key.lead_id, claim.key.delivery_id().unwrap_or_default());
            tracing::warn!(
                destination = self.destination.name,
                lead = %lead,
                delivery = id,
                "could not release {lead}/{id}, which is due when its lease ends: {error}"
            );
        }
    }

    async fn settle(
        &self,
        claim: &Claim,
        delivery: &Delivery,
        outcome: &Outcome,
        this_try: &Try<'_>,
        stop_at: Timestamp,
    ) -> Result<Handled, StoreError> {
        let now = self.platform.clock.now();
        let duration = now.as_millisecond() - this_try.started.as_millisecond();
        // A request without a response leaves nothing of the one before it.
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
    async fn patiently<T, W: Future<Output = Result<T, StoreError>>>(
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
            // What was tried before without success may have changed the lead there.
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

    /// The oldest lead of the e-mail, if it is another lead. A destination that decides about a purpose itself needs
    /// that lead's consent.
    async fn elder(
        &self,
        oldest: Option<LeadId>,
        lead: &Lead,
        slot: &Slot,
    ) -> Result<Option<Lead>, StoreError> {
        match oldest.filter(|oldest| *oldest != lead.id && slot.asks_for.is_some()) {
            Some(oldest) => self.store.lead(oldest).await,
            None => Ok(None),
        }
    }

    /// Reads everything that the delivery is built from. If the lead got its address or number after the delivery was
    /// planned, the revocations of that address or number are read too.
    async fn inputs(&self, delivery: &Delivery, slot: &Slot) -> Result<DeliveryInputs, StoreError> {
        let mut inputs = self.store.delivery_inputs(delivery, self.destination).await?;
        if let Some((kind, digest)) = self.addressed_since(delivery, slot, &inputs) {
            // In a box of its own, because it is rare and larger than all the rest.
            let revocations = Box::pin(self.store.revocations_of((kind, &digest))).await?;
            inputs.revocations.push(revocations);
        }
        Ok(inputs)
    }

    /// The address or number to which the delivery goes, if it was planned without it.
    fn addressed_since(
        &self,
        delivery: &Delivery,
        slot: &Slot,
        inputs: &DeliveryInputs,
    ) -> Option<(&'static str, Digest)> {
        let Found::There(lead) = &inputs.lead else { return None };
        let Found::There(event) = &inputs.event else { return None };
        let now = AliasDigests::of(&lead.latest, &self.hash_key);
        if slot.reaches == Reaches::Mailbox {
            let planned = delivery.email_digest.as_ref();
            return now.email.filter(|email| planned != Some(email)).map(|email| ("email", email));
        }
        let is_message =
            slot.purpose == Purpose::Whatsapp || slot.unless_revoked == Some(Purpose::Whatsapp);
        // A message whose recipient is decided goes there.
        let is_open = is_message && event.data.recipient().is_none();
        now.phone
            .filter(|phone| is_open && delivery.phone_digest.as_ref() != Some(phone))
            .map(|phone| ("phone", phone))
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
        let mut kept = context.kept.to_vec();
        loop {
            let context = &Context { kept: &kept, ..*context };
            let request = match adapter.next(context, &this_try.responses[this_try.done..]) {
                Step::Done(outcome) => return Ok(Some(outcome)),
                Step::Send(request) => request,
                Step::Keep(found) => {
                    let found = self.keep(delivery, *found, this_try.started, stop_at).await?;
                    this_try.done = this_try.responses.len();
                    kept.push(found);
                    continue;
                }
            };
            this_try.last = None;
            let now = self.platform.clock.now();
            let made = this_try.responses.len();
            let most = adapter.requests_max(context.slot);
            if let Some(outcome) = bound((made, most), this_try.ends, stop_at, now) {
                return Ok(Some(outcome));
            }
            if let Some(rate) = &this_try.gate.rate
                && !rate.take(&mut this_try.tokens, now).await?
            {
                return Ok(Some(out_of_tokens(rate, now)));
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
                    this_try.last = Some(Sent { url: request.url, reply: request.reply });
                }
                Err(outcome) => return Ok(Some(outcome)),
            }
        }
    }

    /// Keeps what came of a step, and tries again while the table does not take it: what a step found was paid for.
    /// Returns what is kept of it, which may be another delivery's.
    async fn keep(
        &self,
        delivery: &Delivery,
        found: ToKeep,
        started: Timestamp,
        stop_at: Timestamp,
    ) -> Result<KeptReply, StoreError> {
        let ToKeep { step, fields, keeps } = found;
        let (at, by) = (self.platform.clock.now(), delivery.id);
        let reply = KeptReply { step, at, by, fields };
        let goes_at = match keeps {
            Keeps::ForGood => None,
            Keeps::ADay => Some(after(at, 2 * 24 * 60 * 60)),
        };
        let until = writes_until(started, stop_at);
        let (lead, destination) = (delivery.lead_id, self.destination.name);
        let write = || self.store.keep_reply(lead, destination, reply.clone(), goes_at);
        self.patiently("a reply", &delivery.name().to_string(), until, write).await
    }

    /// Checks, after `sending` was written, whether the booking was cancelled or the consent revoked since the claim;
    /// returns the outcome if so. Because `sending` is written first, a withdrawal either sees `sending`, or is seen by
    /// this check.
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
        Ok(refused.map(Outcome::Skipped))
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

/// Until when a try's results are written: the lease and the function must not end before.
fn writes_until(started: Timestamp, stop_at: Timestamp) -> Timestamp {
    let lease_ends = after(started, LEASE_S - SETTLING_NEEDS_S);
    lease_ends.min(after(stop_at, SETTLING_NEEDS_S - 1))
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
