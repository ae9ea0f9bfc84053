//! The rate limit: GCRA in the table, shared by all instances (`docs/design.md`, "Rate limit").
//!
//! A caller that has been quiet costs one write, one that sent a request seconds ago two. A refusal
//! is known from the first write's failed condition.

use std::time::Duration;

use funil_core::clock::Entropy;
use funil_core::hash::Digest;
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::{item, key};

/// How often a write is tried again that the table refused for its load, after the client's own tries: for
/// about a second.
const LOAD_RETRIES: u32 = 3;

/// How many requests one caller may make in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The number of requests.
    pub requests: i64,
    /// The window, in seconds.
    pub window_s: i64,
}

impl RateLimit {
    /// The time that one request uses up, in milliseconds: GCRA's T, or a tenth of it.
    const fn cost_ms(self, price: Price) -> i64 {
        let whole = self.window_s * 1000 / self.requests;
        match price {
            Price::Whole => whole,
            Price::Tenth => whole / 10,
        }
    }

    /// How far ahead of now the theoretical arrival time may run before a request, in milliseconds.
    const fn burst_ms(self, price: Price) -> i64 {
        self.requests * self.cost_ms(Price::Whole) - self.cost_ms(price)
    }
}

/// How much of its limit a request uses up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Price {
    /// As much as one request of the limit.
    Whole,
    /// A tenth of a request: for one that cannot be read.
    Tenth,
}

/// Whether a request is within its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateVerdict {
    /// The request is within the limit, and is counted.
    Passes,
    /// The request is over the limit.
    Refused {
        /// When the next one passes, in seconds from now, at least 1: for `Retry-After`.
        retry_after_s: i64,
    },
}

impl Store {
    /// Counts a request of `caller` within `scope`, and says whether it is within the limit. `entropy`
    /// spreads what is tried again.
    pub async fn rate(
        &self,
        scope: &str,
        caller: &Digest,
        limit: RateLimit,
        price: Price,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<RateVerdict, StoreError> {
        let now_ms = now.as_millisecond();
        let expires_at = now.as_second() + 2 * limit.window_s;
        let update = || Expression::of_type("rate").set("expires_at", item::n(expires_at));
        let keys = || item::keys(key::rate(scope, caller), key::RATE);
        let refused = |tat: i64| RateVerdict::Refused {
            retry_after_s: (tat - limit.burst_ms(price) - now_ms).div_euclid(1000).max(0) + 1,
        };
        // `tat` is GCRA's theoretical arrival time, in milliseconds.
        let first = || {
            update()
                .set("tat", item::n(now_ms + limit.cost_ms(price)))
                .condition("attribute_not_exists(pk) OR #tat <= :limit")
                .value(":limit", item::n(now_ms))
        };
        let Some(old) = self.write_rate(&keys(), first, entropy).await? else {
            return Ok(RateVerdict::Passes);
        };
        let tat = tat_of(&old)?;
        if tat > now_ms + limit.burst_ms(price) {
            return Ok(refused(tat));
        }
        let second = || {
            update()
                .add("tat", limit.cost_ms(price))
                .condition("#tat <= :limit")
                .value(":limit", item::n(now_ms + limit.burst_ms(price)))
        };
        match self.write_rate(&keys(), second, entropy).await? {
            None => Ok(RateVerdict::Passes),
            Some(old) => Ok(refused(tat_of(&old)?)),
        }
    }

    /// Takes a token of a bucket, whatever is in it, and says when it counts: now while the bucket has some, otherwise
    /// when the next one is there, at most `ahead_s` from now.
    pub async fn reserve(
        &self,
        (scope, owner): (&str, &Digest),
        limit: RateLimit,
        ahead_s: i64,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Timestamp, StoreError> {
        let (now_ms, cost_ms) = (now.as_millisecond(), limit.cost_ms(Price::Whole));
        let latest_ms = now_ms + limit.burst_ms(Price::Whole) + ahead_s * 1000;
        let expires_at = latest_ms.div_euclid(1000) + 2 * limit.window_s;
        let update = || Expression::of_type("rate").set("expires_at", item::n(expires_at));
        let keys = item::keys(key::rate(scope, owner), key::RATE);
        let first = || {
            update()
                .set("tat", item::n(now_ms + cost_ms))
                .condition("attribute_not_exists(pk) OR #tat <= :limit")
                .value(":limit", item::n(now_ms))
        };
        let Some(old) = self.write_rate(&keys, first, entropy).await? else { return Ok(now) };
        // Another one may take a token in between; both then count at the same time, which does no harm.
        let second = || {
            update()
                .add("tat", cost_ms)
                .condition("#tat <= :limit")
                .value(":limit", item::n(latest_ms))
        };
        let full = self.write_rate(&keys, second, entropy).await?;
        let tat = tat_of(full.as_ref().unwrap_or(&old))?.min(latest_ms);
        let at_ms = (tat - limit.burst_ms(Price::Whole)).max(now_ms);
        Ok(Timestamp::from_millisecond(at_ms).unwrap_or(now))
    }

    /// Updates the item, or returns it where the condition fails. It is tried again while the table has too
    /// much to do: deliveries give way meanwhile, and a form without its rate check would be refused. If an
    /// earlier try took effect and its response was lost, the request counts twice.
    async fn write_rate(
        &self,
        keys: &Item,
        update: impl Fn() -> Expression,
        entropy: &dyn Entropy,
    ) -> Result<Option<Item>, StoreError> {
        let mut tries = 0;
        loop {
            match self.update_or_get(keys.clone(), update()).await {
                Err(error) if error.is_overload() && tries < LOAD_RETRIES => {
                    tries += 1;
                    let most_ms = 50 << tries;
                    let wait_ms = most_ms / 2 + entropy.number() % most_ms;
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
                written => return written,
            }
        }
    }
}

fn tat_of(old: &Item) -> Result<i64, StoreError> {
    item::number(old, "tat").ok_or_else(|| StoreError::corrupt("rate of a caller"))
}
