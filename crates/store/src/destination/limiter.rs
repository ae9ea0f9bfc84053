//! The limiter of a destination: requests per minute, shared by all workers (`docs/design.md`,
//! "Limiter").
//!
//! Workers lease tokens from the present minute's counter, several at once. A token that is neither
//! used nor returned is lost when its minute ends, so the limit is never exceeded.

use funil_core::clock::after;
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::{item, key};

/// Tokens that a worker may use, one for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The number of tokens.
    pub tokens: i64,
    /// The end of the minute they belong to.
    pub until: Timestamp,
}

impl Store {
    /// Leases `tokens` requests of the present minute, or `None` where the minute has fewer left. A
    /// worker asks for no more than `per_minute`.
    pub async fn lease_requests(
        &self,
        destination: &str,
        tokens: i64,
        per_minute: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, StoreError> {
        let minute = Timestamp::from_second(now.as_second().div_euclid(60) * 60).unwrap_or(now);
        let lease = Expression::of_type("limit")
            .set("expires_at", item::n(minute.as_second() + 3600))
            .add("used", tokens)
            .condition("attribute_not_exists(#used) OR #used <= :left")
            .value(":left", item::n(per_minute - tokens));
        let leased = self.update(keys(destination, minute), lease).await?;
        Ok(leased.then(|| Lease { tokens, until: after(minute, 60) }))
    }

    /// Returns unused tokens to their minute.
    pub async fn return_requests(
        &self,
        destination: &str,
        unused: Lease,
    ) -> Result<(), StoreError> {
        let minute = after(unused.until, -60);
        let give_back = Expression::default().add("used", -unused.tokens);
        self.update(keys(destination, minute), give_back).await?;
        Ok(())
    }
}

fn keys(destination: &str, minute: Timestamp) -> Item {
    item::keys(key::destination(destination), key::limit(minute))
}
