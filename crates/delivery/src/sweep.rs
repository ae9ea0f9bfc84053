//! Reads what is due for a destination, shard by shard, page by page (`docs/design.md`, "Shards").
//!
//! A shard that has a backlog is gone through by one worker at a time, which holds its sweep; so workers
//! that were rung at once refuse each other no claims. Must not know what becomes of a delivery.

use funil_core::clock::after;
use funil_core::delivery::{Shard, Shards};
use funil_core::id::LeaseId;
use funil_store::{Due, Platform, SWEEP_S, Store, StoreError};
use jiff::Timestamp;

/// How many due deliveries one query of a shard returns.
const PAGE: i32 = 100;
/// A shard with at least so many due deliveries has a backlog. Fewer are claimed without a lease on the shard, which
/// costs less.
const BACKLOG: usize = 16;
/// How many shards with a backlog one worker goes through at a time; the others are for other workers.
const SHARDS_AT_ONCE: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Position {
    /// Nothing was read yet, or it is read again from its beginning.
    Start,
    /// It goes on after this delivery.
    After(Due),
    /// It has no more.
    End,
    /// It has no more, and its sweep is given back before anything else is read.
    Leaves,
}

impl Position {
    const fn has_more(&self) -> bool {
        match self {
            Self::Start | Self::After(_) => true,
            Self::End | Self::Leaves => false,
        }
    }
}

#[derive(Debug)]
struct Reading {
    shard: Shard,
    position: Position,
    /// Whether this pass found something in it.
    had_some: bool,
    /// Whether this pass passed over its backlog, because this worker goes through enough others.
    passed_over: bool,
    /// Until when this worker has its sweep.
    held_until: Option<Timestamp>,
}

/// Goes through the shards of a destination.
#[derive(Debug)]
pub(crate) struct Sweep {
    destination: &'static str,
    lease: LeaseId,
    /// For how long a delivery must have been due to be taken, in seconds: a ring will come for what is newer.
    older_than_s: i64,
    shards: Vec<Reading>,
    /// Whether another worker goes through a shard that this one passed over.
    left_to_others: bool,
}

impl Sweep {
    pub(crate) fn new(
        destination: &'static str,
        spread_over: Shards,
        older_than_s: i64,
        platform: &Platform,
    ) -> Self {
        let mut shards: Vec<Reading> = spread_over
            .each()
            .map(|shard| Reading {
                shard,
                position: Position::Start,
                had_some: false,
                passed_over: false,
                held_until: None,
            })
            .collect();
        // Workers that begin at once begin with different shards.
        let first = platform.entropy.number() % u64::from(spread_over.count());
        shards.rotate_left(usize::try_from(first).unwrap_or(0));
        let lease = LeaseId::random(&*platform.entropy);
        Self { destination, lease, older_than_s, shards, left_to_others: false }
    }

    /// Whether a shard has more to read in this pass.
    pub(crate) fn has_more(&self) -> bool {
        self.shards.iter().any(|reading| reading.position.has_more())
    }

    /// Whether another worker goes through a shard that this one passed over, so that it delivers what a ring
    /// announced.
    pub(crate) const fn left_to_others(&self) -> bool {
        self.left_to_others
    }

    /// Begins a new pass, through every shard or through those that the last one found something in.
    pub(crate) fn restart(&mut self, all: bool) {
        for reading in &mut self.shards {
            if all || reading.had_some || reading.passed_over {
                reading.position = Position::Start;
            }
            reading.had_some = false;
            reading.passed_over = false;
        }
    }

    /// Starts a pass through the shards that the last pass skipped, and gives back the leases of the others: an index
    /// that lags still shows a backlog in shards that this worker has finished. Returns whether any shard was
    /// skipped.
    pub(crate) fn go_to_passed_over(&mut self) -> bool {
        if !self.shards.iter().any(|reading| reading.passed_over) {
            return false;
        }
        for reading in &mut self.shards {
            reading.position = if std::mem::take(&mut reading.passed_over) {
                Position::Start
            } else {
                Position::Leaves
            };
        }
        true
    }

    /// The next pages of every shard that has more, oldest first.
    pub(crate) async fn read(
        mut self,
        store: &Store,
        now: Timestamp,
    ) -> (Self, Result<Vec<Due>, StoreError>) {
        let found = self.pages(store, now).await;
        if found.is_err() {
            for reading in &mut self.shards {
                reading.position = Position::End;
            }
        }
        (self, found)
    }

    async fn pages(&mut self, store: &Store, now: Timestamp) -> Result<Vec<Due>, StoreError> {
        for index in 0..self.shards.len() {
            if self.shards[index].position == Position::Leaves {
                self.shards[index].position = Position::End;
                self.leave_one(index, store).await?;
            }
        }
        let before = after(now, -self.older_than_s);
        let name = self.destination;
        let pages = self.shards.iter().map(|reading| async move {
            let after = match &reading.position {
                Position::End | Position::Leaves => return Ok(None),
                Position::Start => None,
                Position::After(last) => Some(last),
            };
            store.due_in(name, reading.shard, before, after, PAGE).await.map(Some)
        });
        let pages = futures::future::try_join_all(pages).await?;
        let mut due = Vec::new();
        for (index, page) in pages.into_iter().enumerate() {
            let Some(page) = page else { continue };
            if page.len() < BACKLOG {
                self.leave_one(index, store).await?;
            } else if !self.takes(index, store, now).await? {
                self.shards[index].position = Position::End;
                continue;
            }
            let reading = &mut self.shards[index];
            reading.had_some |= !page.is_empty();
            let is_full = i32::try_from(page.len()).is_ok_and(|len| len >= PAGE);
            reading.position = match page.last() {
                Some(last) if is_full => Position::After(last.clone()),
                Some(_) | None => Position::End,
            };
            due.extend(page);
        }
        due.sort_by_key(|one| one.due_at);
        Ok(due)
    }

    /// Whether this worker goes through the backlog of a shard.
    async fn takes(
        &mut self,
        index: usize,
        store: &Store,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let is_held = |reading: &&Reading| reading.held_until.is_some_and(|until| now < until);
        let held = self.shards.iter().filter(is_held).count();
        let reading = &mut self.shards[index];
        // The lease on a shard is renewed once half of it is over.
        if reading.held_until.is_some_and(|until| after(now, SWEEP_S / 2) < until) {
            return Ok(true);
        }
        if reading.held_until.is_none() && held >= SHARDS_AT_ONCE {
            reading.passed_over = true;
            return Ok(false);
        }
        let is_ours = store.take_sweep(self.destination, reading.shard, self.lease, now).await?;
        reading.held_until = is_ours.then(|| after(now, SWEEP_S));
        self.left_to_others |= !is_ours;
        Ok(is_ours)
    }

    /// Gives back the sweep of a shard that has no backlog any more.
    async fn leave_one(&mut self, index: usize, store: &Store) -> Result<(), StoreError> {
        let reading = &mut self.shards[index];
        if reading.held_until.take().is_none() {
            return Ok(());
        }
        store.leave_sweep(self.destination, reading.shard, self.lease).await
    }

    /// Gives back the sweeps that this worker has.
    pub(crate) async fn leave(self, store: &Store) -> Result<(), StoreError> {
        let held = self.shards.iter().filter(|reading| reading.held_until.is_some());
        let leaving = held.map(|one| store.leave_sweep(self.destination, one.shard, self.lease));
        futures::future::try_join_all(leaving).await.map(drop)
    }
}
