//! The table of Funil (design §5): the only crate that names DynamoDB.
//!
//! Each file holds one kind of operation as methods of [`Store`]. Time and randomness come in as
//! arguments; errors never carry an item. Callers see the domain's types, never the SDK's.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the SDK's error enums are non-exhaustive; our own never get a wildcard here"
)]

mod accept;
mod alert;
mod alias;
mod backfill;
mod booking;
mod breaker;
mod claim;
mod connect;
mod due;
mod error;
mod http;
mod item;
mod journey;
mod key;
mod limiter;
mod message;
mod meta;
mod quarantine;
mod rate;
mod replay;
mod shell;
mod table;

use std::sync::Arc;

use tokio::sync::OnceCell;

pub use accept::{Acceptance, Accepted, ConsentEvidence, LeadWrite, Receipt, StoredAnswer};
pub use alert::{Alert, AlertKind};
pub use alias::Alias;
pub use backfill::{EventsPage, ScanPosition};
pub use claim::{Claim, Claimed, Claiming, Found, Material, Written};
pub use connect::AwsConfig;
pub use due::{Counted, DeadDelivery, DeadRange, Due, Sibling};
pub use error::StoreError;
pub use journey::{ConsentRecord, Journey};
pub use key::{DELIVERY_PREFIX, DeliveryKey, destination_of, time as key_time};
pub use limiter::Lease;
pub use message::{Heard, MessageWord};
pub use quarantine::Quarantined;
pub use rate::{RateLimit, RateVerdict};
pub use replay::Ended;
pub use shell::{Shell, TablePatience};
pub use table::Stream;

/// The table. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    client: aws_sdk_dynamodb::Client,
    table: Arc<str>,
    ready: Arc<OnceCell<()>>,
}

impl Store {
    fn new(client: aws_sdk_dynamodb::Client, table: String) -> Self {
        Self { client, table: table.into(), ready: Arc::new(OnceCell::new()) }
    }
}
