//! The rate limit: GCRA in the table, shared by all instances (design §5).
//!
//! One write for a caller that has been quiet, two for one that called seconds ago; a refusal is
//! known from the first one's failed condition.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use funil_core::hash::Digest;
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::item::Item;
use crate::table::{item, key};

/// So many calls in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls.
    pub requests: i64,
    /// Seconds.
    pub window_s: i64,
}

impl RateLimit {
    /// The time that one call uses up, in milliseconds: GCRA's T.
    const fn interval_ms(self) -> i64 {
        self.window_s * 1000 / self.requests
    }

    /// How far ahead of now the theoretical arrival time may run, in milliseconds.
    const fn burst_ms(self) -> i64 {
        (self.requests - 1) * self.interval_ms()
    }
}

/// Whether a call may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateVerdict {
    /// It may.
    Passes,
    /// It may not; it may after so many seconds.
    Refused {
        /// For `Retry-After`, at least 1.
        retry_after_s: i64,
    },
}

impl Store {
    /// Counts a call of `caller` within `scope`.
    pub async fn rate(
        &self,
        scope: &str,
        caller: &Digest,
        limit: RateLimit,
        now: Timestamp,
    ) -> Result<RateVerdict, StoreError> {
        let now_ms = now.as_millisecond();
        let refused = |tat: i64| RateVerdict::Refused {
            retry_after_s: (tat - limit.burst_ms() - now_ms).div_euclid(1000).max(0) + 1,
        };
        let first = self
            .move_tat(
                scope,
                caller,
                now,
                limit,
                "SET tat = :next",
                "attribute_not_exists(pk) OR tat <= :limit",
                now_ms,
            )
            .await;
        let Some(tat) = passes_or_tat(first)? else { return Ok(RateVerdict::Passes) };
        if tat > now_ms + limit.burst_ms() {
            return Ok(refused(tat));
        }
        let second = self
            .move_tat(
                scope,
                caller,
                now,
                limit,
                "SET tat = tat + :step",
                "tat <= :limit",
                now_ms + limit.burst_ms(),
            )
            .await;
        Ok(passes_or_tat(second)?.map_or(RateVerdict::Passes, refused))
    }

    #[expect(clippy::too_many_arguments, reason = "two calls that differ in three of them")]
    async fn move_tat(
        &self,
        scope: &str,
        caller: &Digest,
        now: Timestamp,
        limit: RateLimit,
        set: &str,
        condition: &str,
        limit_ms: i64,
    ) -> Result<UpdateItemOutput, SdkError<UpdateItemError>> {
        let mut update = self
            .client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::rate(scope, caller), key::RATE)))
            .update_expression(format!("{set}, v = :v, #type = :type, expires_at = :expires"))
            .condition_expression(condition)
            .expression_attribute_names("#type", "type")
            .expression_attribute_values(":v", item::n(1))
            .expression_attribute_values(":type", item::s("rate"))
            .expression_attribute_values(":expires", item::n(now.as_second() + 2 * limit.window_s))
            .expression_attribute_values(":limit", item::n(limit_ms))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        update = if set.contains(":next") {
            let next = now.as_millisecond() + limit.interval_ms();
            update.expression_attribute_values(":next", item::n(next))
        } else {
            update.expression_attribute_values(":step", item::n(limit.interval_ms()))
        };
        update.send().await
    }
}

/// `None` where the write passed, else the `tat` that stood in its way.
fn passes_or_tat(
    result: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
) -> Result<Option<i64>, StoreError> {
    match result {
        Ok(_) => Ok(None),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                let tat = failed.item().and_then(|old: &Item| item::number(old, "tat"));
                Ok(Some(tat.ok_or(StoreError::Unreadable { what: "rate" })?))
            }
            _ => Err(StoreError::of("UpdateItem", &error)),
        },
    }
}
