//! The requests of a try, one after another, until the adapter has an outcome.
//!
//! Owns the order of the checks before each request, and what it means that a harmful one got no
//! response. Must not know how the outcome is settled.

use funil_core::clock::after;
use funil_core::delivery::exchange::{Repeat, Reply, Request, Response};
use funil_core::delivery::{Delivery, KeptReply, Outcome, Reason};
use funil_core::destination::{Adapter, Context, Keeps, Slot, Step, ToKeep};
use funil_store::{Claim, Found, StoreError, Written};
use jiff::Timestamp;
use url::Url;

use super::settle::writes_until;
use super::{Handler, Try, out_of_tokens};
use crate::bounds::{bound, withdrawn, without_inputs};
use crate::client::{self, NoResponse};

/// A request that was sent and got a response.
pub(super) struct Sent {
    /// Where it went, which may hold a credential.
    pub(super) url: Url,
    /// Whether its response may be kept.
    pub(super) reply: Reply,
}

impl Handler {
    /// Sends one request after another, as the adapter asks for them, until it returns an outcome.
    pub(super) async fn send_all(
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
