//! Whether a delivery that ended may be sent again: one pure function (`docs/design.md`, "Replay").
//!
//! What differs between destinations is in their
//! [`ReplayPolicy`](crate::destination::repetition::ReplayPolicy). Who asks, and how a replay is
//! written, is not known here.

use std::fmt;

use jiff::Timestamp;

use crate::clock::after;
use crate::delivery::{AttemptOutcome, Delivery, MessageStatus, Reason, State};
use crate::destination::Destination;
use crate::destination::repetition::Repeats;
use crate::event::Event;

/// What a replay of a delivery would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Safety {
    /// The effect happens once.
    Safe,
    /// The effect may happen twice, for this reason.
    WouldDuplicate(String),
    /// The destination would not take it any more, for this reason.
    TooLate(String),
}

impl Safety {
    /// The name in responses and tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::WouldDuplicate(_) => "would_duplicate",
            Self::TooLate(_) => "too_late",
        }
    }

    /// A sentence that says why it is not safe.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Safe => None,
            Self::WouldDuplicate(reason) | Self::TooLate(reason) => Some(reason),
        }
    }

    /// Whether the delivery may be replayed, by whether a person accepts duplicates.
    pub const fn allows(&self, even_duplicates: bool) -> bool {
        match self {
            Self::Safe => true,
            Self::WouldDuplicate(_) => even_duplicates,
            Self::TooLate(_) => false,
        }
    }
}

impl fmt::Display for Safety {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Judges what sending `delivery` again at `now` would do.
pub fn replay_safety(
    destination: &Destination,
    delivery: &Delivery,
    event: &Event,
    now: Timestamp,
) -> Safety {
    let name = destination.name;
    if let Some(hours) = destination.replay.too_old_h
        && destination.replay.ends(event).is_some_and(|ends| now >= ends)
    {
        return Safety::TooLate(format!("{name} takes no event older than {hours} hours."));
    }
    if planned_end(destination, delivery, event).is_some_and(|ends| now >= ends) {
        return Safety::TooLate("What it is about is over.".to_owned());
    }
    let Some(perhaps_sent_at) = perhaps_sent_at(delivery) else { return Safety::Safe };
    match destination.replay.repeats {
        Repeats::Recognised => Safety::Safe,
        Repeats::RecognisedFor { hours } if now < after(perhaps_sent_at, hours * 3600) => {
            Safety::Safe
        }
        Repeats::RecognisedFor { hours } => Safety::WouldDuplicate(format!(
            "It may have been sent, and {name} recognises a repetition for {hours} hours only."
        )),
        Repeats::Counted => Safety::WouldDuplicate(format!(
            "It may have been sent, and {name} does not recognise a repetition."
        )),
    }
}

/// What an open delivery becomes in a table that was restored to an earlier time, where it must not be
/// sent by itself: it was due, so it may have been sent since, and its destination would not recognise
/// the repetition. `None` where it stays as it is.
pub fn held_after_restore(
    destination: &Destination,
    delivery: &Delivery,
    now: Timestamp,
) -> Option<State> {
    let may_have_been_sent = match &delivery.state {
        State::Pending { due_at, .. } => *due_at <= now,
        State::Leased { .. } => true,
        State::Unconfirmed { .. }
        | State::Unknown { .. }
        | State::Delivered { .. }
        | State::Skipped { .. }
        | State::Dead { .. } => false,
    };
    let is_recognised = match destination.replay.repeats {
        Repeats::Recognised => true,
        Repeats::RecognisedFor { hours } => now < after(delivery.accepted_at, hours * 3600),
        Repeats::Counted => false,
    };
    (may_have_been_sent && !is_recognised)
        .then(|| State::Dead { at: now, reason: Reason::MayHaveBeenSent.into() })
}

/// The deadline of a delivery that is replayed at `now`: as long as a new one's, but never past what
/// the destination takes, nor past the end of what the message is about.
pub fn replay_deadline(
    destination: &Destination,
    delivery: &Delivery,
    event: &Event,
    now: Timestamp,
) -> Timestamp {
    let fresh = after(now, destination.deadline_h * 3600);
    let ends = [destination.replay.ends(event), planned_end(destination, delivery, event)];
    ends.into_iter().flatten().fold(fresh, Timestamp::min)
}

/// The deadline that the destination plans for the delivery's slot, if it plans one: a message about a
/// call has an end of its own.
fn planned_end(destination: &Destination, delivery: &Delivery, event: &Event) -> Option<Timestamp> {
    let planned = (destination.plan)(event);
    planned.iter().find(|planned| planned.slot.name == delivery.slot)?.deadline
}

/// When it may first have been sent without our knowing; `None` where every request got a response or
/// reached nobody, or the provider reported since that the message failed.
fn perhaps_sent_at(delivery: &Delivery) -> Option<Timestamp> {
    let failed = AttemptOutcome::Reported(MessageStatus::Failed);
    let since = delivery.log.iter().rposition(|attempt| attempt.outcome == failed).unwrap_or(0);
    let mut attempts = delivery.log[since..].iter();
    let unknown = attempts.find(|attempt| attempt.outcome == AttemptOutcome::Unknown);
    unknown.map(|attempt| attempt.at).or_else(|| {
        let may_have_been_sent = delivery.state.is_because_of(Reason::MayHaveBeenSent);
        // No try of ours says when, so it counts from the earliest time that it can have been.
        may_have_been_sent.then_some(delivery.accepted_at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Attempt;
    use crate::destination::repetition::ReplayPolicy;
    use crate::destination::{self, samples};

    fn hours_later(event: &Event, hours: i64) -> Timestamp {
        after(event.occurred_at, hours * 3600)
    }

    fn delivery(event: &Event, destination: &str, outcomes: &[&str]) -> Delivery {
        let mut delivery = Delivery::planned(event, destination, "event");
        delivery.log = outcomes
            .iter()
            .map(|outcome| Attempt {
                at: event.accepted_at,
                outcome: (*outcome).to_owned().into(),
                status: None,
                duration_ms: 0,
                reason: None,
                detail: None,
            })
            .collect();
        delivery
    }

    #[test]
    fn a_replay_is_judged_by_what_was_sent_and_by_what_the_destination_recognises() {
        let event = samples::submitted();
        for (name, outcomes, hours, expected) in [
            ("crm", &["retry", "rejected"][..], 1, "safe"),
            ("crm", &["unknown"][..], 24 * 365, "safe"),
            ("mailerlite", &["unknown"][..], 1, "safe"),
            ("segment", &["unknown"][..], 24 * 365, "safe"),
            ("ga4", &[][..], 1, "safe"),
            ("ga4", &["retry", "rejected"][..], 71, "safe"),
            ("ga4", &["unknown"][..], 71, "would_duplicate"),
            ("ga4", &["unknown", "rejected"][..], 1, "would_duplicate"),
            ("ga4", &["rejected"][..], 72, "too_late"),
            ("ga4", &["unknown"][..], 72, "too_late"),
        ] {
            let destination = destination::find(name).unwrap();
            let delivery = delivery(&event, name, outcomes);
            let safety = replay_safety(destination, &delivery, &event, hours_later(&event, hours));
            assert_eq!(safety.name(), expected, "{name} {outcomes:?} after {hours} h");
            assert_eq!(safety.reason().is_none(), safety == Safety::Safe);
        }
    }

    #[test]
    fn a_message_is_sent_again_once_it_is_known_not_to_have_arrived_and_while_the_call_is_ahead() {
        let event = samples::booked();
        let whatsapp = destination::find("whatsapp").unwrap();
        // The call is 78.5 hours after its booking.
        for (outcomes, hours, expected) in [
            (&["rejected"][..], 1, "safe"),
            (&["delivered", "told_failed"][..], 1, "safe"),
            (&["unknown", "told_failed"][..], 78, "safe"),
            (&["unknown", "told_failed"][..], 79, "too_late"),
            (&["unknown", "unknown"][..], 1, "would_duplicate"),
            (&["unknown", "told_failed", "unknown"][..], 1, "would_duplicate"),
        ] {
            let mut delivery = delivery(&event, "whatsapp", outcomes);
            delivery.slot = "reminder_2h".to_owned();
            let now = hours_later(&event, hours);
            let safety = replay_safety(whatsapp, &delivery, &event, now);
            assert_eq!(safety.name(), expected, "{outcomes:?} after {hours} h");
            let starts_at = event.data.call().unwrap().starts_at;
            assert_eq!(replay_deadline(whatsapp, &delivery, &event, now), starts_at);
        }
        for (slot, hours, expected) in [
            ("welcome", 23, "safe"),
            ("welcome", 24, "too_late"),
            ("reminder_24h", 75, "safe"),
            ("reminder_24h", 76, "too_late"),
        ] {
            let mut delivery = delivery(&event, "whatsapp", &["rejected"]);
            delivery.slot = slot.to_owned();
            let now = hours_later(&event, hours);
            let safety = replay_safety(whatsapp, &delivery, &event, now);
            assert_eq!(safety.name(), expected, "{slot} after {hours} h");
        }
    }

    #[test]
    fn a_reason_alone_says_that_it_may_have_been_sent() {
        let event = samples::submitted();
        let mut delivery = delivery(&event, "ga4", &[]);
        delivery.state =
            State::Dead { at: event.accepted_at, reason: Reason::MayHaveBeenSent.into() };
        let ga4 = destination::find("ga4").unwrap();
        let safety = replay_safety(ga4, &delivery, &event, hours_later(&event, 1));
        assert_eq!(safety.name(), "would_duplicate");
        assert!(!safety.allows(false));
        assert!(safety.allows(true));
        assert!(!Safety::TooLate(String::new()).allows(true));
    }

    #[test]
    fn a_restored_delivery_is_held_where_it_was_due_and_would_count_twice() {
        let event = samples::submitted();
        let held = |name: &str, hours: i64, due_at: Timestamp| {
            let mut delivery = delivery(&event, name, &[]);
            delivery.state = State::due(due_at);
            let destination = destination::find(name).unwrap();
            held_after_restore(destination, &delivery, hours_later(&event, hours)).is_some()
        };
        let at_once = event.accepted_at;
        for (name, hours, expected) in [
            ("crm", 24 * 365, false),
            ("mailerlite", 1, false),
            ("segment", 1, false),
            ("meta", 47, false),
            ("meta", 49, true),
            ("ga4", 1, true),
            ("whatsapp", 1, true),
        ] {
            assert_eq!(held(name, hours, at_once), expected, "{name} after {hours} h");
        }
        assert!(!held("whatsapp", 1, hours_later(&event, 2)), "it was not due yet");
        let mut restored = delivery(&event, "meta", &[]);
        restored.state = State::due(at_once);
        let meta = destination::find("meta").unwrap();
        let now = hours_later(&event, 49);
        restored.state = held_after_restore(meta, &restored, now).unwrap();
        assert_eq!(replay_safety(meta, &restored, &event, now).name(), "would_duplicate");
        let mut delivered = delivery(&event, "ga4", &[]);
        delivered.state = State::Delivered { at: at_once, reason: None };
        let ga4 = destination::find("ga4").unwrap();
        assert_eq!(held_after_restore(ga4, &delivered, hours_later(&event, 1)), None);
    }

    #[test]
    fn what_is_recognised_for_a_while_is_safe_for_that_while() {
        let segment = destination::find("segment").unwrap();
        let forgetful = Destination {
            replay: ReplayPolicy { repeats: Repeats::RecognisedFor { hours: 48 }, too_old_h: None },
            ..*segment
        };
        let event = samples::submitted();
        let delivery = delivery(&event, "segment", &["unknown"]);
        for (hours, expected) in [(47, "safe"), (48, "would_duplicate")] {
            let now = hours_later(&event, hours);
            assert_eq!(replay_safety(&forgetful, &delivery, &event, now).name(), expected);
        }
    }

    #[test]
    fn a_replayed_delivery_has_a_fresh_deadline_but_never_past_what_is_taken() {
        let event = samples::submitted();
        let now = hours_later(&event, 48);
        let deadline = |name| {
            let delivery = delivery(&event, name, &[]);
            replay_deadline(destination::find(name).unwrap(), &delivery, &event, now)
        };
        assert_eq!(deadline("crm"), after(now, 14 * 24 * 3600));
        assert_eq!(deadline("ga4"), hours_later(&event, 72));
    }
}
