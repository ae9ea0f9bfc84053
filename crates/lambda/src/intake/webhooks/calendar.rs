//! `calendar-webhook`: Calendly tells that a call was booked, called off, moved, or missed.
//!
//! Finds whose booking it is and accepts what happened; whoever booked and is nobody's lead becomes
//! one. Calls no provider, and answers no 4xx to an authentic call: Calendly switches a subscription
//! off that fails for a day (`provider-apis.md` §4).

use funil_core::contact::consent::ConsentChanges;
use funil_core::destination::AliasDigests;
use funil_core::event::Event;
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use funil_core::lead::{Lead, LeadChanges, LeadLatest};
use funil_core::pii::Text;
use funil_core::provider::NotUnderstood;
use funil_core::provider::calendly::{self, Notice, Parsed};
use funil_core::settings::{ConfigError, Env, Secret};
use funil_store::{Accepted, LeadWrite, Platform, StoreError};
use http::HeaderName;
use jiff::Timestamp;

use crate::Function;
use crate::app::Site;
use crate::http::guard;
use crate::http::problem::Problem;
use crate::intake::booking::BookingUpdate;
use crate::intake::doorbell::Doorbell;
use crate::intake::webhook::{receipt, received};
use crate::platform::function::Response;
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;
use crate::platform::trigger::Trigger;

const SIGNATURE: HeaderName = HeaderName::from_static(calendly::SIGNATURE_HEADER);
const NAME: &str = "calendar-webhook";
/// Under which a booking's lead is found again.
const INVITEE: &str = "calendly_invitee";

#[derive(Clone)]
struct CalendarWebhook {
    site: Site,
    keys: Vec<Secret>,
    doorbell: Option<Doorbell>,
}

/// Configures the function.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let site = Site::read(&mut settings, platform);
    let keys: Vec<Secret> =
        settings.list("CALENDLY_SIGNING_KEY").into_iter().map(Secret::new).collect();
    if keys.is_empty() {
        settings.problem::<()>("Set CALENDLY_SIGNING_KEY.");
    }
    let doorbell = site
        .as_ref()
        .and_then(|site| Doorbell::read(&mut settings, None, &site.config.service_tokens));
    let endpoint = site.map(|site| CalendarWebhook { site, keys, doorbell });
    let endpoint = settings.finish(endpoint)?;
    Ok(Function::new(NAME, move |trigger, _| {
        let endpoint = endpoint.clone();
        async move { endpoint.handle(trigger).await }
    }))
}

impl CalendarWebhook {
    async fn handle(&self, trigger: Trigger) -> Response {
        match trigger {
            Trigger::Http(call) => {
                let responded = self.call(&call).await;
                Response::Http(responded.unwrap_or_else(|p| p.response(guard::locale(&call))))
            }
            Trigger::Stream(_) | Trigger::Schedule | Trigger::Direct(_) => {
                Response::http_only(NAME)
            }
        }
    }

    async fn call(&self, call: &HttpRequest) -> Result<HttpResponse, Problem> {
        let body = guard::webhook_body(call)?;
        let now = self.site.platform.clock.now();
        let signature = guard::header(call, SIGNATURE);
        let verified =
            calendly::verify(body, signature, &self.keys, now).map_err(|_| Problem::Unsigned)?;
        self.site.store.ready(&self.site.config.hash_key).await?;
        let accepted = match calendly::parse(verified) {
            Ok(Parsed::Other(event)) => {
                tracing::info!(function = NAME, event, "an event that is nothing to us");
                return Ok(received());
            }
            Ok(Parsed::Booking(notice)) => self.keep(call, &notice, now).await?,
            Err(why) => self.site.set_aside(call, calendly::NAME, why, now).await?,
        };
        match accepted {
            Accepted::Kept => {
                Doorbell::announce(self.doorbell.as_ref(), &self.site.platform).await;
                Ok(received())
            }
            Accepted::Duplicate(_) => {
                tracing::info!(
                    function = NAME,
                    Duplicates = 1,
                    at_ms = now.as_millisecond(),
                    "answered a repeated call from its receipt"
                );
                Ok(received())
            }
            // Nothing is kept, and Calendly calls again: by then the lead is what it is, and the
            // message that a worker held is settled.
            Accepted::Overtaken
            | Accepted::NoSuchLead
            | Accepted::OtherEmail
            | Accepted::KeyReused => {
                tracing::warn!(function = NAME, "others wrote at the same time; answering 503");
                Err(Problem::Unavailable)
            }
        }
    }

    async fn keep(
        &self,
        call: &HttpRequest,
        notice: &Notice,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        let lead = self.find(notice).await?;
        let Some(whose) = self.whose(notice, lead.as_ref()) else {
            let why = NotUnderstood("of_nobody_known");
            return self.site.set_aside(call, calendly::NAME, why, now).await;
        };
        let event = Event {
            id: notice.id.clone(),
            lead_id: whose.id,
            occurred_at: notice.occurred_at,
            accepted_at: now,
            supplied_lead_id: None,
            data: notice.data.clone(),
        };
        let hash = &self.site.config.hash_key;
        let other_aliases: Vec<(&'static str, Digest)> = notice
            .bookings
            .iter()
            .map(|booking| (INVITEE, hash.digest(INVITEE, booking.as_str())))
            .collect();
        let consent = notice.invitee.as_ref().map(|_| ConsentChanges::of_booking(now));
        let consent = consent.unwrap_or_default();
        let receipt = receipt(calendly::NAME, &[notice.id.as_str()]);
        let word = BookingUpdate {
            event: &event,
            lead: whose.write,
            changes: &whose.changes,
            consent: &consent,
            told_by: NAME,
            receipt: &receipt,
            aliases: &whose.aliases,
            other_aliases: &other_aliases,
            person: &whose.person,
        };
        self.site.accept_booking(&word, now).await
    }

    /// The lead of a booking. A booking stays with the lead it first came to, and one that stands for
    /// another with that one's; then the ids that the booking link carried count, then the e-mail.
    async fn find(&self, notice: &Notice) -> Result<Option<Lead>, StoreError> {
        let store = &self.site.store;
        let hash = &self.site.config.hash_key;
        let mut ids: Vec<LeadId> = Vec::new();
        for booking in &notice.bookings {
            let digest = hash.digest(INVITEE, booking.as_str());
            ids.extend(store.leads_of((INVITEE, &digest)).await?);
        }
        ids.extend(&notice.named);
        if let Some(lead) = store.known_leads(&ids).await?.into_iter().next() {
            return Ok(Some(lead));
        }
        let Some(invitee) = &notice.invitee else { return Ok(None) };
        let digest = hash.digest("email", invitee.email.as_str());
        let ids = store.leads_of(("email", &digest)).await?;
        Ok(store.known_leads(&ids).await?.into_iter().next())
    }

    /// On whom the call is written, and what; nobody where neither a lead nor an e-mail is known.
    fn whose(&self, notice: &Notice, lead: Option<&Lead>) -> Option<Whose> {
        let hash = &self.site.config.hash_key;
        let invitee = notice.invitee.as_ref();
        let mut changes = invitee
            .map(|invitee| LeadChanges::of_booking(invitee, notice.booked_at))
            .unwrap_or_default();
        if let Some(lead) = lead {
            let added = changes.if_absent.phone.clone().filter(|_| lead.latest.phone.is_none());
            let aliases =
                AliasDigests::of(&LeadLatest { phone: added, ..LeadLatest::default() }, hash);
            let mut person = AliasDigests::of(&lead.latest, hash);
            person.phone = person.phone.or_else(|| aliases.phone.clone());
            return Some(Whose { id: lead.id, write: LeadWrite::Known, changes, aliases, person });
        }
        let email = &invitee?.email;
        changes.latest.email = Some(email.clone());
        changes.if_absent.traffic_source = Some(Text::from(calendly::NAME));
        let aliases = AliasDigests {
            email: Some(hash.digest("email", email.as_str())),
            ..AliasDigests::of(&changes.if_absent, hash)
        };
        Some(Whose {
            id: LeadId::from_email(hash, email),
            write: LeadWrite::OfEmail,
            changes,
            person: aliases.clone(),
            aliases,
        })
    }
}

/// On whom a call is written, and what.
struct Whose {
    id: LeadId,
    write: LeadWrite,
    changes: LeadChanges,
    /// What the call adds to the person's aliases.
    aliases: AliasDigests,
    /// All of them.
    person: AliasDigests,
}
