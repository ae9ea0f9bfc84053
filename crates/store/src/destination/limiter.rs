//! The limiter of a destination: requests per minute, shared by all workers.
//!
//! Workers lease tokens in batches from the present minute's counter. What they do not use is lost
//! with the minute: better a little slower than over the limit.

use funil_core::clock::after;
use jiff::Timestamp;

use crate::Store;
use crate::delivery::claim::condition;
use crate::table::error::StoreError;
use crate::table::{item, key};

/// Tokens in hand: so many requests until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Requests.
    pub tokens: i64,
    /// The end of the minute they belong to.
    pub until: Timestamp,
}

impl Store {
    /// Leases `tokens` requests of the present minute, if the destination's limit still has them; a
    /// worker asks for no more than `per_minute`.
    pub async fn lease_requests(
        &self,
        destination: &str,
        tokens: i64,
        per_minute: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, StoreError> {
        let minute = Timestamp::from_second(now.as_second().div_euclid(60) * 60).unwrap_or(now);
        let leased = self
            .client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::destination(destination), key::limit(minute))))
            .update_expression("SET v = :v, #type = :type, expires_at = :expires ADD used :tokens")
            .condition_expression("attribute_not_exists(used) OR used <= :left")
            .expression_attribute_names("#type", "type")
            .expression_attribute_values(":v", item::n(1))
            .expression_attribute_values(":type", item::s("limit"))
            .expression_attribute_values(":expires", item::n(minute.as_second() + 3600))
            .expression_attribute_values(":tokens", item::n(tokens))
            .expression_attribute_values(":left", item::n(per_minute - tokens))
            .send()
            .await;
        Ok(condition(leased)?.map(|_| Lease { tokens, until: after(minute, 60) }))
    }

    /// Gives unused tokens back to their minute.
    pub async fn return_requests(
        &self,
        destination: &str,
        unused: Lease,
    ) -> Result<(), StoreError> {
        let minute = after(unused.until, -60);
        self.client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::destination(destination), key::limit(minute))))
            .update_expression("ADD used :unused")
            .expression_attribute_values(":unused", item::n(-unused.tokens))
            .send()
            .await
            .map_err(|error| StoreError::of("UpdateItem", &error))?;
        Ok(())
    }
}
