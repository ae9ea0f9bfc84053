//! The limiter of a destination: the requests of the last minute, shared by all workers
//! (`docs/design.md`, "Limiter").
//!
//! One item, written under the condition that nobody wrote it meanwhile. A worker that comes too late
//! gets the item as it is now, and tries again with it.

use funil_core::delivery::limit::RequestWindow;
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::{self, Item};
use crate::table::key;

/// How long the item is kept after its last write, in seconds.
const KEPT_S: i64 = 3600;

/// What a worker knows of the limiter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// The tokens that were granted.
    pub window: RequestWindow,
    /// Counts the writes; 0 where there is no item.
    version: i64,
}

impl Store {
    /// The limiter as it is now.
    pub async fn limit(&self, destination: &str) -> Result<Limit, StoreError> {
        Ok(self.get(keys(destination)).await?.map(read).unwrap_or_default())
    }

    /// Stores the window after a worker granted or took back tokens, unless another worker wrote since `known`.
    /// Then the error holds the limiter as it is now.
    pub async fn write_limit(
        &self,
        destination: &str,
        known: &Limit,
        window: RequestWindow,
        now: Timestamp,
    ) -> Result<Result<Limit, Limit>, StoreError> {
        let version = known.version + 1;
        let granted: Vec<(&i64, &i64)> = window.0.iter().collect();
        let granted = item::attribute(&granted, "limiter")?;
        let write = Expression::of_type("limit")
            .set("expires_at", item::n(now.as_second() + KEPT_S))
            .set("granted", granted)
            .set("version", item::n(version));
        let write = match known.version {
            0 => write.condition("attribute_not_exists(pk)"),
            _ => write.condition("#version = :known").value(":known", item::n(known.version)),
        };
        match self.update_or_get(keys(destination), write).await? {
            None => Ok(Ok(Limit { window, version })),
            Some(theirs) => Ok(Err(read(theirs))),
        }
    }
}

fn keys(destination: &str) -> Item {
    item::keys(key::destination(destination), key::LIMIT)
}

/// An item that cannot be read counts as empty: at worst the provider says that it was too much.
fn read(mut found: Item) -> Limit {
    let version = item::number(&found, "version").unwrap_or(0);
    let granted = found.remove("granted");
    let granted: Option<Vec<(i64, i64)>> =
        granted.and_then(|granted| serde_dynamo::from_attribute_value(granted).ok());
    let window = RequestWindow(granted.unwrap_or_default().into_iter().collect());
    Limit { window, version }
}
