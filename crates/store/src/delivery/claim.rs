//! Delivering, as the table sees it: claimed, sending, settled (design §6).
//!
//! A claim is one conditional update that sets a lease and moves the due time to the lease's end, so
//! a worker that dies leaves an item that is still due. Settling is conditional on the lease, so a
//! late worker overwrites nobody.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValue};
use funil_core::booking::Booking;
use funil_core::clock::after;
use funil_core::contact::consent::Revocations;
use funil_core::delivery::{Delivery, LEASE_S, Settlement, State};
use funil_core::event::Event;
use funil_core::id::{DeliveryId, LeaseId};
use funil_core::lead::Lead;
use jiff::Timestamp;

use crate::Store;
use crate::lead::booking;
use crate::table::error::StoreError;
use crate::table::item::Item;
use crate::table::key::DeliveryKey;
use crate::table::{item, key};

/// A delivery in our hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where it stands.
    pub key: DeliveryKey,
    /// Our hold on it.
    pub lease: LeaseId,
    /// The delivery, or `None` where newer code wrote it.
    pub delivery: Option<Delivery>,
}

/// Which due deliveries a claim takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claiming {
    /// Any that is due.
    Due,
    /// Only one that may have been sent: interrupted in a harmful request, or in doubt since.
    Interrupted,
}

/// How an attempt to claim ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// We hold it.
    Ours(Box<Claim>),
    /// It is not due, or somebody was faster.
    NotDue,
}

/// Whether a write that needs the lease went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It did.
    Yes,
    /// The lease is no longer ours; somebody else decides.
    LeaseLost,
}

/// What a read found.
#[derive(Clone, Debug)]
pub enum Found<T> {
    /// This.
    There(T),
    /// Nothing.
    Missing,
    /// An item that newer code wrote.
    NotUnderstood,
}

impl<T> From<Result<T, StoreError>> for Found<T> {
    fn from(read: Result<T, StoreError>) -> Self {
        read.map_or(Self::NotUnderstood, Self::There)
    }
}

/// What a delivery is built from, read after its claim.
#[derive(Clone, Debug)]
pub struct DeliveryInputs {
    /// The lead.
    pub lead: Found<Lead>,
    /// The event.
    pub event: Found<Event>,
    /// What the person took back, by e-mail and by phone.
    pub revocations: Vec<Revocations>,
    /// The booking that the delivery is about, if it is about one.
    pub booking: Found<Booking>,
    /// Of a delivery about no booking in particular, those of its lead.
    pub bookings: Vec<Booking>,
}

impl Store {
    /// Takes a due delivery into our hands for [`LEASE_S`].
    pub async fn claim(
        &self,
        delivery: &DeliveryKey,
        claiming: Claiming,
        lease: LeaseId,
        now: Timestamp,
    ) -> Result<Claimed, StoreError> {
        // What is settled has no due time, and what is not there has none either.
        let condition_expression = match claiming {
            Claiming::Due => "due_sk <= :now",
            Claiming::Interrupted => {
                "due_sk <= :now AND (attribute_exists(sending) OR attribute_exists(doubtful_since))"
            }
        };
        let result = self
            .update(delivery)
            .update_expression(
                "SET lease_id = :lease, #state = :leased, due_sk = :end ADD claims :one",
            )
            .condition_expression(condition_expression)
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":lease", item::attribute(&lease, "lease")?)
            .expression_attribute_values(":leased", item::s(State::Leased.name()))
            .expression_attribute_values(":end", item::s(key::time(after(now, LEASE_S))))
            .expression_attribute_values(":now", item::s(key::time(now)))
            .expression_attribute_values(":one", item::n(1))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match condition(result)? {
            None => Ok(Claimed::NotDue),
            Some(output) => {
                let found = output.attributes.unwrap_or_default();
                let delivery_read = item::to_delivery(found).ok();
                Ok(Claimed::Ours(Box::new(Claim {
                    key: delivery.clone(),
                    lease,
                    delivery: delivery_read,
                })))
            }
        }
    }

    /// Everything a delivery is built from, in one consistent read.
    pub async fn delivery_inputs(&self, delivery: &Delivery) -> Result<DeliveryInputs, StoreError> {
        let lead_pk = key::lead(delivery.lead_id);
        let event_sk = key::event(delivery.accepted_at, &delivery.event_id);
        let mut wanted = vec![
            item::keys(lead_pk.clone(), key::LEAD),
            item::keys(lead_pk.clone(), event_sk.clone()),
        ];
        let aliases = [("email", &delivery.email_digest), ("phone", &delivery.phone_digest)];
        for (kind, digest) in aliases {
            if let Some(digest) = digest {
                wanted.push(item::keys(key::alias(kind, digest), key::CONSENT));
            }
        }
        let mut delivery_inputs = DeliveryInputs {
            lead: Found::Missing,
            event: Found::Missing,
            revocations: Vec::new(),
            booking: Found::Missing,
            bookings: Vec::new(),
        };
        if let Some(id) = &delivery.booking {
            wanted.push(item::keys(lead_pk.clone(), key::booking(id)));
        }
        for found in self.batch_get(wanted).await? {
            match item::text(&found, "sk") {
                Some(key::LEAD) => delivery_inputs.lead = item::to_lead(found).into(),
                Some(key::CONSENT) => {
                    delivery_inputs.revocations.push(item::to_revocations(&found))
                }
                Some(sk) if sk == event_sk => delivery_inputs.event = item::to_event(found).into(),
                Some(sk) if sk.starts_with(key::BOOKING_PREFIX) => {
                    delivery_inputs.booking = booking::to_booking(found).into();
                }
                Some(_) | None => {}
            }
        }
        if delivery.booking.is_none()
            && let Found::There(lead) = &delivery_inputs.lead
            && lead.facts.booked_at.is_some()
        {
            delivery_inputs.bookings = self.bookings(lead.id).await?;
        }
        Ok(delivery_inputs)
    }

    pub(crate) async fn batch_get(&self, keys: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::new();
        let mut wanted = keys;
        // DynamoDB may leave keys for later; a table that does so three times is overloaded.
        for _ in 0..3 {
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut wanted)))
                .consistent_read(true)
                .build()
                .map_err(|_| StoreError::Unreadable { what: "key" })?;
            let output = self
                .client
                .batch_get_item()
                .request_items(&*self.table, request)
                .send()
                .await
                .map_err(|error| StoreError::of("BatchGetItem", &error))?;
            for items in output.responses.unwrap_or_default().into_values() {
                found.extend(items);
            }
            for left in output.unprocessed_keys.unwrap_or_default().into_values() {
                wanted.extend(left.keys);
            }
            if wanted.is_empty() {
                return Ok(found);
            }
        }
        Err(StoreError::Unavailable {
            operation: "BatchGetItem",
            code: "unprocessed keys".to_owned(),
        })
    }

    /// Notes that a harmful request is about to be sent.
    pub async fn mark_sending(&self, claim: &Claim) -> Result<Written, StoreError> {
        let result = self
            .update(&claim.key)
            .update_expression("SET sending = :lease")
            .condition_expression("lease_id = :lease")
            .expression_attribute_values(":lease", item::attribute(&claim.lease, "lease")?)
            .send()
            .await;
        Ok(condition(result)?.map_or(Written::LeaseLost, |_| Written::Yes))
    }

    /// Ends a claim.
    pub async fn settle(
        &self,
        claim: &Claim,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let mut set =
            vec!["#state = :state", "attempts = :attempts", "claims = :zero", "#log = :log"];
        let mut remove = vec!["lease_id", "sending"];
        let mut values: HashMap<String, AttributeValue> = HashMap::new();
        if let Some(due_at) = settlement.due_at {
            set.push("due_sk = :due");
            values.insert(":due".to_owned(), item::s(key::time(due_at)));
        } else {
            set.push("settled_at = :settled");
            values.insert(":settled".to_owned(), item::attribute(&now, "time")?);
            remove.extend(["due_pk", "due_sk"]);
        }
        if settlement.blocked > 0 {
            set.push("blocked = :blocked");
            values.insert(":blocked".to_owned(), item::n(settlement.blocked));
        } else {
            remove.push("blocked");
        }
        if let Some(since) = &settlement.unknown_since {
            set.push("doubtful_since = :doubtful");
            values.insert(":doubtful".to_owned(), item::attribute(since, "time")?);
        } else {
            remove.push("doubtful_since");
        }
        if settlement.state == State::Dead {
            let destination = key::destination_of(&claim.key.sk).unwrap_or_default();
            set.extend(["dead_pk = :dead", "dead_sk = :now"]);
            values.insert(":dead".to_owned(), item::s(key::dead(destination)));
            values.insert(":now".to_owned(), item::s(key::time(now)));
        }
        match &settlement.reason {
            Some(reason) => {
                set.push("reason = :reason");
                values.insert(":reason".to_owned(), item::s(reason.clone()));
            }
            None => remove.push("reason"),
        }
        let result = self
            .update(&claim.key)
            .update_expression(format!("SET {} REMOVE {}", set.join(", "), remove.join(", ")))
            .condition_expression("lease_id = :lease")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#log", "log")
            .set_expression_attribute_values(Some(values))
            .expression_attribute_values(":lease", item::attribute(&claim.lease, "lease")?)
            .expression_attribute_values(":state", item::s(settlement.state.name()))
            .expression_attribute_values(":attempts", item::n(settlement.attempts))
            .expression_attribute_values(":zero", item::n(0))
            .expression_attribute_values(":log", item::attribute(&settlement.log, "attempt")?)
            .send()
            .await;
        Ok(condition(result)?.map_or(Written::LeaseLost, |_| Written::Yes))
    }

    /// Gives back a delivery that this code cannot read: due again later, nothing else touched.
    pub async fn release_unread(
        &self,
        claim: &Claim,
        until: Timestamp,
    ) -> Result<Written, StoreError> {
        let result = self
            .update(&claim.key)
            .update_expression(
                "SET due_sk = :due, claims = :zero, #state = :pending REMOVE lease_id",
            )
            .condition_expression("lease_id = :lease")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":due", item::s(key::time(until)))
            .expression_attribute_values(":zero", item::n(0))
            .expression_attribute_values(":pending", item::s(State::Pending.name()))
            .expression_attribute_values(":lease", item::attribute(&claim.lease, "lease")?)
            .send()
            .await;
        Ok(condition(result)?.map_or(Written::LeaseLost, |_| Written::Yes))
    }

    /// Makes an open delivery that nobody holds due now. Answers whether it was open.
    pub async fn hurry(&self, delivery: &DeliveryKey, now: Timestamp) -> Result<bool, StoreError> {
        let result = self
            .update(delivery)
            .update_expression("SET due_sk = :now")
            .condition_expression("#state = :pending")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":pending", item::s(State::Pending.name()))
            .expression_attribute_values(":now", item::s(key::time(now)))
            .send()
            .await;
        Ok(condition(result)?.is_some())
    }

    fn update(
        &self,
        delivery: &DeliveryKey,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(delivery.pk(), delivery.sk.clone())))
    }
}

/// Where a delivery stands.
impl From<&Delivery> for DeliveryKey {
    fn from(delivery: &Delivery) -> Self {
        item::delivery_key(delivery)
    }
}

/// The id of a delivery as its sort key ends with it.
impl DeliveryKey {
    /// For logs: `<delivery>`.
    pub fn delivery_id(&self) -> Option<&str> {
        self.sk.rsplit('#').next()
    }

    /// Whether this is the key of `id`.
    pub fn is(&self, id: DeliveryId) -> bool {
        self.delivery_id() == Some(id.to_string().as_str())
    }
}

/// `None` where the condition failed.
pub(crate) fn condition(
    result: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
) -> Result<Option<UpdateItemOutput>, StoreError> {
    match result {
        Ok(output) => Ok(Some(output)),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
            _ => Err(StoreError::of("UpdateItem", &error)),
        },
    }
}
