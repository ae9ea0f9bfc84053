//! How much happened in a day: which messages one number got, from whatever lead, and how many
//! requests a form quarantined.

use funil_core::delivery::Delivery;
use funil_core::hash::Digest;
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::{item, key};

/// How long a day's count is kept, in seconds.
const KEPT_S: i64 = 2 * 86_400;

impl Store {
    /// Counts a message to a number, unless it has had `most` others in this day (UTC). Returns whether
    /// it may be sent. One that is tried again counts once.
    pub async fn count_message(
        &self,
        number: &Digest,
        delivery: &Delivery,
        most: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = delivery.id.to_string();
        let count = Expression::of_type("messages")
            .set("expires_at", item::n(now.as_second() + KEPT_S))
            .insert_all("deliveries", [id.as_str()])
            .condition(
                "attribute_not_exists(#deliveries) OR contains(#deliveries, :id) \
                 OR size(#deliveries) < :most",
            )
            .value(":id", item::s(id.as_str()))
            .value(":most", item::n(most));
        let pk = key::messages(&delivery.destination, number);
        self.update(item::keys(pk, key::day(&day(now))), count).await
    }

    /// Counts one more in this day (UTC) under a partition, unless there were `most`. Returns whether it
    /// was counted.
    pub(crate) async fn count_in_day(
        &self,
        kind: &str,
        pk: String,
        most: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let count = Expression::of_type(kind)
            .set("expires_at", item::n(now.as_second() + KEPT_S))
            .add("count", 1)
            .condition("attribute_not_exists(#count) OR #count < :most")
            .value(":most", item::n(most));
        self.update(item::keys(pk, key::day(&day(now))), count).await
    }
}

fn day(now: Timestamp) -> String {
    now.strftime("%Y-%m-%d").to_string()
}
