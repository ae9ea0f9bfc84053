//! `whatsapp-webhook`: Meta reports the status of our messages, and what people wrote back.
//!
//! A status update moves its delivery forward. An opt-out revokes the person's consent at once,
//! under every name that they are known by, and withdraws what is queued for them. Everything here
//! may be done twice, so there is no receipt: what could not be kept gets 503, and Meta
//! sends the whole request again. Nothing else that people write is kept.

use std::collections::{BTreeSet, HashSet};

use funil_core::contact::Phone;
use funil_core::contact::consent::{Purpose, Revocations, refused};
use funil_core::delivery::{Reason, StateKind};
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use funil_core::lead::Lead;
use funil_core::provider::whatsapp::{self, Handshake, Inbound, Person, StatusUpdate, Updates};
use funil_core::provider::{NotSigned, NotUnderstood, Verified};
use funil_core::settings::{ConfigError, Env, Secret};
use funil_store::{AlertKind, DeliveryKey, MessageUpdate, Platform, Recorded, StoreError};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use jiff::Timestamp;

use crate::Function;
use crate::app::App;
use crate::functions::{Registration, Signature};
use crate::http::guard;
use crate::http::problem::{Problem, put};
use crate::intake::webhook::{self, Kept, Webhook};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

const APP_SECRET: &str = "WHATSAPP_APP_SECRET";
const VERIFY_TOKEN: &str = "WHATSAPP_VERIFY_TOKEN";
const SIGNATURE: HeaderName = HeaderName::from_static(whatsapp::SIGNATURE_HEADER);
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
    verify_token: Secret,
}

/// Configures the function.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let app = App::read(&mut settings, platform);
    let secrets = webhook::secrets(&mut settings, APP_SECRET);
    let verify_token = settings.secret(VERIFY_TOKEN);
    let endpoint = app.zip(secrets).zip(verify_token);
    let endpoint = endpoint.map(|((app, secrets), verify_token)| WhatsAppWebhook {
        app,
        secrets,
        verify_token,
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

    async fn keep(&self, parts: &Updates, now: Timestamp) -> Result<Kept, StoreError> {
        let taken = self.take(parts, now).await?;
        let quarantine = (parts.unreadable > 0).then_some(NotUnderstood("unreadable_parts"));
        Ok(Kept::Parts { incomplete: taken == Taken::NotAll, quarantine })
    }

    /// Responds to the handshake by which Meta learns that this address is ours.
    fn handshake(&self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        let handshake = Handshake::parse(&request.query).ok_or(Problem::WrongVerifyToken)?;
        if !guard::is_one_of(handshake.token, std::slice::from_ref(&self.verify_token)) {
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
        let mut people = match self.recipients(&parts.statuses).await {
            Ok(people) => people,
            Err(error) => {
                taken = taken.and(Err(error))?;
                Vec::new()
            }
        };
        people.extend(parts.inbound.iter().map(|message| message.person.clone()));
        let mut introduced: HashSet<Person> = HashSet::new();
        for person in people {
            if introduced.insert(person.clone()) {
                let done = self.introduce(&person, now).await;
                taken = taken.and(done.map(|()| Taken::All))?;
            }
        }
        for message in parts.inbound.iter().filter(|message| message.opts_out) {
            let done = self.opt_out(message, now).await;
            taken = taken.and(done.map(|()| Taken::All))?;
        }
        for update in &parts.statuses {
            taken = taken.and(self.record_status(update, now).await)?;
        }
        Ok(taken)
    }

    /// The people whom the messages of these status updates went to. For somebody with a username
    /// an update carries only the business-scoped id; the message itself went to the number of its
    /// lead.
    async fn recipients(&self, statuses: &[StatusUpdate]) -> Result<Vec<Person>, StoreError> {
        let lead_of = |update: &StatusUpdate| {
            let by_id_alone = update.person.phone.is_none() && update.person.bsuid.is_some();
            update.delivery.filter(|_| by_id_alone).map(|delivery| delivery.lead_id)
        };
        let ids: Vec<LeadId> = statuses.iter().filter_map(lead_of).collect();
        let leads = self.app.store.known_leads(&ids).await?;
        let completed = statuses.iter().map(|update| {
            let lead = lead_of(update).and_then(|id| leads.iter().find(|lead| lead.id == id));
            let phone = lead.and_then(|lead| lead.latest.phone.clone());
            Person {
                phone: update.person.phone.clone().or(phone),
                bsuid: update.person.bsuid.clone(),
            }
        });
        Ok(completed.collect())
    }

    /// Learns that a number and a business-scoped id belong to one person: from now on their leads
    /// are found by either, and what was revoked under the id counts for the number too.
    async fn introduce(&self, person: &Person, now: Timestamp) -> Result<(), StoreError> {
        let (Some(phone), Some(bsuid)) =
            (self.phone_digest(person.phone.as_ref()), self.bsuid_digest(person))
        else {
            return Ok(());
        };
        let store = &self.app.store;
        let (by_phone, by_bsuid) =
            futures::try_join!(store.leads_of((PHONE, &phone)), store.leads_of((BSUID, &bsuid)))?;
        let new: Vec<LeadId> =
            by_phone.into_iter().filter(|lead| !by_bsuid.contains(lead)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let revocations = store.revocations_of((BSUID, &bsuid)).await?;
        if let Some(at) = revocations.0.get(&Purpose::Whatsapp) {
            store.revoke(PHONE, &phone, Purpose::Whatsapp, *at).await?;
            self.stop(&store.known_leads(&new).await?, *at, now).await?;
        }
        // Written last, so that a request that broke off earlier learns it again.
        for lead in new {
            store.link((BSUID, &bsuid), lead, now).await?;
        }
        Ok(())
    }

    /// Records that somebody wants no more messages.
    async fn opt_out(&self, message: &Inbound, now: Timestamp) -> Result<(), StoreError> {
        let store = &self.app.store;
        // A time from a clock that is ahead must not outweigh what the person agrees to later.
        let at = message.at.unwrap_or(now).min(now);
        let mut ids: BTreeSet<LeadId> = BTreeSet::new();
        let mut phones: BTreeSet<Digest> =
            self.phone_digest(message.person.phone.as_ref()).into_iter().collect();
        if let Some(bsuid) = self.bsuid_digest(&message.person) {
            store.revoke(BSUID, &bsuid, Purpose::Whatsapp, at).await?;
            let by_bsuid = store.leads_of((BSUID, &bsuid)).await?;
            if phones.is_empty() {
                // Their numbers are revoked too, so that a lead made tomorrow with one of them is
                // left alone.
                let leads = store.known_leads(&by_bsuid).await?;
                phones.extend(
                    leads.iter().filter_map(|lead| self.phone_digest(lead.latest.phone.as_ref())),
                );
            }
            ids.extend(by_bsuid);
        }
        for phone in &phones {
            store.revoke(PHONE, phone, Purpose::Whatsapp, at).await?;
            ids.extend(store.leads_of((PHONE, phone)).await?);
        }
        let ids: Vec<LeadId> = ids.into_iter().collect();
        let leads = store.known_leads(&ids).await?;
        self.stop(&leads, at, now).await?;
        tracing::info!(
            function = Self::NAME,
            leads = leads.len(),
            "revoked WhatsApp for {} leads of a person who opted out",
            leads.len()
        );
        Ok(())
    }

    /// Records on the leads that the person revoked WhatsApp at `at`, and withdraws what is queued.
    async fn stop(&self, leads: &[Lead], at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let store = &self.app.store;
        let entropy = &*self.app.platform.entropy;
        let revoked = [Revocations([(Purpose::Whatsapp, at)].into())];
        for lead in leads {
            // The opt-out is older than a consent that the person gave afterwards.
            if !refused(Purpose::Whatsapp, &lead.consents, &revoked) {
                continue;
            }
            store.revoke_of_lead(lead.id, Purpose::Whatsapp, at, Self::NAME, entropy).await?;
            let queued = store.deliveries_of(lead.id, whatsapp::NAME).await?;
            for delivery in
                queued.iter().filter(|delivery| delivery.state.kind() == StateKind::Pending)
            {
                let reason = Reason::NoConsent(Purpose::Whatsapp);
                // A worker that took one meanwhile reads the consent again before it sends.
                store.withdraw(&DeliveryKey::from(delivery), reason, now, entropy).await?;
            }
        }
        Ok(())
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

    fn phone_digest(&self, phone: Option<&Phone>) -> Option<Digest> {
        Some(self.app.config.hash_key.digest(PHONE, &phone?.alias_text()))
    }

    fn bsuid_digest(&self, person: &Person) -> Option<Digest> {
        let bsuid = person.bsuid.as_ref()?;
        Some(self.app.config.hash_key.digest(BSUID, bsuid.expose()))
    }
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
