//! A delivery and its state machine.
//!
//! ```text
//!            claim                 Delivered / Skipped ───► delivered / skipped
//! pending ─────────► leased ──┬─►  Rejected / Expired  ───► dead  (waits for a person)
//!    ▲                 │      ├─►  Unknown             ───► unknown, or dead ("may have been sent")
//!    └─────────────────┴──────┘
//!      Retry, Blocked, Released, or the lease's end
//! ```
//!
//! [`settle`] is the whole retry story as one pure function. Must not know how a delivery is claimed
//! or kept, nor any destination.

pub mod breaker;
pub mod exchange;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::booking::{BookingId, BookingStatus};
use crate::clock::after;
use crate::contact::consent::Purpose;
use crate::delivery::exchange::Response;
use crate::event::Event;
use crate::hash::Digest;
use crate::id::{DeliveryId, EventId, LeadId, LeaseId};
use crate::pii::{self, Text};

/// How long a claim stands, in seconds; the clock skew between workers is inside.
pub const LEASE_S: i64 = 60;
/// A delivery claimed this often in a row without any settlement kills its workers.
pub const CLAIMS_MAX: u32 = 20;
/// How many attempts a delivery remembers.
pub const ATTEMPTS_KEPT: usize = 10;
/// How long a blocked or unreadable delivery rests, in seconds.
pub const BLOCKED_S: i64 = 5 * 60;
/// A delivery blocked so often, while another went through after each, is itself at fault.
pub const BLOCKED_ALONE: u32 = 3;
/// How long a delivery that may have been sent waits for its provider's word, in seconds.
pub const UNKNOWN_WAIT_S: i64 = 10 * 60;
/// The name of [`Outcome::Blocked`].
const BLOCKED: &str = "blocked";
/// The longest `Retry-After` that is honoured, in seconds.
pub const RETRY_AFTER_S_MAX: u32 = 24 * 60 * 60;

/// Waits between attempts, in seconds; the last one repeats until the deadline.
pub const SCHEDULE_S: [i64; 8] = [5, 60, 300, 1_800, 7_200, 21_600, 43_200, 86_400];

/// An event for a destination and slot, with its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its identity, derived from event, destination and slot.
    pub id: DeliveryId,
    /// Whose it is.
    pub lead_id: LeadId,
    /// What happened.
    pub event_id: EventId,
    /// When the event was first accepted: part of both keys.
    pub accepted_at: Timestamp,
    /// The destination's name, as the table has it.
    pub destination: String,
    /// The slot's name, as the table has it; code that does not know it releases the delivery.
    pub slot: String,
    /// Where it stands.
    pub state: State,
    /// When it is due, or when its lease ends; absent once settled.
    pub due_at: Option<Timestamp>,
    /// After this it is no longer sent.
    pub deadline: Timestamp,
    /// Attempts spent.
    pub attempts: u32,
    /// Claims in a row that ended without any settlement.
    pub claims: u32,
    /// The claim that holds it.
    pub lease_id: Option<LeaseId>,
    /// The claim under which a harmful request was about to be sent.
    pub sending: Option<LeaseId>,
    /// The last attempts, oldest first.
    pub log: Vec<Attempt>,
    /// When it was settled for good.
    pub settled_at: Option<Timestamp>,
    /// Why it is where it is.
    pub reason: Option<String>,
    /// The booking that it is about: it is sent only while that one stands.
    pub booking: Option<BookingId>,
    /// Since when nobody knows whether it was sent; a person decides if no word comes in time.
    pub unknown_since: Option<Timestamp>,
    /// What the provider last said of the message.
    pub message: Option<MessageStatus>,
    /// How often it was blocked while another delivery of the destination went through after it.
    pub blocked: u32,
    /// Digest of the lead's e-mail, to read its alias together with the lead.
    pub email_digest: Option<Digest>,
    /// Digest of the lead's phone.
    pub phone_digest: Option<Digest>,
}

impl Delivery {
    /// A delivery of `event` that is due at once and whose deadline is its acceptance; whoever plans
    /// it sets a later one.
    pub fn planned(event: &Event, destination: &str, slot: &str) -> Self {
        Self {
            id: DeliveryId::derive(&event.id, destination, slot),
            lead_id: event.lead_id,
            event_id: event.id.clone(),
            accepted_at: event.accepted_at,
            destination: destination.to_owned(),
            slot: slot.to_owned(),
            state: State::Pending,
            due_at: Some(event.accepted_at),
            deadline: event.accepted_at,
            attempts: 0,
            claims: 0,
            lease_id: None,
            sending: None,
            log: Vec::new(),
            settled_at: None,
            reason: None,
            booking: None,
            unknown_since: None,
            message: None,
            blocked: 0,
            email_digest: None,
            phone_digest: None,
        }
    }
}

impl Delivery {
    /// Whether it is this delivery, not the destination, that is refused: it was blocked
    /// [`BLOCKED_ALONE`] times, and each time another went through afterwards.
    pub fn is_blocked_alone(&self, others_delivered_at: Option<Timestamp>) -> bool {
        self.blocked >= BLOCKED_ALONE && self.passed_over(others_delivered_at)
    }

    /// Whether its last try was blocked and another delivery went through since.
    fn passed_over(&self, others_delivered_at: Option<Timestamp>) -> bool {
        let last = self.log.last().filter(|attempt| attempt.outcome == BLOCKED);
        last.zip(others_delivered_at).is_some_and(|(blocked, delivered)| blocked.at < delivered)
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for its due time.
    Pending,
    /// Held by a worker.
    Leased,
    /// May have been sent, and nobody needs to decide.
    Unknown,
    /// The destination has it.
    Delivered,
    /// Not sent, rightly.
    Skipped,
    /// Not sent, or perhaps sent: waits for a person.
    Dead,
}

impl State {
    /// The name in the table and in the journey.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Leased => "leased",
            Self::Unknown => "unknown",
            Self::Delivered => "delivered",
            Self::Skipped => "skipped",
            Self::Dead => "dead",
        }
    }

    /// Whether something is still going to happen by itself.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Pending | Self::Leased => true,
            Self::Unknown | Self::Delivered | Self::Skipped | Self::Dead => false,
        }
    }
}

/// How far a message has come, as its provider tells. The order is the way it goes; a failure ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// It left.
    Sent,
    /// It is on the person's phone.
    Delivered,
    /// The person saw it.
    Read,
    /// It will not arrive.
    Failed,
}

impl MessageStatus {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Sent, Self::Delivered, Self::Read, Self::Failed];

    /// The name in the table, in the journey and in WhatsApp's webhook.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }

    /// The name of the attempt that notes it.
    pub const fn attempt_outcome(self) -> &'static str {
        match self {
            Self::Sent => "told_sent",
            Self::Delivered => "told_delivered",
            Self::Read => "told_read",
            Self::Failed => "told_failed",
        }
    }

    /// Reads a name of [`MessageStatus::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether `self` tells something new to whoever knows `known`: what arrived can no longer fail,
    /// and what failed stays so.
    pub fn is_news(self, known: Option<Self>) -> bool {
        match (known, self) {
            (None, _) => true,
            (Some(Self::Failed), _) => false,
            (Some(known), Self::Failed) => known < Self::Delivered,
            (Some(known), told) => known < told,
        }
    }
}

/// One try at a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// How it ended: the name of an [`Outcome`].
    pub outcome: String,
    /// The last HTTP status, if there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// From the claim to the end, in milliseconds.
    pub duration_ms: u32,
    /// Why it ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The beginning of the provider's answer where it was no success; may echo personal data.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub detail: Option<Text>,
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination has it.
    Delivered,
    /// Try again later.
    Retry {
        /// Why.
        reason: Reason,
        /// What the provider asked for, in seconds.
        retry_after_s: Option<u32>,
    },
    /// The provider will never take it.
    Rejected(Reason),
    /// The destination as a whole refuses us: credentials, payment, configuration.
    Blocked(Reason),
    /// It must not or need not be sent.
    Skipped(Reason),
    /// Its deadline passed.
    Expired,
    /// It may have been sent.
    Unknown(Reason),
    /// Not tried: given back, due again after so many seconds.
    Released {
        /// Why.
        reason: Reason,
        /// When it is due again, in seconds from now.
        after_s: i64,
    },
}

impl Outcome {
    /// The name in the table, in logs and in the journey.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retry",
            Self::Rejected(_) => "rejected",
            Self::Blocked(_) => BLOCKED,
            Self::Skipped(_) => "skipped",
            Self::Expired => "expired",
            Self::Unknown(_) => "unknown",
            Self::Released { .. } => "released",
        }
    }

    /// Why, where there is a why.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Delivered => None,
            Self::Expired => Some(Reason::DeadlinePassed),
            Self::Retry { reason, .. }
            | Self::Released { reason, .. }
            | Self::Rejected(reason)
            | Self::Blocked(reason)
            | Self::Skipped(reason)
            | Self::Unknown(reason) => Some(*reason),
        }
    }
}

/// Why something ended as it did. No variant can carry personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The HTTP status of the answer.
    Status(u16),
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke.
    Transport,
    /// A success whose body is not what the API promises, or says otherwise.
    Answer(&'static str),
    /// The request would break one of the provider's limits.
    Limit(&'static str),
    /// The person did not agree to this purpose, or took it back.
    NoConsent(Purpose),
    /// The person gave no phone number.
    NoPhone,
    /// The provider says that the person left.
    Unsubscribed,
    /// This deployment is not production.
    OutsideProduction,
    /// The destination is not listed in `DESTINATIONS`.
    Off,
    /// The deadline passed.
    DeadlinePassed,
    /// A worker died, or no answer came, after a harmful request was begun.
    MayHaveBeenSent,
    /// Claimed [`CLAIMS_MAX`] times without any settlement.
    KillsItsWorker,
    /// The booking that it is about no longer stands, for this reason.
    Withdrawn(BookingStatus),
    /// The provider says of the message, under this code, that it will not arrive.
    Failed(u32),
    /// Another message to the same number went out a moment ago.
    TooSoon,
    /// Another delivery of the same lead is under way.
    SiblingLeased,
    /// Written by newer code: the slot, the event or the item's version is not known here.
    NotUnderstood,
    /// The lead, or the event, is not there.
    Missing(&'static str),
    /// Not enough time was left.
    NoTimeLeft,
    /// More requests than a delivery may make.
    TooManyRequests,
    /// The destination's rate is used up for this minute.
    OutOfTokens,
    /// Blocked [`BLOCKED_ALONE`] times while others went through.
    BlockedAlone,
    /// A person said so.
    ByPerson,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "http_{status}"),
            Self::Connect => f.write_str("connect"),
            Self::Timeout => f.write_str("timeout"),
            Self::Transport => f.write_str("transport"),
            Self::Answer(what) => write!(f, "answer_{what}"),
            Self::Limit(what) => write!(f, "limit_{what}"),
            Self::NoConsent(purpose) => write!(f, "no_consent_{}", purpose.name()),
            Self::NoPhone => f.write_str("no_phone"),
            Self::Unsubscribed => f.write_str("unsubscribed"),
            Self::OutsideProduction => f.write_str("outside_production"),
            Self::Off => f.write_str("off"),
            Self::DeadlinePassed => f.write_str("deadline_passed"),
            Self::MayHaveBeenSent => f.write_str("may_have_been_sent"),
            Self::KillsItsWorker => f.write_str("kills_its_worker"),
            Self::Withdrawn(status) => write!(f, "booking_{}", status.name()),
            Self::Failed(code) => write!(f, "failed_{code}"),
            Self::TooSoon => f.write_str("too_soon"),
            Self::SiblingLeased => f.write_str("sibling_leased"),
            Self::NotUnderstood => f.write_str("not_understood"),
            Self::Missing(what) => write!(f, "missing_{what}"),
            Self::NoTimeLeft => f.write_str("no_time_left"),
            Self::TooManyRequests => f.write_str("too_many_requests"),
            Self::OutOfTokens => f.write_str("out_of_tokens"),
            Self::BlockedAlone => f.write_str("blocked_alone"),
            Self::ByPerson => f.write_str("by_person"),
        }
    }
}

/// Judges an answer by its status (design §6). A destination looks at the body first where a success
/// may hide a failure.
pub fn judge(response: &Response) -> Outcome {
    let reason = Reason::Status(response.status);
    match response.status {
        // No API of ours answers with a page: that is a proxy, a login or a parked domain.
        200..=299 if is_page(response.body.expose()) => {
            Outcome::Retry { reason: Reason::Answer("is_a_page"), retry_after_s: None }
        }
        200..=299 => Outcome::Delivered,
        401..=403 => Outcome::Blocked(reason),
        408 | 425 | 429 | 500..=599 => {
            Outcome::Retry { reason, retry_after_s: response.retry_after_s }
        }
        400..=499 => Outcome::Rejected(reason),
        // Redirects are not followed, and a status nobody thought of is no reason to lose a lead.
        _ => Outcome::Retry { reason, retry_after_s: response.retry_after_s },
    }
}

fn is_page(body: &str) -> bool {
    let start: String = body.trim_start().chars().take(9).collect();
    let start = start.to_ascii_lowercase();
    start.starts_with("<!doctype") || start.starts_with("<html")
}

/// What becomes of a delivery that may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenUnknown {
    /// There is none: the destination takes no harmful request.
    Never,
    /// It stays `unknown`: nobody needs to decide (GA4).
    Final,
    /// For [`UNKNOWN_WAIT_S`] the provider may still tell; then it is dead, and a person decides (WhatsApp).
    NeedsPerson,
}

/// What to write when a claim ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The new state.
    pub state: State,
    /// When it is due again; absent where it is settled for good.
    pub due_at: Option<Timestamp>,
    /// Attempts spent so far.
    pub attempts: u32,
    /// The last attempts, oldest first.
    pub log: Vec<Attempt>,
    /// Why.
    pub reason: Option<String>,
    /// See [`Delivery::blocked`].
    pub blocked: u32,
    /// See [`Delivery::unknown_since`].
    pub unknown_since: Option<Timestamp>,
}

/// What was measured and read during a try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The last HTTP status.
    pub status: Option<u16>,
    /// From the claim to the end, in milliseconds.
    pub duration_ms: u32,
    /// The beginning of an answer that was no success.
    pub detail: Option<Text>,
    /// When another delivery of the destination last went through.
    pub others_delivered_at: Option<Timestamp>,
}

/// Ends a claim: what becomes of `delivery` after `outcome`. `jitter` is any random number.
pub fn settle(
    delivery: &Delivery,
    outcome: &Outcome,
    when_unknown: WhenUnknown,
    measured: Measured,
    now: Timestamp,
    jitter: u64,
) -> Settlement {
    let spent = delivery.attempts.saturating_add(1);
    let later = |seconds: i64| after(now, seconds.max(1));
    let (state, due_at, attempts) = match outcome {
        Outcome::Delivered => (State::Delivered, None, spent),
        Outcome::Rejected(_) => (State::Dead, None, spent),
        Outcome::Skipped(_) => (State::Skipped, None, delivery.attempts),
        Outcome::Expired => (State::Dead, None, delivery.attempts),
        Outcome::Unknown(_) => match when_unknown {
            WhenUnknown::Final => (State::Unknown, None, spent),
            WhenUnknown::NeedsPerson if delivery.unknown_since.is_none() => {
                (State::Unknown, Some(later(UNKNOWN_WAIT_S)), spent)
            }
            // The doubt itself is no further attempt.
            WhenUnknown::NeedsPerson => (State::Dead, None, delivery.attempts),
            WhenUnknown::Never => (State::Dead, None, spent),
        },
        Outcome::Retry { retry_after_s, .. } => {
            let wait_s = wait_s(delivery.attempts, *retry_after_s, jitter);
            // Past the deadline there is no attempt: due at the deadline, it expires there.
            let due = later(wait_s).min(delivery.deadline.max(later(1)));
            (State::Pending, Some(due), spent)
        }
        Outcome::Blocked(_) => {
            let wait_s = BLOCKED_S + spread(BLOCKED_S / 10, jitter);
            (State::Pending, Some(later(wait_s)), delivery.attempts)
        }
        Outcome::Released { after_s, .. } => {
            (State::Pending, Some(later(*after_s)), delivery.attempts)
        }
    };
    let reason = outcome.reason().map(|reason| reason.to_string());
    let blocked = match outcome {
        Outcome::Blocked(_) if delivery.passed_over(measured.others_delivered_at) => {
            delivery.blocked.saturating_add(1)
        }
        Outcome::Blocked(_) => 1,
        Outcome::Released { .. } => delivery.blocked,
        Outcome::Delivered
        | Outcome::Retry { .. }
        | Outcome::Rejected(_)
        | Outcome::Skipped(_)
        | Outcome::Expired
        | Outcome::Unknown(_) => 0,
    };
    let mut log = delivery.log.clone();
    // What was given back was no try: the log is for tries, and the reason tells why it waits.
    if !matches!(outcome, Outcome::Released { .. }) {
        log.push(Attempt {
            at: now,
            outcome: outcome.name().to_owned(),
            status: measured.status,
            duration_ms: measured.duration_ms,
            reason: reason.clone(),
            detail: measured.detail,
        });
    }
    let excess = log.len().saturating_sub(ATTEMPTS_KEPT);
    log.drain(..excess);
    let unknown_since = due_at.filter(|_| state == State::Unknown).map(|_| now);
    Settlement { state, due_at, attempts, log, reason, blocked, unknown_since }
}

/// The wait before the next attempt, in seconds: the schedule's, or longer if the provider asks, and
/// up to a fifth more, so that what failed together does not come back together.
fn wait_s(attempts: u32, retry_after_s: Option<u32>, jitter: u64) -> i64 {
    let index = usize::try_from(attempts).unwrap_or(usize::MAX).min(SCHEDULE_S.len() - 1);
    let scheduled = SCHEDULE_S[index];
    let asked = i64::from(retry_after_s.unwrap_or(0).min(RETRY_AFTER_S_MAX));
    let wait = scheduled.max(asked);
    wait + spread(wait / 5, jitter)
}

/// A number from 0 to `most`.
fn spread(most: i64, jitter: u64) -> i64 {
    let most = u64::try_from(most).unwrap_or(0);
    i64::try_from(jitter % (most + 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;
    use crate::event::SyncRequested;

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn delivery(attempts: u32) -> Delivery {
        let sync = SyncRequested { destination: "crm".to_owned() };
        let event = Event {
            id: serde_json::from_str("\"sync:1\"").unwrap(),
            lead_id: LeadId::parse("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11").unwrap(),
            occurred_at: now(),
            accepted_at: now(),
            supplied_lead_id: None,
            data: sync.into(),
        };
        let mut delivery = Delivery::planned(&event, "crm", "lead");
        delivery.deadline = now() + SignedDuration::from_hours(14 * 24);
        delivery.attempts = attempts;
        delivery
    }

    fn response(status: u16) -> Response {
        Response { status, retry_after_s: None, body: Text::default() }
    }

    #[test]
    fn answers_are_judged_by_status() {
        for (status, expected) in [
            (200, "delivered"),
            (204, "delivered"),
            (301, "retry"),
            (400, "rejected"),
            (401, "blocked"),
            (402, "blocked"),
            (403, "blocked"),
            (404, "rejected"),
            (408, "retry"),
            (409, "rejected"),
            (422, "rejected"),
            (425, "retry"),
            (429, "retry"),
            (500, "retry"),
            (503, "retry"),
            (599, "retry"),
            (600, "retry"),
        ] {
            assert_eq!(judge(&response(status)).name(), expected, "{status}");
        }
        let page = Response { body: Text::from(" <!DOCTYPE html><p>Sign in"), ..response(200) };
        assert_eq!(judge(&page).name(), "retry");
    }

    #[test]
    fn the_schedule_is_5s_1min_5min_30min_2h_6h_12h_24h_and_then_every_24h() {
        let waits: Vec<_> = (0..10).map(|attempts| wait_s(attempts, None, 0)).collect();
        assert_eq!(waits, [5, 60, 300, 1_800, 7_200, 21_600, 43_200, 86_400, 86_400, 86_400]);
        assert_eq!(wait_s(1, None, u64::MAX), 60 + i64::try_from(u64::MAX % 13).unwrap());
    }

    #[test]
    fn retry_after_is_honoured_and_capped() {
        assert_eq!(wait_s(0, Some(30), 0), 30);
        assert_eq!(wait_s(2, Some(30), 0), 300, "never sooner than the schedule");
        assert_eq!(wait_s(0, Some(u32::MAX), 0), 86_400);
    }

    fn settled(delivery: &Delivery, outcome: &Outcome) -> Settlement {
        settle(delivery, outcome, WhenUnknown::NeedsPerson, Measured::default(), now(), 0)
    }

    #[test]
    fn blocked_and_released_spend_no_attempt() {
        let delivery = delivery(3);
        let blocked = settled(&delivery, &Outcome::Blocked(Reason::Status(401)));
        assert_eq!((blocked.state, blocked.attempts), (State::Pending, 3));
        assert_eq!(blocked.due_at, Some(now() + SignedDuration::from_secs(BLOCKED_S)));
        let released =
            settled(&delivery, &Outcome::Released { reason: Reason::SiblingLeased, after_s: 5 });
        assert_eq!((released.state, released.attempts), (State::Pending, 3));
        let retry = Outcome::Retry { reason: Reason::Timeout, retry_after_s: None };
        assert_eq!(settled(&delivery, &retry).attempts, 4);
    }

    #[test]
    fn a_retry_that_would_come_too_late_is_due_at_the_deadline() {
        let mut delivery = delivery(7);
        delivery.deadline = now() + SignedDuration::from_hours(1);
        let retry = Outcome::Retry { reason: Reason::Timeout, retry_after_s: None };
        assert_eq!(settled(&delivery, &retry).due_at, Some(delivery.deadline));
    }

    #[test]
    fn doubt_is_final_or_dead_as_the_destination_says() {
        let outcome = Outcome::Unknown(Reason::MayHaveBeenSent);
        let end = |delivery: &Delivery, when_unknown| {
            settle(delivery, &outcome, when_unknown, Measured::default(), now(), 0)
        };
        let mut doubtful = delivery(0);
        let settled = end(&doubtful, WhenUnknown::Final);
        assert_eq!((settled.state, settled.due_at), (State::Unknown, None));
        let settled = end(&doubtful, WhenUnknown::NeedsPerson);
        let due_at = now() + SignedDuration::from_secs(UNKNOWN_WAIT_S);
        assert_eq!((settled.state, settled.due_at), (State::Unknown, Some(due_at)));
        doubtful.unknown_since = settled.unknown_since;
        let settled = end(&doubtful, WhenUnknown::NeedsPerson);
        assert_eq!((settled.state, settled.due_at), (State::Dead, None));
    }

    #[test]
    fn a_message_s_status_only_moves_forward() {
        use MessageStatus::{Delivered, Failed, Read, Sent};
        for (known, told, news) in [
            (None, Sent, true),
            (None, Read, true),
            (Some(Sent), Sent, false),
            (Some(Sent), Delivered, true),
            (Some(Read), Delivered, false),
            (Some(Sent), Failed, true),
            (Some(Delivered), Failed, false),
            (Some(Failed), Read, false),
        ] {
            assert_eq!(told.is_news(known), news, "{told:?} after {known:?}");
        }
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        let reason = Reason::Status(500);
        prop_oneof![
            Just(Outcome::Delivered),
            prop::option::of(any::<u32>())
                .prop_map(move |retry_after_s| Outcome::Retry { reason, retry_after_s }),
            Just(Outcome::Rejected(reason)),
            Just(Outcome::Blocked(reason)),
            Just(Outcome::Skipped(reason)),
            Just(Outcome::Expired),
            Just(Outcome::Unknown(reason)),
            any::<i64>().prop_map(move |after_s| Outcome::Released { reason, after_s }),
        ]
    }

    proptest! {
        #[test]
        fn settling_keeps_its_promises(
            first in outcomes(),
            rest in prop::collection::vec(outcomes(), 0..30),
            jitter in any::<u64>(),
        ) {
            let mut delivery = delivery(0);
            for outcome in std::iter::once(first).chain(rest) {
                let settled = settle(&delivery, &outcome, WhenUnknown::NeedsPerson, Measured::default(), now(), jitter);
                prop_assert!(settled.attempts >= delivery.attempts, "attempts never decrease");
                prop_assert!(settled.log.len() <= ATTEMPTS_KEPT);
                let waits = settled.state.is_open() || settled.unknown_since.is_some();
                prop_assert_eq!(waits, settled.due_at.is_some(), "open or doubtful means due");
                prop_assert!(settled.due_at.is_none_or(|due| due > now()), "due in the future");
                let tried = !matches!(outcome, Outcome::Released { .. });
                let logged = settled.log.last().map(|attempt| attempt.outcome.as_str());
                prop_assert!(!tried || logged == Some(outcome.name()));
                delivery.attempts = settled.attempts;
                delivery.log = settled.log;
                delivery.unknown_since = settled.unknown_since;
                if !waits {
                    break;
                }
            }
        }
    }
}
