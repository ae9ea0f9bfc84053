//! Quarantine: authentic calls that are not taken for what they say they are, kept whole for a
//! person, never dropped.

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
use crate::intake::accept::{Accepted, Receipt};
use crate::table::error::StoreError;
use crate::table::{item, key};

/// A call to keep aside.
#[derive(Debug)]
pub struct Quarantined<'a> {
    /// The function or provider it came to.
    pub source: &'a str,
    /// Why: `honeypot`.
    pub reason: &'static str,
    /// Its content type.
    pub content_type: &'a str,
    /// Its body, as it came.
    pub body: &'a [u8],
    /// Whose it is, where that is known.
    pub email_digest: Option<&'a Digest>,
}

/// A quarantined call's attributes; the body stands beside them, compressed.
#[derive(Serialize)]
struct QuarantineItem<'a> {
    at: Timestamp,
    reason: &'a str,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_digest: Option<&'a Digest>,
}

impl Store {
    /// Keeps the call aside and its receipt with it, so that it is answered like any other.
    pub async fn quarantine(
        &self,
        call: &Quarantined<'_>,
        receipt: &Receipt,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Accepted, StoreError> {
        let id = entropy.uuid_v7(now).to_string();
        let keys = (key::quarantine(call.source), key::quarantined(now, &id));
        let record = QuarantineItem {
            at: now,
            reason: call.reason,
            content_type: call.content_type,
            email_digest: call.email_digest,
        };
        let mut aside = item::item(keys, "quarantine", &record)?;
        aside.insert("body".to_owned(), AttributeValue::B(Blob::new(gzip(call.body)?)));
        self.accept_aside(receipt, aside, now, entropy).await
    }
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map_err(|_| StoreError::Unreadable { what: "quarantined body" })
}
