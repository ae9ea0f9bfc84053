//! `whatsapp-webhook`: Meta reports the status of our messages, and what people wrote back.
//!
//! A status update moves its delivery forward. An opt-out revokes the person's consent at once,
//! under every name that they are known by, and withdraws what is queued for them. That somebody wants
//! to cancel or to move their call is noted, once, for a person. Everything else here may be done
//! twice, so it has no receipt: what could not be kept gets 503, and Meta sends the whole request
//! again. Nothing else that people write is kept.
//!
//! Owns the order of a request's parts, and which of them come again. Status updates are in
//! `whatsapp/status.rs`, what people write in `whatsapp/inbound.rs`, and who they are in
//! `whatsapp/people.rs`.

mod inbound;
mod people;
mod status;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use funil_core::clock::after;
use funil_core::id::{DeliveryName, LeadId};
use funil_core::provider::whatsapp::{self, Handshake, StatusUpdate, Updates, Word, Words};
use funil_core::provider::{NotSigned, NotUnderstood, Verified};
use funil_core::settings::{ConfigError, Env, Secret, Settings};
use funil_store::{Platform, StoreError};
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
use crate::functions::{KeyIssuer, Registration, Signature};
use crate::http::guard;
use crate::http::problem::{Problem, put};
use crate::intake::webhook::{self, Arrival, Kept, Webhook};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

const APP_SECRET: &str = "WHATSAPP_APP_SECRET";
const VERIFY_TOKEN: &str = "WHATSAPP_VERIFY_TOKEN";
const OPT_OUT_WORDS: &str = "WHATSAPP_OPT_OUT_WORDS";
const SIGNATURE: HeaderName = HeaderName::from_static(whatsapp::SIGNATURE_HEADER);
/// How many parts of a request are worked on at once.
const SIDE_BY_SIDE: usize = 16;
/// No part is begun with less time left than this, in seconds: one that the platform cuts off would be
/// logged as nothing.
const PART_S: i64 = 4;

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
        issued_by: KeyIssuer::Provider,
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
