//! Quarantine: requests that are stored unchanged for a person instead of being processed. These
//! are forms with a filled honeypot, and signed webhooks that are not understood.
//!
//! A request leaves by being released, which is part of the transaction that accepts it, by being
//! dropped, or at its time. While nobody has looked at one it stands among what is due, a week
//! before it goes. Must not know why a request is put here, nor how it is processed.

use std::fmt;
use std::io::{Read as _, Write as _};

use aws_sdk_dynamodb::operation::delete_item::{DeleteItemError, DeleteItemInput};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use funil_core::clock::{Entropy, after};
use funil_core::delivery::Shard;
use funil_core::hash::Digest;
use funil_core::id::{QuarantineId, QuarantineName};
use funil_core::receipt::ReceiptKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::intake::receipt::{self, Accepted, Receipt};
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::transaction::{Transacted, Write};
use crate::table::{DUE_INDEX, item, key};

/// The name under which requests that nobody has looked at are due in the index.
const NAME: &str = "quarantine";
/// How long before a request goes a person is notified, in seconds: a week.
const WARNED_S: i64 = 7 * 24 * 60 * 60;
/// The most bytes of a compressed body in one item; DynamoDB takes 400 KB with everything else.
const PART_BYTES: usize = 350 * 1024;
/// The largest body that is read back, in bytes, so that a damaged one cannot fill the memory.
const BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How many parts a body has at most: a transaction takes 4 MB.
const PARTS_MAX: usize = 11;

/// A request to keep in quarantine.
pub struct Quarantined<'a> {
    /// The function or provider that it came to or from.
    pub source: &'a str,
    /// Why it is not processed: one word, such as `honeypot`, and what belongs to it.
    pub reason: &'a str,
    /// Its content type.
    pub content_type: &'a str,
    /// Its body, byte for byte.
    pub body: &'a [u8],
    /// Digest of the sender's e-mail, where it is known.
    pub email_digest: Option<&'a Digest>,
    /// The receipt that it would have had if it had been accepted, where that is known. A release
    /// uses it, so that a person who sent the same again meanwhile is not kept twice.
    pub original: Option<&'a ReceiptKey>,
    /// For how many days it is kept.
    pub days: i64,
}

/// What is known of a request in quarantine without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// The name by which a person shows, releases or drops it.
    pub name: QuarantineName,
    /// Why it was not processed.
    pub reason: String,
    /// Its content type.
    pub content_type: String,
    /// When a person looked at it first.
    pub read_at: Option<Timestamp>,
    /// When the table deletes it.
    pub expires_at: Option<Timestamp>,
    /// The receipt that it would have had.
    pub original: Option<ReceiptKey>,
}

/// A request in quarantine.
#[derive(Clone, PartialEq, Eq)]
pub struct QuarantinedRequest {
    /// What is known of it.
    pub entry: QuarantineEntry,
    /// Its body, byte for byte. It is personal data.
    pub body: Bytes,
}

impl fmt::Debug for QuarantinedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [pii]", self.entry.name)
    }
}

/// The attributes of a quarantined request, but for `body`, which is its compressed beginning.
#[derive(Serialize, Deserialize)]
struct QuarantineRecord {
    at: Timestamp,
    reason: String,
    content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email_digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt_scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt_lives_s: Option<i64>,
    /// How many further items hold the rest of the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read_at: Option<Timestamp>,
    /// In seconds, for the table's TTL. Requests that were kept before this have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_pk: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_sk: Option<String>,
}

/// The attributes of a further part of a body, but for `body`.
#[derive(Serialize)]
struct PartRecord {
    expires_at: i64,
}

/// The key of a request in quarantine.
pub(crate) fn keys(name: &QuarantineName) -> Item {
    item::keys(key::quarantine(&name.source), key::quarantined(name.id))
}

impl Store {
    /// Keeps a request in quarantine under a new id, together with its receipt, so that a duplicate of
    /// it gets the same response.
    pub async fn quarantine(
        &self,
        id: QuarantineId,
        request: &Quarantined<'_>,
        receipt: &Receipt,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Accepted, StoreError> {
        let name = QuarantineName { source: request.source.to_owned(), id };
        let goes_at = after(now, request.days * 86_400);
        let body = gzip(request.body)?;
        let mut parts = body.chunks(PART_BYTES).enumerate();
        if parts.len() > PARTS_MAX {
            return Err(StoreError::InvalidRequest { what: "quarantined body" });
        }
        let (_, first) = parts.next().unwrap_or_default();
        let record = QuarantineRecord {
            at: now,
            reason: request.reason.to_owned(),
            content_type: request.content_type.to_owned(),
            email_digest: request.email_digest.cloned(),
            receipt_scope: request.original.map(|key| key.scope.clone()),
            receipt_key: request.original.map(|key| key.key.clone()),
            receipt_lives_s: request.original.and_then(|key| key.lives_s),
            parts: (parts.len() > 0).then(|| parts.len()),
            read_at: None,
            expires_at: Some(goes_at.as_second()),
            due_pk: Some(key::due(NAME, Shard::FIRST)),
            due_sk: Some(key::time(after(goes_at, -WARNED_S).max(now))),
        };
        let mut transaction = self.transaction();
        receipt::add(&mut transaction, receipt, self.receipt_goes_at(now), now)?;
        let whole_keys = (key::quarantine(&name.source), key::quarantined(name.id));
        let whole = item::item(whole_keys, "quarantine", &record)?;
        transaction.create(Write::Quarantine, with_body(whole, first))?;
        for (number, bytes) in parts {
            let part_keys = (key::quarantine_parts(&name), key::part(number));
            let record = PartRecord { expires_at: goes_at.as_second() };
            let part = item::item(part_keys, "quarantine_part", &record)?;
            transaction.create(Write::Quarantine, with_body(part, bytes))?;
        }
        match transaction.send(entropy).await? {
            Transacted::Done => Ok(Accepted::Kept),
            Transacted::Conflict { write: Write::Receipt, old } => receipt::duplicate(old, receipt),
            Transacted::Conflict { write, .. } => Err(write.conflict()),
        }
    }

    /// Counts a request that anybody can have put into quarantine, unless the source had `most` of them
    /// in this day (UTC). Returns whether it was counted.
    pub async fn count_quarantined(
        &self,
        source: &str,
        most: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.count_in_day("quarantined", key::quarantined_a_day(source), most, now).await
    }

    /// Requests of `source` in quarantine, oldest first, at most `limit`; `after` is the last of the page
    /// before.
    pub async fn quarantine_page(
        &self,
        source: &str,
        after: Option<QuarantineId>,
        limit: usize,
    ) -> Result<Vec<QuarantineEntry>, StoreError> {
        let query = self.query(key::quarantine(source)).consistent_read(true);
        let query = match after {
            Some(after) => query
                .key_condition_expression("pk = :pk AND sk > :after")
                .expression_attribute_values(":after", item::s(key::quarantined(after))),
            None => query.key_condition_expression("pk = :pk"),
        };
        let found = self.first_items(query, limit).await?;
        found.into_iter().map(|found| entry(source, found).map(|(entry, _)| entry)).collect()
    }

    /// A request in quarantine, with its body.
    pub async fn quarantined(
        &self,
        name: &QuarantineName,
    ) -> Result<Option<QuarantinedRequest>, StoreError> {
        let Some(found) = self.get(keys(name)).await? else { return Ok(None) };
        let mut body = body_of(&found)?.to_vec();
        let (entry, parts) = entry(&name.source, found)?;
        if parts > 0 {
            let parts_pk = key::quarantine_parts(name);
            let wanted = (1..=parts).map(|part| item::keys(parts_pk.clone(), key::part(part)));
            let mut found = self.batch_get(wanted.collect()).await?;
            found.sort_by(|one, other| item::text(one, "sk").cmp(&item::text(other, "sk")));
            for part in &found {
                body.extend_from_slice(body_of(part)?);
            }
        }
        Ok(Some(QuarantinedRequest { entry, body: gunzip(&body, name)? }))
    }

    /// Notes that a person looked at a request in quarantine: nobody is notified before it goes.
    pub async fn quarantine_read(
        &self,
        name: &QuarantineName,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let read = Expression::default()
            .set_once("read_at", item::timestamp(now))
            .remove_all(&["due_pk", "due_sk"])
            .condition("attribute_exists(pk)");
        self.update(keys(name), read).await.map(drop)
    }

    /// Removes a request from quarantine. Returns whether it was there.
    pub async fn drop_quarantined(&self, name: &QuarantineName) -> Result<bool, StoreError> {
        let Some(found) = self.get(keys(name)).await? else { return Ok(false) };
        let (_, parts) = entry(&name.source, found)?;
        let was_there = self.delete(keys(name)).await?;
        for part in 1..=parts {
            self.delete(item::keys(key::quarantine_parts(name), key::part(part))).await?;
        }
        Ok(was_there)
    }

    /// Requests that go within a week and that nobody has looked at, at most `limit`.
    pub async fn quarantine_expiring(
        &self,
        now: Timestamp,
        limit: i32,
    ) -> Result<Vec<QuarantineName>, StoreError> {
        let query = self
            .query(key::due(NAME, Shard::FIRST))
            .index_name(DUE_INDEX)
            .key_condition_expression("due_pk = :pk AND due_sk <= :now")
            .expression_attribute_values(":now", item::s(key::time(now)))
            .limit(limit);
        let found = self.first_page(query).await?;
        Ok(found.iter().filter_map(name_of).collect())
    }

    /// Notes that a person was notified that a request goes.
    pub async fn quarantine_warned(&self, name: &QuarantineName) -> Result<(), StoreError> {
        let warned = Expression::default()
            .remove_all(&["due_pk", "due_sk"])
            .condition("attribute_exists(pk)");
        self.update(keys(name), warned).await.map(drop)
    }

    /// Deletes an item. Returns whether it was there.
    async fn delete(&self, key: Item) -> Result<bool, StoreError> {
        let delete = DeleteItemInput::builder().table_name(&*self.table).set_key(Some(key));
        match self.client.send(delete.condition_expression("attribute_exists(pk)")).await {
            Ok(_) => Ok(true),
            Err(error) => match error.service() {
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(StoreError::of("DeleteItem", &error)),
            },
        }
    }
}

fn name_of(found: &Item) -> Option<QuarantineName> {
    let source = item::text(found, "pk")?.strip_prefix(&key::quarantine(""))?.to_owned();
    Some(QuarantineName { source, id: key::quarantined_id(item::text(found, "sk")?)? })
}

/// Reads a request without its body, and how many further parts the body has.
fn entry(source: &str, found: Item) -> Result<(QuarantineEntry, usize), StoreError> {
    let what = "request in quarantine";
    let id = item::text(&found, "sk").and_then(key::quarantined_id);
    let id = id.ok_or_else(|| StoreError::corrupt(what))?;
    let record: QuarantineRecord = item::read(found, what)?;
    let expires_at = record.expires_at.and_then(|second| Timestamp::from_second(second).ok());
    let original = record.receipt_scope.zip(record.receipt_key);
    let entry = QuarantineEntry {
        name: QuarantineName { source: source.to_owned(), id },
        reason: record.reason,
        content_type: record.content_type,
        read_at: record.read_at,
        expires_at,
        original: original.map(|(scope, key)| ReceiptKey {
            scope,
            key,
            lives_s: record.receipt_lives_s,
        }),
    };
    Ok((entry, record.parts.unwrap_or(0)))
}

fn with_body(mut item: Item, bytes: &[u8]) -> Item {
    item.insert("body".to_owned(), AttributeValue::B(Blob::new(bytes)));
    item
}

fn body_of(found: &Item) -> Result<&[u8], StoreError> {
    let body = found.get("body").and_then(|body| body.as_b().ok());
    body.map(AsRef::as_ref).ok_or_else(|| StoreError::corrupt("body of a request in quarantine"))
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map_err(|_| StoreError::InvalidRequest { what: "quarantined body" })
}

fn gunzip(bytes: &[u8], name: &QuarantineName) -> Result<Bytes, StoreError> {
    let mut body = Vec::new();
    GzDecoder::new(bytes)
        .take(BODY_BYTES_MAX)
        .read_to_end(&mut body)
        .map_err(|_| StoreError::corrupt(format!("request {name} in quarantine")))?;
    Ok(body.into())
}
