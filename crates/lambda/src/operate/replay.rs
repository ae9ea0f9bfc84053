//! Replaying dead deliveries: selecting them, judging them, and making them due again.
//!
//! Shared by `POST /replay` and the command line. It sends nothing: a replayed delivery is due
//! again, and the next ring or schedule delivers it.

use std::collections::VecDeque;

use funil_core::delivery::StateKind;
use funil_core::destination::{self, Destination};
use funil_core::event::{DeliveryReplayed, DeliverySettled, Event, EventData, Operator, Verdict};
use funil_core::id::{DeliveryName, EventId};
use funil_core::replay::{Safety, replay_deadline, replay_safety};
use funil_store::{DeadRange, Ended, Platform, Store, StoreError};
use jiff::Timestamp;

/// How many dead deliveries are read at once.
const PAGE: i32 = 50;

/// Which deliveries a person selected. Every condition that is set has to hold.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Deliveries of this destination.
    pub destination: Option<&'static Destination>,
    /// Deliveries that ended for this reason.
    pub reason: Option<String>,
    /// Deliveries that ended at this time or later.
    pub since: Option<Timestamp>,
    /// Deliveries that ended at this time or earlier.
    pub until: Option<Timestamp>,
    /// These deliveries alone, if any are named. Only a named delivery may be unknown instead of
    /// dead.
    pub named: Vec<DeliveryName>,
}

/// A delivery that ended, and what a replay of it would do.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The delivery and its event.
    pub ended: Ended,
    /// Its destination, if this code knows it.
    pub destination: Option<&'static Destination>,
    /// What a replay would do.
    pub safety: Safety,
}

impl Judged {
    /// Judges a delivery in its present state.
    pub fn new(ended: Ended, now: Timestamp) -> Self {
        let destination = destination::find(&ended.delivery.destination);
        let safety = match (destination, &ended.event) {
            (Some(destination), Some(event)) => {
                replay_safety(destination, &ended.delivery, event, now)
            }
            (None, _) => Safety::TooLate("This code does not know the destination.".to_owned()),
            (_, None) => Safety::TooLate("Its event is gone, or written by newer code.".to_owned()),
        };
        Self { ended, destination, safety }
    }

    /// The name that logs and listings use: `<lead>/<delivery>`.
    pub const fn name(&self) -> DeliveryName {
        let delivery = &self.ended.delivery;
        DeliveryName { lead_id: delivery.lead_id, delivery_id: delivery.id }
    }
}

/// Whether a person may decide about a delivery in this state.
pub const fn is_ended(state: StateKind) -> bool {
    match state {
        StateKind::Dead | StateKind::Unknown => true,
        StateKind::Pending | StateKind::Leased | StateKind::Delivered | StateKind::Skipped => false,
    }
}

/// Walks through the deliveries of a [`Selection`], oldest first within a destination, a page at a
/// time.
#[derive(Debug)]
pub struct Candidates {
    store: Store,
    selection: Selection,
    now: Timestamp,
    named: VecDeque<DeliveryName>,
    destinations: VecDeque<&'static Destination>,
    range: DeadRange,
    read: VecDeque<Judged>,
}

impl Candidates {
    /// Starts at the beginning. `now` is the time by which all are judged.
    pub fn of(store: &Store, selection: Selection, now: Timestamp) -> Self {
        let all: VecDeque<_> = match (selection.named.is_empty(), selection.destination) {
            (false, _) => VecDeque::new(),
            (true, Some(one)) => [one].into(),
            (true, None) => destination::ALL.iter().copied().collect(),
        };
        let mut candidates = Self {
            store: store.clone(),
            named: selection.named.iter().copied().collect(),
            selection,
            now,
            destinations: all,
            range: DeadRange::default(),
            read: VecDeque::new(),
        };
        candidates.rewind();
        candidates
    }

    fn rewind(&mut self) {
        let Selection { since, until, .. } = self.selection;
        self.range = DeadRange { since, until, after: None };
    }

    /// The next delivery, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Judged>, StoreError> {
        loop {
            if let Some(judged) = self.read.pop_front() {
                return Ok(Some(judged));
            }
            if let Some(name) = self.named.pop_front() {
                let found = self.store.delivery_named(name).await?;
                self.keep(found);
                continue;
            }
            let Some(destination) = self.destinations.front() else { return Ok(None) };
            if self.range.after.is_none() {
                self.store.look_at_shards().await?;
            }
            let page = self.store.dead_within(destination.name, &self.range, PAGE).await?;
            let keys: Vec<_> = page.iter().map(|dead| dead.key.clone()).collect();
            let found = self.store.ended(&keys).await?;
            // The index lags behind the table, so it may still list a delivery that was replayed a
            // moment ago.
            self.keep(found.into_iter().filter(|one| one.delivery.state.kind() == StateKind::Dead));
            if let Some(last) = page.into_iter().next_back() {
                self.range.after = Some(last);
            } else {
                self.destinations.pop_front();
                self.rewind();
            }
        }
    }

    fn keep(&mut self, found: impl IntoIterator<Item = Ended>) {
        let Selection { destination, reason, since, until, .. } = &self.selection;
        let (since, until) = (*since, *until);
        let meant = |ended: &Ended| {
            let delivery = &ended.delivery;
            let ended_at = delivery.settled_at();
            is_ended(delivery.state.kind())
                && destination.is_none_or(|wanted| wanted.name == delivery.destination)
                && reason.as_ref().is_none_or(|_| delivery.reason_text() == *reason)
                && since.is_none_or(|since| ended_at.is_some_and(|at| at >= since))
                && until.is_none_or(|until| ended_at.is_some_and(|at| at <= until))
        };
        let now = self.now;
        let kept = found.into_iter().filter(meant).map(|ended| Judged::new(ended, now));
        self.read.extend(kept);
    }
}

/// Makes a delivery due again, if that is allowed and nobody changed it since it was judged.
/// Returns whether it did.
pub async fn replay(
    store: &Store,
    platform: &Platform,
    judged: &Judged,
    even_duplicates: bool,
    by: Operator,
) -> Result<bool, StoreError> {
    let now = platform.clock.now();
    // Judged again, because a run over many deliveries may take long.
    let judged = Judged::new(judged.ended.clone(), now);
    let (Some(destination), Some(event)) = (judged.destination, &judged.ended.event) else {
        return Ok(false);
    };
    let delivery = &judged.ended.delivery;
    if !is_ended(delivery.state.kind()) || !judged.safety.allows(even_duplicates) {
        return Ok(false);
    }
    let data = DeliveryReplayed {
        delivery_id: delivery.id,
        destination: delivery.destination.clone(),
        slot: delivery.slot.clone(),
        by,
        reason: delivery.reason_text(),
    };
    let recorded = decision(platform, &judged.ended, data.into(), now);
    let deadline = replay_deadline(destination, delivery, event, now);
    store.revive(delivery, deadline, &recorded, &*platform.entropy).await
}

/// Settles a delivery that ended as a person decides. Returns whether nobody had changed it
/// meanwhile.
pub async fn settle(
    store: &Store,
    platform: &Platform,
    ended: &Ended,
    verdict: Verdict,
    by: Operator,
) -> Result<bool, StoreError> {
    let delivery = &ended.delivery;
    if !is_ended(delivery.state.kind()) {
        return Ok(false);
    }
    let data = DeliverySettled {
        delivery_id: delivery.id,
        destination: delivery.destination.clone(),
        slot: delivery.slot.clone(),
        by,
        verdict,
        reason: delivery.reason_text(),
    };
    let recorded = decision(platform, ended, data.into(), platform.clock.now());
    store.settle_by_person(delivery, verdict, &recorded, &*platform.entropy).await
}

fn decision(platform: &Platform, ended: &Ended, data: EventData, now: Timestamp) -> Event {
    Event::new(EventId::decision(now, &*platform.entropy), ended.delivery.lead_id, data, now)
}
