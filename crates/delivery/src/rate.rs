//! The tokens of one drain at a destination that takes only so many requests a minute
//! (`docs/design.md`, "Limiter").
//!
//! Owns that no request is sent without a token. All workers share the window of the last minute, which
//! is an item of the table; a drain takes several tokens from it at once. Must not know what is sent.

use std::sync::{Mutex as Lock, PoisonError};

use funil_core::clock::after;
use funil_core::delivery::limit::Token;
use funil_store::{Limit, Store, StoreError};
use jiff::Timestamp;
use tokio::sync::Mutex;

/// How many tokens a drain takes from the table first, if it may need them. It takes twice as many each
/// further time.
const TOKENS_FIRST: i64 = 8;
/// The most tokens that it takes at once.
const TOKENS_MAX: i64 = 64;
/// How often taking tokens is tried while other workers write to the window.
const TRIES: usize = 8;
/// After how many seconds a drain that lost every one of these tries, and so has no tokens, may try again.
const LOST_S: i64 = 1;

/// How many requests one delivery of a destination makes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// In the slot that needs the fewest.
    pub(crate) least: usize,
    /// In the slot that needs the most.
    pub(crate) most: usize,
}

struct Pool {
    /// What the table was last known to have; `None` before it is read.
    limit: Option<Limit>,
    tokens: Vec<Token>,
    /// Tokens that nobody used in time, which the next write takes back.
    stale: Vec<Token>,
    next: i64,
}

/// The tokens of one drain.
pub(crate) struct Rate<'w> {
    store: &'w Store,
    destination: &'static str,
    per_minute: i64,
    needs: Needs,
    pool: Mutex<Pool>,
    /// When the table has tokens again, where it had too few.
    spent_until: Lock<Option<Timestamp>>,
}

impl<'w> Rate<'w> {
    /// `deliveries` is how many the drain has, if that is known: what it takes and does not use is lost for
    /// a minute.
    pub(crate) fn new(
        store: &'w Store,
        destination: &'static str,
        (per_minute, needs): (i64, Needs),
        deliveries: Option<usize>,
    ) -> Self {
        let all = deliveries.and_then(|count| i64::try_from(count.saturating_mul(needs.most)).ok());
        let next = all.unwrap_or(TOKENS_FIRST).min(TOKENS_FIRST);
        let pool = Pool { limit: None, tokens: Vec::new(), stale: Vec::new(), next };
        let (pool, spent_until) = (Mutex::new(pool), Lock::new(None));
        Self { store, destination, per_minute, needs, pool, spent_until }
    }

    /// When the table has tokens again, if it has none now.
    pub(crate) fn spent_until(&self, now: Timestamp) -> Option<Timestamp> {
        let spent = *self.spent_until.lock().unwrap_or_else(PoisonError::into_inner);
        spent.filter(|until| now < *until)
    }

    /// The tokens for a delivery whose slot is not known yet: those of the slot that needs the most, or
    /// at least those of the one that needs the fewest. `None` where the rate is used up.
    pub(crate) async fn reserve(&self, now: Timestamp) -> Result<Option<Vec<Token>>, StoreError> {
        let mut pool = self.pool.lock().await;
        self.fill(&mut pool, (self.needs.least, self.needs.most), now).await?;
        if pool.tokens.len() < self.needs.least {
            return Ok(None);
        }
        let from = pool.tokens.len().saturating_sub(self.needs.most);
        Ok(Some(pool.tokens.split_off(from)))
    }

    /// Makes these tokens `count` that may be used now: takes more, or takes back what is too much.
    /// Returns whether they are enough.
    pub(crate) async fn adjust(
        &self,
        tokens: &mut Vec<Token>,
        count: usize,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut pool = self.pool.lock().await;
        let is_valid = |token: &Token| token.is_valid(now);
        pool.stale.extend(tokens.iter().filter(|token| !is_valid(token)));
        tokens.retain(is_valid);
        if tokens.len() < count {
            let wanted = count - tokens.len();
            self.fill(&mut pool, (wanted, wanted), now).await?;
            let from = pool.tokens.len().saturating_sub(wanted);
            tokens.extend(pool.tokens.split_off(from));
        }
        let more = tokens.split_off(tokens.len().min(count));
        self.put_back(&mut pool, more);
        Ok(tokens.len() == count)
    }

    /// Takes one of these tokens, or a new one where none may be used any more. Returns whether there was
    /// one.
    pub(crate) async fn take(
        &self,
        tokens: &mut Vec<Token>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if let Some(valid) = tokens.iter().position(|token| token.is_valid(now)) {
            tokens.swap_remove(valid);
            return Ok(true);
        }
        let is_there = self.adjust(tokens, 1, now).await?;
        tokens.pop();
        Ok(is_there)
    }

    /// Takes back the tokens that a delivery did not use.
    pub(crate) async fn give_back(&self, tokens: Vec<Token>) {
        let mut pool = self.pool.lock().await;
        self.put_back(&mut pool, tokens);
    }

    /// Puts tokens into the pool. Where they are enough for any delivery, the drain goes on, even if the
    /// table has none. With fewer, deliveries that need more would be claimed and released one after
    /// another.
    fn put_back(&self, pool: &mut Pool, tokens: Vec<Token>) {
        let some_came = !tokens.is_empty();
        pool.tokens.extend(tokens);
        if some_came && pool.tokens.len() >= self.needs.most {
            *self.spent_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Ends the drain. Tokens that it did not use go back where they are scarce; otherwise they count as
    /// used for a minute, which spares a write.
    pub(crate) async fn leave(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut pool = self.pool.lock().await;
        let mut unused = std::mem::take(&mut pool.tokens);
        unused.append(&mut pool.stale);
        let Some(known) = &pool.limit else { return Ok(()) };
        if unused.is_empty() || 2 * known.window.counted() < self.per_minute {
            return Ok(());
        }
        let mut window = known.window.clone();
        window.take_back(&unused);
        // Not tried again: if the write took effect and its response was lost, they would go back twice.
        self.store.write_limit(self.destination, known, window, now).await?.ok();
        Ok(())
    }

    /// Takes tokens from the table, if the pool has fewer than `most` that may be used.
    async fn fill(
        &self,
        pool: &mut Pool,
        (least, most): (usize, usize),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (valid, stale) = pool.tokens.drain(..).partition(|token| token.is_valid(now));
        pool.tokens = valid;
        pool.stale.extend::<Vec<Token>>(stale);
        let has = pool.tokens.len();
        if has >= most || self.spent_until(now).is_some() {
            return Ok(());
        }
        let missing = |count: usize| i64::try_from(count.saturating_sub(has)).unwrap_or(i64::MAX);
        let (least, most) = (missing(least).max(1), missing(most).max(pool.next));
        // What was known before may be old, so a refusal needs the item as it is now.
        let mut is_fresh = pool.limit.is_none();
        // Given back by the first write or not at all: its response may be lost.
        let mut stale = std::mem::take(&mut pool.stale);
        for _ in 0..TRIES {
            let known = match pool.limit.take() {
                Some(known) => known,
                None => self.store.limit(self.destination).await?,
            };
            let mut window = known.window.clone();
            window.take_back(&stale);
            let granted = window.grant((least, most), self.per_minute, now);
            if granted.is_empty() && is_fresh {
                let until = window.next_at(least, self.per_minute, now).max(after(now, 1));
                self.set_spent(until);
                pool.limit = Some(known);
                pool.stale = stale;
                return Ok(());
            }
            if granted.is_empty() {
                is_fresh = true;
                continue;
            }
            stale.clear();
            match self.store.write_limit(self.destination, &known, window, now).await? {
                Ok(limit) => {
                    pool.limit = Some(limit);
                    pool.tokens.extend(granted);
                    pool.next = (pool.next * 2).min(TOKENS_MAX);
                    return Ok(());
                }
                Err(theirs) => {
                    pool.limit = Some(theirs);
                    is_fresh = true;
                }
            }
        }
        self.set_spent(after(now, LOST_S));
        Ok(())
    }

    fn set_spent(&self, until: Timestamp) {
        *self.spent_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}
