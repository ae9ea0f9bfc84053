//! What a delivery is built from, read after its claim.

use funil_core::booking::Booking;
use funil_core::contact::consent::Revocations;
use funil_core::delivery::{Delivery, KeptReply};
use funil_core::destination::{Destination, Whose};
use funil_core::event::Event;
use funil_core::id::LeadId;
use funil_core::lead::Lead;

use crate::Store;
use crate::delivery::claim;
use crate::lead::{booking, person};
use crate::table::error::StoreError;
use crate::table::key::DeliveryKey;
use crate::table::{item, key};

/// What a read found under one key.
#[derive(Clone, Debug)]
pub enum Found<T> {
    /// The item exists and was read.
    There(T),
    /// No item exists under the key.
    Missing,
    /// An item that this code cannot read, because newer code wrote it or it is damaged.
    NotUnderstood,
}

impl<T> From<Result<T, StoreError>> for Found<T> {
    fn from(read: Result<T, StoreError>) -> Self {
        read.map_or(Self::NotUnderstood, Self::There)
    }
}

/// What a delivery is built from.
#[derive(Clone, Debug)]
pub struct DeliveryInputs {
    /// The lead, as it is now.
    pub lead: Found<Lead>,
    /// The event that is delivered.
    pub event: Found<Event>,
    /// What the person revoked, under the alias of their e-mail and of their phone.
    pub revocations: Vec<Revocations>,
    /// The booking that the delivery is about; missing where it is about none.
    pub booking: Found<Booking>,
    /// The oldest lead of the e-mail, for a destination that is keyed by it.
    pub oldest: Option<LeadId>,
    /// The newest lead of the e-mail, and the lead whose id is derived from the e-mail.
    pub others: [Option<LeadId>; 2],
    /// All bookings of the lead, for a delivery that is about none in particular.
    pub bookings: Vec<Booking>,
    /// What the destination found out about the lead before, where it keeps that.
    pub kept: Vec<KeptReply>,
}

impl DeliveryInputs {
    const fn nothing() -> Self {
        Self {
            lead: Found::Missing,
            event: Found::Missing,
            revocations: Vec::new(),
            booking: Found::Missing,
            oldest: None,
            others: [None, None],
            bookings: Vec::new(),
            kept: Vec::new(),
        }
    }
}

impl Store {
    /// Everything that a visitor's delivery is built from: it has its event inside, and that was kept only
    /// because the visitor agreed.
    async fn visit_inputs(&self, delivery: &Delivery) -> Result<DeliveryInputs, StoreError> {
        let found = self.get(claim::keys(&DeliveryKey::from(delivery))).await?;
        let mut inputs = DeliveryInputs::nothing();
        if let Some(found) = found {
            inputs.event = item::to_event(found).into();
            inputs.lead = Found::There(Lead::visitor(delivery.lead_id, delivery.accepted_at));
        }
        Ok(inputs)
    }

    /// Everything that a delivery is built from, in one consistent read; a second one for the
    /// bookings of a lead that booked, and for what the destination keeps of it.
    pub async fn delivery_inputs(
        &self,
        delivery: &Delivery,
        destination: &Destination,
    ) -> Result<DeliveryInputs, StoreError> {
        if destination.whose == Whose::Visitors {
            return self.visit_inputs(delivery).await;
        }
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
        if let Some(email) = &delivery.email_digest
            && destination.keyed_by_email
        {
            wanted.push(person::keys(email));
        }
        if let Some(id) = &delivery.booking {
            wanted.push(item::keys(lead_pk, key::booking(id)));
        }
        let mut inputs = DeliveryInputs::nothing();
        for found in self.batch_get(wanted).await? {
            match item::text(&found, "sk") {
                Some(key::LEAD) => inputs.lead = item::to_lead(found).into(),
                Some(key::CONSENT) => inputs.revocations.push(item::to_revocations(&found)),
                Some(key::PERSON) => {
                    inputs.oldest = person::oldest(&found);
                    inputs.others = [person::newest(&found), person::derived(&found)];
                }
                Some(sk) if sk == event_sk => inputs.event = item::to_event(found).into(),
                Some(sk) if sk.starts_with(key::BOOKING_PREFIX) => {
                    inputs.booking = booking::to_booking(found).into();
                }
                Some(_) | None => {}
            }
        }
        if delivery.booking.is_none()
            && let Found::There(lead) = &inputs.lead
            && lead.facts.booked_at.is_some()
        {
            inputs.bookings = self.bookings(lead.id).await?;
        }
        if destination.keeps_replies {
            inputs.kept = Box::pin(self.replies(delivery.lead_id, destination.name)).await?;
        }
        Ok(inputs)
    }
}
