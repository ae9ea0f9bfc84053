//! One claimed delivery, from its claim to its settlement.
//!
//! Owns the order of the checks, the bounds of a try, and what a missing answer means for a harmful
//! request. Every path ends in a settlement or leaves the lease to run out.

use std::time::Duration;

use funil_core::booking::{Booking, BookingStatus};
use funil_core::clock::after;
use funil_core::consent::Purpose;
use funil_core::delivery::{
    BLOCKED_S, CLAIMS_MAX, Delivery, Doubt, LEASE_S, Measured, MessageStatus, Outcome, Reason,
    State, settle,
};
use funil_core::destination::{Adapter, AliasDigests, Context, Kind, Slot, Step};
use funil_core::event::Event;
use funil_core::exchange::{Repeat, Reply, Request};
use funil_core::id::LeaseId;
use funil_core::lead::Lead;
use funil_core::pii::Text;
use funil_store::{
    AlertKind, Claim, Claimed, Claiming, Due, Found, Material, RateLimit, RateVerdict, StoreError,
    Written,
};
use jiff::Timestamp;

use crate::client::{self, NoAnswer};
use crate::gate::{Admission, Gate, Tokens, next_minute};
use crate::worker::{Mode, Worker};

/// How many requests one try may make.
const REQUESTS_MAX: usize = 8;
/// How long one try may take, in seconds.
const TRY_S_MAX: i64 = 25;
/// No request starts with less than this left of the lease or of the function, in seconds.
pub(crate) const REQUEST_NEEDS_S: i64 = 12;
const _: () = assert!(TRY_S_MAX + REQUEST_NEEDS_S <= LEASE_S, "a try begins no request too late");
/// How much of an answer that was no success the attempt keeps, in characters.
const DETAIL_CHARS_MAX: usize = 300;

/// What became of a due delivery in this worker's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It was claimed and settled.
    Settled,
    /// Somebody else has it, or had it, or nothing may be sent now.
    Passed,
    /// The destination's rate is used up for this minute.
    OutOfTokens,
}

/// A try under way: what it may still do, and what it saw.
struct Try<'g> {
    gate: &'g Gate<'g>,
    started: Timestamp,
    ends: Timestamp,
    replies: Vec<Reply>,
    tokens: Tokens,
}

impl Worker {
    /// Claims a due delivery, if the gate admits it, and brings it to an end.
    pub(crate) async fn handle(
        &self,
        gate: &Gate<'_>,
        due: &Due,
        stop_at: Timestamp,
    ) -> Result<Handled, StoreError> {
        let now = self.shell.clock.now();
        let admission = gate.admit(due, now).await;
        let tokens = match admission {
            Admission::Send | Admission::Probe => {
                let Some(tokens) = gate.tokens(now).await? else {
                    gate.unused(admission).await;
                    return Ok(Handled::OutOfTokens);
                };
                tokens
            }
            // Only a harmful request leaves a delivery in doubt.
            Admission::SettleInterrupted if self.destination.doubt == Doubt::Never => {
                return Ok(Handled::Passed);
            }
            Admission::SettleInterrupted | Admission::SettleExpired => Tokens::Unlimited,
        };
        let lease = LeaseId::random(&*self.shell.entropy);
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
        let Some(delivery) = &claim.delivery else {
            tracing::warn!(
                destination = self.destination.name,
                lead = %due.key.lead_id,
                delivery = due.key.delivery_id().unwrap_or_default(),
                "a delivery written by newer code is released; deploy this function again"
            );
            self.store.release_unread(&claim, after(now, BLOCKED_S)).await?;
            gate.unused(admission).await;
            gate.give_back(tokens).await;
            return Ok(Handled::Settled);
        };
        let ends = after(now, TRY_S_MAX);
        let mut this_try = Try { gate, started: now, ends, replies: Vec::new(), tokens };
        let Some(outcome) = self.outcome(&claim, delivery, &mut this_try, stop_at).await? else {
            tracing::warn!(
                destination = self.destination.name,
                lead = %delivery.lead_id,
                delivery = %delivery.id,
                "the lease was lost before sending; another worker has the delivery"
            );
            gate.give_back(this_try.tokens).await;
            return Ok(Handled::Passed);
        };
        self.settle(&claim, delivery, &outcome, &this_try).await
    }

    async fn settle(
        &self,
        claim: &Claim,
        delivery: &Delivery,
        outcome: &Outcome,
        this_try: &Try<'_>,
    ) -> Result<Handled, StoreError> {
        let now = self.shell.clock.now();
        let duration = now.as_millisecond() - this_try.started.as_millisecond();
        let last = this_try.replies.last();
        let failed = last.filter(|_| *outcome != Outcome::Delivered);
        let measured = Measured {
            status: last.map(|reply| reply.status),
            duration_ms: u32::try_from(duration).unwrap_or(0),
            detail: failed.and_then(detail),
            others_delivered_at: this_try.gate.last_success().await,
        };
        let (status, duration_ms) = (measured.status, measured.duration_ms);
        let jitter = self.shell.entropy.number();
        let settlement = settle(delivery, outcome, self.destination.doubt, measured, now, jitter);
        let written = self.store.settle(claim, &settlement, now).await?;
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
                    reason = settlement.reason.as_deref().unwrap_or_default(),
                    status = status.unwrap_or_default(),
                    attempts = settlement.attempts,
                    Settled = 1,
                    DurationMs = duration_ms,
                    at_ms = now.as_millisecond(),
                    "settled {}/{}", delivery.lead_id, delivery.id
                );
                self.tell(this_try.gate, delivery, outcome, settlement.state).await?;
                Ok(Handled::Settled)
            }
            Written::LeaseLost => {
                tracing::warn!(
                    destination = self.destination.name,
                    lead = %delivery.lead_id,
                    delivery = %delivery.id,
                    "the lease ran out before settling; the delivery is due again"
                );
                Ok(Handled::Passed)
            }
        }
    }

    /// Tells the breaker what the outcome says of the destination, and a person of a death.
    async fn tell(
        &self,
        gate: &Gate<'_>,
        delivery: &Delivery,
        outcome: &Outcome,
        state: State,
    ) -> Result<(), StoreError> {
        let now = self.shell.clock.now();
        gate.note(outcome, now).await?;
        if state != State::Dead {
            return Ok(());
        }
        let kind = if *outcome == Outcome::Expired { AlertKind::Expired } else { AlertKind::Dead };
        let example = format!("{}/{}", delivery.lead_id, delivery.id);
        self.store.raise_alert(self.destination.name, kind, Some(&example), now).await
    }

    /// How the try ends; `None` where the lease was lost before a harmful request.
    async fn outcome(
        &self,
        claim: &Claim,
        delivery: &Delivery,
        this_try: &mut Try<'_>,
        stop_at: Timestamp,
    ) -> Result<Option<Outcome>, StoreError> {
        let now = this_try.started;
        // This claim is counted too.
        if delivery.claims > CLAIMS_MAX {
            return Ok(Some(Outcome::Rejected(Reason::KillsItsWorker)));
        }
        // Whatever we thought, or were answered, it left.
        if let Some(MessageStatus::Sent | MessageStatus::Delivered | MessageStatus::Read) =
            delivery.message
        {
            return Ok(Some(Outcome::Delivered));
        }
        if delivery.sending.is_some() || delivery.doubtful_since.is_some() {
            return Ok(Some(Outcome::Unknown(Reason::MayHaveBeenSent)));
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
        if self.destination.kind == Kind::State
            && let Some(after_s) = self.wait_for_sibling(claim, now).await?
        {
            return Ok(Some(Outcome::Released { reason: Reason::SiblingLeased, after_s }));
        }
        let Material { lead, event, revocations, booking, bookings } =
            self.material(delivery, slot).await?;
        let (lead, event) = match (lead, event) {
            (Found::There(lead), Found::There(event)) => (lead, event),
            (lead, event) => return Ok(Some(not_there(&lead, &event))),
        };
        if let Err(purpose) = slot.permitted(&lead.consents, &revocations) {
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
            now,
        };
        self.send_all(claim, &context, &**adapter, this_try, stop_at).await
    }

    /// Everything a delivery is built from. A message goes to the number that the lead has now, which
    /// may not be the one that it was planned with: what was taken back there counts too.
    async fn material(&self, delivery: &Delivery, slot: &Slot) -> Result<Material, StoreError> {
        let mut material = self.store.material(delivery).await?;
        let is_message = slot.purpose == Purpose::Whatsapp
            || slot.unless_refused == Some(Purpose::Whatsapp);
        if let Found::There(lead) = &material.lead
            && is_message
            && let Some(phone) = AliasDigests::of(&lead.latest, &self.hash_key).phone
            && delivery.phone_digest.as_ref() != Some(&phone)
        {
            material.revocations.push(self.store.revocations_of(("phone", &phone)).await?);
        }
        Ok(material)
    }

    /// Sends request after request, as the adapter has it, until it is over.
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
            let request = match adapter.next(context, &this_try.replies) {
                Step::Done(outcome) => return Ok(Some(outcome)),
                Step::Send(request) => request,
            };
            let now = self.shell.clock.now();
            if let Some(outcome) = bound(this_try.replies.len(), this_try.ends, stop_at, now) {
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
                if let Some(wait_s) = self.pause(context.lead, now).await? {
                    return Ok(Some(Outcome::Released {
                        reason: Reason::TooSoon,
                        after_s: wait_s,
                    }));
                }
                if self.store.mark_sending(claim).await? == Written::LeaseLost {
                    return Ok(None);
                }
                if let Some(outcome) = self.called_off(delivery, context.slot).await? {
                    return Ok(Some(outcome));
                }
            }
            match self.send(&request).await {
                Ok(reply) => {
                    tracing::debug!(
                        destination = self.destination.name,
                        lead = %delivery.lead_id,
                        delivery = %delivery.id,
                        request = this_try.replies.len() + 1,
                        status = reply.status,
                        "answered"
                    );
                    this_try.replies.push(reply);
                }
                Err(outcome) => return Ok(Some(outcome)),
            }
        }
    }

    /// For how many seconds the person has to be left alone first, where the destination asks that.
    async fn pause(&self, lead: &Lead, now: Timestamp) -> Result<Option<i64>, StoreError> {
        let (Some(pause_s), Some(phone)) = (self.destination.person_pause_s, &lead.latest.phone)
        else {
            return Ok(None);
        };
        let digest = self.hash_key.digest("phone", &phone.alias_text());
        let one = RateLimit { calls: 1, window_s: pause_s };
        Ok(match self.store.rate(self.destination.name, &digest, one, now).await? {
            RateVerdict::Passes => None,
            RateVerdict::Refused { retry_after_s } => Some(retry_after_s.max(1)),
        })
    }

    /// What a message about a booking ends with if the booking, or the person's consent, was withdrawn
    /// while we were at it: whoever withdraws sees `sending` or is seen here.
    async fn called_off(
        &self,
        delivery: &Delivery,
        slot: &Slot,
    ) -> Result<Option<Outcome>, StoreError> {
        if delivery.booking.is_none() {
            return Ok(None);
        }
        let now = self.material(delivery, slot).await?;
        if let Some(outcome) = withdrawn(delivery, &now.booking) {
            return Ok(Some(outcome));
        }
        let Found::There(lead) = &now.lead else {
            return Ok(Some(not_there(&now.lead, &now.event)));
        };
        let refused = slot.permitted(&lead.consents, &now.revocations).err();
        Ok(refused.map(|purpose| Outcome::Skipped(Reason::NoConsent(purpose))))
    }

    async fn send(&self, request: &Request) -> Result<Reply, Outcome> {
        let timeout: Duration = self.request_timeout;
        let now = self.shell.clock.now();
        let no_answer = match client::send(&self.shell.http, request, timeout, now).await {
            Ok(reply) => return Ok(reply),
            Err(no_answer) => no_answer,
        };
        let reason = match no_answer {
            NoAnswer::Connect => Reason::Connect,
            NoAnswer::Timeout => Reason::Timeout,
            NoAnswer::Broken => Reason::Transport,
        };
        match (request.repeat, no_answer) {
            // The connection stood: the provider may have acted.
            (Repeat::Harmful, NoAnswer::Timeout | NoAnswer::Broken) => {
                Err(Outcome::Unknown(reason))
            }
            (Repeat::Harmful, NoAnswer::Connect) | (Repeat::Safe, _) => {
                Err(Outcome::Retry { reason, retry_after_s: None })
            }
        }
    }

    /// For how many seconds to step back because another delivery of this lead is under way: until
    /// its lease ends if it goes first, for a moment if we do.
    async fn wait_for_sibling(
        &self,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        let siblings = self.store.leased_siblings(&claim.key).await?;
        let mut held = siblings.iter().filter(|sibling| sibling.lease_end > now).peekable();
        if held.peek().is_none() {
            return Ok(None);
        }
        let before_us = held.filter(|sibling| sibling.sk < claim.key.sk).map(|s| s.lease_end).max();
        let moment_s = 5 + i64::try_from(self.shell.entropy.number() % 5).unwrap_or(0);
        Ok(Some(before_us.map_or(moment_s, |end| (end.as_second() - now.as_second()).max(1))))
    }
}

/// How a try ends that has made so many requests and may not begin another one.
fn bound(requests: usize, ends: Timestamp, stop_at: Timestamp, now: Timestamp) -> Option<Outcome> {
    if requests >= REQUESTS_MAX {
        return Some(Outcome::Retry { reason: Reason::TooManyRequests, retry_after_s: None });
    }
    let too_late = after(now, REQUEST_NEEDS_S) > stop_at || now >= ends;
    let reason = Reason::NoTimeLeft;
    too_late.then_some(match requests {
        0 => Outcome::Released { reason, after_s: 1 },
        _ => Outcome::Retry { reason, retry_after_s: None },
    })
}

/// How a delivery about a booking ends, where that booking does not stand.
const fn withdrawn(delivery: &Delivery, booking: &Found<Booking>) -> Option<Outcome> {
    if delivery.booking.is_none() {
        return None;
    }
    match booking {
        Found::There(booking) if booking.status.stands() => None,
        Found::There(booking) => Some(Outcome::Skipped(Reason::Withdrawn(booking.status))),
        // It was written with its deliveries: one that is gone was withdrawn for good.
        Found::Missing => Some(Outcome::Skipped(Reason::Withdrawn(BookingStatus::Canceled))),
        Found::NotUnderstood => {
            Some(Outcome::Released { reason: Reason::NotUnderstood, after_s: BLOCKED_S })
        }
    }
}

/// What becomes of a delivery whose lead or event is gone, or written by newer code.
const fn not_there(lead: &Found<Lead>, event: &Found<Event>) -> Outcome {
    match (lead, event) {
        (Found::Missing, _) => Outcome::Rejected(Reason::Missing("lead")),
        (_, Found::Missing) => Outcome::Rejected(Reason::Missing("event")),
        (Found::There(_) | Found::NotUnderstood, Found::There(_) | Found::NotUnderstood) => {
            Outcome::Released { reason: Reason::NotUnderstood, after_s: BLOCKED_S }
        }
    }
}

/// The beginning of an answer that was no success, for a person who has to mend it.
fn detail(reply: &Reply) -> Option<Text> {
    let text = reply.body.expose().trim();
    (!text.is_empty()).then(|| Text::new(text.chars().take(DETAIL_CHARS_MAX).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_has_so_many_requests_and_so_much_time() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (requests, ends_s, stops_s, expected) in [
            (7, 1, 12, None),
            (8, 1, 12, Some("too_many_requests")),
            (0, 0, 12, Some("no_time_left")),
            (0, 1, 11, Some("no_time_left")),
        ] {
            let outcome = bound(requests, after(now, ends_s), after(now, stops_s), now);
            let reason = outcome.and_then(|outcome| outcome.reason()).map(|why| why.to_string());
            assert_eq!(reason.as_deref(), expected, "{requests} {ends_s} {stops_s}");
        }
    }
}
