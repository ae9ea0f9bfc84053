//! The journey: everything that happened to one lead, in order of acceptance.

use std::collections::BTreeMap;

use funil_core::booking::Booking;
use funil_core::contact::consent::Grant;
use funil_core::delivery::Delivery;
use funil_core::event::Event;
use funil_core::id::LeadId;
use funil_core::lead::Lead;
use jiff::Timestamp;

use crate::Store;
use crate::delivery::due;
use crate::intake::accept::ConsentItem;
use crate::lead::booking;
use crate::table::error::StoreError;
use crate::table::{item, key};

/// Everything the table holds of a lead.
#[derive(Clone, Debug)]
pub struct Journey {
    /// Who the person is now.
    pub lead: Lead,
    /// What happened, oldest first.
    pub events: Vec<Event>,
    /// What was or will be sent, by acceptance.
    pub deliveries: Vec<Delivery>,
    /// What the person said about consent, oldest first.
    pub consents: Vec<ConsentRecord>,
    /// What they booked.
    pub bookings: Vec<Booking>,
    /// How many items newer code wrote, which this code cannot read.
    pub unread: usize,
}

/// The proof of one decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentRecord {
    /// When.
    pub at: Timestamp,
    /// Where.
    pub form: String,
    /// Which version of the policy.
    pub policy_version: Option<String>,
    /// What, by the purpose's name.
    pub decisions: BTreeMap<String, Grant>,
}

impl Store {
    /// The lead, if there is one.
    pub async fn lead(&self, id: LeadId) -> Result<Option<Lead>, StoreError> {
        let found = self
            .client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::lead(id), key::LEAD)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::of("GetItem", &error))?;
        found.item.map(item::to_lead).transpose()
    }

    /// Everything that happened to a lead, if there is one.
    pub async fn journey(&self, id: LeadId) -> Result<Option<Journey>, StoreError> {
        let query =
            self.query(key::lead(id)).consistent_read(true).key_condition_expression("pk = :pk");
        let mut lead = None;
        let (mut events, mut deliveries) = (Vec::new(), Vec::new());
        let (mut consents, mut bookings) = (Vec::new(), Vec::new());
        let mut unread = 0;
        for found in due::all_pages(query).await? {
            let sk = item::text(&found, "sk").unwrap_or_default().to_owned();
            let understood = if sk == key::LEAD {
                item::to_lead(found).map(|read| lead = Some(read)).is_ok()
            } else if sk.starts_with(key::EVENT_PREFIX) {
                item::to_event(found).map(|read| events.push(read)).is_ok()
            } else if sk.starts_with(key::DELIVERY_PREFIX) {
                item::to_delivery(found).map(|read| deliveries.push(read)).is_ok()
            } else if sk.starts_with(key::BOOKING_PREFIX) {
                booking::to_booking(found).map(|read| bookings.push(read)).is_ok()
            } else if sk.starts_with(key::CONSENT_PREFIX) {
                serde_dynamo::from_item::<_, ConsentItem>(found)
                    .map(|read| {
                        consents.push(ConsentRecord {
                            at: read.at,
                            form: read.evidence.form,
                            policy_version: read.policy_version,
                            decisions: read.decisions,
                        });
                    })
                    .is_ok()
            } else {
                false
            };
            unread += usize::from(!understood);
        }
        deliveries.sort_by_key(|delivery| delivery.accepted_at);
        Ok(lead.map(|lead| Journey { lead, events, deliveries, consents, bookings, unread }))
    }
}
