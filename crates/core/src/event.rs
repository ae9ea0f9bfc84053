//! What happened, typed.
//!
//! An event is written once, when it is accepted, and never changed: it keeps scores, answers, page
//! and ids as they were. Who the person is now is on the lead. Knows no destination.
//!
//! Events come in groups, each with its own file and enum. A new event is an entry in its group's
//! list, its payload, and what the group's methods say about it. The destinations that read the
//! group then have to say what they send; the others match the whole group.

mod call;
mod consent;
mod deal;
mod form;
mod group;
mod operation;
mod payment;
mod visit;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;

use crate::booking::{BookingChange, Call, Recipient};
use crate::contact::consent::FormConsent;
use crate::form::SpamSign;
use crate::id::{EventId, LeadId};
use crate::pii::Text;

pub use call::*;
pub use consent::*;
pub use deal::*;
pub use form::*;
pub use operation::*;
pub use payment::*;
pub use visit::*;

/// Something that happened to a lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The provider's own identity of what happened, or an id made at acceptance.
    pub id: EventId,
    /// The lead that it happened to.
    pub lead_id: LeadId,
    /// When it happened, by the clock of whoever reported it.
    pub occurred_at: Timestamp,
    /// When it was first accepted: part of its key and of its deliveries' keys.
    pub accepted_at: Timestamp,
    /// The lead id that the request carried, if the event is kept on another lead.
    pub supplied_lead_id: Option<LeadId>,
    /// What about the request looked like spam, though it was accepted.
    pub signs: Vec<SpamSign>,
    /// The browser that sent it, where a destination needs it.
    pub user_agent: Option<Text>,
    /// What happened.
    pub data: EventData,
}

impl Event {
    /// An event that happens to a lead at the time at which it is accepted, and that no browser sent.
    pub fn new(id: EventId, lead_id: LeadId, data: impl Into<EventData>, now: Timestamp) -> Self {
        Self {
            id,
            lead_id,
            occurred_at: now,
            accepted_at: now,
            supplied_lead_id: None,
            signs: Vec::new(),
            user_agent: None,
            data: data.into(),
        }
    }
}

/// What happened, with what came along, by group. Callers make one from its payload with `.into()`.
///
/// Stored, the group does not show: `{"event": "call_booked", "data": {…}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum EventData {
    /// A person submitted a form.
    Form(FormEvent),
    /// The calendar reported something about a call.
    Call(CallEvent),
    /// A payment provider reported something about a payment.
    Payment(PaymentEvent),
    /// The CRM reported something about a deal.
    Deal(DealEvent),
    /// A person changed what they consent to.
    Consent(ConsentEvent),
    /// Somebody with authority had us do something.
    Operation(OperationEvent),
    /// A page reported something of a visit.
    Visit(VisitEvent),
}

impl EventData {
    /// The name in the table, in logs and in the journey.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Form(event) => event.name(),
            Self::Call(event) => event.name(),
            Self::Payment(event) => event.name(),
            Self::Deal(event) => event.name(),
            Self::Consent(event) => event.name(),
            Self::Operation(event) => event.name(),
            Self::Visit(event) => event.name(),
        }
    }

    /// The call that this event plans messages about.
    pub fn call(&self) -> Option<&Call> {
        match self {
            Self::Call(event) => event.booked().map(|booked| &booked.call),
            Self::Operation(event) => event.call(),
            Self::Form(_)
            | Self::Payment(_)
            | Self::Deal(_)
            | Self::Consent(_)
            | Self::Visit(_) => None,
        }
    }

    /// To whom the messages about its call go, where that was decided.
    pub fn recipient(&self) -> Option<&Recipient> {
        match self {
            Self::Call(CallEvent::Booked(booked)) => booked.recipient.as_ref(),
            Self::Operation(OperationEvent::SequenceRequested(requested)) => {
                requested.recipient.as_ref()
            }
            Self::Form(_)
            | Self::Call(_)
            | Self::Payment(_)
            | Self::Deal(_)
            | Self::Consent(_)
            | Self::Operation(_)
            | Self::Visit(_) => None,
        }
    }

    /// What the form that this is decided about consent, if it had boxes for it.
    pub fn consent(&self) -> Option<Cow<'_, FormConsent>> {
        let Self::Form(event) = self else { return None };
        event.consent()
    }

    /// The names of what came along that no person typed, and that was dropped because it could not be read.
    pub fn dropped(&self) -> &[String] {
        match self {
            Self::Form(event) => event.dropped(),
            Self::Payment(event) => event.dropped(),
            Self::Deal(event) => event.dropped(),
            Self::Call(_) | Self::Consent(_) | Self::Operation(_) | Self::Visit(_) => &[],
        }
    }

    /// Whether it is a request to bring a lead up to date at a destination.
    pub fn is_sync(&self) -> bool {
        matches!(self, Self::Operation(event) if event.sync().is_some())
    }

    /// What the event changes on bookings.
    pub fn bookings(&self) -> Vec<BookingChange> {
        match self {
            Self::Call(event) => event.bookings(),
            Self::Operation(event) => event.bookings(),
            Self::Form(_)
            | Self::Payment(_)
            | Self::Deal(_)
            | Self::Consent(_)
            | Self::Visit(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use insta::assert_snapshot;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;
    use crate::destination::samples::every_event;

    /// So the tests below hold for every group.
    #[test]
    fn the_samples_have_every_event_of_every_group() {
        let groups = [
            FormEvent::NAMES,
            CallEvent::NAMES,
            PaymentEvent::NAMES,
            DealEvent::NAMES,
            ConsentEvent::NAMES,
            OperationEvent::NAMES,
            VisitEvent::NAMES,
        ];
        let seen: Vec<_> = every_event().iter().map(EventData::name).collect();
        assert_eq!(seen, groups.concat());
        let unique: BTreeSet<_> = seen.iter().collect();
        assert_eq!(unique.len(), seen.len(), "a name belongs to one group");
    }

    #[test]
    fn an_event_is_stored_under_its_flat_name() {
        for event in every_event() {
            let name = event.name();
            assert_snapshot!(name, serde_json::to_string_pretty(&event).unwrap());
        }
    }

    #[test]
    fn a_stored_event_is_read_back() {
        for event in every_event() {
            let stored = serde_json::to_value(&event).unwrap();
            assert_eq!(stored["event"], event.name());
            assert_eq!(serde_json::from_value::<EventData>(stored).unwrap(), event);
        }
    }

    /// A cancellation that named no more than its booking is stored without a call.
    #[test]
    fn a_cancellation_is_read_with_and_without_its_call() {
        let stored = |data: Value| serde_json::json!({"event": "call_canceled", "data": data});
        let read = |data: Value| serde_json::from_value::<EventData>(stored(data));
        let bare = serde_json::json!({"booking": "INV1", "withdrawal": "canceled", "invitee": {}});
        let event = read(bare.clone()).unwrap();
        let EventData::Call(CallEvent::Canceled(canceled)) = &event else { panic!() };
        assert_eq!((canceled.of.booking().as_str(), canceled.of.call()), ("INV1", None));
        assert_eq!(serde_json::to_value(&event).unwrap(), stored(bare));
        assert!(read(serde_json::json!({"withdrawal": "canceled"})).is_err());
    }

    /// An item has its attributes in any order, and others beside the event's.
    #[test]
    fn an_event_is_read_from_between_other_attributes_in_any_order() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Item {
            event_id: EventId,
            #[serde(flatten)]
            data: EventData,
        }
        for data in every_event() {
            let item = Item { event_id: EventId::of_provider("test", "1"), data };
            let Value::Object(stored) = serde_json::to_value(&item).unwrap() else { panic!() };
            assert_eq!(stored.keys().collect::<Vec<_>>(), ["data", "event", "event_id"]);
            let ordered = |names: [&str; 3]| {
                let entries = names.map(|name| format!("{name:?}:{}", stored[name]));
                format!("{{{}}}", entries.join(","))
            };
            for names in [["data", "event", "event_id"], ["event_id", "event", "data"]] {
                assert_eq!(serde_json::from_str::<Item>(&ordered(names)).unwrap(), item);
            }
        }
    }

    #[test]
    fn an_event_that_cannot_be_read_is_an_error() {
        let submitted = serde_json::to_value(&every_event()[0]).unwrap();
        let with = |name: &str, value: Value| {
            let mut stored = submitted.clone();
            stored[name] = value;
            serde_json::from_value::<EventData>(stored).map_err(|error| error.to_string())
        };
        assert!(with("event", "of_newer_code".into()).unwrap_err().contains("of_newer_code"));
        assert!(with("event", Value::Null).is_err());
        assert!(with("data", Value::Null).is_err());
        assert!(with("data", "text".into()).is_err());
        assert!(with("added_by_newer_code", "text".into()).is_ok());
    }
}
