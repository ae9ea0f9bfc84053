//! The destinations: a registry, and what each of them has to say.
//!
//! A destination is pure: it names the slots that an event wants ([`Destination::plan`], which needs
//! no secrets), and is a small state machine over replies ([`Adapter::next`]). The loop that sends
//! is written once, in `funil-delivery`. A new destination is one new file in `destination/` and one
//! word in `destinations!` below.

mod crm;
mod ga4;
mod graph;
mod mailerlite;
mod meta;
pub mod repetition;
#[cfg(test)]
pub(crate) mod samples;
mod segment;
mod whatsapp;

use jiff::Timestamp;

use crate::booking::{Booking, BookingId};
use crate::clock::after;
use crate::contact::consent::{
    Consents, Decision, FormConsent, Purpose, Revocations, permits, refused,
};
use crate::delivery::exchange::{Request, Response};
use crate::delivery::{Delivery, Outcome, Reason, WhenUnknown, judge};
use crate::event::{Event, EventData};
use crate::hash::{Digest, HashKey};
use crate::lead::{Lead, LeadLatest};
use crate::settings::Settings;
use repetition::ReplayPolicy;

/// Every destination there is.
pub static ALL: &[&Destination] = &[
    &crm::DESTINATION,
    &mailerlite::DESTINATION,
    &ga4::DESTINATION,
    &segment::DESTINATION,
    &meta::DESTINATION,
    &whatsapp::DESTINATION,
];

/// What a delivery brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The lead's present state, whole; one at a time per lead.
    State,
    /// What happened.
    Event,
}

/// One message of an event for one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name within the destination.
    pub name: &'static str,
    /// What the person must have agreed to.
    pub purpose: Purpose,
    /// What they must not have refused, too.
    pub unless_refused: Option<Purpose>,
}

impl Slot {
    /// A slot that needs agreement to `purpose`.
    const fn new(name: &'static str, purpose: Purpose) -> Self {
        Self { name, purpose, unless_refused: None }
    }

    /// With something that the person must not have refused.
    const fn unless_refused(self, purpose: Purpose) -> Self {
        Self { unless_refused: Some(purpose), ..self }
    }

    /// Whether its message may go to the person; if not, for want of which consent.
    pub fn permitted(&self, lead: &Consents, revocations: &[Revocations]) -> Result<(), Purpose> {
        if permits(self.purpose, lead, revocations) == Decision::Denied {
            return Err(self.purpose);
        }
        match self.unless_refused {
            Some(purpose) if refused(purpose, lead, revocations) => Err(purpose),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the call itself says no to it.
    fn denied_by(&self, consent: &FormConsent) -> bool {
        consent.denies(self.purpose)
            || self.unless_refused.is_some_and(|purpose| consent.denies(purpose))
    }
}

/// A slot that an event wants, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Which.
    pub slot: &'static Slot,
    /// When it is due; at once where nothing is said.
    pub due_at: Option<Timestamp>,
    /// Until when it is worth sending; the destination's usual time where nothing is said.
    pub deadline: Option<Timestamp>,
    /// The booking that it is about, where it is sent only while that one stands.
    pub booking: Option<BookingId>,
}

impl From<&'static Slot> for Planned {
    fn from(slot: &'static Slot) -> Self {
        Self { slot, due_at: None, deadline: None, booking: None }
    }
}

/// A tool we deliver to.
#[derive(Debug)]
pub struct Destination {
    /// Its name in `DESTINATIONS`, keys, logs and the journey.
    pub name: &'static str,
    /// The function that drains it.
    pub function: &'static str,
    /// What its deliveries bring.
    pub kind: Kind,
    /// How long a delivery is worth sending, in hours from its acceptance.
    pub deadline_h: i64,
    /// What becomes of a delivery that may have been sent.
    pub when_unknown: WhenUnknown,
    /// What it says about sending something again.
    pub replay: ReplayPolicy,
    /// How many seconds apart two messages to the same person must be, where that matters.
    pub person_pause_s: Option<i64>,
    /// Whether its deliveries are messages about one booked call each: they end with the booking, and an
    /// authorised request may plan them for a call that no calendar reported.
    pub follows_bookings: bool,
    /// How many requests a minute it takes, where that is known; `<NAME>_REQUESTS_PER_MINUTE`
    /// overrides it.
    pub requests_per_minute: Option<u32>,
    /// The variable that points it elsewhere.
    pub base_url_variable: &'static str,
    /// What the path of its base address ends with on the local stage.
    pub local_path: &'static str,
    /// Variables with which it works against a simulated provider.
    pub local_variables: &'static [(&'static str, &'static str)],
    /// Every slot there is.
    pub slots: &'static [Slot],
    /// The slots that an event wants.
    pub plan: fn(&Event) -> Vec<Planned>,
    /// Reads its credentials and makes its adapter.
    pub connect: fn(&mut Settings<'_>) -> Option<Box<dyn Adapter>>,
}

impl PartialEq for Destination {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Destination {}

impl Destination {
    /// The variable that sets its rate.
    pub fn requests_per_minute_variable(&self) -> String {
        format!("{}_REQUESTS_PER_MINUTE", self.name.to_ascii_uppercase())
    }

    /// A slot by its name.
    pub fn slot(&self, name: &str) -> Option<&'static Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }
}

/// A destination by its name.
pub fn find(name: &str) -> Option<&'static Destination> {
    ALL.iter().copied().find(|destination| destination.name == name)
}

/// A destination with its credentials.
pub trait Adapter: Send + Sync {
    /// The next step of a delivery, given the answers so far.
    fn next(&self, context: &Context<'_>, so_far: &[Response]) -> Step;
}

/// Everything a delivery is made of, read after its claim.
#[derive(Debug)]
pub struct Context<'a> {
    /// Who the person is now.
    pub lead: &'a Lead,
    /// What the person took back through a provider.
    pub revocations: &'a [Revocations],
    /// What happened then.
    pub event: &'a Event,
    /// The lead's bookings; for a message about one of them, that one.
    pub bookings: &'a [Booking],
    /// The delivery itself.
    pub delivery: &'a Delivery,
    /// Its slot.
    pub slot: &'static Slot,
    /// The time of this attempt.
    pub now: Timestamp,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Send this and come back with the answer.
    Send(Box<Request>),
    /// It is over.
    Done(Outcome),
}

impl Step {
    fn send(request: Request) -> Self {
        Self::Send(Box::new(request))
    }

    /// Over, as the status of the answer says.
    fn judged(response: &Response) -> Self {
        Self::Done(judge(response))
    }

    /// A success that cannot be read: tried again, because a proxy's page is not the provider's word.
    const fn unreadable(what: &'static str) -> Self {
        Self::Done(Outcome::Retry { reason: Reason::Answer(what), retry_after_s: None })
    }
}

/// Digests of the lead's aliases, which a delivery carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AliasDigests {
    /// Of the e-mail.
    pub email: Option<Digest>,
    /// Of the phone.
    pub phone: Option<Digest>,
}

impl AliasDigests {
    /// Of the lead's present e-mail and phone.
    pub fn of(latest: &LeadLatest, hash: &HashKey) -> Self {
        Self {
            email: latest.email.as_ref().map(|email| hash.digest("email", email.as_str())),
            phone: latest.phone.as_ref().map(|phone| hash.digest("phone", &phone.alias_text())),
        }
    }
}

/// Plans the deliveries of an event: one per slot of each enabled destination, but for what an
/// explicit consent object in the same call denies.
pub fn plan(
    event: &Event,
    enabled: &[&'static Destination],
    consent: Option<&FormConsent>,
    aliases: &AliasDigests,
) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for destination in enabled {
        if let EventData::SyncRequested(sync) = &event.data
            && sync.destination != destination.name
        {
            continue;
        }
        for planned in (destination.plan)(event) {
            if consent.is_some_and(|consent| planned.slot.denied_by(consent)) {
                continue;
            }
            let mut delivery = Delivery::planned(event, destination.name, planned.slot.name);
            delivery.due_at = planned.due_at.or(delivery.due_at);
            let usual = after(event.accepted_at, destination.deadline_h * 3600);
            delivery.deadline = planned.deadline.unwrap_or(usual);
            delivery.booking = planned.booking;
            delivery.email_digest.clone_from(&aliases.email);
            delivery.phone_digest.clone_from(&aliases.phone);
            deliveries.push(delivery);
        }
    }
    deliveries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Attendance;

    #[test]
    fn names_and_functions_are_unique_and_slots_too() {
        for (index, one) in ALL.iter().enumerate() {
            for other in &ALL[index + 1..] {
                assert_ne!(one.name, other.name);
                assert_ne!(one.function, other.function);
            }
            for (index, slot) in one.slots.iter().enumerate() {
                assert!(one.slots[index + 1..].iter().all(|other| other.name != slot.name));
            }
        }
        assert_eq!(find("crm").map(|found| found.function), Some("crm-sync"));
        assert!(find("fax").is_none());
    }

    fn planned(event: &Event, consent: Option<&FormConsent>) -> Vec<String> {
        plan(event, ALL, consent, &AliasDigests::default())
            .iter()
            .map(|delivery| format!("{}/{}", delivery.destination, delivery.slot))
            .collect()
    }

    #[test]
    fn planning_leaves_out_only_what_was_just_denied() {
        let event = samples::submitted();
        let everything = [
            "crm/lead",
            "mailerlite/questionnaire",
            "mailerlite/marketing",
            "ga4/event",
            "segment/event",
        ];
        assert_eq!(planned(&event, None), everything);
        let nothing_said = FormConsent { answers: [].into(), policy_version: None };
        assert_eq!(planned(&event, Some(&nothing_said)), everything, "unsaid is not denied");
        let denied = FormConsent {
            answers: [
                (Purpose::Analytics, Decision::Denied),
                (Purpose::MarketingEmail, Decision::Denied),
            ]
            .into(),
            policy_version: None,
        };
        assert_eq!(planned(&event, Some(&denied)), ["crm/lead", "mailerlite/questionnaire"]);
    }

    #[test]
    fn a_questionnaire_updates_state_and_is_told_to_analytics() {
        let everywhere = ["crm/lead", "mailerlite/profile", "ga4/event", "segment/event"];
        assert_eq!(planned(&samples::questionnaire(), None), everywhere);
    }

    #[test]
    fn what_becomes_of_a_call_is_planned_where_it_matters() {
        let state = ["crm/lead", "mailerlite/profile"];
        let told = [&state[..], &["ga4/event", "segment/event"]].concat();
        let of_calls = |event: &Event| {
            let planned = planned(event, None);
            planned.into_iter().filter(|one| !one.starts_with("whatsapp/")).collect::<Vec<_>>()
        };
        let booked = [&told[..], &["meta/schedule"]].concat();
        assert_eq!(of_calls(&samples::booked()), booked);
        assert_eq!(of_calls(&samples::canceled()), told);
        assert_eq!(of_calls(&samples::missed(Attendance::Missed)), told);
        assert_eq!(of_calls(&samples::missed(Attendance::MissedTakenBack)), state);
    }

    #[test]
    fn a_sync_is_planned_for_its_destination_alone() {
        assert_eq!(planned(&samples::sync("crm"), None), ["crm/lead"]);
        assert_eq!(planned(&samples::sync("mailerlite"), None), ["mailerlite/profile"]);
    }
}
