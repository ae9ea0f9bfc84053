//! `whatsapp-webhook`: Meta reports the status of our messages, and what people wrote back.
//!
//! A status update moves its delivery forward. An opt-out revokes the person's consent at once,
//! under every name that they are known by, and withdraws what is queued for them. That somebody wants
//! to cancel or to move their call is noted, once, for a person. Everything else here may be done
//! twice, so it has no receipt: what could not be kept gets 503, and Meta sends the whole request
//! again. Nothing else that people write is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use funil_core::booking::{self, BookingId};
use funil_core::clock::after;
use funil_core::contact::Phone;
use funil_core::contact::consent::{ConsentChanges, Purpose, is_revoked};
use funil_core::delivery::{Delivery, Reason};
use funil_core::destination::AliasDigests;
use funil_core::event::{CallChangeRequested, CallWish, Event};
use funil_core::hash::Digest;
use funil_core::id::{DeliveryName, EventId, LeadId};
use funil_core::lead::{Lead, LeadChanges};
use funil_core::provider::whatsapp::{
    self, Handshake, Inbound, Number, Person, StatusUpdate, Updates, Word, Words,
};
use funil_core::provider::{NotSigned, NotUnderstood, Verified};
use funil_core::settings::{ConfigError, Env, Secret, Settings};
use funil_store::{
    Accepted, AlertKind, ConsentEvidence, LeadWrite, MessageUpdate, Platform, Recorded, StoreError,
};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use crate::Function;
use crate::api::{Operation, Returned};
use crate::app::App;
use crate::functions::{Registration, Signature};
use crate::http::guard;
use crate::http::problem::{Problem, put};
use crate::intake::accept::Incoming;
use crate::intake::webhook::{self, Arrival, Kept, Webhook};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

const APP_SECRET: &str = "WHATSAPP_APP_SECRET";
const VERIFY_TOKEN: &str = "WHATSAPP_VERIFY_TOKEN";
const OPT_OUT_WORDS: &str = "WHATSAPP_OPT_OUT_WORDS";
const SIGNATURE: HeaderName = HeaderName::from_static(whatsapp::SIGNATURE_HEADER);
/// How many leads of a number an opt-out touches. Sending skips the rest, because it looks at the number.
const LEADS_TOUCHED: usize = 25;
/// How many parts of a request are worked on at once.
const SIDE_BY_SIDE: usize = 16;
/// No part is begun with less time left than this, in seconds: one that the platform cuts off would be
/// logged as nothing.
const PART_S: i64 = 4;
/// The kinds of alias by which WhatsApp knows people.
const PHONE: &str = "phone";
const BSUID: &str = "bsuid";

/// `whatsapp-webhook`: Meta signs its requests with the app secret.
pub static REGISTRATION: Registration = Registration {
    name: "whatsapp-webhook",
    quarantine_source: Some(whatsapp::NAME),
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
    words: Words,
}

/// Makes `whatsapp-webhook`. Of its own it reads the app secret, the verify token and the opt-out words.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let app = App::read(&mut settings, platform);
    let secrets = settings.issued_secrets(APP_SECRET);
    let verify_tokens = settings.chosen_secrets(VERIFY_TOKEN);
    let words = words(&mut settings);
    let endpoint = app.zip(secrets).zip(verify_tokens).zip(words);
    let endpoint = endpoint.map(|(((app, secrets), verify_tokens), words)| WhatsAppWebhook {
        app,
        secrets,
        verify_tokens,
        words,
    });
    settings.finish(endpoint).map(webhook::function)
}

fn words(settings: &mut Settings<'_>) -> Option<Words> {
    if settings.optional(OPT_OUT_WORDS).is_none() {
        return Some(Words::default());
    }
    let words = Words::with_opt_outs(&settings.list(OPT_OUT_WORDS));
    words.or_else(|| {
        settings.problem(format!(
            "{OPT_OUT_WORDS} must have words, separated by commas, and none that takes an opt-out \
             back."
        ))
    })
}

/// Whether every part of a request was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    All,
    /// At least one part has to come again.
    NotAll,
}

/// The work on one part of a request.
type Part<'p> = BoxFuture<'p, Result<Taken, StoreError>>;

pub(crate) fn operations() -> Vec<Operation> {
    let summary = "Records the status of messages, and opt-outs, that WhatsApp reports.";
    let mut handshake =
        Operation::post(REGISTRATION.name, "Confirms to Meta that this address is ours.");
    handshake.method = Method::GET;
    handshake.query = &["hub.mode", "hub.verify_token", "hub.challenge"];
    handshake.refusals = Vec::new();
    handshake.returns = vec![Returned {
        status: 200,
        when: "The verify token is right: the challenge.",
        content: Some(("text/plain; charset=utf-8", json!({"type": "string"}))),
        headers: &["X-Content-Type-Options"],
    }];
    vec![
        webhook::operation::<WhatsAppWebhook>(&REGISTRATION, summary),
        handshake.refuses([Problem::WrongVerifyToken]),
    ]
}

impl Webhook for WhatsAppWebhook {
    const NAME: &'static str = REGISTRATION.name;
    const PROVIDER: &'static str = whatsapp::NAME;
    const METHODS: &'static [Method] = &[Method::GET, Method::POST];
    const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
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

    fn parse(&self, verified: Verified<'_>, _: &str) -> Result<Updates, NotUnderstood> {
        whatsapp::parse(verified, &self.words)
    }

    async fn keep(&self, parts: &Updates, arrival: &Arrival) -> Result<Kept, StoreError> {
        let of_nobody = AtomicBool::new(false);
        let taken = self.take(parts, &of_nobody, arrival.now, arrival.stop_at).await?;
        let quarantine = if of_nobody.into_inner() {
            Some(NotUnderstood("opt_out_of_nobody"))
        } else {
            (parts.unreadable > 0).then_some(NotUnderstood("unreadable_parts"))
        };
        Ok(Kept::Parts { incomplete: taken == Taken::NotAll, quarantine })
    }

    /// Responds to the handshake by which Meta learns that this address is ours.
    fn handshake(&self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        let handshake = Handshake::parse(&request.query).ok_or(Problem::WrongVerifyToken)?;
        if !Secret::is_one_of(handshake.token, &self.verify_tokens) {
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
    /// Takes every part by itself, so that one that cannot be kept now holds up no other. What stops
    /// messages comes first. Parts for which no time is left come again. `of_nobody` says whether
    /// somebody opted out of whom no lead is known.
    async fn take(
        &self,
        parts: &Updates,
        of_nobody: &AtomicBool,
        now: Timestamp,
        stop_at: Timestamp,
    ) -> Result<Taken, StoreError> {
        for code in &parts.errors {
            tracing::warn!(code, "WhatsApp reports error {code}, which belongs to no message");
        }
        let mut opt_outs: Vec<Part<'_>> = Vec::new();
        let mut others: Vec<Part<'_>> = Vec::new();
        for message in &parts.inbound {
            match message.word {
                Some(Word::OptOut) => {
                    opt_outs.push(Box::pin(self.opt_out(message, of_nobody, now)));
                }
                Some(Word::OptIn) => others.push(Box::pin(self.opt_in(message, now))),
                Some(Word::Call(wish)) => others.push(Box::pin(self.note(message, wish, now))),
                None => {}
            }
        }
        let mut taken = self.side_by_side(opt_outs, stop_at).await?;
        taken = taken.and(self.side_by_side(others, stop_at).await)?;
        let strangers = self.strangers(parts).await?;
        let mut introduced: Vec<Part<'_>> = Vec::new();
        for pair in &strangers {
            introduced.push(Box::pin(self.introduce(pair, now)));
        }
        taken = taken.and(self.side_by_side(introduced, stop_at).await)?;
        let mut of_leads: BTreeMap<LeadId, Vec<(DeliveryName, &StatusUpdate)>> = BTreeMap::new();
        for update in &parts.statuses {
            let Some(name) = update.delivery else {
                tracing::debug!("ignored the status of a message that Funil did not send");
                continue;
            };
            of_leads.entry(name.lead_id).or_default().push((name, update));
        }
        let mut statuses: Vec<Part<'_>> = Vec::new();
        for (lead, updates) in &of_leads {
            statuses.push(Box::pin(self.record_statuses(*lead, updates, now)));
        }
        taken.and(self.side_by_side(statuses, stop_at).await)
    }

    /// Works on several parts at once, and begins none when the time is up.
    async fn side_by_side(
        &self,
        parts: Vec<Part<'_>>,
        stop_at: Timestamp,
    ) -> Result<Taken, StoreError> {
        let mut taken = Taken::All;
        let mut parts = parts.into_iter();
        let mut begun = FuturesUnordered::new();
        loop {
            while begun.len() < SIDE_BY_SIDE && parts.len() > 0 {
                if after(self.app.platform.clock.now(), PART_S) > stop_at {
                    tracing::warn!(
                        left = parts.len(),
                        "{} has no time left for {} parts of a request; Meta is asked to send it again",
                        Self::NAME,
                        parts.len()
                    );
                    (taken, parts) = (Taken::NotAll, Vec::new().into_iter());
                }
                begun.extend(parts.next());
            }
            match begun.next().await {
                Some(done) => taken = taken.and(done)?,
                None => return Ok(taken),
            }
        }
    }

    /// The pairs of a business-scoped id and a number that came together and are not linked yet.
    async fn strangers(&self, parts: &Updates) -> Result<Vec<(Digest, Digest)>, StoreError> {
        let senders = parts.inbound.iter().map(|message| &message.person);
        let people = senders.chain(parts.statuses.iter().map(|update| &update.person));
        let pairs: BTreeSet<(Digest, Digest)> = people
            .map(|person| self.known(person))
            .filter_map(|person| person.bsuid.zip(person.phone))
            .collect();
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        let linked = self.app.store.linked_phones(&pairs).await?;
        pairs.retain(|pair| !linked.contains(pair));
        Ok(pairs)
    }

    /// Records the status updates about the messages of one lead, in their order.
    async fn record_statuses(
        &self,
        lead: LeadId,
        updates: &[(DeliveryName, &StatusUpdate)],
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let mut deliveries = self.app.store.deliveries_of(lead, whatsapp::NAME).await?;
        let mut taken = Taken::All;
        for (name, update) in updates {
            let place = deliveries.iter().position(|one| one.id == name.delivery_id);
            let mut known = place.map(|place| deliveries.swap_remove(place));
            taken = taken.and(self.take_status(update, *name, &mut known, now).await)?;
            deliveries.extend(known);
        }
        Ok(taken)
    }

    /// Takes one status update. For somebody with a username it carries only the business-scoped id;
    /// the message itself went to the number of its delivery, so both belong to one person.
    async fn take_status(
        &self,
        update: &StatusUpdate,
        name: DeliveryName,
        known: &mut Option<Delivery>,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let mut taken = self.record_status(update, name, known, now).await?;
        let person = self.known(&update.person);
        if person.phone.is_none()
            && let Some(delivery) = known
            && let Some(pair) = person.bsuid.zip(delivery.phone_digest.clone())
            && self.app.store.linked_phones(std::slice::from_ref(&pair)).await?.is_empty()
        {
            taken = taken.and(self.introduce(&pair, now).await)?;
        }
        Ok(taken)
    }

    /// Learns that a number and a business-scoped id belong to one person: what was revoked under the
    /// id counts for the number too.
    async fn introduce(
        &self,
        (bsuid, phone): &(Digest, Digest),
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let store = &self.app.store;
        let revocations = store.revocations_of((BSUID, bsuid)).await?;
        if let Some(at) = revocations.purposes.get(&Purpose::Whatsapp) {
            store.revoke(PHONE, phone, Purpose::Whatsapp, *at).await?;
            self.stop(phone, *at, now).await?;
        }
        // Written last, so that a request that broke off earlier learns it again.
        store.link_phone(bsuid, phone, now).await?;
        Ok(Taken::All)
    }

    /// The numbers of a person, as digests. A business-scoped id stands for every number that was seen
    /// with it, so that a lead made tomorrow with one of them is treated the same.
    async fn phones(&self, person: &Known) -> Result<BTreeSet<Digest>, StoreError> {
        let mut phones: BTreeSet<Digest> = person.phone.iter().cloned().collect();
        if let Some(bsuid) = &person.bsuid
            && !person.is_sure
        {
            phones.extend(self.app.store.phones_of(bsuid).await?);
        }
        Ok(phones)
    }

    /// Records that somebody wants no more messages. Only an opt-in through the same channel, or an operator, undoes
    /// it. A number that no numbering plan has may be written in another way where we know it, so a person has to
    /// look if no lead is found.
    async fn opt_out(
        &self,
        message: &Inbound,
        of_nobody: &AtomicBool,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let store = &self.app.store;
        let at = said_at(message, now);
        let person = self.known(&message.person);
        if let Some(bsuid) = &person.bsuid {
            store.revoke(BSUID, bsuid, Purpose::Whatsapp, at).await?;
        }
        let said = self.message_digest(message);
        let (mut leads, mut is_known, mut taken) = (Vec::new(), person.is_sure, Taken::All);
        for phone in self.phones(&person).await? {
            store.revoke(PHONE, &phone, Purpose::Whatsapp, at).await?;
            // The revocation stands, and sending looks at it. The other numbers are revoked too before Meta
            // is asked to send this again, so that what is queued is withdrawn as well.
            match self.stop(&phone, at, now).await {
                Ok(stopped) => leads.extend(stopped),
                Err(error) => {
                    (is_known, taken) = (true, Taken::NotAll);
                    tracing::warn!(
                        "the opt-out in message {} is kept, but what is queued could not be withdrawn; Meta is asked \
                         to send it again: {error}",
                        said.as_str()
                    );
                }
            }
            // A number that came with the id is one that we know.
            is_known |= !leads.is_empty() || person.phone.as_ref() != Some(&phone);
        }
        if !is_known {
            of_nobody.store(true, Ordering::Relaxed);
        }
        tracing::info!(
            function = Self::NAME,
            leads = leads.len(),
            "revoked WhatsApp for {}, because the person opted out in message {}",
            webhook::leads_in_words(&leads),
            said.as_str()
        );
        Ok(taken)
    }

    /// Records that somebody who had opted out wants messages again.
    async fn opt_in(&self, message: &Inbound, now: Timestamp) -> Result<Taken, StoreError> {
        let store = &self.app.store;
        let entropy = &*self.app.platform.entropy;
        let at = said_at(message, now);
        let person = self.known(&message.person);
        if let Some(bsuid) = &person.bsuid {
            store.restore(BSUID, bsuid, Purpose::Whatsapp, at).await?;
        }
        let mut leads = Vec::new();
        for phone in self.phones(&person).await? {
            store.restore(PHONE, &phone, Purpose::Whatsapp, at).await?;
            for lead in self.leads_with(&phone).await? {
                let purpose = Purpose::Whatsapp;
                let done = store.restore_of_lead(lead.id, purpose, at, Self::NAME, entropy).await?;
                leads.extend(done.then_some(lead.id));
            }
        }
        tracing::info!(
            function = Self::NAME,
            leads = leads.len(),
            "a person opted in again in message {}; their opt-out was shown on {}",
            self.message_digest(message).as_str(),
            webhook::leads_in_words(&leads)
        );
        Ok(Taken::All)
    }

    /// Notes that somebody wants to cancel or to move their call, and alerts a person: on the leads of
    /// their numbers with a call ahead, else on the newest one. Meta may send a message again, so this
    /// has a receipt.
    async fn note(
        &self,
        message: &Inbound,
        wish: CallWish,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let person = self.known(&message.person);
        let mut leads: Vec<LeadId> = Vec::new();
        for phone in self.phones(&person).await? {
            leads.extend(self.leads_with(&phone).await?.iter().map(|lead| lead.id));
        }
        leads.truncate(LEADS_TOUCHED);
        let mut wishes: Vec<(LeadId, Option<BookingId>)> = Vec::new();
        for lead in &leads {
            let bookings = self.app.store.bookings(*lead).await?;
            if let Some(next) = booking::next(&bookings, now) {
                wishes.push((*lead, Some(next.id.clone())));
            }
        }
        if wishes.is_empty() {
            wishes.extend(leads.first().map(|newest| (*newest, None)));
        }
        for (lead, booking) in wishes {
            let request = CallChangeRequested { wish, booking };
            if self.keep_request(message, lead, request, now).await? {
                let (kind, example) = (AlertKind::CallChange, lead.to_string());
                self.app.store.raise_alert(whatsapp::NAME, kind, Some(&example), now).await?;
            }
        }
        Ok(Taken::All)
    }

    /// Keeps what somebody wants on a lead, once. Returns whether it is new.
    async fn keep_request(
        &self,
        message: &Inbound,
        lead: LeadId,
        request: CallChangeRequested,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = self.event_id(message, lead);
        let receipt = webhook::receipt(whatsapp::NAME, &[id.as_str()]);
        let incoming = Incoming {
            function: Self::NAME,
            event: Event {
                id,
                lead_id: lead,
                occurred_at: said_at(message, now),
                accepted_at: now,
                supplied_lead_id: None,
                signs: Vec::new(),
                user_agent: None,
                data: request.into(),
            },
            lead: LeadWrite::Known,
            changes: LeadChanges::default(),
            consent: ConsentChanges::default(),
            explicit_consent: None,
            evidence: ConsentEvidence::default(),
            receipt: &receipt,
            aliases: AliasDigests::default(),
            beside: None,
            other_aliases: Vec::new(),
            shared_aliases: Vec::new(),
            person: AliasDigests::default(),
            released: None,
        };
        Ok(self.app.accept(&incoming, now).await? == Accepted::Kept)
    }

    /// The id of the event of a message on a lead.
    fn event_id(&self, message: &Inbound, lead: LeadId) -> EventId {
        let digest = self.message_digest(message);
        EventId::of_provider(whatsapp::NAME, &format!("message:{}:{lead}", digest.as_str()))
    }

    /// What identifies a message in event ids and in the log. WhatsApp's own id of it holds the sender's
    /// number, so a keyed digest stands for it.
    fn message_digest(&self, message: &Inbound) -> Digest {
        let number = message.person.number.as_ref().map(Number::alias_text).unwrap_or_default();
        let id = message.id.as_ref().map(|id| id.expose().clone());
        let id = id.unwrap_or_else(|| format!("{number} {:?} {:?}", message.at, message.word));
        self.app.config.hash_key.digest("wamid", &id)
    }

    /// Leads that were made with this number, at most [`LEADS_TOUCHED`].
    async fn leads_with(&self, phone: &Digest) -> Result<Vec<Lead>, StoreError> {
        let ids = self.app.store.leads_of((PHONE, phone), LEADS_TOUCHED).await?;
        self.app.store.known_leads(&ids).await
    }

    /// Withdraws what is queued for a number, and shows the revocation on the leads that are known to
    /// be of its owner. What is missed here is not sent either: sending reads what was revoked at the
    /// number. Returns the leads that have the number.
    async fn stop(
        &self,
        phone: &Digest,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<LeadId>, StoreError> {
        let store = &self.app.store;
        let entropy = &*self.app.platform.entropy;
        if !is_revoked(Purpose::Whatsapp, &[store.revocations_of((PHONE, phone)).await?]) {
            // The person opted in again later.
            return Ok(Vec::new());
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
        Ok(leads.iter().map(|lead| lead.id).collect())
    }

    /// Records how far a message came, or that it failed.
    async fn record_status(
        &self,
        update: &StatusUpdate,
        delivery: DeliveryName,
        known: &mut Option<Delivery>,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let reported = MessageUpdate {
            delivery,
            destination: whatsapp::NAME,
            status: update.status,
            code: update.code,
            at: update.at,
        };
        let recorded = self.app.store.record_status(reported, known, now).await?;
        let status = update.status.name();
        match recorded {
            Recorded::Kept => {
                tracing::info!(%delivery, status, "the message of delivery {delivery} is now {status}");
            }
            Recorded::Died => {
                let code = update.code.unwrap_or_default();
                tracing::warn!(
                    %delivery,
                    status,
                    code,
                    "the message of delivery {delivery} failed with code {code} and will not arrive"
                );
                let (kind, example) = (AlertKind::Dead, delivery.to_string());
                self.app.store.raise_alert(whatsapp::NAME, kind, Some(&example), now).await?;
                let reason = Reason::Failed(code);
                let number = known.as_ref().and_then(|known| known.phone_digest.as_ref());
                if let Some(number) = number.filter(|_| reason.is_about_number()) {
                    let (of, entropy) =
                        ((delivery.lead_id, whatsapp::NAME), &*self.app.platform.entropy);
                    let store = &self.app.store;
                    store.withdraw_messages_to(number, of, reason, now, entropy).await?;
                }
            }
            Recorded::Old | Recorded::Unknown => {
                tracing::debug!(
                    %delivery,
                    status,
                    "ignored the status {status} of the message of delivery {delivery}, which is not new"
                );
            }
            Recorded::Busy => {
                tracing::info!(
                    %delivery,
                    status,
                    "delivery {delivery} is just being written; Meta is asked to send the status {status} again"
                );
                return Ok(Taken::NotAll);
            }
        }
        Ok(Taken::All)
    }

    fn phone_digest(&self, phone: Option<&Phone>) -> Option<Digest> {
        Some(self.app.config.hash_key.digest(PHONE, &phone?.alias_text()))
    }

    fn known(&self, person: &Person) -> Known {
        let hash = &self.app.config.hash_key;
        let alias = person.number.as_ref().map(Number::alias_text);
        Known {
            phone: alias.map(|alias| hash.digest(PHONE, &alias)),
            is_sure: matches!(person.number, Some(Number::Valid(_))),
            bsuid: person.bsuid.as_ref().map(|bsuid| hash.digest(BSUID, bsuid.expose())),
        }
    }
}

/// A person by the digests of their number and of their business-scoped id.
struct Known {
    phone: Option<Digest>,
    /// Whether the number is written as we write it.
    is_sure: bool,
    bsuid: Option<Digest>,
}

/// When a message was written, to the second as WhatsApp says it. A time from a clock that is ahead
/// must not outweigh what the person writes later.
fn said_at(message: &Inbound, now: Timestamp) -> Timestamp {
    let at = message.at.unwrap_or(now).min(now);
    Timestamp::from_second(at.as_second()).unwrap_or(at)
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
                tracing::error!(
                    "a part of a request to {} could not be kept, and has to come again: {error}",
                    REGISTRATION.name
                );
                Ok(Self::NotAll)
            }
            Err(error) => Err(error),
        }
    }
}
