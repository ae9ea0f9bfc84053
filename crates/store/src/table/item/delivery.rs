//! A delivery as an item: its state and its place in the indexes as flat attributes.
//!
//! Owns which attributes a state has, and that those of a delivery must not contradict it. Knows no
//! operation.

use funil_core::booking::BookingId;
use funil_core::clock::after;
use funil_core::delivery::{
    Attempt, Delivery, Effect, MessageStatus, RING_S, Sending, Start, State, StateKind,
    StoredReason,
};
use funil_core::hash::Digest;
use funil_core::id::{DeliveryId, EventId, LeadId, LeaseId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Item, item, read};
use crate::table::error::StoreError;
use crate::table::key::{self, DeliveryKey};

/// A delivery's attributes, flat. `due_*` and `dead_*` are the keys of the indexes. `dead_*` is not
/// read, because the other attributes hold the same.
///
/// `at_once` marks one that a ring names and nobody has claimed yet: it stands in the index
/// [`RING_S`] after it is due, and its first claim leaves it there. `lease_until` is the end of the
/// lease; items that older code claimed have it in `due_sk` alone.
#[derive(Serialize, Deserialize)]
struct DeliveryRecord {
    delivery_id: DeliveryId,
    lead_id: LeadId,
    event_id: EventId,
    accepted_at: Timestamp,
    destination: String,
    slot: String,
    #[serde(default, skip_serializing_if = "Effect::is_own")]
    effect: Effect,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_pk: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_sk: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dead_pk: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dead_sk: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_once: Option<Mark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease_until: Option<String>,
    deadline: Timestamp,
    attempts: u32,
    claims: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease_id: Option<LeaseId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sending: Option<LeaseId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log: Vec<Attempt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<StoredReason>,
    #[serde(default, skip_serializing_if = "is_zero")]
    blocked: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    booking: Option<BookingId>,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "doubtful_since")]
    unknown_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<MessageStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email_digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phone_digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmed: Option<Digest>,
}

/// The value of an attribute that says something by being there.
#[derive(Serialize, Deserialize)]
struct Mark(bool);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

pub(crate) fn of_delivery(delivery: &Delivery) -> Result<Item, StoreError> {
    let state = &delivery.state;
    let sending = match state.sending() {
        Sending::Begun(lease) => Some(lease),
        Sending::NotBegun | Sending::Unconfirmed(_) => None,
    };
    let dead_at = state.settled_at().filter(|_| state.kind() == StateKind::Dead);
    let record = DeliveryRecord {
        delivery_id: delivery.id,
        lead_id: delivery.lead_id,
        event_id: delivery.event_id.clone(),
        accepted_at: delivery.accepted_at,
        destination: delivery.destination.clone(),
        slot: delivery.slot.clone(),
        effect: delivery.effect,
        state: state.name().to_owned(),
        due_pk: state.due_at().map(|_| key::due(&delivery.destination, delivery.shard)),
        due_sk: state.due_at().map(|due_at| match delivery.start {
            Start::WhenDue => key::time(due_at),
            Start::AtOnce => key::time(after(due_at, RING_S)),
        }),
        dead_pk: dead_at.map(|_| key::dead(&delivery.destination, delivery.shard)),
        dead_sk: dead_at.map(key::time),
        at_once: (delivery.start == Start::AtOnce).then_some(Mark(true)),
        lease_until: state.lease().and(state.due_at()).map(key::time),
        deadline: delivery.deadline,
        attempts: delivery.attempts,
        claims: delivery.claims,
        lease_id: state.lease(),
        sending,
        log: delivery.log.clone(),
        settled_at: state.settled_at(),
        reason: state.reason().cloned(),
        blocked: delivery.blocked,
        booking: delivery.booking.clone(),
        unknown_since: state.unknown_since(),
        message: delivery.message,
        email_digest: delivery.email_digest.clone(),
        phone_digest: delivery.phone_digest.clone(),
        confirmed: delivery.confirmed.clone(),
    };
    let key = DeliveryKey::from(delivery);
    item((key.pk(), key.sk), "delivery", &record)
}

/// Reads a delivery. One whose attributes contradict its state is a corrupt item.
pub(crate) fn to_delivery(item: Item) -> Result<Delivery, StoreError> {
    let record: DeliveryRecord = read(item, "delivery")?;
    let state = record.state().ok_or_else(|| {
        StoreError::corrupt(format!("delivery {}/{}", record.lead_id, record.delivery_id))
    })?;
    let shard = record.due_pk.as_deref().and_then(key::shard_of);
    Ok(Delivery {
        shard: shard.unwrap_or_default(),
        start: if record.at_once.is_some() { Start::AtOnce } else { Start::WhenDue },
        confirmed: record.confirmed,
        id: record.delivery_id,
        lead_id: record.lead_id,
        event_id: record.event_id,
        accepted_at: record.accepted_at,
        destination: record.destination,
        slot: record.slot,
        effect: record.effect,
        state,
        deadline: record.deadline,
        attempts: record.attempts,
        claims: record.claims,
        log: record.log,
        booking: record.booking,
        message: record.message,
        blocked: record.blocked,
        email_digest: record.email_digest,
        phone_digest: record.phone_digest,
    })
}

impl DeliveryRecord {
    /// The state that the flat attributes mean; `None` where they contradict each other.
    ///
    /// What a settled delivery kept of `sending` and `doubtful_since` is ignored: a pending one that
    /// older code could not read may have been withdrawn with them.
    fn state(&self) -> Option<State> {
        let kind = StateKind::parse(&self.state)?;
        let due_sk = match &self.due_sk {
            Some(due_sk) => Some(due_sk.parse::<Timestamp>().ok()?),
            None => None,
        };
        let due_at = match self.at_once {
            Some(_) => due_sk.map(|due_sk| after(due_sk, -RING_S)),
            None => due_sk,
        };
        let lease_until = match &self.lease_until {
            Some(until) => Some(until.parse::<Timestamp>().ok()?),
            None => due_sk,
        };
        let sending = match (self.sending, self.unknown_since) {
            (Some(lease), None) => Sending::Begun(lease),
            (None, Some(since)) => Sending::Unconfirmed(since),
            (Some(_), Some(_)) if kind.is_open() => return None,
            (None, None) | (Some(_), Some(_)) => Sending::NotBegun,
        };
        let reason = self.reason.clone();
        Some(match (kind, due_at, self.lease_id, self.settled_at) {
            (StateKind::Pending, Some(due_at), None, None) => {
                State::Pending { due_at, reason, sending }
            }
            (StateKind::Leased, Some(_), Some(lease), None) => {
                State::Leased { lease, until: lease_until?, reason, sending }
            }
            (StateKind::Unknown, Some(due_at), None, None) => {
                State::Unconfirmed { since: self.unknown_since?, due_at, reason: reason? }
            }
            (StateKind::Unknown, None, None, Some(at)) => State::Unknown { at, reason: reason? },
            (StateKind::Delivered, None, None, Some(at)) => State::Delivered { at, reason },
            (StateKind::Skipped, None, None, Some(at)) => State::Skipped { at, reason: reason? },
            (StateKind::Dead, None, None, Some(at)) => State::Dead { at, reason: reason? },
            (
                StateKind::Pending
                | StateKind::Leased
                | StateKind::Unknown
                | StateKind::Delivered
                | StateKind::Skipped
                | StateKind::Dead,
                _,
                _,
                _,
            ) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use funil_core::delivery::{Reason, Shard};

    use super::super::{s, text};
    use super::*;

    const LEAD: &str = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";
    const DELIVERY: &str = "0b0a6f1c-2f5e-8d3e-9a53-0d7a6c1f2b11";

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn lease() -> LeaseId {
        serde_dynamo::from_attribute_value(s(LEAD)).unwrap()
    }

    /// A delivery in this state.
    fn delivery(state: State) -> Delivery {
        let id = |text: &str| serde_dynamo::from_attribute_value(s(text)).unwrap();
        Delivery {
            id: serde_dynamo::from_attribute_value(s(DELIVERY)).unwrap(),
            lead_id: LeadId::parse(LEAD).unwrap(),
            event_id: id("form:lead-submit:1"),
            accepted_at: at("2026-11-21T12:00:00Z"),
            destination: "whatsapp".to_owned(),
            slot: "welcome".to_owned(),
            effect: Effect::Own,
            state,
            deadline: at("2026-11-22T12:00:00Z"),
            attempts: 1,
            claims: 0,
            log: Vec::new(),
            booking: None,
            message: None,
            blocked: 0,
            email_digest: None,
            phone_digest: None,
            shard: Shard::numbered(7).unwrap(),
            start: Start::WhenDue,
            confirmed: None,
        }
    }

    fn states() -> Vec<State> {
        let (now, due_at) = (at("2026-11-21T12:00:05Z"), at("2026-11-21T12:10:00Z"));
        let reason: StoredReason = Reason::MayHaveBeenSent.into();
        let sending = [Sending::NotBegun, Sending::Begun(lease()), Sending::Unconfirmed(now)];
        let mut states = vec![
            State::due(due_at),
            State::Unconfirmed { since: now, due_at, reason: reason.clone() },
            State::Unknown { at: now, reason: reason.clone() },
            State::Delivered { at: now, reason: None },
            State::Delivered { at: now, reason: Some(Reason::ByPerson.into()) },
            State::Skipped { at: now, reason: Reason::Off.into() },
            State::Dead { at: now, reason: reason.clone() },
        ];
        for sending in sending {
            let reason = Some(reason.clone());
            states.push(State::Pending { due_at, reason: reason.clone(), sending });
            states.push(State::Leased { lease: lease(), until: due_at, reason, sending });
        }
        states
    }

    #[test]
    fn every_state_is_read_as_it_was_written() {
        for state in states() {
            let delivery = delivery(state);
            let item = of_delivery(&delivery).unwrap();
            assert_eq!(text(&item, "state"), Some(delivery.state.name()));
            // One that is settled stands in no shard.
            let shard = if delivery.due_at().is_some() { delivery.shard } else { Shard::FIRST };
            assert_eq!(to_delivery(item), Ok(Delivery { shard, ..delivery }));
        }
    }

    #[test]
    fn one_that_a_ring_names_stands_in_the_index_after_a_lease() {
        let accepted_at = at("2026-11-21T12:00:00Z");
        let delivery = Delivery { start: Start::AtOnce, ..delivery(State::due(accepted_at)) };
        let item = of_delivery(&delivery).unwrap();
        assert_eq!(text(&item, "due_sk"), Some("2026-11-21T12:01:05.000Z"));
        assert_eq!(to_delivery(item), Ok(delivery));
    }

    #[test]
    fn a_delivery_whose_attributes_contradict_its_state_is_a_corrupt_item_with_its_name() {
        let time = || s("2026-11-21T12:00:00.000Z");
        let name = format!("delivery {LEAD}/{DELIVERY}");
        for state in states() {
            let whole = of_delivery(&delivery(state.clone())).unwrap();
            let mut contradictions = vec![("state", Some(s("postponed")))];
            if state.settled_at().is_some() {
                contradictions.extend([
                    ("settled_at", None),
                    ("due_sk", Some(time())),
                    ("lease_id", Some(s(LEAD))),
                ]);
            } else {
                contradictions.extend([
                    ("due_sk", None),
                    ("due_sk", Some(s("soon"))),
                    ("settled_at", Some(time())),
                ]);
            }
            match state.kind() {
                StateKind::Leased => contradictions.push(("lease_id", None)),
                StateKind::Unknown | StateKind::Skipped | StateKind::Dead => {
                    contradictions.push(("reason", None));
                }
                StateKind::Pending | StateKind::Delivered => {}
            }
            for (attribute, value) in contradictions {
                let mut item = whole.clone();
                match value {
                    Some(value) => item.insert(attribute.to_owned(), value),
                    None => item.remove(attribute),
                };
                let corrupt = to_delivery(item).unwrap_err();
                assert_eq!(corrupt, StoreError::corrupt(name.clone()), "{state:?} {attribute}");
            }
        }
    }
}
