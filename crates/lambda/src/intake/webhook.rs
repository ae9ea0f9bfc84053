//! What the webhooks of all providers share: the signature before anything else, the one response
//! to an authentic request, receipts, and the quarantine for what is authentic and not understood.
//!
//! A [`Webhook`] says what is its own. Providers switch a subscription off that fails for long, so
//! an authentic request never gets a 4xx, and 5xx only where something is not kept. Must not
//! know any provider.

use std::future::Future;

use funil_core::hash::sha256_hex;
use funil_core::provider::{NotSigned, NotUnderstood, Verified};
use funil_core::receipt::ReceiptKey;
use funil_store::{Accepted, Quarantined, Receipt, StoreError, StoredResponse};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Function;
use crate::app::App;
use crate::http::endpoint::{self, Access, HttpEndpoint, WEBHOOK_BYTES_MAX};
use crate::http::guard;
use crate::http::problem::{Problem, json_response};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

/// What is a provider's own.
pub(crate) trait Webhook: Send + Sync + 'static {
    /// The function's name.
    const NAME: &'static str;
    /// The provider's name: the scope of its receipts and of its quarantine.
    const PROVIDER: &'static str;
    /// The methods it takes.
    const METHODS: &'static [Method] = &[Method::POST];
    /// The largest body it takes, in bytes.
    const BODY_BYTES_MAX: usize = WEBHOOK_BYTES_MAX;
    /// A request that was understood.
    type Parsed: Send + Sync;

    /// What all endpoints work with.
    fn app(&self) -> &App;

    /// Checks the signature over the raw bytes.
    fn verify<'r>(
        &self,
        request: &'r HttpRequest,
        now: Timestamp,
    ) -> Result<Verified<'r>, NotSigned>;

    /// Reads an authentic request.
    fn parse(verified: Verified<'_>) -> Result<Self::Parsed, NotUnderstood>;

    /// Keeps it.
    fn keep(
        &self,
        parsed: &Self::Parsed,
        now: Timestamp,
    ) -> impl Future<Output = Result<Kept, StoreError>> + Send;

    /// Responds to a GET, by which some providers learn that the address is ours.
    fn handshake(&self, _request: &HttpRequest) -> Result<HttpResponse, Problem> {
        Err(Problem::Method(Self::METHODS))
    }
}

/// What became of an authentic request that was understood.
pub(crate) enum Kept {
    /// One transaction decided about it.
    Accepted(Accepted),
    /// Each of its parts was kept by itself.
    Parts {
        /// Whether a part could not be kept yet, so that the whole request has to come again.
        incomplete: bool,
        /// Why a person has to look at the request all the same.
        quarantine: Option<NotUnderstood>,
    },
    /// Its event type is not handled.
    Ignored {
        /// The provider's name of it.
        event: String,
    },
    /// It could not be kept as what it says, so it is kept whole for a person.
    Quarantine(NotUnderstood),
}

/// Makes the function of a webhook.
pub(crate) fn function<W: Webhook>(webhook: W) -> Function {
    endpoint::function(WebhookEndpoint(webhook))
}

struct WebhookEndpoint<W>(W);

impl<W: Webhook> HttpEndpoint for WebhookEndpoint<W> {
    fn function(&self) -> &'static str {
        W::NAME
    }

    fn app(&self) -> &App {
        self.0.app()
    }

    fn methods(&self) -> &'static [Method] {
        W::METHODS
    }

    fn access(&self) -> Access {
        Access::Public
    }

    fn body_bytes_max(&self) -> usize {
        W::BODY_BYTES_MAX
    }

    async fn respond(
        &self,
        request: &HttpRequest,
        _stop_at: Timestamp,
    ) -> Result<HttpResponse, Problem> {
        if request.method == Method::GET {
            return self.0.handshake(request);
        }
        let app = self.0.app();
        let now = app.platform.clock.now();
        let verified = self.0.verify(request, now).map_err(|NotSigned| Problem::Unsigned)?;
        app.store.ready(&app.config.hash_key).await?;
        let kept = match W::parse(verified) {
            Ok(parsed) => self.0.keep(&parsed, now).await?,
            Err(why) => Kept::Quarantine(why),
        };
        match kept {
            Kept::Accepted(accepted) => response_to::<W>(&accepted, now),
            Kept::Parts { incomplete, quarantine: unread } => {
                if let Some(why) = unread {
                    quarantine::<W>(app, request, why, now).await?;
                }
                if incomplete { Err(Problem::Unavailable) } else { Ok(received()) }
            }
            Kept::Ignored { event } => {
                tracing::info!(
                    function = W::NAME,
                    event,
                    "ignored the event type {event}, which is not handled"
                );
                Ok(received())
            }
            Kept::Quarantine(why) => {
                let accepted = quarantine::<W>(app, request, why, now).await?;
                response_to::<W>(&accepted, now)
            }
        }
    }
}

/// The response to a request that one transaction decided about.
fn response_to<W: Webhook>(accepted: &Accepted, now: Timestamp) -> Result<HttpResponse, Problem> {
    match accepted {
        Accepted::Kept => Ok(received()),
        Accepted::Duplicate(_) => {
            tracing::info!(
                function = W::NAME,
                Duplicates = 1,
                at_ms = now.as_millisecond(),
                "responded to a duplicate request to {} from its receipt",
                W::NAME
            );
            Ok(received())
        }
        // Nothing is kept, and the provider sends it again: by then the lead is what it is, and a
        // message that a worker held is settled.
        Accepted::Overtaken
        | Accepted::NoSuchLead
        | Accepted::OtherEmail
        | Accepted::KeyReused
        | Accepted::KeyOfAnother
        | Accepted::Exists(_)
        | Accepted::TooManyNewLeads => {
            tracing::warn!(
                function = W::NAME,
                "others wrote to the same lead at the same time; {} responds 503",
                W::NAME
            );
            Err(Problem::Unavailable)
        }
    }
}

/// Keeps an authentic request whole for a person, once however often it comes.
async fn quarantine<W: Webhook>(
    app: &App,
    request: &HttpRequest,
    why: NotUnderstood,
    now: Timestamp,
) -> Result<Accepted, StoreError> {
    let body_digest = sha256_hex(&request.body);
    tracing::warn!(
        provider = W::PROVIDER,
        reason = why.0,
        "kept an authentic request of {} in quarantine: {}",
        W::PROVIDER,
        why.0
    );
    let quarantined = Quarantined {
        source: W::PROVIDER,
        reason: why.0,
        content_type: guard::header(request, CONTENT_TYPE).unwrap_or_default(),
        body: &request.body,
        email_digest: None,
    };
    let receipt = receipt(W::PROVIDER, &["aside", &body_digest]);
    app.store.quarantine(&quarantined, &receipt, now, &*app.platform.entropy).await
}

/// The receipt of a provider's request, by what identifies it. Its content is not compared, because
/// the same event may come again with newer circumstances.
pub(crate) fn receipt(provider: &str, identity: &[&str]) -> Receipt {
    let key = ReceiptKey::of_provider(provider, identity);
    let response = StoredResponse {
        status: StatusCode::OK.as_u16(),
        headers: Vec::new(),
        body: body().to_string(),
    };
    Receipt { fingerprint: key.key.clone(), key, response, caller: None }
}

/// The response to every authentic request: providers read only its status.
fn received() -> HttpResponse {
    json_response(StatusCode::OK, &body())
}

fn body() -> Value {
    json!({"received": true})
}
