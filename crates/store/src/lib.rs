//! The table of Funil: the only crate that names DynamoDB.
//!
//! Each file has the methods of [`Store`] for one kind of operation. Time and randomness come in as
//! arguments, and errors never carry an item. Callers see the domain's types, never the SDK's. The
//! table's items are in ARCHITECTURE.md, the rules about them in `docs/design.md` ("The table").

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the SDK's error enums are non-exhaustive; our own are never matched with a wildcard"
)]

mod delivery;
mod destination;
mod intake;
mod lead;
mod platform;
mod table;

use std::sync::Arc;

use tokio::sync::OnceCell;

pub use delivery::backfill::{EventsPage, ScanPosition};
pub use delivery::claim::{Claim, Claimed, Claiming, Written};
pub use delivery::due::{Counted, DeadDelivery, DeadRange, Due, Sibling};
pub use delivery::inputs::{DeliveryInputs, Found};
pub use delivery::message::{MessageUpdate, Recorded};
pub use delivery::replay::Ended;
pub use destination::alert::{Alert, AlertKind};
pub use destination::limiter::Lease;
pub use intake::accept::{Acceptance, Accepted, Fact, LeadWrite};
pub use intake::quarantine::{QuarantineEntry, Quarantined, QuarantinedRequest};
pub use intake::rate::{Price, RateLimit, RateVerdict};
pub use intake::receipt::{Receipt, StoredResponse};
pub use intake::signatures::Signatures;
pub use lead::alias::Alias;
pub use lead::consent::ConsentEvidence;
pub use lead::journey::{ConsentRecord, Journey};
pub use platform::{Platform, TablePatience};
pub use table::Stream;
pub use table::connect::AwsConfig;
pub use table::error::StoreError;
pub use table::key::{DELIVERY_PREFIX, DeliveryKey, destination_of, time as key_time};

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
