//! `whatsapp-webhook`: Meta reports the status of our messages, and what people wrote back.
//!
//! A status update moves its delivery forward. An opt-out revokes the person's consent at once,
//! under every name that they are known by, and withdraws what is queued for them. Everything here
//! may be done twice, so there is no receipt: what could not be kept gets 503, and Meta
//! sends the whole request again. Nothing else that people write is kept.

use std::collections::{BTreeSet, HashSet};

use funil_core::contact::Phone;
use funil_core::contact::consent::{Purpose, is_revoked};
use funil_core::delivery::Reason;
use funil_core::hash::Digest;
use funil_core::id::DeliveryName;
use funil_core::lead::Lead;
use funil_core::provider::whatsapp::{
    self, Handshake, Inbound, Person, StatusUpdate, Updates, Word,
};
use funil_core::provider::{NotSigned, NotUnderstood, Verified};
use funil_core::settings::{ConfigError, Env, Secret};
use funil_store::{AlertKind, MessageUpdate, Platform, Recorded, StoreError};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use jiff::Timestamp;

use crate::Function;
use crate::app::App;
use crate::functions::{Registration, Signature};
use crate::http::guard;
use crate::http::problem::{Problem, put};
use crate::intake::webhook::{self, Arrival, Kept, Webhook};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

const APP_SECRET: &str = "WHATSAPP_APP_SECRET";
const VERIFY_TOKEN: &str = "WHATSAPP_VERIFY_TOKEN";
const SIGNATURE: HeaderName = HeaderName::from_static(whatsapp::SIGNATURE_HEADER);
/// How many leads of a number an opt-out touches. Sending skips the rest, because it looks at the number.
const LEADS_TOUCHED: usize = 25;
/// The kinds of alias by which WhatsApp knows people.
const PHONE: &str = "phone";
const BSUID: &str = "bsuid";

/// What is known of the function without starting it.
pub static REGISTRATION: Registration = Registration {
    name: "whatsapp-webhook",
    quarantine_source: whatsapp::NAME,
    variables: &[
        (APP_SECRET, "local-stage-whatsapp-app-secret"),
        (VERIFY_TOKEN, "local-stage-verify-token"),
    ],
    signature: Some(Signature {
        key_variable: APP_SECRET,
        header: whatsapp::SIGNATURE_HEADER,
        sign: |body, secret, _now| whatsapp::sign(secret, body),
    }),
};

struct WhatsAppWebhook {
    app: App,
    secrets: Vec<Secret>,
    verify_tokens: Vec<Secret>,
}

/// Configures the function.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let app = App::read(&mut settings, platform);
    let secrets = settings.issued_secrets(APP_SECRET);
    let verify_tokens = settings.chosen_secrets(VERIFY_TOKEN);
    let endpoint = app.zip(secrets).zip(verify_tokens);
    let endpoint = endpoint.map(|((app, secrets), verify_tokens)| WhatsAppWebhook {
        app,
        secrets,
        verify_tokens,
    });
    settings.finish(endpoint).map(webhook::function)
}

/// Whether every part of a request was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    All,
    /// At least one part has to come again.
    NotAll,
}

impl Webhook for WhatsAppWebhook {
    const NAME: &'static str = REGISTRATION.name;
    const PROVIDER: &'static str = whatsapp::NAME;
    const METHODS: &'static [Method] = &[Method::GET, Method::POST];
    type Parsed = Updates;

    fn app(&self) -> &App {
        &self.app
    }

    fn verify<'r>(
        &self,
        request: &'r HttpRequest,
        _now: Timestamp,
    ) -> Result<Verified<'r>, NotSigned> {
        whatsapp::verify(&request.body, guard::header(request, SIGNATURE), &self.secrets)
    }

    fn parse(verified: Verified<'_>) -> Result<Updates, NotUnderstood> {
        whatsapp::parse(verified)
    }

    async fn keep(&self, parts: &Updates, arrival: &Arrival) -> Result<Kept, StoreError> {
        let taken = self.take(parts, arrival.now).await?;
        let quarantine = (parts.unreadable > 0).then_some(NotUnderstood("unreadable_parts"));
        Ok(Kept::Parts { incomplete: taken == Taken::NotAll, quarantine })
    }

    /// Responds to the handshake by which Meta learns that this address is ours.
    fn handshake(&self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        let handshake = Handshake::parse(&request.query).ok_or(Problem::WrongVerifyToken)?;
        if !guard::is_one_of(handshake.token, &self.verify_tokens) {
            return Err(Problem::WrongVerifyToken);
        }
        let mut headers = HeaderMap::new();
        put(&mut headers, CONTENT_TYPE, "text/plain; charset=utf-8");
        put(&mut headers, CACHE_CONTROL, "no-store");
        put(&mut headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
        let body = handshake.challenge.to_owned().into();
        Ok(HttpResponse { status: StatusCode::OK, headers, body })
    }
}

impl WhatsAppWebhook {
    /// Takes every part by itself, so that one that cannot be kept now holds up no other.
    async fn take(&self, parts: &Updates, now: Timestamp) -> Result<Taken, StoreError> {
        for code in &parts.errors {
            tracing::warn!(code, "WhatsApp reports error {code}, which belongs to no message");
        }
        let mut taken = Taken::All;
        let mut introduced: HashSet<Known> = HashSet::new();
        let senders = parts.inbound.iter().map(|message| self.known(&message.person));
        let mut people: Vec<Known> = senders.collect();
        for update in &parts.statuses {
            match self.recipient(update).await {
                Ok(known) => people.push(known),
                Err(error) => taken = taken.and(Err(error))?,
            }
        }
        for person in people {
            if introduced.insert(person.clone()) {
                let done = self.introduce(&person, now).await;
                taken = taken.and(done.map(|()| Taken::All))?;
            }
        }
        for message in &parts.inbound {
            let done = match message.word {
                Some(Word::OptOut) => self.opt_out(message, now).await,
                Some(Word::OptIn) => self.opt_in(message, now).await,
                None => Ok(()),
            };
            taken = taken.and(done.map(|()| Taken::All))?;
        }
        for update in &parts.statuses {
            taken = taken.and(self.record_status(update, now).await)?;
        }
        Ok(taken)
    }

    /// The person whom the message of a status update went to. For somebody with a username an update
    /// carries only the business-scoped id; the message itself went to the number of its delivery.
    async fn recipient(&self, update: &StatusUpdate) -> Result<Known, StoreError> {
        let mut known = self.known(&update.person);
        if known.phone.is_none()
            && known.bsuid.is_some()
            && let Some(name) = update.delivery
        {
            let found = self.app.store.delivery_named(name).await?;
            known.phone = found.and_then(|found| found.delivery.phone_digest);
        }
        Ok(known)
    }

    /// Learns that a number and a business-scoped id belong to one person: what was revoked under the
    /// id counts for the number too.
    async fn introduce(&self, person: &Known, now: Timestamp) -> Result<(), StoreError> {
        let Known { phone: Some(phone), bsuid: Some(bsuid) } = person else { return Ok(()) };
        let store = &self.app.store;
        if store.phones_of(bsuid).await?.contains(phone) {
            return Ok(());
        }
        let revocations = store.revocations_of((BSUID, bsuid)).await?;
        if let Some(at) = revocations.0.get(&Purpose::Whatsapp) {
            store.revoke(PHONE, phone, Purpose::Whatsapp, *at).await?;
            self.stop(phone, *at, now).await?;
        }
        // Written last, so that a request that broke off earlier learns it again.
        store.link_phone(bsuid, phone, now).await
    }

    /// The numbers of a person, as digests. A business-scoped id stands for every number that was seen
    /// with it, so that a lead made tomorrow with one of them is treated the same.
    async fn phones(&self, person: &Known) -> Result<BTreeSet<Digest>, StoreError> {
        let mut phones: BTreeSet<Digest> = person.phone.iter().cloned().collect();
        if let Some(bsuid) = &person.bsuid
            && phones.is_empty()
        {
            phones.extend(self.app.store.phones_of(bsuid).await?);
        }
        Ok(phones)
    }

    /// Records that somebody wants no more messages. Nothing but a word through the same channel, or an
    /// operator, takes that back.
    async fn opt_out(&self, message: &Inbound, now: Timestamp) -> Result<(), StoreError> {
        let store = &self.app.store;
        let at = said_at(message, now);
        let person = self.known(&message.person);
        if let Some(bsuid) = &person.bsuid {
            store.revoke(BSUID, bsuid, Purpose::Whatsapp, at).await?;
        }
        let mut leads = 0;
        for phone in self.phones(&person).await? {
            store.revoke(PHONE, &phone, Purpose::Whatsapp, at).await?;
            // The revocation stands, and sending looks at it, so what follows may be missed.
            match self.stop(&phone, at, now).await {
                Ok(stopped) => leads += stopped,
                Err(error) => tracing::warn!(
                    error = %error,
                    "an opt-out is kept, but what is queued could not be withdrawn"
                ),
            }
        }
        tracing::info!(
            function = Self::NAME,
            leads,
            "revoked WhatsApp for {leads} leads of a person who opted out"
        );
        Ok(())
    }

    /// Records that somebody who had opted out wants messages again.
    async fn opt_in(&self, message: &Inbound, now: Timestamp) -> Result<(), StoreError> {
        let store = &self.app.store;
        let entropy = &*self.app.platform.entropy;
        let at = said_at(message, now);
        let person = self.known(&message.person);
        if let Some(bsuid) = &person.bsuid {
            store.restore(BSUID, bsuid, Purpose::Whatsapp, at).await?;
        }
        let mut leads = 0;
        for phone in self.phones(&person).await? {
            store.restore(PHONE, &phone, Purpose::Whatsapp, at).await?;
            for lead in self.leads_with(&phone).await? {
                let purpose = Purpose::Whatsapp;
                let done = store.restore_of_lead(lead.id, purpose, at, Self::NAME, entropy).await?;
                leads += usize::from(done);
            }
        }
        tracing::info!(
            function = Self::NAME,
            leads,
            "a person opted in again; {leads} leads had shown their opt-out"
        );
        Ok(())
    }

    /// Leads that were made with this number, at most [`LEADS_TOUCHED`].
    async fn leads_with(&self, phone: &Digest) -> Result<Vec<Lead>, StoreError> {
        let ids = self.app.store.leads_of((PHONE, phone), LEADS_TOUCHED).await?;
        self.app.store.known_leads(&ids).await
    }

    /// Withdraws what is queued for a number, and shows the revocation on the leads that are known to
    /// be of its owner. What is missed here is not sent either: sending reads what was revoked at the
    /// number. Returns how many leads have the number.
    async fn stop(
        &self,
        phone: &Digest,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let store = &self.app.store;
        let entropy = &*self.app.platform.entropy;
        if !is_revoked(Purpose::Whatsapp, &[store.revocations_of((PHONE, phone)).await?]) {
            // The person opted in again later.
            return Ok(0);
        }
        let leads = self.leads_with(phone).await?;
        for lead in &leads {
            // Anybody can add a number to a lead whose id is derived from an e-mail.
            let own = self.phone_digest(lead.latest.phone.as_ref()).as_ref() == Some(phone);
            if own && !lead.id.is_derived() {
                store.revoke_of_lead(lead.id, Purpose::Whatsapp, at, Self::NAME, entropy).await?;
            }
            // A worker that took one meanwhile reads the consent again before it sends.
            let reason = Reason::NoConsent(Purpose::Whatsapp);
            let of = (lead.id, whatsapp::NAME);
            store.withdraw_messages_to(phone, of, reason, now, entropy).await?;
        }
        Ok(leads.len())
    }

    /// Records how far a message came, or that it failed.
    async fn record_status(
        &self,
        update: &StatusUpdate,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let Some(delivery) = update.delivery else {
            tracing::debug!("ignored the status of a message that Funil did not send");
            return Ok(Taken::All);
        };
        let reported =
            MessageUpdate { delivery, status: update.status, code: update.code, at: update.at };
        let recorded = self.app.store.record_status(reported, now).await?;
        let status = update.status.name();
        match recorded {
            Recorded::Kept => {
                tracing::info!(%delivery, status, "message {delivery} is now {status}");
            }
            Recorded::Died => {
                let code = update.code.unwrap_or_default();
                tracing::warn!(%delivery, status, code, "message {delivery} failed with code {code} and will not arrive");
                let (kind, example) = (AlertKind::Dead, delivery.to_string());
                self.app.store.raise_alert(whatsapp::NAME, kind, Some(&example), now).await?;
                let reason = Reason::Failed(code);
                if reason.is_about_number() {
                    self.withdraw_others(delivery, reason, now).await?;
                }
            }
            Recorded::Old | Recorded::Unknown => {
                tracing::debug!(%delivery, status, "ignored status {status} of message {delivery}, which is not new");
            }
            Recorded::Busy => {
                tracing::info!(%delivery, status, "delivery {delivery} is just being written; Meta is asked to send {status} again");
                return Ok(Taken::NotAll);
            }
        }
        Ok(Taken::All)
    }

    /// Withdraws the lead's other messages to the number of a delivery.
    async fn withdraw_others(
        &self,
        of: DeliveryName,
        reason: Reason,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let store = &self.app.store;
        let found = store.delivery_named(of).await?.map(|found| found.delivery);
        let Some(number) = found.and_then(|delivery| delivery.phone_digest) else { return Ok(()) };
        let (of, entropy) = ((of.lead_id, whatsapp::NAME), &*self.app.platform.entropy);
        store.withdraw_messages_to(&number, of, reason, now, entropy).await.map(drop)
    }

    fn phone_digest(&self, phone: Option<&Phone>) -> Option<Digest> {
        Some(self.app.config.hash_key.digest(PHONE, &phone?.alias_text()))
    }

    fn known(&self, person: &Person) -> Known {
        let hash = &self.app.config.hash_key;
        Known {
            phone: self.phone_digest(person.phone.as_ref()),
            bsuid: person.bsuid.as_ref().map(|bsuid| hash.digest(BSUID, bsuid.expose())),
        }
    }
}

/// A person by the digests of their number and of their business-scoped id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    phone: Option<Digest>,
    bsuid: Option<Digest>,
}

/// When a message was written. A time from a clock that is ahead must not outweigh what the person
/// writes later.
fn said_at(message: &Inbound, now: Timestamp) -> Timestamp {
    message.at.unwrap_or(now).min(now)
}

impl Taken {
    /// Combines two results. A table that does not respond fails the whole request at once; an item
    /// that cannot be read holds up no other part.
    fn and(self, next: Result<Self, StoreError>) -> Result<Self, StoreError> {
        match next {
            Ok(Self::All) => Ok(self),
            Ok(Self::NotAll) => Ok(Self::NotAll),
            Err(
                error @ (StoreError::Conflict { .. }
                | StoreError::CorruptItem { .. }
                | StoreError::InvalidRequest { .. }),
            ) => {
                tracing::error!(error = %error, "a part of a request of WhatsApp could not be kept");
                Ok(Self::NotAll)
            }
            Err(error) => Err(error),
        }
    }
}
