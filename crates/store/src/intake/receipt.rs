//! Receipts: the record that a request was accepted, and the response that a duplicate gets.
//!
//! See `docs/design.md` ("Accepting").

use funil_core::hash::Digest;
use funil_core::lead::Lead;
use funil_core::receipt::ReceiptKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::transaction::{Transaction, Write};
use crate::table::{item, key};
use crate::{DAY_S, Store};

/// The record that a request was accepted, so that a duplicate gets the same response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// By what a duplicate is recognised, and for how long.
    pub key: ReceiptKey,
    /// A digest of the content, which tells a duplicate from a key that is used twice.
    pub fingerprint: String,
    /// The response to keep.
    pub response: StoredResponse,
    /// A digest of the address that the request came from, where that matters. It is not part of the
    /// key: the same content over another network is still one submission.
    pub caller: Option<Digest>,
}

/// Status, headers and body of a response. A form's body may hold the person's own data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredResponse {
    /// The HTTP status.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte as the first response had it.
    pub body: String,
}

impl std::fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [response]", self.status)
    }
}

/// The attributes of a receipt.
#[derive(Serialize, Deserialize)]
struct ReceiptItem {
    fingerprint: String,
    #[serde(flatten)]
    response: StoredResponse,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller: Option<Digest>,
    /// In seconds, for the table's TTL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
}

/// For how long a provider's receipt outlives the deliveries of its event, in seconds.
const OUTLIVES_S: i64 = 30 * DAY_S;

/// How accepting a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The request is kept, with everything that follows from it.
    Kept,
    /// It is a duplicate of an earlier request, which got this response.
    Duplicate(StoredResponse),
    /// Its key was used before with another content, from the same address as far as is known.
    KeyReused,
    /// Its key was used before with another content, from another address.
    KeyOfAnother,
    /// Its lead id belongs to another e-mail. Nothing is kept.
    OtherEmail,
    /// The lead does not exist. Nothing is kept.
    NoSuchLead,
    /// A lead of this e-mail exists that was to be new, or its fact does. Nothing is kept.
    Exists(Box<Lead>),
    /// The request in quarantine that was to be released is not there any more. Nothing is kept.
    NotInQuarantine,
    /// The e-mail has had as many new leads today as it may. Nothing is kept.
    TooManyNewLeads,
    /// A worker claimed a delivery that was to be withdrawn, a payment or its lead was changed since it was
    /// read, or one of the other aliases now belongs to another lead. Nothing is kept: look again and repeat.
    Overtaken,
}

impl Store {
    /// What a request is by its receipt, if one is kept: a duplicate, or another request under the same key.
    pub async fn receipt(
        &self,
        receipt: &Receipt,
        now: Timestamp,
    ) -> Result<Option<Accepted>, StoreError> {
        let found = self.get(item::keys(key::receipt(&receipt.key), key::RECEIPT)).await?;
        let Some(found) = found else { return Ok(None) };
        let record: ReceiptItem = item::read(found.clone(), "receipt of a request")?;
        if record.expires_at.is_some_and(|at| at <= now.as_second()) {
            return Ok(None);
        }
        duplicate(Some(found), receipt).map(Some)
    }

    /// When the receipt of a provider's request goes whose last delivery has this deadline: after that
    /// delivery, unless a person decides about it much later.
    pub(crate) fn receipt_goes_at(&self, deadline: Timestamp) -> i64 {
        deadline.as_second() + self.delivery_days * DAY_S + OUTLIVES_S
    }
}

/// Adds the receipt to a transaction. It must be absent or expired. `kept_until` is when one goes that
/// has no time of its own, in seconds.
pub(crate) fn add(
    transaction: &mut Transaction<'_>,
    receipt: &Receipt,
    kept_until: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let record = ReceiptItem {
        fingerprint: receipt.fingerprint.clone(),
        response: receipt.response.clone(),
        caller: receipt.caller.clone(),
        expires_at: Some(match receipt.key.lives_s {
            Some(lives_s) => now.as_second() + lives_s,
            None => kept_until,
        }),
    };
    let keys = (key::receipt(&receipt.key), key::RECEIPT.to_owned());
    // TTL deletes late, so the time stands in the condition too.
    let is_new = Expression::default()
        .condition("attribute_not_exists(pk) OR #expires_at <= :now")
        .value(":now", item::n(now.as_second()));
    transaction.put_if(Write::Receipt, item::item(keys, "receipt", &record)?, is_new)
}

/// What a request is whose receipt was there: a duplicate, or another request under the same key.
pub(crate) fn duplicate(old: Option<Item>, ours: &Receipt) -> Result<Accepted, StoreError> {
    let old = old.ok_or_else(|| StoreError::corrupt("receipt of a request"))?;
    let record: ReceiptItem = item::read(old, "receipt of a request")?;
    if record.fingerprint == ours.fingerprint {
        return Ok(Accepted::Duplicate(record.response));
    }
    let is_others =
        record.caller.zip(ours.caller.as_ref()).is_some_and(|(theirs, ours)| theirs != *ours);
    Ok(if is_others { Accepted::KeyOfAnother } else { Accepted::KeyReused })
}
