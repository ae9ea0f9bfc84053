//! Totals: how many requests each function got, and how many deliveries each destination settled.
//!
//! A process counts in memory and adds what it counted to the table at most once a minute, during an
//! invocation, so a spike of strangers' requests costs no writes. A process that ends takes with it what
//! it had not written, and a write whose response is lost may count twice: these are figures to watch, not
//! to settle accounts by. Must not know who counts, nor how totals are shown.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use funil_core::clock::after;
use funil_core::hash::HashKey;
use jiff::Timestamp;

use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::{item, key};
use crate::{Platform, Store};

/// The target of log lines that count something. They are written whatever `LOG_LEVEL` is.
pub const TOTALS_TARGET: &str = "funil_totals";

/// How long a process waits before it writes again, in seconds.
const WRITES_APART_S: i64 = 60;

/// What is counted, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// An HTTP request that a function got.
    Received(&'static str),
    /// One of these that got the response of its receipt.
    Duplicate(&'static str),
    /// One of these that got a problem as its response.
    Refused(&'static str),
    /// An event of a page or one of its values, by what became of it.
    PageEvents(&'static str),
    /// A delivery that a claim ended with this outcome.
    Settled {
        /// The name of the destination.
        destination: &'static str,
        /// The outcome's name.
        outcome: &'static str,
    },
}

impl Count {
    /// The sort key of the item with the total, and the attribute.
    fn place(self) -> (String, &'static str) {
        match self {
            Self::Received(function) => (key::function(function), "received"),
            Self::Duplicate(function) => (key::function(function), "duplicate"),
            Self::Refused(function) => (key::function(function), "refused"),
            Self::PageEvents(what) => (key::PAGE_EVENTS.to_owned(), what),
            Self::Settled { destination, outcome } => (key::destination(destination), outcome),
        }
    }
}

/// What a process counted and has not written yet.
#[derive(Debug, Default)]
pub struct Totals(Mutex<Unwritten>);

#[derive(Debug, Default)]
struct Unwritten {
    counts: BTreeMap<Count, i64>,
    written_at: Option<Timestamp>,
}

impl Totals {
    /// Counts one, in memory: the table gets it with the next write.
    pub fn count(&self, counted: Count) {
        self.add(counted, 1);
    }

    /// Counts so many occurrences at once; does nothing for zero.
    pub fn add(&self, counted: Count, number: usize) {
        if number > 0 {
            self.add_all([(counted, i64::try_from(number).unwrap_or(i64::MAX))]);
        }
    }

    fn add_all(&self, counts: impl IntoIterator<Item = (Count, i64)>) {
        let mut unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (counted, number) in counts {
            *unwritten.counts.entry(counted).or_default() += number;
        }
    }

    /// Takes what is to be written now: nothing for a minute after the last time.
    fn take_due(&self, now: Timestamp) -> BTreeMap<Count, i64> {
        let mut unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = unwritten.written_at.is_none_or(|at| after(at, WRITES_APART_S) <= now);
        if !is_due || unwritten.counts.is_empty() {
            return BTreeMap::new();
        }
        unwritten.written_at = Some(now);
        std::mem::take(&mut unwritten.counts)
    }
}

/// The totals of a function or of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// The function or the destination that the totals are of.
    pub of: TotalOf,
    /// How many, by what was counted: `received`, `duplicate`, `refused`, an outcome's name, or what became of a
    /// page's event.
    pub counts: BTreeMap<String, i64>,
}

/// Whose a total is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TotalOf {
    /// The function of this name: what came in.
    Function(String),
    /// The destination of this name: what was settled.
    Destination(String),
    /// All pages: their events, kept or dropped.
    PageEvents,
}

impl Store {
    /// Adds what this process counted to the table's totals, if it did not do so in the last minute. What
    /// the table did not take in time counts with the next.
    pub async fn write_totals(
        &self,
        platform: &Platform,
        hash_key: &HashKey,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let totals = &platform.totals;
        let mut items: BTreeMap<String, BTreeMap<Count, i64>> = BTreeMap::new();
        for (counted, number) in totals.take_due(now) {
            items.entry(counted.place().0).or_default().insert(counted, number);
        }
        if items.is_empty() {
            return Ok(());
        }
        let items: Vec<_> =
            items.into_iter().map(|(sk, counts)| (sk, Taken { totals, counts })).collect();
        let write = async {
            // Nothing is written into a table that belongs to another `HASH_KEY`.
            self.ready(hash_key).await?;
            let writes = items.into_iter().map(|(sk, taken)| async move {
                let mut expression = Expression::of_type("totals");
                for (counted, number) in &taken.counts {
                    expression = expression.add(counted.place().1, *number);
                }
                self.update(item::keys(key::TOTALS, &sk), expression).await?;
                taken.written();
                Ok(())
            });
            futures::future::join_all(writes).await.into_iter().collect()
        };
        let written = tokio::time::timeout(platform.table_patience.totals, write).await;
        written.unwrap_or_else(|_| {
            let code = "no response in time".to_owned();
            Err(StoreError::Unavailable { operation: "UpdateItem", code })
        })
    }

    /// The totals of all functions and destinations that have some.
    pub async fn totals(&self) -> Result<Vec<Total>, StoreError> {
        let query = self.query(key::TOTALS.to_owned()).key_condition_expression("pk = :pk");
        Ok(self.first_page(query).await?.iter().filter_map(read).collect())
    }
}

/// Counts that are being written. Where that does not end well, they are counted again.
struct Taken<'t> {
    totals: &'t Totals,
    counts: BTreeMap<Count, i64>,
}

impl Taken<'_> {
    fn written(mut self) {
        self.counts.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.totals.add_all(std::mem::take(&mut self.counts));
    }
}

fn read(found: &Item) -> Option<Total> {
    let of = key::total_of(item::text(found, "sk")?)?;
    let names = found.keys().filter(|name| *name != "v");
    let numbers = names.filter_map(|name| Some((name.clone(), item::number(found, name)?)));
    Some(Total { of, counts: numbers.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_writes_what_it_counted_once_a_minute() {
        let at = |seconds| after("2026-11-29T12:00:00Z".parse().unwrap(), seconds);
        let totals = Totals::default();
        let received = Count::Received("lead-submit");
        assert_eq!(totals.take_due(at(0)), BTreeMap::new());
        totals.count(received);
        assert_eq!(totals.take_due(at(1)), BTreeMap::from([(received, 1)]));
        totals.count(received);
        totals.count(received);
        assert_eq!(totals.take_due(at(60)), BTreeMap::new());
        assert_eq!(totals.take_due(at(61)), BTreeMap::from([(received, 2)]));
    }

    #[test]
    fn what_was_not_written_counts_with_the_next() {
        let at = |seconds| after("2026-11-29T12:00:00Z".parse().unwrap(), seconds);
        let totals = Totals::default();
        let received = Count::Received("lead-submit");
        totals.count(received);
        drop(Taken { totals: &totals, counts: totals.take_due(at(0)) });
        totals.count(received);
        assert_eq!(totals.take_due(at(60)), BTreeMap::from([(received, 2)]));
    }
}
