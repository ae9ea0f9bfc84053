//! What a destination found out about a lead in the steps of its deliveries, as items beside the lead.
//!
//! A reply is written once: a second delivery that writes the same step gets the first one's reply. Replies stay as long
//! as the lead, but for those that are valid for a day.

use std::collections::BTreeMap;

use funil_core::delivery::KeptReply;
use funil_core::id::{DeliveryId, LeadId};
use funil_core::pii::{self, Pii};
use jiff::Timestamp;
use serde::Deserialize;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::{item, key};

/// How many replies of a lead are read: a few for each number, e-mail and CPF that its CRM said.
const REPLIES: usize = 200;
/// What messages of errors call a kept reply.
const WHAT: &str = "reply that is kept of a lead";

/// The attributes of a kept reply.
#[derive(Deserialize)]
struct ReplyItem {
    step: String,
    at: Timestamp,
    by: DeliveryId,
    #[serde(with = "pii::stored")]
    fields: Pii<BTreeMap<String, String>>,
}

pub(crate) fn to_reply(found: Item) -> Result<KeptReply, StoreError> {
    let ReplyItem { step, at, by, fields } = item::read(found, WHAT)?;
    Ok(KeptReply { step, at, by, fields })
}

impl Store {
    /// What is kept of a lead for a destination, at most 200 replies.
    pub async fn replies(
        &self,
        lead: LeadId,
        destination: &str,
    ) -> Result<Vec<KeptReply>, StoreError> {
        let query = self.query_prefix(key::lead(lead), &key::replies_of(destination));
        let found = self.first_items(query, REPLIES).await?;
        found.into_iter().map(to_reply).collect()
    }

    /// Keeps a reply until `goes_at`, or as long as the lead if that is `None`. If a reply to the same step is kept
    /// already, nothing is written. Returns the reply that is kept.
    pub async fn keep_reply(
        &self,
        lead: LeadId,
        destination: &str,
        reply: KeptReply,
        goes_at: Option<Timestamp>,
    ) -> Result<KeptReply, StoreError> {
        let fields = item::attribute(reply.fields.expose(), WHAT)?;
        let mut update = Expression::of_type("reply")
            .set("destination", item::s(destination))
            .set("step", item::s(&reply.step))
            .set("at", item::timestamp(reply.at))
            .set("by", item::s(reply.by.to_string()))
            .set("fields", fields)
            .condition("attribute_not_exists(pk)");
        if let Some(goes_at) = goes_at {
            update = update.set("expires_at", item::n(goes_at.as_second()));
        }
        let keys = item::keys(key::lead(lead), key::reply(destination, &reply.step));
        let kept = self.update_or_get(keys, update).await?;
        kept.map_or(Ok(reply), to_reply)
    }
}
