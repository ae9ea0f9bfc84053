//! The journey: everything that happened to one lead, in order of acceptance.

use std::collections::BTreeMap;

use funil_core::booking::Booking;
use funil_core::contact::consent::Grant;
use funil_core::delivery::{Delivery, KeptReply};
use funil_core::event::Event;
use funil_core::id::LeadId;
use funil_core::lead::Lead;
use funil_core::payment::Transaction;
use jiff::Timestamp;

use crate::Store;
use crate::delivery::reply;
use crate::lead::consent::ConsentItem;
use crate::lead::{booking, payment};
use crate::table::error::StoreError;
use crate::table::{item, key};

/// Everything the table holds of a lead.
#[derive(Clone, Debug)]
pub struct Journey {
    /// The lead as it is now.
    pub lead: Lead,
    /// Its events, by the time they were accepted.
    pub events: Vec<Event>,
    /// Its deliveries, by the time their events were accepted.
    pub deliveries: Vec<Delivery>,
    /// The proofs of what the person decided about consent, oldest first.
    pub consents: Vec<ConsentRecord>,
    /// Its bookings, in no order.
    pub bookings: Vec<Booking>,
    /// Its payments, in no order.
    pub transactions: Vec<Transaction>,
    /// What destinations found out about it and keep, in no order.
    pub replies: Vec<KeptReply>,
    /// How many items this code cannot read, because newer code wrote them or they are damaged.
    pub unread: usize,
    /// Whether there may be more items than were read.
    pub more: bool,
}

/// The proof of what a person decided in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentRecord {
    /// When the request was accepted.
    pub at: Timestamp,
    /// The function that received it.
    pub form: String,
    /// The version of the privacy policy that the person saw, as the form stated it.
    pub policy_version: Option<String>,
    /// The decisions, by the name of their purpose.
    pub decisions: BTreeMap<String, Grant>,
}

/// How many items of a lead a journey has at most: strangers decide how many there are.
const ITEMS: usize = 2_000;

impl Store {
    /// The lead, if there is one.
    pub async fn lead(&self, id: LeadId) -> Result<Option<Lead>, StoreError> {
        let found = self.get(item::keys(key::lead(id), key::LEAD)).await?;
        found.map(item::to_lead).transpose()
    }

    /// Everything that happened to a lead, if there is one.
    pub async fn journey(&self, id: LeadId) -> Result<Option<Journey>, StoreError> {
        let query =
            self.query(key::lead(id)).consistent_read(true).key_condition_expression("pk = :pk");
        let mut lead = None;
        let (mut events, mut deliveries) = (Vec::new(), Vec::new());
        let (mut consents, mut bookings) = (Vec::new(), Vec::new());
        let (mut transactions, mut replies) = (Vec::new(), Vec::new());
        let mut unread = 0;
        let found = self.first_items(query, ITEMS).await?;
        let more = found.len() == ITEMS;
        for found in found {
            let sk = item::text(&found, "sk").unwrap_or_default().to_owned();
            let understood = if sk == key::LEAD {
                // Without its lead a journey says nothing, so this error is not counted but returned.
                lead = Some(item::to_lead(found)?);
                true
            } else if sk.starts_with(key::EVENT_PREFIX) {
                item::to_event(found).map(|read| events.push(read)).is_ok()
            } else if sk.starts_with(key::DELIVERY_PREFIX) {
                item::to_delivery(found).map(|read| deliveries.push(read)).is_ok()
            } else if sk.starts_with(key::BOOKING_PREFIX) {
                booking::to_booking(found).map(|read| bookings.push(read)).is_ok()
            } else if sk.starts_with(key::TRANSACTION_PREFIX) {
                payment::to_transaction(found)
                    .map(|read| transactions.push(read.transaction))
                    .is_ok()
            } else if sk.starts_with(key::REPLY_PREFIX) {
                reply::to_reply(found).map(|read| replies.push(read)).is_ok()
            } else if sk.starts_with(key::CONSENT_PREFIX) {
                item::read::<ConsentItem>(found, "consent")
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
        Ok(lead.map(|lead| Journey {
            lead,
            events,
            deliveries,
            consents,
            bookings,
            transactions,
            replies,
            unread,
            more,
        }))
    }
}
