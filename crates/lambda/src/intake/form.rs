//! What public forms share: who calls and how often, the same call again, robots, the one transaction
//! and its answer (design §7).
//!
//! A [`Form`] says what is its own. Calls no provider. Two round trips to the table: the rate check
//! (and, once per process, `META` beside it), then the transaction. Must not know any form's fields.

use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};

use funil_core::contact::consent::{ConsentChanges, FormConsent, Purpose};
use funil_core::contact::{Email, Phone};
use funil_core::destination::{AliasDigests, plan};
use funil_core::event::{Event, EventData};
use funil_core::form::FieldErrors;
use funil_core::form::lead::Honeypot;
use funil_core::hash::{Digest, HashKey};
use funil_core::id::{EventId, LeadId};
use funil_core::lead::LeadChanges;
use funil_core::receipt::{IdempotencyKey, ReceiptKey};
use funil_core::settings::Settings;
use funil_core::site::IntakeConfig;
use funil_store::{
    Acceptance, Accepted, ConsentEvidence, LeadWrite, Platform, Quarantined, RateLimit,
    RateVerdict, Receipt, StoreError, StoredResponse,
};
use http::header::{CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::Function;
use crate::app::Site;
use crate::http::guard::{self, Encoding};
use crate::http::problem::{Problem, json_response, put};
use crate::intake::doorbell::Doorbell;
use crate::platform::function::Response;
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;
use crate::platform::trigger::Trigger;

const RATE: RateLimit = RateLimit { requests: 10, window_s: 60 };

/// What is a form's own.
pub(crate) trait Form: Clone + Send + Sync + 'static {
    /// The function's name.
    const NAME: &'static str;
    /// A valid submission with what is computed from it.
    type Content: Send + Sync;

    /// What all forms work with.
    fn intake(&self) -> &Intake;
    /// Reads a body. Every fault is in the error.
    fn read(&self, body: &Value) -> Result<Self::Content, FieldErrors>;
    /// Who submits it.
    fn person(content: &Self::Content) -> (&Email, Option<&Phone>);
    /// What makes two submissions the same one.
    fn fingerprint(content: &Self::Content) -> String;
    /// The usual answer, which a robot gets too.
    fn response(&self, submission: &Submission<Self::Content>) -> StoredResponse;
    /// Keeps it, with [`Intake::accept`].
    fn keep(
        &self,
        submission: &Submission<Self::Content>,
    ) -> impl Future<Output = Result<(Accepted, StoredResponse), StoreError>> + Send;
}

/// What all forms work with.
#[derive(Clone)]
pub(crate) struct Intake {
    pub(crate) site: Site,
    pub(crate) config: IntakeConfig,
    doorbell: Option<Doorbell>,
}

/// A valid submission and what is known of its call.
pub(crate) struct Submission<C> {
    pub(crate) content: C,
    pub(crate) now: Timestamp,
    form: &'static str,
    encoding: Encoding,
    aliases: AliasDigests,
    evidence: ConsentEvidence,
    fingerprint: String,
    receipt_key: ReceiptKey,
}

/// What a submission causes.
pub(crate) struct Effect<'a> {
    pub(crate) lead_id: LeadId,
    /// The id that the caller gave, where it belongs to another e-mail.
    pub(crate) supplied_lead_id: Option<LeadId>,
    pub(crate) lead: LeadWrite,
    pub(crate) data: EventData,
    pub(crate) changes: LeadChanges,
    /// What the boxes say.
    pub(crate) consent: Option<&'a FormConsent>,
    /// What it means that there are none.
    pub(crate) consent_when_absent: &'a [Purpose],
    pub(crate) response: StoredResponse,
}

/// The function of a form.
pub(crate) fn function<F: Form>(form: F) -> Function {
    Function::new(F::NAME, move |trigger, _| {
        let form = form.clone();
        async move {
            match trigger {
                Trigger::Http(request) => Response::Http(response(&form, &request).await),
                Trigger::Stream(_) | Trigger::Schedule | Trigger::Direct(_) => {
                    Response::http_only(F::NAME)
                }
            }
        }
    })
}

async fn response<F: Form>(form: &F, request: &HttpRequest) -> HttpResponse {
    let locale = guard::locale(request);
    let responded = match guard::form_method(request) {
        Some(responded) => responded,
        None => submit(form, request).await,
    };
    let mut response = responded.unwrap_or_else(|problem| problem.response(locale));
    guard::allow_origin(request, &form.intake().site.config.cors_origins, &mut response);
    response
}

async fn submit<F: Form>(form: &F, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let (encoding, body) = guard::form_body(request)?;
    let key = idempotency_key(request)?;
    let content = form.read(&body).map_err(Problem::Fields)?;
    let intake = form.intake();
    let now = intake.site.platform.clock.now();
    let caller = intake.caller(request, now);
    intake.pass(F::NAME, &caller, now).await?;

    let submission =
        Submission::new::<F>(intake, request, content, key.as_ref(), encoding, caller, now);
    let (accepted, response) = match Honeypot::of(&body) {
        Honeypot::Empty => form.keep(&submission).await?,
        Honeypot::Filled => {
            intake.set_aside(&submission, form.response(&submission), request).await?
        }
    };
    match accepted {
        Accepted::Kept => {
            intake.ring().await;
            Ok(http_response(&response))
        }
        Accepted::Duplicate(stored) => {
            tracing::info!(
                function = F::NAME,
                Duplicates = 1,
                at_ms = now.as_millisecond(),
                "answered a repeated submission from its receipt"
            );
            let mut response = http_response(&stored);
            put(&mut response.headers, HeaderName::from_static("idempotency-replayed"), "true");
            Ok(response)
        }
        Accepted::KeyReused => Err(Problem::KeyReused),
        Accepted::NoSuchLead => Err(Problem::NoSuchLead),
        // A form withdraws nothing, and one that makes leads takes an id that is free.
        Accepted::OtherEmail | Accepted::Overtaken => {
            Err(StoreError::Conflict { what: "lead" }.into())
        }
    }
}

fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = request.headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| IdempotencyKey::parse(text).ok());
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key)),
        (Some(_) | None, _) => Err(Problem::IdempotencyKey),
    }
}

impl Intake {
    /// Reads the configuration of a form's function.
    pub(crate) fn read(settings: &mut Settings<'_>, platform: &Platform) -> Option<Self> {
        let site = Site::read(settings, platform);
        let config = IntakeConfig::read(settings);
        let doorbell = site
            .as_ref()
            .and_then(|site| Doorbell::read(settings, None, &site.config.service_tokens));
        site.zip(config).map(|(site, config)| Self { site, config, doorbell })
    }

    pub(crate) const fn hash(&self) -> &HashKey {
        &self.site.config.hash_key
    }

    /// The rate limit, and beside it the check that this is our table.
    async fn pass(
        &self,
        form: &'static str,
        caller: &Digest,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let ready = self.site.store.ready(self.hash());
        let rate = self.site.store.rate(form, caller, RATE, now);
        let (ready, rate) = futures::join!(ready, rate);
        ready?;
        match rate? {
            RateVerdict::Passes => Ok(()),
            RateVerdict::Refused { retry_after_s } => Err(Problem::RateLimited { retry_after_s }),
        }
    }

    /// Who calls, as a digest: callers whose address the platform does not tell share one limit.
    fn caller(&self, request: &HttpRequest, now: Timestamp) -> Digest {
        let proxied = self.config.client_ip_header.as_ref().and_then(|name| {
            let text = request.headers.get(name.as_str())?.to_str().ok()?;
            // Proxies append: only the last value is the proxy's own word.
            text.rsplit(',').next()?.trim().parse().ok()
        });
        let ip: Option<IpAddr> = proxied.or(request.client_ip);
        let ip = ip.map_or_else(|| "unknown".to_owned(), subscriber);
        self.hash().monthly_digest(now, "ip", &ip)
    }

    /// Keeps a submission and all that it causes.
    pub(crate) async fn accept<C>(
        &self,
        submission: &Submission<C>,
        effect: Effect<'_>,
    ) -> Result<(Accepted, StoredResponse), StoreError> {
        let (now, entropy) = (submission.now, &*self.site.platform.entropy);
        let event = Event {
            id: EventId::form(submission.form, now, entropy),
            lead_id: effect.lead_id,
            occurred_at: now,
            accepted_at: now,
            supplied_lead_id: effect.supplied_lead_id,
            data: effect.data,
        };
        let (explicit, aliases) = (effect.consent, &submission.aliases);
        let consent = ConsentChanges::of_form(explicit, effect.consent_when_absent, now);
        let deliveries = plan(&event, &self.site.config.destinations, explicit, aliases);
        let receipt = submission.receipt(effect.response);
        let acceptance = Acceptance {
            receipt: &receipt,
            event: &event,
            lead: effect.lead,
            changes: &effect.changes,
            consent: &consent,
            evidence: &submission.evidence,
            aliases,
            other_aliases: &[],
            deliveries: &deliveries,
            withdrawn: &[],
        };
        let accepted = self.site.store.accept(&acceptance, now, entropy).await?;
        if accepted == Accepted::Kept {
            tracing::info!(
                function = submission.form,
                lead = %event.lead_id,
                event = %event.id,
                deliveries = deliveries.len(),
                Accepted = 1,
                at_ms = now.as_millisecond(),
                "accepted a submission"
            );
        }
        Ok((accepted, receipt.response))
    }

    /// A robot gets the usual answer, and its submission is kept for a person to look at.
    async fn set_aside<C>(
        &self,
        submission: &Submission<C>,
        response: StoredResponse,
        request: &HttpRequest,
    ) -> Result<(Accepted, StoredResponse), StoreError> {
        let mut receipt = submission.receipt(response);
        // Apart from real receipts: a person whose browser filled the trap sends the same again.
        receipt.key.scope = format!("{}#aside", receipt.key.scope);
        let quarantined = Quarantined {
            source: submission.form,
            reason: "honeypot",
            content_type: guard::header(request, CONTENT_TYPE).unwrap_or_default(),
            body: &request.body,
            email_digest: submission.aliases.email.as_ref(),
        };
        let (now, entropy) = (submission.now, &*self.site.platform.entropy);
        let accepted = self.site.store.quarantine(&quarantined, &receipt, now, entropy).await?;
        Ok((accepted, receipt.response))
    }

    async fn ring(&self) {
        Doorbell::announce(self.doorbell.as_ref(), &self.site.platform).await;
    }
}

impl<C: Send + Sync> Submission<C> {
    fn new<F: Form<Content = C>>(
        intake: &Intake,
        request: &HttpRequest,
        content: C,
        key: Option<&IdempotencyKey>,
        encoding: Encoding,
        caller: Digest,
        now: Timestamp,
    ) -> Self {
        let hash = intake.hash();
        let (email, phone) = F::person(&content);
        let fingerprint = F::fingerprint(&content);
        let agent = guard::header(request, USER_AGENT);
        let receipt_of = |scope: &str| ReceiptKey::of_form(hash, scope, email, key, &fingerprint);
        Self {
            aliases: AliasDigests {
                email: Some(hash.digest("email", email.as_str())),
                phone: phone.map(|phone| hash.digest("phone", &phone.alias_text())),
            },
            evidence: ConsentEvidence {
                form: F::NAME.to_owned(),
                ip: Some(caller),
                agent: agent.map(|agent| hash.monthly_digest(now, "agent", agent)),
            },
            receipt_key: match encoding {
                Encoding::Json => receipt_of(F::NAME),
                // A browser's answer is a redirection: a script must not get it.
                Encoding::UrlEncoded => receipt_of(&format!("{}#html", F::NAME)),
            },
            form: F::NAME,
            fingerprint,
            encoding,
            content,
            now,
        }
    }
}

impl<C> Submission<C> {
    /// The answer: JSON, or the page that a browser which posted a plain form goes to, by GET.
    pub(crate) fn response(&self, body: &Value, page: Option<&Url>) -> StoredResponse {
        match (self.encoding, page) {
            (Encoding::UrlEncoded, Some(page)) => StoredResponse {
                status: StatusCode::SEE_OTHER.as_u16(),
                headers: vec![(LOCATION.as_str().to_owned(), page.to_string())],
                body: String::new(),
            },
            (Encoding::Json | Encoding::UrlEncoded, _) => StoredResponse {
                status: StatusCode::OK.as_u16(),
                headers: Vec::new(),
                body: body.to_string(),
            },
        }
    }

    /// Where the answer is kept.
    fn receipt(&self, response: StoredResponse) -> Receipt {
        Receipt { key: self.receipt_key.clone(), fingerprint: self.fingerprint.clone(), response }
    }
}

/// The part of an address that stands for one subscriber: an IPv6 caller has a whole /64 to call from.
fn subscriber(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        }
    }
}

fn http_response(stored: &StoredResponse) -> HttpResponse {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    let mut response = json_response(status, &Value::Null);
    response.body = stored.body.clone().into();
    for (name, value) in &stored.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
        {
            response.headers.insert(name, value);
        }
    }
    response
}
