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
mod totals;

use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use aws_sdk_dynamodb::types::AttributeValue;
use funil_core::delivery::Shards;
use funil_core::site::{DELIVERY_DAYS, SiteConfig};
use jiff::Timestamp;
use tokio::sync::OnceCell;

use crate::table::client::Client;

pub use delivery::backfill::{EventsPage, ScanPosition};
pub use delivery::claim::{Claim, Claimed, Claiming, Written};
pub use delivery::due::{Counted, DeadDelivery, DeadRange, Due, Work};
pub use delivery::inputs::{DeliveryInputs, Found};
pub use delivery::message::{MessageUpdate, Recorded};
pub use delivery::replay::Ended;
pub use delivery::siblings::{Confirmed, Sibling, Siblings};
pub use destination::alert::{Alert, AlertKind};
pub use destination::limiter::Limit;
pub use destination::sweep::SWEEP_S;
pub use intake::accept::{Acceptance, Fact, LeadWrite};
pub use intake::quarantine::{QuarantineEntry, Quarantined, QuarantinedRequest};
pub use intake::rate::{Price, RateLimit, RateVerdict};
pub use intake::receipt::{Accepted, Receipt, StoredResponse};
pub use intake::signatures::Signatures;
pub use lead::alias::Alias;
pub use lead::consent::{ConsentEvidence, Reported};
pub use lead::journey::{ConsentRecord, Journey};
pub use lead::payment::{KnownTransaction, LatestChange, PaymentChange, TransactionChange};
pub use platform::{Platform, TablePatience};
pub use table::connect::{AwsConfig, service_url};
pub use table::error::StoreError;
pub use table::key::{DeliveryKey, destination_of, time as key_time};
pub use table::{CopiedPage, CopyRun, Part, Stream};
pub use totals::{Count, TOTALS_TARGET, Total, TotalOf, Totals};

/// A day, in seconds.
const DAY_S: i64 = 24 * 60 * 60;

/// The table. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    table: Arc<str>,
    ready: Arc<OnceCell<()>>,
    /// Over how many shards this process spreads deliveries.
    writes_to: Shards,
    /// For how many days a delivery is kept after it was settled.
    delivery_days: i64,
    /// Over how many they were ever spread, as the table's identity said last.
    spread_over: Arc<AtomicU8>,
}

impl Store {
    fn new(client: Client, table: String) -> Self {
        Self {
            client,
            table: table.into(),
            ready: Arc::new(OnceCell::new()),
            writes_to: Shards::ONE,
            delivery_days: DELIVERY_DAYS,
            spread_over: Arc::new(AtomicU8::new(Shards::ONE.count())),
        }
    }

    /// Spreads deliveries over as many shards, and keeps them for as long, as the site says.
    /// [`ready`](Self::ready) notes the shards for those who read them.
    #[must_use]
    pub const fn of_site(mut self, site: &SiteConfig) -> Self {
        self.writes_to = site.due_shards;
        self.delivery_days = site.delivery_days;
        self
    }

    /// When a delivery goes that was settled at this time, for the table's TTL.
    fn goes_at(&self, settled_at: Timestamp) -> AttributeValue {
        table::item::n(settled_at.as_second() + self.delivery_days * DAY_S)
    }
}
