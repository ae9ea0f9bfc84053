//! Quarantine: requests that are stored unchanged for a person instead of being processed. These
//! are forms with a filled honeypot, and signed webhooks that are not understood.

use std::io::Write as _;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use flate2::Compression;
use flate2::write::GzEncoder;
use funil_core::clock::Entropy;
use funil_core::hash::Digest;
use jiff::Timestamp;
use serde::Serialize;

use crate::Store;
use crate::intake::accept::Accepted;
use crate::intake::receipt::{self, Receipt};
use crate::table::error::StoreError;
use crate::table::transaction::{Transacted, Write};
use crate::table::{item, key};

/// A request to keep in quarantine.
pub struct Quarantined<'a> {
    /// The function or provider that it came to or from.
    pub source: &'a str,
    /// Why it is not processed: `honeypot`.
    pub reason: &'static str,
    /// Its content type.
    pub content_type: &'a str,
    /// Its body, byte for byte.
    pub body: &'a [u8],
    /// Digest of the sender's e-mail, where it is known.
    pub email_digest: Option<&'a Digest>,
}

/// The attributes of a quarantined request. The compressed body is a further one.
#[derive(Serialize)]
struct QuarantineItem<'a> {
    at: Timestamp,
    reason: &'a str,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_digest: Option<&'a Digest>,
}

impl Store {
    /// Keeps a request in quarantine together with its receipt, so that a duplicate of it gets the
    /// same response.
    pub async fn quarantine(
        &self,
        request: &Quarantined<'_>,
        receipt: &Receipt,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Accepted, StoreError> {
        let id = entropy.uuid_v7(now).to_string();
        let keys = (key::quarantine(request.source), key::quarantined(now, &id));
        let record = QuarantineItem {
            at: now,
            reason: request.reason,
            content_type: request.content_type,
            email_digest: request.email_digest,
        };
        let mut quarantined = item::item(keys, "quarantine", &record)?;
        quarantined.insert("body".to_owned(), AttributeValue::B(Blob::new(gzip(request.body)?)));
        let mut transaction = self.transaction();
        receipt::add(&mut transaction, receipt, now)?;
        transaction.create(Write::Quarantine, quarantined)?;
        match transaction.send(entropy).await? {
            Transacted::Done => Ok(Accepted::Kept),
            Transacted::Conflict { write: Write::Receipt, old } => receipt::duplicate(old, receipt),
            Transacted::Conflict { write, .. } => Err(write.conflict()),
        }
    }
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map_err(|_| StoreError::InvalidRequest { what: "quarantined body" })
}
