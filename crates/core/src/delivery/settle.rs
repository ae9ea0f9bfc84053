//! Settling: what becomes of a delivery when a claim ends. Everything about retries is decided by
//! the pure function [`settle`].

use jiff::Timestamp;

use crate::clock::after;
use crate::delivery::attempt::{Attempt, log_attempt};
use crate::delivery::outcome::Outcome;
use crate::delivery::reason::{Reason, StoredReason};
use crate::delivery::state::{Sending, State};
use crate::delivery::{BLOCKED_S, Delivery};
use crate::hash::Digest;
use crate::pii::Text;

/// How long a delivery that may have been sent waits for a status update, in seconds.
pub const UNKNOWN_WAIT_S: i64 = 10 * 60;
/// The longest `Retry-After` that is honoured, in seconds.
pub const RETRY_AFTER_S_MAX: u32 = 24 * 60 * 60;
/// Waits between attempts, in seconds; the last one repeats until the deadline.
pub const SCHEDULE_S: [i64; 8] = [5, 60, 300, 1_800, 7_200, 21_600, 43_200, 86_400];

/// What becomes of a destination's deliveries that may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenUnknown {
    /// There are none: the destination has no harmful requests.
    Never,
    /// They stay unknown, and nobody needs to decide (GA4).
    Final,
    /// For [`UNKNOWN_WAIT_S`] a status update may say whether they were sent; then they are dead, and
    /// a person decides (WhatsApp).
    NeedsPerson,
}

/// What to write when a claim ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The new state; never [`State::Leased`].
    pub state: State,
    /// Attempts spent so far.
    pub attempts: u32,
    /// The last attempts, oldest first.
    pub log: Vec<Attempt>,
    /// The new value of [`Delivery::blocked`].
    pub blocked: u32,
    /// The new value of [`Delivery::confirmed`].
    pub confirmed: Option<Digest>,
}

/// What was measured and read during a try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The HTTP status of the last response.
    pub status: Option<u16>,
    /// The time from the claim to the end, in milliseconds.
    pub duration_ms: u32,
    /// The beginning of a response that was no success.
    pub detail: Option<Text>,
    /// When another delivery of the destination last went through.
    pub others_delivered_at: Option<Timestamp>,
    /// Digest of the state that the delivery brought.
    pub brought: Option<Digest>,
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
    let unspent = delivery.attempts;
    let later = |seconds: i64| after(now, seconds.max(1));
    let pending = |due_at: Timestamp, reason: Reason| State::Pending {
        due_at,
        reason: Some(reason.into()),
        sending: Sending::NotBegun,
    };
    let dead = |reason: Reason| State::Dead { at: now, reason: reason.into() };
    let (state, attempts) = match *outcome {
        Outcome::Delivered => (State::Delivered { at: now, reason: None }, spent),
        Outcome::Rejected(reason) => (dead(reason), spent),
        Outcome::Skipped(reason) => (State::Skipped { at: now, reason: reason.into() }, unspent),
        Outcome::Expired => (dead(Reason::DeadlinePassed), unspent),
        Outcome::Unknown(reason) => match when_unknown {
            WhenUnknown::Final => (State::Unknown { at: now, reason: reason.into() }, spent),
            WhenUnknown::NeedsPerson if delivery.state.unknown_since().is_none() => {
                let due_at = later(UNKNOWN_WAIT_S);
                (State::Unconfirmed { since: now, due_at, reason: reason.into() }, spent)
            }
            // The wait for a status update is over; nothing was tried.
            WhenUnknown::NeedsPerson => (dead(reason), unspent),
            WhenUnknown::Never => (dead(reason), spent),
        },
        Outcome::Retry { reason, retry_after_s } => {
            let wait_s = wait_s(delivery.attempts, retry_after_s, jitter);
            // There is no attempt after the deadline: it is due at the deadline and expires there.
            let due_at = later(wait_s).min(delivery.deadline.max(later(1)));
            (pending(due_at, reason), spent)
        }
        Outcome::Blocked(reason) => {
            let wait_s = BLOCKED_S + spread(BLOCKED_S / 10, jitter);
            (pending(later(wait_s), reason), unspent)
        }
        Outcome::Released { reason, after_s } => (pending(later(after_s), reason), unspent),
    };
    let blocked = match outcome {
        Outcome::Blocked(_) if delivery.was_passed_over(measured.others_delivered_at) => {
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
    // The log is for tries. A delivery that was released was not tried, and its reason says why it
    // waits; unless it was sent something, or an earlier worker may have, and did not settle it.
    let was_tried = measured.status.is_some() || delivery.claims > 1;
    let log = match outcome {
        Outcome::Released { .. } if !was_tried => delivery.log.clone(),
        Outcome::Released { .. }
        | Outcome::Delivered
        | Outcome::Retry { .. }
        | Outcome::Rejected(_)
        | Outcome::Blocked(_)
        | Outcome::Skipped(_)
        | Outcome::Expired
        | Outcome::Unknown(_) => {
            let attempt = Attempt {
                at: now,
                outcome: outcome.of_attempt(),
                status: measured.status,
                duration_ms: measured.duration_ms,
                reason: outcome.reason().map(StoredReason::from),
                detail: measured.detail,
            };
            log_attempt(&delivery.log, attempt)
        }
    };
    let confirmed = measured.brought.filter(|_| *outcome == Outcome::Delivered);
    Settlement { state, attempts, log, blocked, confirmed }
}

/// The wait before the next attempt, in seconds: the schedule's, or a longer one that the provider
/// asks for, and up to a fifth more, so that what failed together does not return together.
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
    use crate::delivery::attempt::ATTEMPTS_KEPT;
    use crate::delivery::state::StateKind;
    use crate::destination::samples;
    use crate::id::LeaseId;

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn lease() -> LeaseId {
        serde_json::from_str("\"6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11\"").unwrap()
    }

    /// A delivery that was claimed after so many attempts.
    fn claimed(attempts: u32) -> Delivery {
        let mut delivery = Delivery::planned(&samples::submitted(), "crm", "lead");
        delivery.deadline = now() + SignedDuration::from_hours(14 * 24);
        delivery.attempts = attempts;
        claim(&mut delivery);
        delivery
    }

    /// What a claim does to a delivery.
    fn claim(delivery: &mut Delivery) {
        delivery.state = State::Leased {
            lease: lease(),
            until: now(),
            reason: delivery.state.reason().cloned(),
            sending: delivery.state.sending(),
        };
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
        let delivery = claimed(3);
        let blocked = settled(&delivery, &Outcome::Blocked(Reason::Status(401)));
        assert_eq!((blocked.state.kind(), blocked.attempts), (StateKind::Pending, 3));
        assert_eq!(blocked.state.due_at(), Some(now() + SignedDuration::from_secs(BLOCKED_S)));
        let released =
            settled(&delivery, &Outcome::Released { reason: Reason::SiblingLeased, after_s: 5 });
        assert_eq!((released.state.kind(), released.attempts), (StateKind::Pending, 3));
        let retry = Outcome::Retry { reason: Reason::Timeout, retry_after_s: None };
        assert_eq!(settled(&delivery, &retry).attempts, 4);
    }

    #[test]
    fn a_retry_that_would_come_too_late_is_due_at_the_deadline() {
        let mut delivery = claimed(7);
        delivery.deadline = now() + SignedDuration::from_hours(1);
        let retry = Outcome::Retry { reason: Reason::Timeout, retry_after_s: None };
        assert_eq!(settled(&delivery, &retry).state.due_at(), Some(delivery.deadline));
    }

    #[test]
    fn what_may_have_been_sent_stays_unknown_or_needs_a_person_as_the_destination_says() {
        let outcome = Outcome::Unknown(Reason::MayHaveBeenSent);
        let end = |delivery: &Delivery, when_unknown| {
            settle(delivery, &outcome, when_unknown, Measured::default(), now(), 0).state
        };
        let mut delivery = claimed(0);
        let reason: StoredReason = Reason::MayHaveBeenSent.into();
        let unknown = State::Unknown { at: now(), reason: reason.clone() };
        assert_eq!(end(&delivery, WhenUnknown::Final), unknown);
        let due_at = now() + SignedDuration::from_secs(UNKNOWN_WAIT_S);
        let unconfirmed = State::Unconfirmed { since: now(), due_at, reason: reason.clone() };
        assert_eq!(end(&delivery, WhenUnknown::NeedsPerson), unconfirmed);
        delivery.state = unconfirmed;
        claim(&mut delivery);
        let dead = State::Dead { at: now(), reason };
        assert_eq!(end(&delivery, WhenUnknown::NeedsPerson), dead);
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
            let mut delivery = claimed(0);
            for outcome in std::iter::once(first).chain(rest) {
                let settled = settle(&delivery, &outcome, WhenUnknown::NeedsPerson, Measured::default(), now(), jitter);
                prop_assert!(settled.attempts >= delivery.attempts, "attempts never decrease");
                prop_assert!(settled.log.len() <= ATTEMPTS_KEPT);
                prop_assert_eq!(settled.state.lease(), None, "a settlement ends the lease");
                let due_at = settled.state.due_at();
                let waits = settled.state.is_open() || settled.state.unknown_since().is_some();
                prop_assert_eq!(waits, due_at.is_some(), "open or unconfirmed means due");
                prop_assert!(due_at.is_none_or(|due| due > now()), "due in the future");
                let tried = !matches!(outcome, Outcome::Released { .. });
                let logged = settled.log.last().map(|attempt| attempt.outcome.as_str());
                prop_assert!(!tried || logged == Some(outcome.name()));
                delivery.attempts = settled.attempts;
                delivery.log = settled.log;
                delivery.blocked = settled.blocked;
                delivery.state = settled.state;
                claim(&mut delivery);
                if !waits {
                    break;
                }
            }
        }
    }
}
