//! Which deliveries an event makes: one for each slot that an enabled destination wants. Must not know any
//! destination, nor how a delivery is sent.

use super::Destination;
use crate::clock::after;
use crate::contact::consent::FormConsent;
use crate::delivery::{Delivery, Queue, Start, State};
use crate::event::{Event, EventData};
use crate::hash::{Digest, HashKey};
use crate::lead::LeadLatest;

/// Keyed digests of a person's aliases. A delivery carries them, so that revocations are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AliasDigests {
    /// The digest of the e-mail.
    pub email: Option<Digest>,
    /// The digest of the phone, of a Brazilian mobile without its ninth digit.
    pub phone: Option<Digest>,
}

impl AliasDigests {
    /// The digests of this e-mail and phone.
    pub fn of(latest: &LeadLatest, hash: &HashKey) -> Self {
        Self {
            email: latest.email.as_ref().map(|email| hash.digest("email", email.as_str())),
            phone: latest.phone.as_ref().map(|phone| hash.digest("phone", &phone.alias_text())),
        }
    }
}

/// Plans the deliveries of an event: one for each slot that an enabled destination wants, except
/// those whose purpose the consent object of the same request denies. A payment of a provider's test mode
/// has none.
pub fn plan(
    event: &Event,
    enabled: &[&'static Destination],
    consent: Option<&FormConsent>,
    aliases: &AliasDigests,
    queue: Queue,
) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    if let EventData::Payment(payment) = &event.data
        && !payment.mode().counts()
    {
        return deliveries;
    }
    for destination in enabled {
        if let EventData::Operation(operation) = &event.data
            && operation.sync().is_some_and(|sync| sync.destination != destination.name)
        {
            continue;
        }
        for planned in (destination.plan)(event) {
            if consent.is_some_and(|consent| planned.slot.denied_by(consent)) {
                continue;
            }
            let mut delivery = Delivery::planned(event, destination.name, planned.slot.name);
            delivery.shard = queue.shard;
            if planned.due_at.is_none_or(|due_at| due_at <= event.accepted_at) {
                delivery.start = queue.start;
            }
            if let Some(due_at) = planned.due_at
                && delivery.start == Start::WhenDue
            {
                delivery.state = State::due(due_at);
            }
            let usual = after(event.accepted_at, destination.deadline_h * 3600);
            delivery.deadline = planned.deadline.unwrap_or(usual);
            delivery.booking = planned.booking;
            delivery.effect = planned.effect;
            delivery.email_digest.clone_from(&aliases.email);
            delivery.phone_digest.clone_from(&aliases.phone);
            deliveries.push(delivery);
        }
    }
    deliveries
}

/// The names of the enabled destinations that want an event, except where the consent object of the same
/// request denies every purpose of what they want.
pub fn wanted(
    event: &Event,
    enabled: &[&'static Destination],
    consent: Option<&FormConsent>,
) -> Vec<&'static str> {
    let wants = |destination: &&&'static Destination| {
        let planned =
            plan(event, &[destination], consent, &AliasDigests::default(), Queue::default());
        !planned.is_empty()
    };
    enabled.iter().filter(wants).map(|destination| destination.name).collect()
}
