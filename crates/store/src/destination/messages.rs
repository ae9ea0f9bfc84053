//! How many messages one number got in a day, from whatever lead.

use funil_core::hash::Digest;
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::{item, key};

/// How long a day's count is kept, in seconds.
const KEPT_S: i64 = 2 * 86_400;

impl Store {
    /// Counts a message to a number, unless it has had `most` in this day (UTC). Returns whether it was
    /// counted.
    pub async fn count_message(
        &self,
        destination: &str,
        number: &Digest,
        most: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.count_in_day("messages", key::messages(destination, number), most, now).await
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
        let day = now.strftime("%Y-%m-%d").to_string();
        self.update(item::keys(pk, key::day(&day)), count).await
    }
}
