//! A drain: keeps as many deliveries under way as go side by side, and reads further ones meanwhile.
//!
//! Owns when a delivery starts, when more is read and when the drain ends. Nobody waits for a slow one: a
//! delivery that takes long leaves its place to the next. What happens to one is in `attempt.rs`.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use funil_core::clock::after;
use funil_store::{Claiming, DeliveryKey, Due, StoreError};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::attempt::{Handled, Handler};
use crate::backlog::{Backlog, Task};
use crate::bounds::REQUEST_NEEDS_S;
use crate::gate::{Gate, Passage};
use crate::pressure::{Load, Pressure};
use crate::sweep::Sweep;

/// How many deliveries are under way side by side that do not take long.
const SIDE_BY_SIDE: usize = 64;
/// How many are under way in all.
const UNDER_WAY_MAX: usize = 256;
/// After this time a delivery takes long, and the next one starts beside it.
const TAKES_LONG: Duration = Duration::from_millis(500);
/// How many deliveries a drain looks at while the breaker or the rate lets none through. It settles those among them
/// that need no request, such as expired ones.
const SETTLED_CLOSED: usize = 25;
/// How often a drain that finds nothing looks again, because the index lags behind the ring.
const LOOKS_AGAIN: u32 = 8;
/// The wait before each further look: 2 s for all of them.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// A drain waits for tokens that come within so many seconds; otherwise it ends.
const WAITS_FOR_TOKENS_S: i64 = 2;
/// The least wait before the clock is looked at again.
const MOMENT: Duration = Duration::from_millis(20);

/// The result of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// How many claims ended in a settlement.
    pub settled: usize,
    /// When there are tokens again, where the drain ended because the destination's rate is used up.
    pub come_back_at: Option<Timestamp>,
}

/// A delivery under way.
type Trying<'d> = Pin<Box<dyn Future<Output = Tried> + Send + 'd>>;
/// The pages of the index that are being read.
type Reading<'d> = Pin<Box<dyn Future<Output = (Sweep, Result<Vec<Due>, StoreError>)> + Send + 'd>>;

/// A delivery that is not under way any more.
struct Tried {
    task: Task,
    ended: Result<Handled, StoreError>,
}

/// What became of a delivery in its first moment.
enum Lane<'d> {
    Ended(Tried),
    TakesLong(Trying<'d>),
}

/// Where the deliveries of a drain come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// From the index, because they are due.
    Index,
    /// From a ring that named them; the sweep finds what the drain leaves.
    Ring,
    /// From a caller who waits until they are delivered.
    Caller,
}

/// What a drain does when it has no delivery under way.
enum Idle {
    GoesOn,
    Waits(Duration),
    Ends,
}

/// The deliveries under way.
#[derive(Default)]
struct Lanes<'d> {
    quick: FuturesUnordered<Pin<Box<dyn Future<Output = Lane<'d>> + Send + 'd>>>,
    slow: FuturesUnordered<Trying<'d>>,
}

impl<'d> Lanes<'d> {
    fn is_empty(&self) -> bool {
        self.quick.is_empty() && self.slow.is_empty()
    }

    /// How many more may start, where so many may go side by side.
    fn room(&self, side_by_side: usize) -> usize {
        let quick = side_by_side.saturating_sub(self.quick.len());
        quick.min(UNDER_WAY_MAX.saturating_sub(self.quick.len() + self.slow.len()))
    }

    fn start(&self, mut trying: Trying<'d>) {
        self.quick.push(Box::pin(async move {
            match tokio::time::timeout(TAKES_LONG, &mut trying).await {
                Ok(tried) => Lane::Ended(tried),
                Err(_) => Lane::TakesLong(trying),
            }
        }));
    }

    /// The next one that ends; `None` where a slow one left its place, or where none is under way.
    async fn next(&mut self) -> Option<Tried> {
        tokio::select! {
            biased;
            Some(tried) = self.slow.next(), if !self.slow.is_empty() => Some(tried),
            Some(lane) = self.quick.next(), if !self.quick.is_empty() => match lane {
                Lane::Ended(tried) => Some(tried),
                Lane::TakesLong(trying) => {
                    self.slow.push(trying);
                    None
                }
            },
            else => None,
        }
    }
}

/// One drain of a worker.
pub(crate) struct Drain<'d> {
    handler: &'d Handler,
    gate: &'d Gate<'d>,
    backlog: Backlog,
    source: Source,
    /// What reads the index; `None` where only given deliveries are delivered, and while it reads.
    sweep: Option<Sweep>,
    /// Until when it waits for what falls due; `None` does not wait.
    goes_on_until: Option<Timestamp>,
    stop_at: Timestamp,
    /// Its own deliveries that are due again soon, with their times.
    again: Vec<(Timestamp, DeliveryKey)>,
    looks_left: u32,
    pressure: Pressure,
    /// Whether the index was read at least once.
    has_read: bool,
    /// Whether this pass found a delivery that the drain had not taken up before.
    found_some: bool,
    /// Nothing goes through, so it only settles what needs no request.
    is_ending: bool,
    failed: Option<StoreError>,
    drained: Drained,
}

impl<'d> Drain<'d> {
    pub(crate) fn new(
        (handler, gate): (&'d Handler, &'d Gate<'d>),
        (tasks, sweep): (Vec<Task>, Option<Sweep>),
        goes_on_until: Option<Timestamp>,
        stop_at: Timestamp,
    ) -> Self {
        let mut backlog = Backlog::new(handler.destination);
        backlog.add(tasks);
        let source = match (&sweep, goes_on_until) {
            (Some(_), _) => Source::Index,
            (None, Some(_)) => Source::Ring,
            (None, None) => Source::Caller,
        };
        let looks_left = if goes_on_until.is_some() { LOOKS_AGAIN } else { 0 };
        Self {
            handler,
            gate,
            backlog,
            source,
            sweep,
            goes_on_until,
            stop_at,
            again: Vec::new(),
            looks_left,
            pressure: Pressure::new(SIDE_BY_SIDE, &handler.refusals),
            has_read: false,
            found_some: false,
            is_ending: false,
            failed: None,
            drained: Drained::default(),
        }
    }

    /// Goes on until nothing is left to do, and returns what was done with what read the index. Where
    /// reading failed, what was under way is finished first.
    pub(crate) async fn run(mut self) -> (Result<Drained, StoreError>, Option<Sweep>) {
        let mut lanes = Lanes::default();
        let mut reading: Option<Reading<'d>> = None;
        loop {
            let now = self.handler.platform.clock.now();
            if !self.has_time(now) {
                self.backlog.clear();
                self.again.clear();
            }
            let passage = self.gate.passage(now);
            for _ in 0..self.starts(passage, &lanes) {
                let Some(task) = self.backlog.next() else { break };
                lanes.start(Box::pin(try_one(self.handler, self.gate, task, self.stop_at)));
            }
            if self.wants_more(passage, now)
                && let Some(sweep) = self.sweep.take()
            {
                self.has_read = true;
                reading = Some(Box::pin(sweep.read(&self.handler.store, now)));
            }
            if lanes.is_empty() && reading.is_none() {
                match self.when_idle(passage, now) {
                    Idle::GoesOn => {}
                    Idle::Waits(wait) => tokio::time::sleep(wait.max(MOMENT)).await,
                    Idle::Ends => break,
                }
                continue;
            }
            let holds_for = self.pressure.holds_for(Instant::now());
            tokio::select! {
                biased;
                () = tokio::time::sleep(holds_for.unwrap_or_default()), if holds_for.is_some() => {}
                tried = lanes.next(), if !lanes.is_empty() => {
                    if let Some(tried) = tried {
                        self.take_in(tried);
                    }
                }
                (sweep, found) = async {
                    match &mut reading {
                        Some(reading) => reading.await,
                        None => std::future::pending().await,
                    }
                } => {
                    reading = None;
                    self.sweep = Some(sweep);
                    self.add(found);
                }
            }
        }
        let ended = self.failed.map_or(Ok(self.drained), Err);
        (ended, self.sweep)
    }

    fn has_time(&self, now: Timestamp) -> bool {
        now < after(self.stop_at, -REQUEST_NEEDS_S)
    }

    /// How many deliveries may start now.
    fn starts(&self, passage: Passage, lanes: &Lanes<'_>) -> usize {
        let room = lanes.room(self.pressure.allowed(Instant::now()));
        match passage {
            Passage::Open => room,
            // Everything else waits for how the probe ends.
            Passage::Probe => room.min(usize::from(lanes.is_empty())),
            Passage::Closed | Passage::Spent(_) if self.is_ending => room,
            Passage::Closed | Passage::Spent(_) => 0,
        }
    }

    /// Whether more is to be read. While nothing goes through, one look is enough.
    fn wants_more(&self, passage: Passage, now: Timestamp) -> bool {
        let goes_through = match passage {
            Passage::Open | Passage::Probe => true,
            Passage::Closed | Passage::Spent(_) => !self.has_read,
        };
        goes_through
            && self.failed.is_none()
            && self.has_time(now)
            && self.backlog.len() < SIDE_BY_SIDE
            && self.sweep.as_ref().is_some_and(Sweep::has_more)
    }

    /// What is left to do when nothing is under way.
    fn when_idle(&mut self, passage: Passage, now: Timestamp) -> Idle {
        if self.failed.is_some() || !self.has_time(now) {
            return Idle::Ends;
        }
        if let Some(holds_for) = self.pressure.holds_for(Instant::now())
            && self.backlog.len() > 0
        {
            return Idle::Waits(holds_for);
        }
        match passage {
            Passage::Open | Passage::Probe => self.goes_on(now),
            Passage::Spent(until)
                if self.goes_on_until.is_some() && until <= after(now, WAITS_FOR_TOKENS_S) =>
            {
                Idle::Waits(until_then(until, now))
            }
            Passage::Closed | Passage::Spent(_) if self.is_ending || self.backlog.len() == 0 => {
                if let Passage::Spent(until) = passage {
                    self.drained.come_back_at = Some(until);
                }
                Idle::Ends
            }
            Passage::Closed | Passage::Spent(_) => {
                self.backlog.keep(SETTLED_CLOSED);
                self.is_ending = true;
                Idle::GoesOn
            }
        }
    }

    /// Reads again, or waits for the drain's own retries.
    fn goes_on(&mut self, now: Timestamp) -> Idle {
        if self.backlog.len() > 0 {
            return Idle::GoesOn;
        }
        if let Some(sweep) = &mut self.sweep {
            if sweep.has_more() {
                return Idle::GoesOn;
            }
            if std::mem::take(&mut self.found_some) {
                sweep.restart(self.goes_on_until.is_some());
                return Idle::GoesOn;
            }
            if sweep.go_to_passed_over() {
                return Idle::GoesOn;
            }
            if self.drained.settled == 0 && self.looks_left > 0 && !sweep.left_to_others() {
                self.looks_left -= 1;
                sweep.restart(true);
                return Idle::Waits(LOOK_AGAIN_AFTER);
            }
        }
        let next = self.again.iter().map(|(due_at, _)| *due_at).min();
        let Some(next) = next.filter(|next| self.goes_on_until.is_some_and(|end| *next <= end))
        else {
            return Idle::Ends;
        };
        if next > now {
            return Idle::Waits(until_then(next, now));
        }
        let due = self.again.extract_if(.., |(due_at, _)| *due_at <= now);
        let tasks: Vec<Task> = due
            .map(|(due_at, key)| Task {
                due: Due { key, due_at, deadline: None },
                claiming: Claiming::Due,
            })
            .collect();
        self.backlog.add(tasks);
        Idle::GoesOn
    }

    fn add(&mut self, found: Result<Vec<Due>, StoreError>) {
        match found {
            Ok(due) => {
                tracing::debug!(
                    destination = self.handler.destination.name,
                    due = due.len(),
                    "found {} due deliveries to {}",
                    due.len(),
                    self.handler.destination.name
                );
                let tasks = due.into_iter().map(|due| Task { due, claiming: Claiming::Due });
                self.found_some |= self.backlog.add(tasks) > 0;
            }
            Err(error) => self.failed = Some(error),
        }
    }

    fn take_in(&mut self, tried: Tried) {
        let Tried { task, ended } = tried;
        if let Err(error) | Ok(Handled::NotClaimed(error)) = &ended {
            self.handler.refusals.note(error);
        }
        if self.pressure.delivery_ended(&self.handler.refusals, Instant::now()) == Load::Refused {
            self.leave_to_sweep();
        }
        self.backlog.ended(task.due.key.lead_id);
        match ended {
            Ok(Handled::Settled { again }) => {
                self.drained.settled += 1;
                let soon = again.zip(self.goes_on_until).filter(|(again, end)| again <= end);
                self.again.extend(soon.map(|(again, _)| (again, task.due.key)));
            }
            Ok(Handled::Passed) => {}
            Ok(Handled::NotAdmitted) if self.is_ending => {}
            Ok(Handled::NotAdmitted) => self.backlog.put_back(task),
            Ok(Handled::NotClaimed(error)) if self.tries_again(&error) => {
                self.backlog.put_back(task);
            }
            Ok(Handled::NotClaimed(error)) | Err(error) => {
                self.log_failure(&task.due, &error);
                if self.pressure.is_all_refused() {
                    self.failed = Some(error);
                    self.backlog.clear();
                }
            }
        }
    }

    /// Whether this drain tries a delivery again whose claim failed with this error: only if the table refused
    /// it for its load. Otherwise the delivery waits for the next minute's sweep.
    fn tries_again(&self, error: &StoreError) -> bool {
        self.source == Source::Index && error.is_overload() && !self.pressure.is_all_refused()
    }

    /// Leaves to the sweep what waits of the deliveries that a ring named. Many rings can come at once, each with
    /// a drain of its own, and together they would keep the table busy; a shard has only one sweep at a time.
    fn leave_to_sweep(&mut self) {
        if self.source != Source::Ring || self.backlog.len() == 0 {
            return;
        }
        let (name, left) = (self.handler.destination.name, self.backlog.len());
        tracing::warn!(
            destination = name,
            left,
            "the table has too much to do; {left} deliveries to {name} that a ring named are left to the sweep"
        );
        self.backlog.clear();
    }

    fn log_failure(&self, due: &Due, error: &StoreError) {
        let (lead, id) = (due.key.lead_id, due.key.delivery_id().unwrap_or_default());
        tracing::error!(
            destination = self.handler.destination.name,
            lead = %lead,
            delivery = id,
            "the table failed while {lead}/{id} was handled, which stays due: {error}"
        );
    }
}

async fn try_one(handler: &Handler, gate: &Gate<'_>, task: Task, stop_at: Timestamp) -> Tried {
    let ended = handler.handle(gate, &task, stop_at).await;
    Tried { task, ended }
}

fn until_then(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}
