//! `whatsapp-webhook`: Meta tells how far our messages came, and what people wrote back.
//!
//! A status moves its delivery; an opt-out revokes the person's consent at once, at every name they
//! are known by, and withdraws what is queued for them. Everything here may be done twice, so there is
//! no receipt: what could not be kept is answered 503, and Meta sends the whole call again. Nothing
//! else that people write is kept.

use std::collections::{BTreeSet, HashSet};

use funil_core::contact::Phone;
use funil_core::contact::consent::{Purpose, Revocations, refused};
use funil_core::delivery::{Reason, StateKind};
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use funil_core::lead::Lead;
use funil_core::provider::NotUnderstood;
use funil_core::provider::whatsapp::{self, Handshake, Inbound, Person, StatusUpdate, Words};
use funil_core::settings::{ConfigError, Env, Secret};
use funil_store::{AlertKind, DeliveryKey, MessageUpdate, Platform, Recorded, StoreError};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use jiff::Timestamp;

use crate::Function;
use crate::app::Site;
use crate::http::guard;
use crate::http::problem::{Problem, put};
use crate::intake::webhook::received;
use crate::platform::function::Response;
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;
use crate::platform::trigger::Trigger;

const NAME: &str = "whatsapp-webhook";
const SIGNATURE: HeaderName = HeaderName::from_static(whatsapp::SIGNATURE_HEADER);
/// The alias kinds by which WhatsApp knows people.
const PHONE: &str = "phone";
const BSUID: &str = "bsuid";

#[derive(Clone)]
struct WhatsAppWebhook {
    site: Site,
    secrets: Vec<Secret>,
    verify_token: Secret,
}

/// Configures the function.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let site = Site::read(&mut settings, platform);
    let secrets: Vec<Secret> =
        settings.list("WHATSAPP_APP_SECRET").into_iter().map(Secret::new).collect();
    if secrets.is_empty() {
        settings.problem::<()>("Set WHATSAPP_APP_SECRET.");
    }
    let verify_token = settings.secret("WHATSAPP_VERIFY_TOKEN");
    let endpoint = site.zip(verify_token).map(|(site, verify_token)| WhatsAppWebhook {
        site,
        secrets,
        verify_token,
    });
    let endpoint = settings.finish(endpoint)?;
    Ok(Function::new(NAME, move |trigger, _| {
        let endpoint = endpoint.clone();
        async move { endpoint.handle(trigger).await }
    }))
}

/// Whether everything of a call was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    All,
    /// Something has to come again.
    NotAll,
}

impl WhatsAppWebhook {
    async fn handle(&self, trigger: Trigger) -> Response {
        match trigger {
            Trigger::Http(request) => {
                let responded = self.request(&request).await;
                Response::Http(responded.unwrap_or_else(|p| p.response(guard::locale(&request))))
            }
            Trigger::Stream(_) | Trigger::Schedule | Trigger::Direct(_) => {
                Response::http_only(NAME)
            }
        }
    }

    async fn request(&self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        if request.method == Method::GET {
            return self.shake_hands(request);
        }
        if request.method != Method::POST {
            return Err(Problem::Method("GET, POST"));
        }
        let body = guard::webhook_body(request)?;
        let signature = guard::header(request, SIGNATURE);
        let verified =
            whatsapp::verify(body, signature, &self.secrets).map_err(|_| Problem::Unsigned)?;
        self.site.store.ready(&self.site.config.hash_key).await?;
        let now = self.site.platform.clock.now();
        let words = match whatsapp::parse(verified) {
            Ok(words) => words,
            Err(why) => {
                self.site.set_aside(request, whatsapp::NAME, why, now).await?;
                return Ok(received());
            }
        };
        let taken = self.take(&words, now).await?;
        if words.unreadable > 0 {
            let why = NotUnderstood("unreadable_parts");
            self.site.set_aside(request, whatsapp::NAME, why, now).await?;
        }
        match taken {
            Taken::All => Ok(received()),
            Taken::NotAll => Err(Problem::Unavailable),
        }
    }

    /// Answers the handshake by which Meta learns that this address is ours.
    fn shake_hands(&self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
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

    /// Takes every word by itself: one that cannot be taken now holds up no other.
    async fn take(&self, words: &Words, now: Timestamp) -> Result<Taken, StoreError> {
        for code in &words.errors {
            tracing::warn!(code, "WhatsApp tells of an error that belongs to no message");
        }
        let mut taken = Taken::All;
        let mut people = match self.recipients(&words.statuses).await {
            Ok(people) => people,
            Err(error) => {
                taken = taken.and(Err(error))?;
                Vec::new()
            }
        };
        people.extend(words.inbound.iter().map(|message| message.person.clone()));
        let mut introduced: HashSet<Person> = HashSet::new();
        for person in people {
            if introduced.insert(person.clone()) {
                let done = self.introduce(&person, now).await;
                taken = taken.and(done.map(|()| Taken::All))?;
            }
        }
        for message in words.inbound.iter().filter(|message| message.opts_out) {
            let done = self.opt_out(message, now).await;
            taken = taken.and(done.map(|()| Taken::All))?;
        }
        for word in &words.statuses {
            taken = taken.and(self.record_status(word, now).await)?;
        }
        Ok(taken)
    }

    /// To whom the messages of these statuses went. Of somebody with a username a status tells the
    /// business-scoped id alone; the message went to the number of its lead.
    async fn recipients(&self, statuses: &[StatusUpdate]) -> Result<Vec<Person>, StoreError> {
        let lead_of = |word: &StatusUpdate| {
            let by_id_alone = word.person.phone.is_none() && word.person.bsuid.is_some();
            word.delivery.filter(|_| by_id_alone).map(|delivery| delivery.lead_id)
        };
        let ids: Vec<LeadId> = statuses.iter().filter_map(lead_of).collect();
        let leads = self.site.store.known_leads(&ids).await?;
        let completed = statuses.iter().map(|word| {
            let lead = lead_of(word).and_then(|id| leads.iter().find(|lead| lead.id == id));
            let phone = lead.and_then(|lead| lead.latest.phone.clone());
            Person { phone: word.person.phone.clone().or(phone), bsuid: word.person.bsuid.clone() }
        });
        Ok(completed.collect())
    }

    /// Learns that a number and a business-scoped id are one person's: their leads are found by
    /// either from now on, and what was taken back under the id counts for the number too.
    async fn introduce(&self, person: &Person, now: Timestamp) -> Result<(), StoreError> {
        let (Some(phone), Some(bsuid)) =
            (self.phone_digest(person.phone.as_ref()), self.bsuid_digest(person))
        else {
            return Ok(());
        };
        let store = &self.site.store;
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
        // Last, so that a call that broke off before is introduced again.
        for lead in new {
            store.link((BSUID, &bsuid), lead, now).await?;
        }
        Ok(())
    }

    /// Somebody wants no more messages.
    async fn opt_out(&self, message: &Inbound, now: Timestamp) -> Result<(), StoreError> {
        let store = &self.site.store;
        // A clock that is ahead must not outweigh what the person agrees to later.
        let at = message.at.unwrap_or(now).min(now);
        let mut ids: BTreeSet<LeadId> = BTreeSet::new();
        let mut phones: BTreeSet<Digest> =
            self.phone_digest(message.person.phone.as_ref()).into_iter().collect();
        if let Some(bsuid) = self.bsuid_digest(&message.person) {
            store.revoke(BSUID, &bsuid, Purpose::Whatsapp, at).await?;
            let by_bsuid = store.leads_of((BSUID, &bsuid)).await?;
            if phones.is_empty() {
                // Their numbers, so that a lead made tomorrow with one of them is left alone too.
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
            function = NAME,
            leads = leads.len(),
            "somebody wants no more WhatsApp messages"
        );
        Ok(())
    }

    /// Notes on the leads that the person took WhatsApp back at `at`, and withdraws what is queued.
    async fn stop(&self, leads: &[Lead], at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let store = &self.site.store;
        let entropy = &*self.site.platform.entropy;
        let revoked = [Revocations([(Purpose::Whatsapp, at)].into())];
        for lead in leads {
            // An old word that comes again after the person agreed anew.
            if !refused(Purpose::Whatsapp, &lead.consents, &revoked) {
                continue;
            }
            store.revoke_of_lead(lead.id, Purpose::Whatsapp, at, NAME, entropy).await?;
            let queued = store.deliveries_of(lead.id, whatsapp::NAME).await?;
            for delivery in
                queued.iter().filter(|delivery| delivery.state.kind() == StateKind::Pending)
            {
                let reason = Reason::NoConsent(Purpose::Whatsapp);
                // One that a worker took meanwhile is looked at again before it is sent.
                store.withdraw(&DeliveryKey::from(delivery), reason, now, entropy).await?;
            }
        }
        Ok(())
    }

    /// A message came further, or failed.
    async fn record_status(
        &self,
        word: &StatusUpdate,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let Some(delivery) = word.delivery else {
            tracing::debug!("a status of a message that we did not send");
            return Ok(Taken::All);
        };
        let told = MessageUpdate { delivery, status: word.status, code: word.code, at: word.at };
        let heard = self.site.store.record_status(told, now).await?;
        let status = word.status.name();
        match heard {
            Recorded::Kept => tracing::info!(%delivery, status, "a message came further"),
            Recorded::Died => {
                let code = word.code.unwrap_or_default();
                tracing::warn!(%delivery, status, code, "a message will not arrive");
                let (kind, example) = (AlertKind::Dead, delivery.to_string());
                self.site.store.raise_alert(whatsapp::NAME, kind, Some(&example), now).await?;
            }
            Recorded::Old | Recorded::Unknown => {
                tracing::debug!(%delivery, status, "a status that is nothing new");
            }
            Recorded::Busy => {
                tracing::info!(%delivery, status, "the delivery is just being written; again later");
                return Ok(Taken::NotAll);
            }
        }
        Ok(Taken::All)
    }

    fn phone_digest(&self, phone: Option<&Phone>) -> Option<Digest> {
        Some(self.site.config.hash_key.digest(PHONE, &phone?.alias_text()))
    }

    fn bsuid_digest(&self, person: &Person) -> Option<Digest> {
        let bsuid = person.bsuid.as_ref()?;
        Some(self.site.config.hash_key.digest(BSUID, bsuid.expose()))
    }
}

impl Taken {
    /// Both, where the table answered. One that does not answer now fails the call at once; an item
    /// that cannot be read holds up no other.
    fn and(self, next: Result<Self, StoreError>) -> Result<Self, StoreError> {
        match next {
            Ok(Self::All) => Ok(self),
            Ok(Self::NotAll) => Ok(Self::NotAll),
            Err(
                error @ (StoreError::Conflict { .. }
                | StoreError::CorruptItem { .. }
                | StoreError::InvalidRequest { .. }),
            ) => {
                tracing::error!(error = %error, "a word of WhatsApp's could not be kept");
                Ok(Self::NotAll)
            }
            Err(error) => Err(error),
        }
    }
}
