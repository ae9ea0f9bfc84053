//! `calendar-webhook`: Calendly tells that a call was booked, called off, moved, or missed.
//!
//! Finds whose booking it is and accepts what happened; whoever booked and is nobody's lead becomes
//! one. Calls no provider, and answers no 4xx to an authentic call: Calendly switches a subscription
//! off that fails for a day (`provider-apis.md` §4).

use funil_core::config::{ConfigError, Env, Secret};
use funil_core::consent::ConsentChanges;
use funil_core::destination::AliasDigests;
use funil_core::event::Event;
use funil_core::hash::{Digest, sha256_hex};
use funil_core::id::LeadId;
use funil_core::idempotency::ReceiptKey;
use funil_core::lead::{Lead, LeadChanges, LeadLatest};
use funil_core::pii::Text;
use funil_core::provider::NotUnderstood;
use funil_core::provider::calendly::{self, Notice, Parsed};
use funil_store::{Accepted, LeadWrite, Quarantined, Receipt, Shell, StoreError, StoredAnswer};
use http::header::CONTENT_TYPE;
use http::{HeaderName, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Function;
use crate::booking::BookingWord;
use crate::doorbell::Doorbell;
use crate::function::Answer;
use crate::guard;
use crate::http_answer::HttpAnswer;
use crate::http_call::HttpCall;
use crate::problem::{Problem, json_answer};
use crate::site::Site;
use crate::trigger::Trigger;

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
pub fn function(env: &Env, shell: &Shell) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let site = Site::read(&mut settings, shell);
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
    async fn handle(&self, trigger: Trigger) -> Answer {
        match trigger {
            Trigger::Http(call) => {
                let answered = self.call(&call).await;
                Answer::Http(answered.unwrap_or_else(|p| p.answer(guard::locale(&call))))
            }
            Trigger::Stream(_) | Trigger::Schedule | Trigger::Direct(_) => Answer::http_only(NAME),
        }
    }

    async fn call(&self, call: &HttpCall) -> Result<HttpAnswer, Problem> {
        let body = guard::webhook_body(call)?;
        let now = self.site.shell.clock.now();
        let signature = guard::header(call, SIGNATURE);
        let verified =
            calendly::verify(body, signature, &self.keys, now).map_err(|_| Problem::Unsigned)?;
        self.site.store.ready(&self.site.config.hash_key).await?;
        let accepted = match calendly::parse(verified) {
            Ok(Parsed::Other(event)) => {
                tracing::info!(function = NAME, event, "an event that is nothing to us");
                return Ok(json_answer(StatusCode::OK, &received()));
            }
            Ok(Parsed::Booking(notice)) => self.keep(call, &notice, now).await?,
            Err(why) => self.set_aside(call, why, now).await?,
        };
        match accepted {
            Accepted::Kept => {
                Doorbell::announce(self.doorbell.as_ref(), &self.site.shell).await;
                Ok(json_answer(StatusCode::OK, &received()))
            }
            Accepted::Replayed(_) => {
                tracing::info!(
                    function = NAME,
                    Duplicates = 1,
                    at_ms = now.as_millisecond(),
                    "answered a repeated call from its receipt"
                );
                Ok(json_answer(StatusCode::OK, &received()))
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
        call: &HttpCall,
        notice: &Notice,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        let lead = self.find(notice).await?;
        let Some(whose) = self.whose(notice, lead.as_ref()) else {
            return self.set_aside(call, NotUnderstood("of_nobody_known"), now).await;
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
        let receipt = receipt(notice.id.as_str());
        let word = BookingWord {
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

    /// An authentic call that cannot be taken is kept whole for a person.
    async fn set_aside(
        &self,
        call: &HttpCall,
        why: NotUnderstood,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        tracing::warn!(
            function = NAME,
            reason = why.0,
            "kept aside an authentic call for a person"
        );
        let quarantined = Quarantined {
            source: calendly::NAME,
            reason: why.0,
            content_type: guard::header(call, CONTENT_TYPE).unwrap_or_default(),
            body: &call.body,
            email_digest: None,
        };
        let receipt = receipt(&format!("aside:{}", sha256_hex(&call.body)));
        self.site.store.quarantine(&quarantined, &receipt, now, &*self.site.shell.entropy).await
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

/// The receipt of a call, by what it is known by; its content is not compared, because the same word
/// may come with a newer picture of the booking.
fn receipt(name: &str) -> Receipt {
    let key = ReceiptKey::of_provider(calendly::NAME, &[name]);
    let answer = StoredAnswer {
        status: StatusCode::OK.as_u16(),
        headers: Vec::new(),
        body: received().to_string(),
    };
    Receipt { fingerprint: key.key.clone(), key, answer }
}

/// The answer to every authentic call: Calendly reads only its status.
fn received() -> Value {
    json!({"received": true})
}
