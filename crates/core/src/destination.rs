//! The registry of destinations, and what a destination consists of.
//!
//! A destination is pure. [`Destination::plan`] names the slots that an event wants and needs no
//! secrets; [`Adapter::next`] is a small state machine over the responses so far. Both go by the
//! one function `taken`, in which each destination says what it takes of an event. The loop that
//! sends is in `funil-delivery`. A new destination is a new file in `destination/` and its entries in
//! [`ALL`] and [`CONNECTORS`].

pub mod brevo;
pub mod c2s;
pub mod crm;
pub mod ga4;
mod graph;
pub mod mailerlite;
pub mod meta;
mod names;
mod plan;
pub mod repetition;
#[cfg(test)]
pub(crate) mod samples;
pub mod segment;
pub mod whatsapp;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::booking::{Booking, BookingId};
use crate::check::Probe;
use crate::contact::consent::{
    Consents, Decision, FormConsent, Mailbox, Purpose, Revocations, is_revoked, permits,
};
use crate::delivery::exchange::{Request, Response};
use crate::delivery::{Delivery, Effect, KeptReply, Outcome, Reason, WhenUnknown, judge};
use crate::event::Event;
use crate::id::{DeliveryId, LeadId};
use crate::lead::Lead;
use crate::pii::Pii;
use crate::settings::Settings;
use repetition::ReplayPolicy;

pub use plan::{AliasDigests, plan, wanted};

/// Every destination, in the order in which an event's deliveries are planned.
pub static ALL: &[&Destination] = &[
    &crm::DESTINATION,
    &mailerlite::DESTINATION,
    &ga4::DESTINATION,
    &ga4::visits::DESTINATION,
    &segment::DESTINATION,
    &meta::DESTINATION,
    &whatsapp::DESTINATION,
    &brevo::DESTINATION,
    &c2s::DESTINATION,
];

/// What makes the adapter of each destination of [`ALL`], in the same order. Apart from it, because whoever plans
/// deliveries uses [`ALL`] and sends nothing: so intake's functions are not linked with the adapters, and a delivery
/// function with its own only.
pub static CONNECTORS: &[&Connector] = &[
    &crm::CONNECTOR,
    &mailerlite::CONNECTOR,
    &ga4::CONNECTOR,
    &ga4::visits::CONNECTOR,
    &segment::CONNECTOR,
    &meta::CONNECTOR,
    &whatsapp::CONNECTOR,
    &brevo::CONNECTOR,
    &c2s::CONNECTOR,
];

/// What a destination's deliveries bring: `docs/design.md` ("State and event destinations").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The lead's whole state at the time of sending; one delivery at a time for each lead.
    State,
    /// What happened, as it was.
    Event,
}

/// Whose a destination's deliveries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// They are of leads: each stands in a lead's journey.
    Leads,
    /// They are of visitors, who are no leads: each delivery stands alone with its event, until its deadline. No ring
    /// announces it, no person decides about it, and no journey shows it.
    Visitors,
}

/// One kind of message to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name, unique within the destination; part of the delivery's id.
    pub name: &'static str,
    /// The purpose that the person must have agreed to.
    pub purpose: Purpose,
    /// A further purpose that they must not have revoked through its channel.
    pub unless_revoked: Option<Purpose>,
    /// A further purpose whose consent the destination checks itself. Pending deliveries end when it is revoked.
    pub asks_for: Option<Purpose>,
    /// How it reaches the person.
    pub reaches: Reaches,
}

/// How a message of a slot reaches the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaches {
    /// Not by e-mail, if at all.
    Otherwise,
    /// By an e-mail, so not where mail to the address fails.
    Mailbox,
}

impl Slot {
    /// A slot that needs agreement to `purpose`.
    const fn new(name: &'static str, purpose: Purpose) -> Self {
        Self { name, purpose, unless_revoked: None, asks_for: None, reaches: Reaches::Otherwise }
    }

    /// Adds a purpose that the person must not have revoked through its channel.
    const fn unless_revoked(self, purpose: Purpose) -> Self {
        Self { unless_revoked: Some(purpose), ..self }
    }

    /// Adds a purpose about which the destination decides by itself.
    const fn asks_for(self, purpose: Purpose) -> Self {
        Self { asks_for: Some(purpose), ..self }
    }

    /// It ends in an e-mail.
    const fn by_email(self) -> Self {
        Self { reaches: Reaches::Mailbox, ..self }
    }

    /// Whether a message may be sent now; the error is what forbids it.
    pub fn permitted(&self, lead: &Consents, revocations: &[Revocations]) -> Result<(), Reason> {
        if permits(self.purpose, lead, revocations) == Decision::Denied {
            return Err(Reason::NoConsent(self.purpose));
        }
        if let Some(purpose) = self.unless_revoked
            && is_revoked(purpose, revocations)
        {
            return Err(Reason::NoConsent(purpose));
        }
        let bounces = || revocations.iter().any(|known| known.mailbox == Mailbox::Bounces);
        if self.reaches == Reaches::Mailbox && bounces() {
            return Err(Reason::Bounced);
        }
        Ok(())
    }

    /// Whether what waits of it ends when a purpose is revoked.
    pub fn ends_with(&self, purpose: Purpose) -> bool {
        self.purpose == purpose
            || self.unless_revoked == Some(purpose)
            || self.asks_for == Some(purpose)
    }

    /// Whether the form's own consent denies it.
    fn denied_by(&self, consent: &FormConsent) -> bool {
        consent.denies(self.purpose)
    }
}

/// A slot that an event wants, with its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The slot that is wanted.
    pub slot: &'static Slot,
    /// When it is due; `None` is at once.
    pub due_at: Option<Timestamp>,
    /// When it is no longer worth sending; `None` is [`Destination::deadline_h`] after acceptance.
    pub deadline: Option<Timestamp>,
    /// The booking that it is about. It is sent only while that booking stands.
    pub booking: Option<BookingId>,
    /// What it does beside bringing the lead's present state.
    pub effect: Effect,
}

impl From<&'static Slot> for Planned {
    fn from(slot: &'static Slot) -> Self {
        Self { slot, due_at: None, deadline: None, booking: None, effect: Effect::Own }
    }
}

impl Planned {
    /// A slot that brings the lead's present state and nothing else, so that of several only the
    /// newest has to be sent.
    fn state_alone(slot: &'static Slot) -> Self {
        Self { effect: Effect::StateAlone, ..slot.into() }
    }
}

/// How many messages one number gets in a day, whatever leads they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DailyLimit {
    /// The most messages in a day, in all slots together.
    pub most: i64,
    /// The variable that overrides it.
    pub variable: &'static str,
    /// How many of them are kept for the slots in `kept_for`.
    pub kept: i64,
    /// The slots that the rest is kept for.
    pub kept_for: &'static [&'static str],
}

/// A tool that we deliver to.
#[derive(Debug)]
pub struct Destination {
    /// Its name in `DESTINATIONS`, keys, logs and the journey.
    pub name: &'static str,
    /// The function that sends its deliveries.
    pub function: &'static str,
    /// The tool that gets them, by the name of the first destination of it.
    pub provider: &'static str,
    /// Whether its deliveries bring state or events.
    pub kind: Kind,
    /// Whose its deliveries are.
    pub whose: Whose,
    /// How long a delivery is worth sending, in hours from acceptance.
    pub deadline_h: i64,
    /// What becomes of a delivery that may have been sent.
    pub when_unknown: WhenUnknown,
    /// What it does with an event that it gets again.
    pub replay: ReplayPolicy,
    /// The least time between two messages to one person, in seconds.
    pub person_pause_s: Option<i64>,
    /// Whether it keeps one record for an e-mail, whatever leads there are of it.
    pub keyed_by_email: bool,
    /// Whether what it found out in its steps is kept on the lead ([`Step::Keep`]).
    pub keeps_replies: bool,
    /// Whether its deliveries are messages about one booked call each: they end with the booking,
    /// and an authorised request may plan them for a call that no calendar reported.
    pub follows_bookings: bool,
    /// The slot of an event that a page may send by itself, too, so that the destination has to count it once.
    pub page_event: Option<&'static Slot>,
    /// How many messages one number gets in a day, if there is a limit.
    pub daily_per_number: Option<DailyLimit>,
    /// Its limit of requests per minute, if it is known. `<NAME>_REQUESTS_PER_MINUTE` overrides it.
    pub requests_per_minute: Option<u32>,
    /// The variable that overrides the address of its API.
    pub base_url_variable: &'static str,
    /// The path of its base address on the dev server, after the provider's name.
    pub local_path: &'static str,
    /// The variables of the addresses of other APIs that it uses, which have to be set, with what follows the
    /// provider's address on the dev server.
    pub other_base_urls: &'static [(&'static str, &'static str)],
    /// Names of its credentials, with their values on the dev server. Tests look for each of them
    /// in everything that is written.
    pub local_credentials: &'static [(&'static str, &'static str)],
    /// Names and values of the other variables that it needs on the dev server.
    pub local_settings: &'static [(&'static str, &'static str)],
    /// Every slot that its deliveries may be in. A worker releases a delivery whose slot is not among them.
    pub slots: &'static [Slot],
    /// The slots that an event wants, whatever the consent.
    pub plan: fn(&Event) -> Vec<Planned>,
}

impl PartialEq for Destination {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Destination {}

impl Destination {
    /// The variable that overrides [`Self::requests_per_minute`].
    pub fn requests_per_minute_variable(&self) -> String {
        format!("{}_REQUESTS_PER_MINUTE", self.name.to_ascii_uppercase())
    }

    /// All variables that it needs on the dev server besides its address, with their values.
    pub fn local_variables(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.local_credentials.iter().chain(self.local_settings).copied()
    }

    /// Finds a slot by its name; newer code may have planned one that this code lacks.
    pub fn slot(&self, name: &str) -> Option<&'static Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }
}

/// Whose the deliveries of the destination of this name are. One that this code does not know has leads.
pub fn whose(name: &str) -> Whose {
    find(name).map_or(Whose::Leads, |destination| destination.whose)
}

/// Whether a destination takes events that a page may send by itself, too, for which it has to know the browser.
pub fn page_events(enabled: &[&Destination]) -> bool {
    enabled.iter().any(|destination| destination.page_event.is_some())
}

/// The id under which such a destination gets an event, so that it counts the page's own once. `None` where none
/// gets it. Of several destinations the first decides, because a page has one id for its event.
pub fn page_event(
    event: &Event,
    enabled: &[&'static Destination],
    consent: Option<&FormConsent>,
) -> Option<DeliveryId> {
    enabled.iter().find_map(|destination| {
        let slot = destination.page_event?;
        let is_planned = (destination.plan)(event).iter().any(|planned| planned.slot == slot);
        let is_denied = consent.is_some_and(|consent| slot.denied_by(consent));
        let is_wanted = is_planned && !is_denied;
        is_wanted.then(|| DeliveryId::derive(&event.id, destination.name, slot.name))
    })
}

/// Finds a destination by its name.
pub fn find(name: &str) -> Option<&'static Destination> {
    ALL.iter().copied().find(|destination| destination.name == name)
}

/// A destination with what makes its adapter.
#[derive(Debug)]
pub struct Connector {
    /// The destination.
    pub destination: &'static Destination,
    /// Makes its adapter from its variables. `None` if one is missing or wrong, which the settings note.
    pub connect: fn(&mut Settings<'_>) -> Option<Box<dyn Adapter>>,
}

/// Finds what makes the adapter of the destination with this name.
pub fn connector(name: &str) -> Option<&'static Connector> {
    CONNECTORS.iter().copied().find(|connector| connector.destination.name == name)
}

/// A destination with its credentials.
pub trait Adapter: Send + Sync {
    /// The next step of a delivery, given the responses since the last [`Step::Keep`].
    fn next(&self, context: &Context<'_>, so_far: &[Response]) -> Step;

    /// The most requests that one delivery of a slot makes. A try that wants more ends.
    fn requests_max(&self, slot: &Slot) -> usize;

    /// What it can check of its account, by requests that change nothing.
    fn probes(&self) -> Vec<Probe<'_>>;

    /// The state of the lead that every delivery brings, as text, where the destination need not get the
    /// same state twice.
    fn state(&self, _context: &Context<'_>) -> Option<String> {
        None
    }
}

/// What a delivery's requests are built from, read after its claim.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The lead as it is now.
    pub lead: &'a Lead,
    /// What was revoked through a provider, at each of the lead's aliases.
    pub revocations: &'a [Revocations],
    /// The event as it was accepted.
    pub event: &'a Event,
    /// All bookings of the lead; for a message about one booking, only that one.
    pub bookings: &'a [Booking],
    /// The delivery that was claimed.
    pub delivery: &'a Delivery,
    /// The delivery's slot.
    pub slot: &'static Slot,
    /// The oldest lead of the e-mail, where the destination is keyed by it.
    pub oldest: Option<LeadId>,
    /// That lead, where it is another one and the slot asks for a purpose.
    pub elder: Option<&'a Lead>,
    /// Whether the destination confirmed a delivery of this lead a few minutes ago.
    pub known: Known,
    /// What it found out about this lead in earlier steps, where it [keeps](Destination::keeps_replies) that.
    pub kept: &'a [KeptReply],
}

impl<'a> Context<'a> {
    /// What came of a step, if it was taken.
    pub fn kept_reply(&self, step: &str) -> Option<&'a KeptReply> {
        self.kept.iter().find(|kept| kept.step == step)
    }
}

/// Whether the destination confirmed a delivery of this lead within the last ten minutes, and no other delivery was
/// tried since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// It did, so what it said of the lead then still holds.
    Lately,
    /// It did not, or something else was tried since.
    #[default]
    NotLately,
}

/// The next step of a delivery.
#[derive(Debug)]
pub enum Step {
    /// Send this request and come back with its response.
    Send(Box<Request>),
    /// Keep what came of a step on the lead, unless it is kept already, and come back without the responses so far.
    Keep(Box<ToKeep>),
    /// The attempt is over.
    Done(Outcome),
}

/// What came of a step, to be kept.
#[derive(Debug)]
pub struct ToKeep {
    /// The step, with what it depends on.
    pub step: String,
    /// What was found, by its names.
    pub fields: Pii<BTreeMap<String, String>>,
    /// How long it is kept.
    pub keeps: Keeps,
}

/// For how long it is kept what came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// As long as the lead.
    ForGood,
    /// For the day in the step's name, and a day more.
    ADay,
}

impl Step {
    fn keep(step: &str, fields: BTreeMap<String, String>, keeps: Keeps) -> Self {
        let fields = Pii::new(fields);
        Self::Keep(Box::new(ToKeep { step: step.to_owned(), fields, keeps }))
    }

    fn send(request: Request) -> Self {
        Self::Send(Box::new(request))
    }

    /// The attempt is over, with the outcome that the response's status says.
    fn judged(response: &Response) -> Self {
        Self::Done(judge(response))
    }

    /// A 2xx response without what it promises. It is tried again: it may be a proxy's.
    const fn unreadable(what: &'static str) -> Self {
        Self::Done(Outcome::Retry { reason: Reason::UnexpectedResponse(what), retry_after_s: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Queue;
    use crate::event::{Attendance, EventData};

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

    #[test]
    fn every_destination_has_its_connector() {
        let connected: Vec<_> = CONNECTORS.iter().map(|connector| connector.destination).collect();
        assert_eq!(connected, ALL);
    }

    /// What the documentation does not name, nobody prepares in their account.
    #[test]
    fn the_documentation_names_every_slot_field_and_event() {
        let text = include_str!("../../../docs/destinations.md");
        for destination in ALL {
            let heading = format!("\n## {}\n", destination.name);
            let (_, section) = text.split_once(&heading).expect("a section for each destination");
            let section = section.split("\n## ").next().unwrap_or_default();
            let slots = destination.slots.iter().map(|slot| slot.name);
            for name in slots.chain([destination.function]).chain(names_of(destination)) {
                assert!(section.contains(&format!("`{name}`")), "{}: {name}", destination.name);
            }
        }
        for event in samples::every_event() {
            let event = Event { data: event, ..samples::submitted() };
            let name = event.data.name();
            let is_planned = !wanted(&event, ALL, None).is_empty();
            let is_in = |text: &str| text.contains(&format!("`{name}`"));
            // What goes where of a form of the site is said once; its own event stands with its fields.
            let of_site = matches!(&event.data, EventData::Form(form) if form.of_site().is_some());
            let endpoints = include_str!("../../../docs/endpoints.md");
            // The messages of a sequence are those of a booking.
            let is_listed =
                is_in(text) || (of_site && is_in(endpoints)) || name == "sequence_requested";
            assert!(!is_planned || is_listed, "{name}");
        }
    }

    /// The names of fields or events that a destination sends and an operator may change.
    fn names_of(destination: &Destination) -> Vec<&'static str> {
        match destination.name {
            "crm" => crm::payload::FIELDS.to_vec(),
            "mailerlite" => mailerlite::FIELDS.to_vec(),
            "ga4" => ga4::EVENTS.to_vec(),
            _ => Vec::new(),
        }
    }

    fn planned(event: &Event, consent: Option<&FormConsent>) -> Vec<String> {
        plan(event, ALL, consent, &AliasDigests::default(), Queue::default())
            .iter()
            .map(|delivery| format!("{}/{}", delivery.destination, delivery.slot))
            .collect()
    }

    /// A destination gets only what it names, so a new event shows here which destinations plan it.
    #[test]
    fn every_event_is_planned_for_the_destinations_that_take_it() {
        let rows = samples::every_event().into_iter().map(|data| {
            let event = Event { data, ..samples::submitted() };
            format!("{}: {}", event.data.name(), planned(&event, None).join(" "))
        });
        let table: Vec<String> = rows.collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn planning_leaves_out_only_what_the_same_request_denies() {
        let event = samples::submitted();
        let everything = [
            "crm/lead",
            "mailerlite/questionnaire",
            "mailerlite/marketing",
            "ga4/event",
            "segment/event",
            "meta/lead",
        ];
        assert_eq!(planned(&event, None), everything);
        let unanswered = FormConsent { answers: [].into(), policy_version: None };
        assert_eq!(planned(&event, Some(&unanswered)), everything, "no answer is no denial");
        let denied = FormConsent {
            answers: [
                (Purpose::Analytics, Decision::Denied),
                (Purpose::MarketingEmail, Decision::Denied),
                (Purpose::Ads, Decision::Denied),
            ]
            .into(),
            policy_version: None,
        };
        assert_eq!(planned(&event, Some(&denied)), ["crm/lead", "mailerlite/questionnaire"]);
    }

    #[test]
    fn a_questionnaire_goes_to_state_destinations_and_analytics() {
        let everywhere = ["crm/lead", "mailerlite/profile", "ga4/event", "segment/event"];
        assert_eq!(planned(&samples::questionnaire(), None), everywhere);
    }

    #[test]
    fn an_event_of_a_call_is_planned_where_it_matters() {
        let state = ["crm/lead", "mailerlite/profile"];
        let all = [&state[..], &["ga4/event", "segment/event"]].concat();
        let of_calls = |event: &Event| {
            let planned = planned(event, None);
            planned.into_iter().filter(|one| !one.starts_with("whatsapp/")).collect::<Vec<_>>()
        };
        let booked = [&all[..], &["meta/schedule"]].concat();
        assert_eq!(of_calls(&samples::booked()), booked);
        assert_eq!(of_calls(&samples::canceled()), all);
        assert_eq!(of_calls(&samples::missed(Attendance::Missed)), all);
        assert_eq!(of_calls(&samples::missed(Attendance::MissedTakenBack)), state);
    }

    #[test]
    fn a_sequence_is_planned_for_messages_alone_and_a_decision_for_nothing() {
        let messages = ["whatsapp/welcome", "whatsapp/reminder_24h", "whatsapp/reminder_2h"];
        for data in samples::every_event() {
            let expected: &[&str] = match data.name() {
                "sequence_requested" => &messages,
                "sequence_withdrawn" | "delivery_replayed" | "delivery_settled" => &[],
                _ => continue,
            };
            assert_eq!(planned(&Event { data, ..samples::submitted() }, None), expected);
        }
    }

    #[test]
    fn a_sync_is_planned_for_its_destination_alone() {
        assert_eq!(planned(&samples::sync("crm"), None), ["crm/lead"]);
        assert_eq!(planned(&samples::sync("mailerlite"), None), ["mailerlite/profile"]);
    }
}
