//! What a person decides about deliveries that ended: to replay them, or to settle them by hand.
//!
//! Each decision is one transaction with the event that records it, on the condition that the
//! delivery is still as the person saw it. So of two decisions at once one takes effect.

use funil_core::clock::{Entropy, after};
use funil_core::delivery::{Delivery, Reason, SWEPT_AFTER_S, Shard, StateKind};
use funil_core::event::{Event, Verdict};
use funil_core::id::DeliveryName;
use jiff::Timestamp;

use crate::Store;
use crate::delivery::claim::keys;
use crate::delivery::due;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::key::DeliveryKey;
use crate::table::transaction::{Transacted, Write};
use crate::table::{item, key};

/// A delivery with its event, from which a replay is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The delivery, as it is stored.
    pub delivery: Delivery,
    /// Its event; `None` where it is missing or this code cannot read it.
    pub event: Option<Event>,
}

/// How many deliveries one read asks for, which keeps a batch below 100 keys.
const READ_AT_ONCE: usize = 50;
/// How many of a lead's newest deliveries are searched for one that a person names.
const NAMED_AMONG: usize = 2_000;
/// How many of a lead's newest messages are searched for the one that a status update is about.
const MESSAGES: usize = 200;

impl Store {
    /// Makes a delivery that ended pending again, due now, under its own id and with a new deadline,
    /// and keeps the event that records it. Returns whether the delivery was still as given.
    pub async fn revive(
        &self,
        delivery: &Delivery,
        deadline: Timestamp,
        decision: &Event,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        // A sweep leaves alone what fell due just now, because a ring may come for it; none comes here.
        let revival = Expression::default()
            .set_as("state", ":pending", item::s(StateKind::Pending.name()))
            .set_as("due_pk", ":due", item::s(key::due(&delivery.destination, Shard::FIRST)))
            .set_as(
                "due_sk",
                ":due_at",
                item::s(key::time(after(decision.accepted_at, -SWEPT_AFTER_S))),
            )
            .set("deadline", item::timestamp(deadline))
            .set("attempts", item::n(0))
            .set("claims", item::n(0))
            .remove_all(&[
                "dead_pk",
                "dead_sk",
                "settled_at",
                "reason",
                "blocked",
                "message",
                "confirmed",
                "expires_at",
                "at_once",
            ]);
        self.decide(delivery, revival, decision, entropy).await
    }

    /// Settles a delivery that ended as a person says, and keeps the event that records it. Returns
    /// whether the delivery was still as given.
    pub async fn settle_by_person(
        &self,
        delivery: &Delivery,
        verdict: Verdict,
        decision: &Event,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let state = match verdict {
            Verdict::Delivered => StateKind::Delivered,
            Verdict::Skipped => StateKind::Skipped,
        };
        let settlement = Expression::default()
            .set_as("state", ":new", item::s(state.name()))
            .set_as("settled_at", ":now", item::timestamp(decision.accepted_at))
            .set("reason", item::s(Reason::ByPerson.to_string()))
            .set("expires_at", self.goes_at(decision.accepted_at))
            .remove_all(&["dead_pk", "dead_sk"]);
        self.decide(delivery, settlement, decision, entropy).await
    }

    async fn decide(
        &self,
        delivery: &Delivery,
        update: Expression,
        decision: &Event,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        // A delivery that has not ended has no time of its end, and nobody decides about it.
        let Some(ended) = delivery.settled_at() else { return Ok(false) };
        // The delivery may have been sent again and ended again since: the time of its end shows
        // that.
        let update = update
            .condition("#state = :was AND #settled_at = :ended")
            .value(":was", item::s(delivery.state.name()))
            .value(":ended", item::timestamp(ended));
        let mut transaction = self.transaction();
        transaction.update(Write::Delivery, keys(&DeliveryKey::from(delivery)), update)?;
        transaction.create(Write::Event, item::of_event(decision)?)?;
        match transaction.send(entropy).await? {
            Transacted::Done => Ok(true),
            Transacted::Conflict { write: Write::Delivery, .. } => Ok(false),
            Transacted::Conflict { write, .. } => Err(write.conflict()),
        }
    }

    /// A delivery by its name, with its event, among the newest 2,000 of its lead: for a person who asks
    /// for it. One that this code cannot read is an error.
    pub async fn delivery_named(&self, name: DeliveryName) -> Result<Option<Ended>, StoreError> {
        self.named_among(name, key::DELIVERY_PREFIX, NAMED_AMONG).await
    }

    /// A delivery of a message by its name, among the newest 200 messages of its lead. Other deliveries are not
    /// searched, because strangers can make any number of them.
    pub(crate) async fn message_named(
        &self,
        name: DeliveryName,
        destination: &str,
    ) -> Result<Option<Ended>, StoreError> {
        self.named_among(name, &key::deliveries_of(destination), MESSAGES).await
    }

    async fn named_among(
        &self,
        name: DeliveryName,
        prefix: &str,
        most: usize,
    ) -> Result<Option<Ended>, StoreError> {
        let query = self
            .query_prefix(key::lead(name.lead_id), prefix)
            .scan_index_forward(false)
            .projection_expression("pk, sk");
        let found = self.first_items(query, most).await?;
        let mut found = found.iter().filter_map(due::key_of);
        let Some(wanted) = found.find(|key| key.is(name.delivery_id)) else { return Ok(None) };
        let found = self.ended(&[wanted]).await?.pop();
        found.map(Some).ok_or_else(|| StoreError::corrupt(format!("delivery {name}")))
    }

    /// The deliveries under `wanted` with their events, in that order, without those that are missing
    /// or that this code cannot read.
    pub async fn ended(&self, wanted: &[DeliveryKey]) -> Result<Vec<Ended>, StoreError> {
        let mut ended = Vec::new();
        for chunk in wanted.chunks(READ_AT_ONCE) {
            let wanted = chunk.iter().map(keys).collect();
            let found = self.batch_get(wanted).await?;
            let mut deliveries: Vec<Delivery> =
                found.into_iter().filter_map(|found| item::to_delivery(found).ok()).collect();
            let place = |delivery: &Delivery| {
                let key = DeliveryKey::from(delivery);
                chunk.iter().position(|wanted| *wanted == key)
            };
            deliveries.sort_by_key(place);
            let events = self.events_of(&deliveries).await?;
            ended.extend(deliveries.into_iter().map(|delivery| {
                let is_its = |event: &&Event| {
                    event.lead_id == delivery.lead_id && event.id == delivery.event_id
                };
                let event = events.iter().find(is_its).cloned();
                Ended { delivery, event }
            }));
        }
        Ok(ended)
    }

    async fn events_of(&self, deliveries: &[Delivery]) -> Result<Vec<Event>, StoreError> {
        let mut event_keys: Vec<(String, String)> = deliveries
            .iter()
            .map(|delivery| {
                let sk = key::event(delivery.accepted_at, &delivery.event_id);
                (key::lead(delivery.lead_id), sk)
            })
            .collect();
        // Two deliveries may be of one event, and a batch must not name a key twice.
        event_keys.sort();
        event_keys.dedup();
        if event_keys.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = event_keys.into_iter().map(|(pk, sk)| item::keys(pk, sk)).collect();
        let found = self.batch_get(wanted).await?;
        Ok(found.into_iter().filter_map(|found| item::to_event(found).ok()).collect())
    }
}
