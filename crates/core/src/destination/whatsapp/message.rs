//! The messages about a booked call: their slots, times and templates.
//!
//! Knows no request.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::{Planned, Slot};
use crate::booking::{Call, Recipient};
use crate::clock::after;
use crate::contact::consent::Purpose;
use crate::defaults;
use crate::event::{Event, EventData, OperationEvent};
use crate::pii::Text;
use crate::settings::Settings;

/// Sent when the call is booked.
pub(super) static WELCOME: Slot = about_a_call("welcome");
/// Sent a day before the call.
pub(super) static REMINDER_24H: Slot = about_a_call("reminder_24h");
/// Sent two hours before the call, with where it is.
pub(super) static REMINDER_2H: Slot = about_a_call("reminder_2h");

/// How long after the booking the welcome may come, in hours.
const WELCOME_H: i64 = 24;
/// How long before the call the reminder of the day before may come at the latest, in hours.
const REMINDER_24H_ENDS_H: i64 = 3;

/// A slot for a message about a booked call. It needs no consent to WhatsApp, only that WhatsApp
/// was not revoked there: `docs/design.md` ("Consent").
const fn about_a_call(name: &'static str) -> Slot {
    Slot::new(name, Purpose::Contact).unless_revoked(Purpose::Whatsapp)
}

/// One of the messages about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Welcome,
    Reminder24h,
    Reminder2h,
}

impl Message {
    pub(super) const ALL: [Self; 3] = [Self::Welcome, Self::Reminder24h, Self::Reminder2h];

    pub(super) const fn slot(self) -> &'static Slot {
        match self {
            Self::Welcome => &WELCOME,
            Self::Reminder24h => &REMINDER_24H,
            Self::Reminder2h => &REMINDER_2H,
        }
    }

    /// The name of its template, unless `WHATSAPP_TEMPLATES` says another.
    pub(super) const fn template(self) -> &'static str {
        match self {
            Self::Welcome => defaults::WELCOME_TEMPLATE,
            Self::Reminder24h => defaults::REMINDER_24H_TEMPLATE,
            Self::Reminder2h => defaults::REMINDER_2H_TEMPLATE,
        }
    }

    /// What its template has in place of each variable, as an example for Meta's review.
    pub(super) const fn examples(self) -> &'static [&'static str] {
        match self {
            Self::Welcome => defaults::WELCOME_EXAMPLES,
            Self::Reminder24h => defaults::REMINDER_24H_EXAMPLES,
            Self::Reminder2h => defaults::REMINDER_2H_EXAMPLES,
        }
    }

    /// The text of its template in Portuguese.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Welcome => defaults::WELCOME_TEXT,
            Self::Reminder24h => defaults::REMINDER_24H_TEXT,
            Self::Reminder2h => defaults::REMINDER_2H_TEXT,
        }
    }

    /// When it is due, counted back from the call's start. `None` if that had passed at acceptance.
    fn due_at(self, call: &Call, accepted_at: Timestamp) -> Option<Timestamp> {
        let before_start = |hours: i64| after(call.starts_at, -hours * 3600);
        let due_at = match self {
            Self::Welcome => accepted_at,
            Self::Reminder24h => before_start(24),
            Self::Reminder2h => before_start(2),
        };
        (due_at >= accepted_at && accepted_at < call.starts_at).then_some(due_at)
    }

    /// When it is of no use any more: what it says would come too late, or be wrong.
    fn deadline(self, call: &Call, accepted_at: Timestamp) -> Timestamp {
        match self {
            Self::Welcome => after(accepted_at, WELCOME_H * 3600).min(call.starts_at),
            Self::Reminder24h => after(call.starts_at, -REMINDER_24H_ENDS_H * 3600),
            Self::Reminder2h => call.starts_at,
        }
    }
}

/// What WhatsApp takes of an event: the call to send messages about.
pub(super) struct Taken<'e> {
    pub(super) call: &'e Call,
    /// The name with which the call was booked.
    pub(super) invitee: Option<&'e Text>,
    /// To whom the message goes, where that was decided.
    pub(super) recipient: Option<&'e Recipient>,
    /// The slots that were asked for; `None` is all.
    slots: Option<&'e [String]>,
}

pub(super) fn taken(event: &EventData) -> Option<Taken<'_>> {
    use EventData::{Call, Consent, Deal, Form, Operation, Payment, Visit};

    match event {
        Call(event) => {
            let booked = event.booked()?;
            let invitee = booked.invitee.name.as_ref();
            let recipient = booked.recipient.as_ref();
            Some(Taken { call: &booked.call, invitee, recipient, slots: None })
        }
        Operation(OperationEvent::SequenceRequested(requested)) => {
            let recipient = requested.recipient.as_ref();
            let slots = requested.slots.as_deref();
            Some(Taken { call: &requested.call, invitee: None, recipient, slots })
        }
        Operation(_) | Form(_) | Payment(_) | Deal(_) | Consent(_) | Visit(_) => None,
    }
}

/// The messages whose time has not passed. None is sent after its deadline, or once its booking is
/// withdrawn.
pub(super) fn plan(event: &Event) -> Vec<Planned> {
    let Some(Taken { call, slots, .. }) = taken(&event.data) else { return Vec::new() };
    let is_wanted = |message: &Message| {
        slots.is_none_or(|slots| slots.iter().any(|slot| slot == message.slot().name))
    };
    let planned = Message::ALL.into_iter().filter(is_wanted).filter_map(|message| {
        Some(Planned {
            due_at: Some(message.due_at(call, event.accepted_at)?),
            deadline: Some(message.deadline(call, event.accepted_at)),
            booking: Some(call.booking.clone()),
            ..message.slot().into()
        })
    });
    planned.collect()
}

/// Reads `WHATSAPP_TEMPLATES`: names of templates by slot, for those that are not the default.
pub(super) fn templates(settings: &mut Settings<'_>) -> Option<BTreeMap<String, String>> {
    let Some(text) = settings.optional("WHATSAPP_TEMPLATES") else { return Some(BTreeMap::new()) };
    let names: Option<BTreeMap<String, String>> = serde_json::from_str(text).ok();
    let is_slot = |name: &String| Message::ALL.iter().any(|message| message.slot().name == name);
    let is_template = |name: &String| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let names = names.filter(|names| names.keys().all(is_slot) && names.values().all(is_template));
    names.or_else(|| {
        settings.problem(
            "WHATSAPP_TEMPLATES must be JSON with names of templates for welcome, reminder_24h and \
             reminder_2h.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::samples::booked;
    use super::*;
    use crate::booking::BookingId;

    #[test]
    fn a_message_whose_time_has_passed_is_not_planned_and_each_has_its_own_end() {
        let starts_at = booked().data.call().unwrap().starts_at;
        let hours = |hours: i64| after(starts_at, -hours * 3600);
        for (accepted_at, expected) in [
            (hours(72), vec![("welcome", 72), ("reminder_24h", 24), ("reminder_2h", 2)]),
            (hours(24), vec![("welcome", 24), ("reminder_24h", 24), ("reminder_2h", 2)]),
            (after(hours(24), 1), vec![("welcome", 24), ("reminder_2h", 2)]),
            (after(hours(2), 1), vec![("welcome", 2)]),
            (after(starts_at, -1), vec![("welcome", 0)]),
            (starts_at, vec![]),
        ] {
            let mut event = booked();
            event.accepted_at = accepted_at;
            let planned = plan(&event);
            let names: Vec<_> = planned.iter().map(|planned| planned.slot.name).collect();
            let wanted: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, wanted, "{accepted_at}");
            for (planned, (name, before)) in planned.iter().zip(expected) {
                let due_at = if name == "welcome" { accepted_at } else { hours(before) };
                assert_eq!(planned.due_at, Some(due_at), "{name}");
                let ends_at = match name {
                    "welcome" => after(accepted_at, 24 * 3600).min(starts_at),
                    "reminder_24h" => hours(3),
                    _ => starts_at,
                };
                assert_eq!(planned.deadline, Some(ends_at), "{name}");
                assert_eq!(planned.booking, Some(BookingId::parse("invitee-1").unwrap()));
                assert_eq!(planned.slot.unless_revoked, Some(Purpose::Whatsapp));
            }
        }
    }
}
