//! Items as DynamoDB keeps them, converted to and from the domain's types.
//!
//! Every item carries `v` and `type`. Unknown attributes are ignored. An unknown version, event or
//! state is [`StoreError::CorruptItem`], after which a worker leaves the item to newer code. A
//! delivery's attributes are in `item/delivery.rs`. Knows no operation.

mod delivery;

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use funil_core::contact::consent::{Consents, Mailbox, Purpose, Revocations};
use funil_core::delivery::Delivery;
use funil_core::event::{Event, EventData, FirstForms};
use funil_core::form::SpamSign;
use funil_core::id::{EventId, LeadId};
use funil_core::lead::{Lead, LeadFacts, LeadLatest};
use funil_core::money::Currency;
use funil_core::payment::LatestPayments;
use funil_core::pii::{self, Text};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::table::error::StoreError;
use crate::table::key::{self, DeliveryKey};

pub(crate) use delivery::{of_delivery, to_delivery};

/// An item, or the key of one: attributes by their name.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The version of items that this code writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;

/// A text as a DynamoDB attribute (type S).
pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A whole number as a DynamoDB attribute (type N).
pub(crate) fn n(number: impl Into<i64>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

/// A time as it is written outside of keys.
pub(crate) fn timestamp(at: Timestamp) -> AttributeValue {
    s(at.to_string())
}

/// The fields of `value` as attributes.
pub(crate) fn attributes<T: Serialize>(value: &T, what: &'static str) -> Result<Item, StoreError> {
    serde_dynamo::to_item(value).map_err(|_| StoreError::InvalidRequest { what })
}

/// `value` as one attribute.
pub(crate) fn attribute<T: Serialize>(
    value: &T,
    what: &'static str,
) -> Result<AttributeValue, StoreError> {
    serde_dynamo::to_attribute_value(value).map_err(|_| StoreError::InvalidRequest { what })
}

/// `value` as a whole item of the type `kind` under its keys.
pub(crate) fn item<T: Serialize>(
    (pk, sk): (String, String),
    kind: &'static str,
    value: &T,
) -> Result<Item, StoreError> {
    let mut item = attributes(value, kind)?;
    item.insert("pk".to_owned(), s(pk));
    item.insert("sk".to_owned(), s(sk));
    item.insert("v".to_owned(), n(VERSION));
    item.insert("type".to_owned(), s(kind));
    Ok(item)
}

/// The attributes of an item's primary key.
pub(crate) fn keys(pk: impl Into<String>, sk: impl Into<String>) -> Item {
    [("pk".to_owned(), s(pk)), ("sk".to_owned(), s(sk))].into()
}

/// The text of an attribute; `None` where it is absent or no text.
pub(crate) fn text<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// The number of an attribute; `None` where it is absent or no whole number.
pub(crate) fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// Reads an item of the type `kind`, if its version is one that this code knows.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(
    item: Item,
    kind: &'static str,
) -> Result<T, StoreError> {
    let name = name(&item, kind);
    if number(&item, "v").is_none_or(|version| version > i64::from(VERSION)) {
        return Err(StoreError::corrupt(name));
    }
    serde_dynamo::from_item(item).map_err(|_| StoreError::corrupt(name))
}

/// What an error calls an item: its type and the ids by which it is found.
fn name(item: &Item, kind: &str) -> String {
    let (pk, sk) = (text(item, "pk").unwrap_or_default(), text(item, "sk").unwrap_or_default());
    match (DeliveryKey::parse(pk, sk), pk.strip_prefix(key::LEAD_PREFIX)) {
        (Some(key), _) => {
            format!("{kind} {}/{}", key.lead_id, key.delivery_id().unwrap_or_default())
        }
        (None, Some(lead)) => format!("{kind} of lead {lead}"),
        (None, None) => kind.to_owned(),
    }
}

/// An event's attributes.
#[derive(Serialize, Deserialize)]
struct EventRecord {
    event_id: EventId,
    lead_id: LeadId,
    occurred_at: Timestamp,
    accepted_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    supplied_lead_id: Option<LeadId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    signs: Vec<SpamSign>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    user_agent: Option<Text>,
    #[serde(flatten)]
    data: EventData,
}

pub(crate) fn of_event(event: &Event) -> Result<Item, StoreError> {
    let record = EventRecord {
        event_id: event.id.clone(),
        lead_id: event.lead_id,
        occurred_at: event.occurred_at,
        accepted_at: event.accepted_at,
        supplied_lead_id: event.supplied_lead_id,
        signs: event.signs.clone(),
        user_agent: event.user_agent.clone(),
        data: event.data.clone(),
    };
    item((key::lead(event.lead_id), key::event(event.accepted_at, &event.id)), "event", &record)
}

pub(crate) fn to_event(item: Item) -> Result<Event, StoreError> {
    let record: EventRecord = read(item, "event")?;
    Ok(Event {
        id: record.event_id,
        lead_id: record.lead_id,
        occurred_at: record.occurred_at,
        accepted_at: record.accepted_at,
        supplied_lead_id: record.supplied_lead_id,
        signs: record.signs,
        user_agent: record.user_agent,
        data: record.data,
    })
}

/// A visitor's delivery as an item, with its event inside. The table's stream passes it over, because it has a
/// type of its own.
pub(crate) fn of_visit(event: &Event, delivery: &Delivery) -> Result<Item, StoreError> {
    let mut item = of_event(event)?;
    item.extend(of_delivery(delivery)?);
    item.insert("type".to_owned(), s("visit"));
    item.insert("expires_at".to_owned(), n(delivery.deadline.as_second()));
    Ok(item)
}

/// A lead's attributes.
#[derive(Deserialize)]
struct LeadRecord {
    lead_id: LeadId,
    version: u64,
    #[serde(flatten)]
    latest: LeadLatest,
    #[serde(flatten)]
    facts: LeadFacts,
    #[serde(flatten)]
    first_forms: FirstForms,
    #[serde(flatten)]
    consents: Consents,
    #[serde(default)]
    payments: LatestPayments,
}

/// The attribute of a lead with the newest of its payments.
pub(crate) const PAYMENTS: &str = "payments";

/// What the attributes begin with that hold what a lead has paid, by currency.
const SPENT: &str = "spent_";

/// The attribute with what a lead has paid in a currency.
pub(crate) fn spent(currency: Currency) -> String {
    format!("{SPENT}{currency}")
}

pub(crate) fn to_lead(item: Item) -> Result<Lead, StoreError> {
    let paid = item.iter().filter_map(|(name, value)| {
        let currency = Currency::parse(name.strip_prefix(SPENT)?)?;
        Some((currency, value.as_n().ok()?.parse().ok()?))
    });
    let spent: BTreeMap<Currency, i64> = paid.collect();
    let record: LeadRecord = read(item, "lead")?;
    Ok(Lead {
        id: record.lead_id,
        version: record.version,
        latest: record.latest,
        facts: record.facts,
        first_forms: record.first_forms,
        consents: record.consents,
        spent,
        payments: record.payments,
    })
}

/// The attribute of an alias that holds when a purpose was revoked.
pub(crate) fn revoked(purpose: Purpose) -> String {
    format!("revoked_{}", purpose.name())
}

/// The attribute with the status of an address, as the tool that sends e-mails said last.
pub(crate) const EMAIL_STATUS: &str = "email_status";
/// The attribute that says since when.
pub(crate) const EMAIL_STATUS_SINCE: &str = "email_status_since";
/// The attribute with the time of the last report that every lead has.
pub(crate) const EMAIL_STATUS_TOLD: &str = "email_status_told";
/// The attribute that says since when mail to an address fails.
pub(crate) const EMAIL_BOUNCES_SINCE: &str = "email_bounces_since";
/// The attribute with the digest of the last report that an address is active.
pub(crate) const EMAIL_ACTIVE_DIGEST: &str = "email_active_digest";
/// The attribute that says when that report came.
pub(crate) const EMAIL_ACTIVE_AT: &str = "email_active_at";

/// The attribute that says when the revocation of a purpose was taken back.
pub(crate) fn restored(purpose: Purpose) -> String {
    format!("restored_{}", purpose.name())
}

/// Reads when each purpose was revoked at an alias or on a lead, without what was taken back later.
/// Within one second the revocation counts, because a channel's times are no more exact.
pub(crate) fn to_revocations(item: &Item) -> Revocations {
    let mut revocations = Revocations::default();
    for purpose in Purpose::ALL {
        let Some(at) = text(item, &revoked(purpose)) else { continue };
        // A revocation whose time cannot be read still counts.
        let at: Timestamp = at.parse().unwrap_or(Timestamp::MAX);
        let restored = text(item, &restored(purpose)).and_then(|at| at.parse::<Timestamp>().ok());
        if restored.is_none_or(|restored| restored.as_second() <= at.as_second()) {
            revocations.purposes.insert(purpose, at);
        }
    }
    if item.contains_key(EMAIL_BOUNCES_SINCE) {
        revocations.mailbox = Mailbox::Bounces;
    }
    revocations
}
