//! What a drain still has to do, and in which order: leads take turns, so that one with a thousand
//! deliveries holds up nobody.
//!
//! Where deliveries bring the lead's state, one of a lead goes at a time, the newest first. Must not know
//! how anything is claimed or sent.

use std::collections::{HashMap, HashSet, VecDeque};

use funil_core::destination::{Destination, Kind};
use funil_core::id::LeadId;
use funil_store::{Claiming, DeliveryKey, Due};
use jiff::Timestamp;

/// How many deliveries of one lead go side by side where they bring events and no pause is needed between
/// them.
const SIDE_BY_SIDE: usize = 4;

/// A delivery to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) due: Due,
    /// How it is claimed.
    pub(crate) claiming: Claiming,
}

/// What a drain still has to do.
#[derive(Debug)]
pub(crate) struct Backlog {
    kind: Kind,
    /// How many deliveries of one lead go side by side.
    of_one_lead: usize,
    /// The leads of which one more delivery may go, each once.
    ready: VecDeque<LeadId>,
    waiting: HashMap<LeadId, VecDeque<Task>>,
    under_way: HashMap<LeadId, usize>,
    /// The deliveries that this drain has taken up, with their due times. An index that lags shows them again, and this
    /// is how they are recognised.
    seen: HashMap<DeliveryKey, Timestamp>,
    /// How many deliveries wait for their turn, those of all leads together.
    len: usize,
}

impl Backlog {
    pub(crate) fn new(destination: &Destination) -> Self {
        let of_one_lead = match (destination.kind, destination.person_pause_s) {
            (Kind::Event, None) => SIDE_BY_SIDE,
            (Kind::State, _) | (Kind::Event, Some(_)) => 1,
        };
        Self::with(destination.kind, of_one_lead)
    }

    fn with(kind: Kind, of_one_lead: usize) -> Self {
        Self {
            kind,
            of_one_lead,
            ready: VecDeque::new(),
            waiting: HashMap::new(),
            under_way: HashMap::new(),
            seen: HashMap::new(),
            len: 0,
        }
    }

    /// How many deliveries wait for their turn.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Adds deliveries in the order in which they fell due. Those that were added before with the same due
    /// time are skipped. Returns how many are new.
    pub(crate) fn add(&mut self, tasks: impl IntoIterator<Item = Task>) -> usize {
        let before = self.len;
        let mut leads = HashSet::new();
        for task in tasks {
            let due_at = task.due.due_at;
            match self.seen.get(&task.due.key) {
                Some(known) if *known >= due_at => continue,
                Some(_) | None => self.seen.insert(task.due.key.clone(), due_at),
            };
            let lead = task.due.key.lead_id;
            if self.waiting.get(&lead).is_none_or(VecDeque::is_empty) {
                self.make_ready(lead);
            }
            self.waiting.entry(lead).or_default().push_back(task);
            leads.insert(lead);
            self.len += 1;
        }
        if self.kind == Kind::State {
            // Of several that bring the same state only the newest is sent.
            for lead in leads {
                if let Some(tasks) = self.waiting.get_mut(&lead) {
                    let newest_first =
                        |one: &Task, other: &Task| other.due.key.sk.cmp(&one.due.key.sk);
                    tasks.make_contiguous().sort_by(newest_first);
                }
            }
        }
        self.len - before
    }

    /// The next delivery, of the lead whose turn it is.
    pub(crate) fn next(&mut self) -> Option<Task> {
        let lead = self.ready.pop_front()?;
        let tasks = self.waiting.get_mut(&lead)?;
        let task = tasks.pop_front()?;
        let is_empty = tasks.is_empty();
        if is_empty {
            self.waiting.remove(&lead);
        }
        self.len -= 1;
        *self.under_way.entry(lead).or_default() += 1;
        if !is_empty {
            self.make_ready(lead);
        }
        Some(task)
    }

    /// Notes that a delivery of the lead is not under way any more.
    pub(crate) fn ended(&mut self, lead: LeadId) {
        let was_full = self.is_full(lead);
        if let Some(count) = self.under_way.get_mut(&lead) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&lead);
            }
        }
        if was_full && self.waiting.contains_key(&lead) {
            self.make_ready(lead);
        }
    }

    /// Takes a delivery back that could not start, as the next one of its lead.
    pub(crate) fn put_back(&mut self, task: Task) {
        let lead = task.due.key.lead_id;
        if self.waiting.get(&lead).is_none_or(VecDeque::is_empty) {
            self.make_ready(lead);
        }
        self.waiting.entry(lead).or_default().push_front(task);
        self.len += 1;
    }

    /// Drops all but the first `most`; they stay due.
    pub(crate) fn keep(&mut self, most: usize) {
        let kept: Vec<Task> = std::iter::from_fn(|| self.next()).take(most).collect();
        self.clear();
        for task in kept {
            self.ended(task.due.key.lead_id);
            self.put_back(task);
        }
    }

    /// Drops what waits; it stays due.
    pub(crate) fn clear(&mut self) {
        self.ready.clear();
        self.waiting.clear();
        self.len = 0;
    }

    fn is_full(&self, lead: LeadId) -> bool {
        self.under_way.get(&lead).is_some_and(|count| *count >= self.of_one_lead)
    }

    fn make_ready(&mut self, lead: LeadId) {
        if !self.is_full(lead) {
            self.ready.push_back(lead);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(lead: u8, second: u8) -> Task {
        let lead_id =
            LeadId::parse(&format!("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b{lead:02x}")).unwrap();
        let time = format!("2026-11-21T12:00:{second:02}.000Z");
        let key = DeliveryKey { lead_id, sk: format!("DELIVERY#crm#{time}#x") };
        let due = Due { key, due_at: time.parse().unwrap(), deadline: None };
        Task { due, claiming: Claiming::Due }
    }

    fn second(task: &Task) -> i64 {
        task.due.due_at.as_second() % 60
    }

    #[test]
    fn one_lead_has_one_delivery_under_way_the_newest_first() {
        let mut backlog = Backlog::with(Kind::State, 1);
        assert_eq!(backlog.add([task(1, 1), task(1, 2), task(2, 3), task(1, 4)]), 4);
        let first = backlog.next().unwrap();
        assert_eq!(second(&first), 4, "the newest of the lead that has waited longest");
        assert_eq!(second(&backlog.next().unwrap()), 3);
        assert_eq!(backlog.next(), None, "one of the first lead is under way");
        backlog.ended(first.due.key.lead_id);
        assert_eq!(second(&backlog.next().unwrap()), 2);
        assert_eq!((backlog.next(), backlog.len()), (None, 1));
    }

    #[test]
    fn leads_take_turns_and_none_takes_the_whole_worker() {
        let mut backlog = Backlog::with(Kind::Event, SIDE_BY_SIDE);
        backlog.add((1..50).map(|second| task(1, second)));
        backlog.add([task(2, 50), task(3, 51)]);
        let seconds: Vec<i64> =
            std::iter::from_fn(|| backlog.next()).map(|task| second(&task)).collect();
        assert_eq!(seconds, [1, 50, 51, 2, 3, 4], "four of the first lead go side by side");
        let busy = task(1, 1).due.key.lead_id;
        backlog.ended(busy);
        backlog.ended(busy);
        let seconds: Vec<i64> =
            std::iter::from_fn(|| backlog.next()).map(|task| second(&task)).collect();
        assert_eq!(seconds, [5, 6]);
    }

    #[test]
    fn what_came_up_before_is_left_out_unless_it_fell_due_again() {
        let mut backlog = Backlog::with(Kind::Event, SIDE_BY_SIDE);
        assert_eq!(backlog.add([task(1, 1), task(1, 1)]), 1);
        let first = backlog.next().unwrap();
        backlog.ended(first.due.key.lead_id);
        assert_eq!(backlog.add([first.clone()]), 0, "the index lags");
        let mut again = first;
        again.due.due_at = "2026-11-21T12:01:00Z".parse().unwrap();
        assert_eq!(backlog.add([again]), 1);
    }
}
