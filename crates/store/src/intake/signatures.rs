//! How a provider's requests were signed lately: when the last good one came, and how many were
//! refused since. Nothing of a refused request is kept.
//!
//! Anybody can send a request with a wrong signature, so each process writes at most once a minute.

use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::{item, key};

/// How a provider's requests were signed lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// When the last correctly signed request came.
    pub last_good: Option<Timestamp>,
    /// When the last request without a correct signature came.
    pub last_refused: Option<Timestamp>,
    /// How many of those came since the last good one.
    pub refused: i64,
}

impl Store {
    /// How the requests of a provider were signed lately.
    pub async fn signatures(&self, provider: &str) -> Result<Signatures, StoreError> {
        Ok(self.get(keys(provider)).await?.as_ref().map(read).unwrap_or_default())
    }

    /// Counts requests of a provider that were not correctly signed. Returns what is known then.
    pub async fn count_refused(
        &self,
        provider: &str,
        refused: i64,
        now: Timestamp,
    ) -> Result<Signatures, StoreError> {
        let count = Expression::of_type("signatures")
            .set("last_refused", item::timestamp(now))
            .add("refused", refused);
        let counted = self.update_and_get(keys(provider), count).await?;
        Ok(counted.as_ref().map(read).unwrap_or_default())
    }

    /// Notes a correctly signed request, after which the refused ones are counted anew.
    pub async fn note_signed(&self, provider: &str, now: Timestamp) -> Result<(), StoreError> {
        let good = Expression::of_type("signatures")
            .set("last_good", item::timestamp(now))
            .set("refused", item::n(0));
        self.update(keys(provider), good).await.map(drop)
    }
}

fn keys(provider: &str) -> Item {
    item::keys(key::provider(provider), key::SIGNATURES)
}

fn read(found: &Item) -> Signatures {
    let time = |name: &str| item::text(found, name).and_then(|text| text.parse().ok());
    Signatures {
        last_good: time("last_good"),
        last_refused: time("last_refused"),
        refused: item::number(found, "refused").unwrap_or(0),
    }
}
