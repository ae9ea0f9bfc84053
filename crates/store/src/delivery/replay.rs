//! What a person decides about deliveries that ended: sent again, or settled by hand.
//!
//! Each decision is one transaction with the event that tells of it, on the condition that the
//! delivery still stands as the person saw it; so of two at once one goes through.

use aws_sdk_dynamodb::types::{TransactWriteItem, Update, builders::UpdateBuilder};
use funil_core::clock::Entropy;
use funil_core::delivery::{Delivery, Reason, State};
use funil_core::event::{Event, Verdict};
use funil_core::id::DeliveryName;
use jiff::Timestamp;

use crate::Store;
use crate::delivery::due;
use crate::intake::accept::Transacted;
use crate::table::error::StoreError;
use crate::table::key::DeliveryKey;
use crate::table::{item, key};

/// A delivery with what it brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The delivery.
    pub delivery: Delivery,
    /// Its event; `None` where it is gone or newer code wrote it.
    pub event: Option<Event>,
}

/// How many deliveries one read asks for.
const READ_AT_ONCE: usize = 50;

impl Store {
    /// Makes a delivery that ended due again, under its own id, with a new deadline, and keeps `told`.
    /// Answers whether it still stood as given.
    pub async fn revive(
        &self,
        delivery: &Delivery,
        deadline: Timestamp,
        decision: &Event,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let revival = Update::builder()
            .update_expression(
                "SET #state = :pending, due_pk = :due, due_sk = :now, deadline = :deadline, \
                 attempts = :zero, claims = :zero \
                 REMOVE dead_pk, dead_sk, settled_at, reason, blocked, message",
            )
            .expression_attribute_values(":pending", item::s(State::Pending.name()))
            .expression_attribute_values(":due", item::s(key::due(&delivery.destination)))
            .expression_attribute_values(":now", item::s(key::time(decision.accepted_at)))
            .expression_attribute_values(":deadline", item::attribute(&deadline, "time")?)
            .expression_attribute_values(":zero", item::n(0));
        self.decide(delivery, revival, decision, entropy).await
    }

    /// Settles a delivery that ended as a person says, and keeps `told`. Answers whether it still
    /// stood as given.
    pub async fn settle_by_person(
        &self,
        delivery: &Delivery,
        verdict: Verdict,
        decision: &Event,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let state = match verdict {
            Verdict::Delivered => State::Delivered,
            Verdict::Skipped => State::Skipped,
        };
        let settlement = Update::builder()
            .update_expression(
                "SET #state = :new, settled_at = :now, reason = :reason REMOVE dead_pk, dead_sk",
            )
            .expression_attribute_values(":new", item::s(state.name()))
            .expression_attribute_values(":now", item::attribute(&decision.accepted_at, "time")?)
            .expression_attribute_values(":reason", item::s(Reason::ByPerson.to_string()));
        self.decide(delivery, settlement, decision, entropy).await
    }

    async fn decide(
        &self,
        delivery: &Delivery,
        update: UpdateBuilder,
        decision: &Event,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let stood = DeliveryKey::from(delivery);
        // The time of its end tells this death from a later one.
        let update = update
            .table_name(&*self.table)
            .set_key(Some(item::keys(stood.pk(), stood.sk)))
            .condition_expression("#state = :was AND settled_at = :ended")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":was", item::s(delivery.state.name()))
            .expression_attribute_values(":ended", item::attribute(&delivery.settled_at, "time")?)
            .build()
            .map_err(|_| StoreError::Unreadable { what: "delivery" })?;
        let writes = vec![
            TransactWriteItem::builder().update(update).build(),
            self.new_item(item::of_event(decision)?),
        ];
        match self.transact(writes, entropy).await? {
            Transacted::Done => Ok(true),
            Transacted::Failed { index: 0, .. } => Ok(false),
            Transacted::Failed { .. } => Err(StoreError::Unreadable { what: "event of its own" }),
        }
    }

    /// A delivery by the name that logs and tables give it.
    pub async fn delivery_named(&self, name: DeliveryName) -> Result<Option<Ended>, StoreError> {
        let query = self
            .query(key::lead(name.lead_id))
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":prefix", item::s(key::DELIVERY_PREFIX))
            .projection_expression("pk, sk");
        let found = due::all_pages(query).await?;
        let mut keys = found.iter().filter_map(due::key_of);
        let Some(wanted) = keys.find(|found| found.is(name.delivery_id)) else { return Ok(None) };
        Ok(self.ended(&[wanted]).await?.pop())
    }

    /// The deliveries under `keys` with their events, in that order; without those that are gone or
    /// that newer code wrote.
    pub async fn ended(&self, keys: &[DeliveryKey]) -> Result<Vec<Ended>, StoreError> {
        let mut ended = Vec::new();
        for keys in keys.chunks(READ_AT_ONCE) {
            let wanted = keys.iter().map(|key| item::keys(key.pk(), key.sk.clone())).collect();
            let found = self.batch_get(wanted).await?;
            let mut deliveries: Vec<Delivery> =
                found.into_iter().filter_map(|found| item::to_delivery(found).ok()).collect();
            let place = |delivery: &Delivery| {
                let key = DeliveryKey::from(delivery);
                keys.iter().position(|wanted| *wanted == key)
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
        let mut keys: Vec<(String, String)> = deliveries
            .iter()
            .map(|delivery| {
                let sk = key::event(delivery.accepted_at, &delivery.event_id);
                (key::lead(delivery.lead_id), sk)
            })
            .collect();
        // Two deliveries may be of one event, and a batch must not name a key twice.
        keys.sort();
        keys.dedup();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = keys.into_iter().map(|(pk, sk)| item::keys(pk, sk)).collect();
        let found = self.batch_get(wanted).await?;
        Ok(found.into_iter().filter_map(|found| item::to_event(found).ok()).collect())
    }
}
