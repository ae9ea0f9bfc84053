//! What the webhooks of all providers share: the signature before anything else, the one response
//! to an authentic request, receipts, and the quarantine for what is authentic and not understood.
//!
//! A [`Webhook`] says what is its own. Providers switch a subscription off that fails for long, so
//! an authentic request never gets a 4xx, and 5xx only where something is not kept. Must not
//! know any provider.

use std::fmt;
use std::future::Future;

use funil_core::contact::consent::ConsentChanges;
use funil_core::event::{Event, EventData};
use funil_core::form::Fault;
use funil_core::hash::sha256_hex;
use funil_core::id::{EventId, LeadId, QuarantineName};
use funil_core::json;
use funil_core::provider::{NotSigned, NotUnderstood, Verified};
use funil_core::receipt::ReceiptKey;
use funil_store::{
    Accepted, Count, Quarantined, QuarantinedRequest, Receipt, StoreError, StoredResponse,
    TOTALS_TARGET,
};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::Function;
use crate::api::{Body, Caller, Operation, Returned, flag, object};
use crate::app::App;
use crate::functions::Registration;
use crate::http::endpoint::{self, Access, HttpEndpoint, WEBHOOK_BYTES_MAX};
use crate::http::guard;
use crate::http::problem::{Problem, RETRY_AFTER_S, json_response, put};
use crate::intake::accept::Incoming;
use crate::intake::identify::Identified;
use crate::intake::quarantine::{self, Corrections, Released, Releases};
use crate::intake::signatures::Signatures;
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
    /// The status of the response to a request without the provider's signature.
    const UNSIGNED: StatusCode = StatusCode::UNAUTHORIZED;
    /// The status of the response to an authentic request that waits for a person.
    const QUARANTINED_STATUS: StatusCode = StatusCode::OK;
    /// A request that was understood.
    type Parsed: Send + Sync;

    /// What all endpoints work with.
    fn app(&self) -> &App;

    /// Refuses a request to an address that belongs to nothing, before anything else is checked.
    fn admit(&self, _request: &HttpRequest) -> Result<(), Problem> {
        Ok(())
    }

    /// The content type that is kept with a quarantined request. What a release needs of the address or of other headers
    /// is added to it as parameters, because nothing else is kept but the body.
    fn content_type(&self, request: &HttpRequest) -> String {
        guard::header(request, CONTENT_TYPE).unwrap_or_default().to_owned()
    }

    /// Checks the signature over the raw bytes.
    fn verify<'r>(
        &self,
        request: &'r HttpRequest,
        now: Timestamp,
    ) -> Result<Verified<'r>, NotSigned>;

    /// Reads an authentic request of this [content type](Self::content_type).
    fn parse(
        &self,
        verified: Verified<'_>,
        content_type: &str,
    ) -> Result<Self::Parsed, NotUnderstood>;

    /// Keeps what was understood.
    fn keep(
        &self,
        parsed: &Self::Parsed,
        arrival: &Arrival,
    ) -> impl Future<Output = Result<Kept, StoreError>> + Send;

    /// When a person releases a corrected request: leaves out the parts that were understood, and kept, before the
    /// correction.
    fn without(parsed: Self::Parsed, _understood: &Self::Parsed) -> Self::Parsed {
        parsed
    }

    /// Writes the lead that a person names into a body that they release from quarantine. Returns
    /// whether the provider's requests can name one.
    fn name_lead(_body: &mut Value, _lead: LeadId) -> bool {
        false
    }

    /// What the response to a request says that waits for a person for this reason.
    fn quarantined_response(_why: NotUnderstood) -> Value {
        body_of_response()
    }

    /// Responds to a GET, by which some providers learn that the address is ours.
    fn handshake(&self, _request: &HttpRequest) -> Result<HttpResponse, Problem> {
        Err(Problem::Method(Self::METHODS))
    }
}

/// The circumstances in which a request is kept.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// When it came, or was released.
    pub(crate) now: Timestamp,
    /// When the platform ends the invocation.
    pub(crate) stop_at: Timestamp,
    /// The quarantined request that it is, if a person releases it. The transaction that keeps it also ends the
    /// quarantine.
    pub(crate) released: Option<QuarantineName>,
}

/// Something that a provider reported.
pub(crate) struct Report {
    /// What identifies it among the provider's reports.
    pub(crate) id: EventId,
    /// When it happened, by the provider's clock.
    pub(crate) occurred_at: Timestamp,
    /// What happened, as the event that is kept says it.
    pub(crate) data: EventData,
    /// What the person agreed to by it.
    pub(crate) consent: ConsentChanges,
}

impl Report {
    /// The report as it is kept with the lead that was found.
    pub(crate) fn of<'a, W: Webhook>(
        self,
        lead: Identified,
        receipt: &'a Receipt,
        arrival: &Arrival,
    ) -> Incoming<'a> {
        let event = Event {
            occurred_at: self.occurred_at,
            supplied_lead_id: lead.elsewhere,
            ..Event::new(self.id, lead.id, self.data, arrival.now)
        };
        Incoming {
            lead: lead.write,
            changes: lead.changes,
            consent: self.consent,
            aliases: lead.aliases,
            other_aliases: lead.objects,
            shared_aliases: lead.shared,
            person: lead.person,
            released: arrival.released.clone(),
            ..Incoming::new(W::NAME, event, receipt)
        }
    }
}

/// What became of an authentic request that was understood.
pub(crate) enum Kept {
    /// One transaction decided about the event with this id.
    Accepted(EventId, Accepted),
    /// Each of its parts was kept by itself.
    Parts {
        /// Whether a part could not be kept yet, so that the whole request has to come again.
        incomplete: bool,
        /// Why a person has to look at the request all the same.
        quarantine: Option<NotUnderstood>,
    },
    /// Each part was kept or quarantined by itself, and the response says what became of each. A release from quarantine
    /// never returns this.
    Said {
        /// The response's status.
        status: StatusCode,
        /// The response's body.
        body: Value,
    },
    /// Its event type is not handled.
    Ignored {
        /// The provider's name of it.
        event: String,
    },
    /// It could not be kept as what it says, so it is kept whole for a person.
    Quarantine(NotUnderstood),
}

/// What a webhook takes and returns.
pub(crate) fn operation<W: Webhook>(
    registration: &'static Registration,
    summary: &'static str,
) -> Operation {
    let mut operation = Operation::post(registration.name, summary)
        .refuses([Problem::Unsigned(W::UNSIGNED), Problem::TooLarge(0)])
        .returns(
            "It is kept, was kept before, is nothing that is handled, or waits for a person.",
            object([("received", flag())]),
        );
    if W::QUARANTINED_STATUS != StatusCode::OK {
        operation.returns.push(Returned {
            status: W::QUARANTINED_STATUS.as_u16(),
            when: "It is authentic and not understood, and waits for a person.",
            content: Some(("application/json", object([("received", flag())]))),
            headers: &[],
        });
    }
    operation.body = Body::OfProvider;
    if let Some(signature) = &registration.signature {
        operation.caller = Caller::Provider(signature.header);
    }
    operation
}

/// Makes the function of a webhook.
pub(crate) fn function<W: Webhook>(webhook: W) -> Function {
    endpoint::function(WebhookEndpoint { webhook, signatures: Signatures::default() })
}

struct WebhookEndpoint<W> {
    webhook: W,
    signatures: Signatures,
}

impl<W: Webhook> HttpEndpoint for WebhookEndpoint<W> {
    fn function(&self) -> &'static str {
        W::NAME
    }

    fn app(&self) -> &App {
        self.webhook.app()
    }

    fn methods(&self, request: &HttpRequest) -> &'static [Method] {
        if quarantine::is_meant(request) { quarantine::METHODS } else { W::METHODS }
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
        stop_at: Timestamp,
    ) -> Result<HttpResponse, Problem> {
        if request.method == Method::GET {
            return self.webhook.handshake(request);
        }
        if quarantine::is_meant(request) {
            return quarantine::respond(self, self.app(), request, stop_at).await;
        }
        self.webhook.admit(request)?;
        let app = self.webhook.app();
        let now = app.platform.clock.now();
        let Ok(verified) = self.webhook.verify(request, now) else {
            self.signatures.refused(app, (W::NAME, W::PROVIDER), now).await;
            return Err(Problem::Unsigned(W::UNSIGNED));
        };
        let arrival = Arrival { now, stop_at, released: None };
        let noted = self.signatures.signed(app, W::PROVIDER, now);
        let ((), response) = futures::join!(noted, self.keep(request, verified, &arrival));
        response
    }
}

impl<W: Webhook> WebhookEndpoint<W> {
    /// Keeps an authentic request.
    async fn keep(
        &self,
        request: &HttpRequest,
        verified: Verified<'_>,
        arrival: &Arrival,
    ) -> Result<HttpResponse, Problem> {
        let (app, now) = (self.webhook.app(), arrival.now);
        app.store.ready(&app.config.hash_key).await?;
        let content_type = self.webhook.content_type(request);
        let kept = match self.webhook.parse(verified, &content_type) {
            Ok(parsed) => self.webhook.keep(&parsed, arrival).await?,
            Err(why) => Kept::Quarantine(why),
        };
        match kept {
            Kept::Accepted(event, accepted) => response_to::<W>(app, &event, &accepted, now),
            Kept::Parts { incomplete, quarantine: unread } => {
                if let Some(why) = unread {
                    quarantine_request::<W>(app, (&request.body, &content_type), why, now).await?;
                }
                if incomplete { Err(Problem::Unavailable) } else { Ok(received()) }
            }
            Kept::Said { status, body } => {
                let mut response = json_response(status, &body);
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    put(&mut response.headers, RETRY_AFTER, RETRY_AFTER_S);
                }
                Ok(response)
            }
            Kept::Ignored { event } => {
                tracing::info!(
                    function = W::NAME,
                    event,
                    "{} ignored the event type {event}, which is not handled",
                    W::NAME
                );
                Ok(received())
            }
            Kept::Quarantine(why) => {
                let part = (&*request.body, &*content_type);
                let (accepted, digest) = quarantine_request::<W>(app, part, why, now).await?;
                let what = format!("the body with the digest {digest}");
                response_to::<W>(app, &what, &accepted, now)?;
                Ok(json_response(W::QUARANTINED_STATUS, &W::quarantined_response(why)))
            }
        }
    }
}

impl<W: Webhook> Releases for WebhookEndpoint<W> {
    fn source(&self) -> &'static str {
        W::PROVIDER
    }

    async fn release(
        &self,
        request: &QuarantinedRequest,
        corrections: &Corrections,
        stop_at: Timestamp,
    ) -> Result<Released, Problem> {
        let mut body = request.body.clone();
        if !corrections.is_empty() {
            let mut tree = json::parse(&body).map_err(Problem::Json)?;
            corrections.apply(&mut tree)?;
            if let Some(lead) = corrections.lead
                && !W::name_lead(&mut tree, lead)
            {
                return Err(quarantine::field_error("lead", Fault::Unexpected));
            }
            body = tree.to_string().into();
        }
        let content_type = &request.entry.content_type;
        let parsed = self.webhook.parse(Verified::released(&body), content_type);
        let mut parsed = parsed.map_err(|NotUnderstood(why)| Problem::NotUnderstood(why))?;
        if let Ok(understood) = self.webhook.parse(Verified::released(&request.body), content_type)
        {
            parsed = W::without(parsed, &understood);
        }
        let now = self.webhook.app().platform.clock.now();
        let arrival = Arrival { now, stop_at, released: Some(request.entry.name.clone()) };
        match self.webhook.keep(&parsed, &arrival).await? {
            Kept::Accepted(_, Accepted::Kept) => Ok(Released::Accepted(body_of_response())),
            Kept::Accepted(_, Accepted::Duplicate(_)) => Ok(Released::AlreadyKept),
            Kept::Accepted(_, Accepted::NotInQuarantine) => Err(Problem::NotInQuarantine),
            Kept::Accepted(..) | Kept::Parts { incomplete: true, .. } | Kept::Said { .. } => {
                Err(Problem::Unavailable)
            }
            Kept::Parts { quarantine: Some(NotUnderstood(why)), .. }
            | Kept::Quarantine(NotUnderstood(why)) => Err(Problem::NotUnderstood(why)),
            Kept::Parts { quarantine: None, .. } => Ok(Released::Accepted(body_of_response())),
            Kept::Ignored { .. } => Err(Problem::NotUnderstood("event_not_handled")),
        }
    }
}

/// The response to a request that one transaction decided about. `what` is the event's id, or the
/// digest of a body, for the log.
fn response_to<W: Webhook>(
    app: &App,
    what: &dyn fmt::Display,
    accepted: &Accepted,
    now: Timestamp,
) -> Result<HttpResponse, Problem> {
    match accepted {
        Accepted::Kept => Ok(received()),
        Accepted::Duplicate(_) => {
            count_duplicate::<W>(app, what, now);
            Ok(received())
        }
        // Nothing is kept, and the provider sends it again. By then the other change of the lead is done, and a
        // message that a worker held is settled.
        Accepted::Overtaken
        | Accepted::NoSuchLead
        | Accepted::OtherEmail
        | Accepted::KeyReused
        | Accepted::KeyOfAnother
        | Accepted::NotInQuarantine
        | Accepted::Exists(_)
        | Accepted::TooManyNewLeads => {
            tracing::warn!(
                function = W::NAME,
                "{} did not keep {what} and responds 503, because {}",
                W::NAME,
                why_not_kept(accepted)
            );
            Err(Problem::Unavailable)
        }
    }
}

/// Why a transaction kept nothing, for the log.
pub(crate) const fn why_not_kept(accepted: &Accepted) -> &'static str {
    match accepted {
        Accepted::Kept | Accepted::Duplicate(_) => "it is kept already",
        Accepted::Overtaken => "other requests wrote to its lead at the same time",
        Accepted::NoSuchLead => "its lead does not exist",
        Accepted::OtherEmail => "its lead id belongs to another e-mail",
        Accepted::KeyReused | Accepted::KeyOfAnother => "its key was used for other content",
        Accepted::NotInQuarantine => "it is not in quarantine any more",
        Accepted::Exists(_) => "its lead was created meanwhile",
        Accepted::TooManyNewLeads => "its e-mail has had as many new leads today as it may",
    }
}

/// Counts something that was kept before. `what` is its id, for the log.
pub(crate) fn count_duplicate<W: Webhook>(app: &App, what: &dyn fmt::Display, now: Timestamp) {
    app.platform.totals.count(Count::Duplicate(W::NAME));
    tracing::info!(
        target: TOTALS_TARGET,
        function = W::NAME,
        Duplicates = 1,
        at_ms = now.as_millisecond(),
        "responded to a duplicate of {what} to {} from its receipt",
        W::NAME
    );
}

/// Keeps an authentic request, or a part of one, for a person, once however often it comes. Returns the digest of its
/// body, too, by which it is recognised.
pub(crate) async fn quarantine_request<W: Webhook>(
    app: &App,
    (body, content_type): (&[u8], &str),
    why: NotUnderstood,
    now: Timestamp,
) -> Result<(Accepted, String), StoreError> {
    let body_digest = sha256_hex(body);
    let quarantined = Quarantined {
        source: W::PROVIDER,
        reason: why.0,
        content_type,
        body,
        email_digest: None,
        original: None,
        days: app.config.quarantine_days,
    };
    let receipt = receipt(W::PROVIDER, &["aside", &body_digest]);
    let accepted = quarantine::keep(app, &quarantined, &receipt, now).await?;
    Ok((accepted, body_digest))
}

/// Some leads in a log line: how many, and the id of the first.
pub(crate) fn leads_in_words(leads: &[LeadId]) -> String {
    match leads {
        [] => "no lead".to_owned(),
        [lead] => format!("lead {lead}"),
        [first, more @ ..] => format!("lead {first} and {} more", more.len()),
    }
}

/// The receipt of a provider's request, by what identifies it. Its content is not compared, because
/// the same event may come again with newer circumstances.
pub(crate) fn receipt(provider: &str, identity: &[&str]) -> Receipt {
    let key = ReceiptKey::of_provider(provider, identity);
    let response = StoredResponse {
        status: StatusCode::OK.as_u16(),
        headers: Vec::new(),
        body: body_of_response().to_string(),
    };
    Receipt { fingerprint: key.key.clone(), key, response, caller: None }
}

/// The response to every authentic request: providers read only its status.
fn received() -> HttpResponse {
    json_response(StatusCode::OK, &body_of_response())
}

fn body_of_response() -> Value {
    serde_json::json!({"received": true})
}
