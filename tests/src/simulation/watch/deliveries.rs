//! Which process holds each delivery, since when it waits, and whether it was marked as about to be
//! sent.

use std::collections::{BTreeMap, BTreeSet};

use funil_core::contact::consent::Purpose;
use funil_core::delivery::Delivery;
use jiff::Timestamp;
use serde_json::Value;

use super::Watch;
use super::history::text;

/// A delivery, as the table has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    pub(super) lead: String,
    pub(super) destination: String,
    pub(super) slot: String,
    pub(super) booking: Option<String>,
    /// The digest of the number that it was planned with.
    pub(super) phone: Option<String>,
    /// The boxes of the form that it delivers, where they count for its own deliveries alone.
    pub(super) boxes: BTreeMap<Purpose, bool>,
    pub(super) deadline: String,
    /// Where it stands in the index; empty once it is settled.
    pub(super) due: String,
    /// Whether a ring may claim it by its name.
    at_once: bool,
    /// When its lease ends.
    leased_until: String,
    /// When it was first due.
    pub(super) planned_for: String,
    lease: Option<String>,
    /// Since when it has been pending without interruption, in milliseconds.
    pub(super) pending_since: Option<u128>,
    /// The last mark that a harmful request was about to be sent for it.
    pub(super) mark: Option<Mark>,
}

/// The mark that a harmful request is about to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) process: usize,
    /// The number of the request with which it took effect.
    pub(super) number: u64,
}

impl Watch {
    /// A delivery is planned.
    pub(super) fn planned(
        &mut self,
        lead: &str,
        sk: &str,
        item: &Value,
        boxes: &BTreeMap<Purpose, bool>,
    ) {
        let due = item["due_sk"].as_str().unwrap_or_default().to_owned();
        let at_once = !item["at_once"].is_null();
        self.stream.push((format!("LEAD#{lead}"), sk.to_owned(), due, at_once));
        self.hold(lead, sk, item, boxes);
    }

    /// A delivery is there, and the table's stream may pass it over.
    pub(super) fn hold(
        &mut self,
        lead: &str,
        sk: &str,
        item: &Value,
        boxes: &BTreeMap<Purpose, bool>,
    ) {
        let name = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        let due = name("due_sk");
        let at_once = !item["at_once"].is_null();
        let deadline = funil_store::key_time(name("deadline").parse().unwrap());
        let held = Held {
            lead: lead.to_owned(),
            destination: name("destination"),
            slot: name("slot"),
            booking: item["booking"].as_str().map(str::to_owned),
            phone: item["phone_digest"].as_str().map(str::to_owned),
            boxes: boxes.clone(),
            deadline,
            planned_for: if at_once { name("accepted_at") } else { due.clone() },
            due,
            at_once,
            pending_since: Some(self.now()),
            ..Held::default()
        };
        self.sk_of.insert(name("delivery_id"), sk.to_owned());
        self.deliveries.insert(sk.to_owned(), held);
    }

    /// A delivery is withdrawn, which no process may hold at this moment.
    pub(super) fn withdrawn(&mut self, sk: &str) {
        let Some(held) = self.deliveries.get_mut(sk) else { return };
        let was_pending = held.pending_since.take().is_some() || held.due.is_empty();
        held.due.clear();
        if !was_pending {
            self.problem(format!("{sk} was withdrawn while a process held it"));
        }
    }

    /// A delivery is claimed, marked, settled or made due at once, or a status update is written to it.
    pub(super) fn delivery_updated(&mut self, process: usize, request: &Value) {
        let sk = text(request, "/Key/sk/S");
        let (now_ms, number) = (self.now(), self.number);
        let Some(held) = self.deliveries.get_mut(sk) else { return };
        let value = |name: &str| {
            let value = text(request, &format!("/ExpressionAttributeValues/:{name}/S"));
            (!value.is_empty()).then(|| value.to_owned())
        };
        let mut problem = None;
        if value("message").is_some() {
            if value("state").is_some() {
                held.due.clear();
                held.pending_since = None;
            }
        } else if value("leased").is_some() {
            let now = value("now").unwrap_or_default();
            let is_due = !held.due.is_empty() && held.due <= now && held.leased_until <= now;
            let condition = text(request, "/ConditionExpression");
            let by_name = condition.contains("attribute_exists(#at_once)");
            let is_new = by_name && held.at_once && held.pending_since.is_some();
            if !is_due && !is_new {
                let (due, until) = (&held.due, &held.leased_until);
                problem =
                    Some(format!("p{process} claimed {sk} at {now}, due {due}, until {until}"));
            }
            held.lease = value("lease");
            held.at_once = false;
            held.leased_until = value("end").unwrap_or_default();
            if text(request, "/UpdateExpression").contains("#due_sk") {
                held.due.clone_from(&held.leased_until);
            } else if held.due < held.leased_until {
                problem = Some(format!("{sk} is leased and stands among what is due"));
            }
            held.pending_since = None;
        } else if value("lease").is_some() {
            if held.lease != value("lease") {
                problem = Some(format!("p{process} wrote {sk} under a lease it had lost"));
            }
            let state = value("state").or_else(|| value("pending"));
            if let Some(state) = state {
                held.lease = None;
                held.leased_until.clear();
                held.due = value("due").unwrap_or_default();
                held.pending_since = (state == "pending").then_some(now_ms);
            } else {
                held.mark = Some(Mark { process, number });
            }
        } else if let Some(now) = value("now") {
            held.due = now;
            held.at_once = false;
        }
        if let Some(problem) = problem {
            self.problem(problem);
        }
    }

    fn held(&self, delivery: &Delivery) -> Option<&Held> {
        self.sk_of.get(&delivery.id.to_string()).and_then(|sk| self.deliveries.get(sk))
    }

    /// When a delivery was first due.
    pub(in super::super) fn planned_for(&self, delivery: &Delivery) -> Option<Timestamp> {
        self.held(delivery)?.planned_for.parse().ok()
    }

    /// Whether a delivery was ever marked as about to be sent.
    pub(in super::super) fn may_have_been_sent(&self, delivery: &Delivery) -> bool {
        self.held(delivery).is_some_and(|held| held.mark.is_some())
    }

    /// The destinations that have something due at this time.
    pub(in super::super) fn due_at(&self, now: &str) -> BTreeSet<String> {
        let due = self.deliveries.values().filter(|held| !held.due.is_empty());
        due.filter(|held| held.due.as_str() <= now).map(|held| held.destination.clone()).collect()
    }

    /// The booking that a delivery is about.
    pub(in super::super) fn booking_of(&self, sk: &str) -> Option<String> {
        self.deliveries.get(sk)?.booking.clone()
    }

    /// The next delivery whose due time and deadline both come before `end`: its due time as text, and
    /// its sort key. What is overdue counts as due at `after`.
    pub(in super::super) fn last_chance(&self, after: &str, end: &str) -> Option<(String, String)> {
        let open = self.deliveries.iter().filter(|(_, held)| !held.due.is_empty());
        let short =
            open.filter(|(_, held)| held.deadline.as_str() <= end && held.due.as_str() <= end);
        let next = short.map(|(sk, held)| (held.due.as_str().max(after), sk)).min();
        next.map(|(due, sk)| (due.to_owned(), sk.clone()))
    }
}
