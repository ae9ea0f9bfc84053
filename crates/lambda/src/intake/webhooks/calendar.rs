//! `calendar-webhook`: Calendly reports that a call was booked, canceled, moved or missed.
//!
//! Finds the lead of the booking and keeps what happened; somebody who booked and is no lead
//! becomes one. Contacts no provider. Calendly switches a subscription off that fails for a day
//! (`docs/providers.md`, "Calendly").

use std::collections::BTreeSet;

use funil_core::booking::{NoNumber, Recipient};
use funil_core::contact::consent::ConsentChanges;
use funil_core::event::{BookedElsewhere, CallBooked, CallEvent, Event, EventData};
use funil_core::hash::Digest;
use funil_core::id::{EventId, LeadId};
use funil_core::lead::LeadChanges;
use funil_core::provider::calendly::{self, BookingUpdate, EventType, Parsed};
use funil_core::provider::{NotSigned, NotUnderstood, Verified};
use funil_core::settings::{ConfigError, Env, Secret, Settings};
use funil_store::{Platform, StoreError};
use http::HeaderName;
use jiff::Timestamp;
use serde_json::Value;

use crate::Function;
use crate::api::Operation;
use crate::app::App;
use crate::functions::{KeyIssuer, Registration, Signature};
use crate::http::guard;
use crate::intake::accept::Incoming;
use crate::intake::identify::{Hints, Identified, Writer};
use crate::intake::webhook::{self, Arrival, Kept, Report, Webhook, receipt};
use crate::platform::request::HttpRequest;

const SIGNING_KEY: &str = "CALENDLY_SIGNING_KEY";
const EVENT_TYPES: &str = "CALENDLY_EVENT_TYPES";
const SIGNATURE: HeaderName = HeaderName::from_static(calendly::SIGNATURE_HEADER);
/// The kind of alias under which a booking's lead is found again.
const INVITEE: &str = "calendly_invitee";

/// `calendar-webhook`: Calendly signs its requests with the key of the subscription.
pub static REGISTRATION: Registration = Registration {
    name: "calendar-webhook",
    quarantine_source: Some(calendly::NAME),
    variables: &[(SIGNING_KEY, "local-stage-calendly-key")],
    signature: Some(Signature {
        key_variable: SIGNING_KEY,
        issued_by: KeyIssuer::Owner,
        header: calendly::SIGNATURE_HEADER,
        sign: calendly::sign,
    }),
};

struct CalendarWebhook {
    app: App,
    keys: Vec<Secret>,
    calls: Calls,
}

/// Which event types are sales calls.
enum Calls {
    /// Every event type is a sales call.
    All,
    /// Only these event types are. Others, such as a meeting of the team, are ignored.
    Only(BTreeSet<EventType>),
}

impl Calls {
    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        if settings.optional(EVENT_TYPES).is_none() {
            return Some(Self::All);
        }
        let uris = settings.list(EVENT_TYPES);
        let types: Option<BTreeSet<EventType>> = uris.into_iter().map(EventType::parse).collect();
        match types.filter(|types| !types.is_empty()) {
            Some(types) => Some(Self::Only(types)),
            None => settings.problem(format!(
                "{EVENT_TYPES} must have addresses such as \
                 https://api.calendly.com/event_types/AAAA, separated by commas."
            )),
        }
    }
}

/// Makes `calendar-webhook`. Of its own it reads the signing keys and the event types that are sales calls.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let app = App::read_intake(&mut settings, platform);
    let keys = settings.chosen_secrets(SIGNING_KEY);
    let calls = Calls::read(&mut settings);
    let endpoint = app.zip(keys).zip(calls);
    let endpoint = endpoint.map(|((app, keys), calls)| CalendarWebhook { app, keys, calls });
    settings.finish(endpoint).map(webhook::function)
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![webhook::operation::<CalendarWebhook>(
        &REGISTRATION,
        "Records a booking that Calendly reports.",
    )]
}

impl Webhook for CalendarWebhook {
    const NAME: &'static str = REGISTRATION.name;
    const PROVIDER: &'static str = calendly::NAME;
    type Parsed = Parsed;

    fn app(&self) -> &App {
        &self.app
    }

    fn verify<'r>(
        &self,
        request: &'r HttpRequest,
        now: Timestamp,
    ) -> Result<Verified<'r>, NotSigned> {
        calendly::verify(&request.body, guard::header(request, SIGNATURE), &self.keys, now)
    }

    fn parse(&self, verified: Verified<'_>, _: &str) -> Result<Parsed, NotUnderstood> {
        calendly::parse(verified)
    }

    async fn keep(&self, parsed: &Parsed, arrival: &Arrival) -> Result<Kept, StoreError> {
        match parsed {
            Parsed::Other(event) => Ok(Kept::Ignored { event: event.clone() }),
            Parsed::Booking(update) => self.keep_booking(update, arrival).await,
        }
    }

    fn name_lead(body: &mut Value, lead: LeadId) -> bool {
        calendly::name_lead(body, lead)
    }
}

impl CalendarWebhook {
    async fn keep_booking(
        &self,
        update: &BookingUpdate,
        arrival: &Arrival,
    ) -> Result<Kept, StoreError> {
        let now = arrival.now;
        let hash = &self.app.config.hash_key;
        let objects: Vec<(&'static str, Digest)> = update
            .bookings
            .iter()
            .map(|booking| (INVITEE, hash.digest(INVITEE, booking.as_str())))
            .collect();
        if let Some(kept) = self.is_no_call(update, &objects).await? {
            return Ok(kept);
        }
        let hints = Hints {
            objects: &objects,
            lead_ids: &update.named,
            written_by: Writer::Visitor,
            email: update.invitee.email.as_ref(),
            source: calendly::NAME,
        };
        let changes = LeadChanges::of_booking(&update.invitee, update.booked_at);
        let lead = self.app.identify(&hints, changes).await?;
        let Some(lead) = lead else {
            return Ok(Kept::Quarantine(NotUnderstood("of_nobody_known")));
        };
        // A booking of another lead is left to the update that Calendly sends about it.
        let mut data = update.data.clone();
        let mut person = lead.person.clone();
        if let EventData::Call(CallEvent::Booked(booked)) = &mut data {
            let recipient = self.recipient(update, booked, lead.id).await?;
            person.phone = match &recipient {
                Recipient::Number { phone, .. } => Some(hash.digest("phone", &phone.alias_text())),
                Recipient::Nobody { .. } => None,
            };
            booked.recipient = Some(recipient);
        }
        let mut bookings = data.bookings();
        bookings.retain(|change| {
            let digest = hash.digest(INVITEE, change.id.as_str());
            lead.objects.iter().any(|(_, own)| *own == digest)
        });
        let receipt = receipt(calendly::NAME, &[update.id.as_str()]);
        // Somebody who booked asked to be contacted.
        let consent = if update.booked_at.is_some() || update.invitee.email.is_some() {
            ConsentChanges::of_contract(now)
        } else {
            ConsentChanges::default()
        };
        let beside = lead.elsewhere.and_then(|lead| elsewhere(update, lead, now));
        let report =
            Report { id: update.id.clone(), occurred_at: update.occurred_at, data, consent };
        let lead = Identified { person, ..lead };
        let incoming = Incoming { beside, ..report.of::<Self>(lead, &receipt, arrival) };
        let accepted = self.app.accept_calls(&incoming, &bookings, now).await?;
        Ok(Kept::Accepted(update.id.clone(), accepted))
    }

    /// What becomes of an update that is not about a sales call, or not known to be. A booking that is
    /// known was one when it was made, whatever the list says now, so its end counts.
    async fn is_no_call(
        &self,
        update: &BookingUpdate,
        objects: &[(&'static str, Digest)],
    ) -> Result<Option<Kept>, StoreError> {
        let Calls::Only(types) = &self.calls else { return Ok(None) };
        if update.event_type.as_ref().is_some_and(|of| types.contains(of)) {
            return Ok(None);
        }
        let is_new = update.data.call().is_some();
        for (kind, digest) in objects.iter().take(1).filter(|_| !is_new) {
            if !self.app.store.leads_of((*kind, digest), 1).await?.is_empty() {
                return Ok(None);
            }
        }
        let event = update.data.name();
        // A no-show never says what was booked. That of a sales call comes days after its booking.
        let is_no_show = matches!(&update.data, EventData::Call(CallEvent::Missed(_)));
        Ok(Some(if update.event_type.is_some() || is_no_show {
            Kept::Ignored { event: format!("{event} of another event type") }
        } else {
            Kept::Quarantine(NotUnderstood("without_event_type"))
        }))
    }

    /// To whom the messages about a new booking go: the number that it gives itself, else the one of
    /// the lead whose id it carried, if all forms of that e-mail agree. A call that was moved keeps the
    /// recipient that it had.
    async fn recipient(
        &self,
        update: &BookingUpdate,
        booked: &CallBooked,
        lead: LeadId,
    ) -> Result<Recipient, StoreError> {
        let name = booked.invitee.name.clone();
        if let Some(phone) = booked.invitee.phone.clone() {
            return Ok(Recipient::Number { phone, name });
        }
        if let Some(moved) = &booked.instead_of
            && let Some(before) = self.app.store.booking(lead, moved).await?
            && let Some(recipient) = before.recipient
        {
            return Ok(recipient);
        }
        if !update.named.contains(&lead) {
            return Ok(Recipient::Nobody { why: NoNumber::BareLink });
        }
        Ok(match self.app.agreed_recipient(lead).await? {
            Recipient::Number { phone, name: known } => {
                Recipient::Number { phone, name: name.or(known) }
            }
            nobody @ Recipient::Nobody { .. } => nobody,
        })
    }
}

/// The note on a lead whose id a booking carried, though it belongs to another e-mail.
fn elsewhere(update: &BookingUpdate, lead: LeadId, now: Timestamp) -> Option<Event> {
    let booking = update.data.call()?.booking.clone();
    let id = EventId::of_provider(calendly::NAME, &format!("elsewhere:{booking}"));
    let event = Event::new(id, lead, BookedElsewhere { booking }, now);
    Some(Event { occurred_at: update.occurred_at, ..event })
}
