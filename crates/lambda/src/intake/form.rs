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
    Acceptance, Accepted, ConsentEvidence, LeadWrite, Quarantined, RateLimit, RateVerdict, Receipt,
    Shell, StoreError, StoredAnswer,
};
use http::header::{CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::Function;
use crate::app::Site;
use crate::http::guard::{self, Encoding};
use crate::http::problem::{Problem, json_answer, put};
use crate::intake::doorbell::Doorbell;
use crate::platform::function::Answer;
use crate::platform::request::HttpCall;
use crate::platform::response::HttpAnswer;
use crate::platform::trigger::Trigger;

const RATE: RateLimit = RateLimit { calls: 10, window_s: 60 };

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
    fn answer(&self, submission: &Submission<Self::Content>) -> StoredAnswer;
    /// Keeps it, with [`Intake::accept`].
    fn keep(
        &self,
        submission: &Submission<Self::Content>,
    ) -> impl Future<Output = Result<(Accepted, StoredAnswer), StoreError>> + Send;
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
    pub(crate) answer: StoredAnswer,
}

/// The function of a form.
pub(crate) fn function<F: Form>(form: F) -> Function {
    Function::new(F::NAME, move |trigger, _| {
        let form = form.clone();
        async move {
            match trigger {
                Trigger::Http(call) => Answer::Http(answer(&form, &call).await),
                Trigger::Stream(_) | Trigger::Schedule | Trigger::Direct(_) => {
                    Answer::http_only(F::NAME)
                }
            }
        }
    })
}

async fn answer<F: Form>(form: &F, call: &HttpCall) -> HttpAnswer {
    let locale = guard::locale(call);
    let answered = match guard::form_method(call) {
        Some(answered) => answered,
        None => submit(form, call).await,
    };
    let mut answer = answered.unwrap_or_else(|problem| problem.answer(locale));
    guard::allow_origin(call, &form.intake().site.config.cors_origins, &mut answer);
    answer
}

async fn submit<F: Form>(form: &F, call: &HttpCall) -> Result<HttpAnswer, Problem> {
    let (encoding, body) = guard::form_body(call)?;
    let key = idempotency_key(call)?;
    let content = form.read(&body).map_err(Problem::Fields)?;
    let intake = form.intake();
    let now = intake.site.shell.clock.now();
    let caller = intake.caller(call, now);
    intake.pass(F::NAME, &caller, now).await?;

    let submission =
        Submission::new::<F>(intake, call, content, key.as_ref(), encoding, caller, now);
    let (accepted, answer) = match Honeypot::of(&body) {
        Honeypot::Empty => form.keep(&submission).await?,
        Honeypot::Filled => intake.set_aside(&submission, form.answer(&submission), call).await?,
    };
    match accepted {
        Accepted::Kept => {
            intake.ring().await;
            Ok(http_answer(&answer))
        }
        Accepted::Replayed(stored) => {
            tracing::info!(
                function = F::NAME,
                Duplicates = 1,
                at_ms = now.as_millisecond(),
                "answered a repeated submission from its receipt"
            );
            let mut answer = http_answer(&stored);
            put(&mut answer.headers, HeaderName::from_static("idempotency-replayed"), "true");
            Ok(answer)
        }
        Accepted::KeyReused => Err(Problem::KeyReused),
        Accepted::NoSuchLead => Err(Problem::NoSuchLead),
        // A form withdraws nothing, and one that makes leads takes an id that is free.
        Accepted::OtherEmail | Accepted::Overtaken => {
            Err(StoreError::Unreadable { what: "derived lead" }.into())
        }
    }
}

fn idempotency_key(call: &HttpCall) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = call.headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| IdempotencyKey::parse(text).ok());
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key)),
        (Some(_) | None, _) => Err(Problem::IdempotencyKey),
    }
}

impl Intake {
    /// Reads the configuration of a form's function.
    pub(crate) fn read(settings: &mut Settings<'_>, shell: &Shell) -> Option<Self> {
        let site = Site::read(settings, shell);
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
    fn caller(&self, call: &HttpCall, now: Timestamp) -> Digest {
        let proxied = self.config.client_ip_header.as_ref().and_then(|name| {
            let text = call.headers.get(name.as_str())?.to_str().ok()?;
            // Proxies append: only the last value is the proxy's own word.
            text.rsplit(',').next()?.trim().parse().ok()
        });
        let ip: Option<IpAddr> = proxied.or(call.client_ip);
        let ip = ip.map_or_else(|| "unknown".to_owned(), subscriber);
        self.hash().monthly_digest(now, "ip", &ip)
    }

    /// Keeps a submission and all that it causes.
    pub(crate) async fn accept<C>(
        &self,
        submission: &Submission<C>,
        effect: Effect<'_>,
    ) -> Result<(Accepted, StoredAnswer), StoreError> {
        let (now, entropy) = (submission.now, &*self.site.shell.entropy);
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
        let receipt = submission.receipt(effect.answer);
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
        Ok((accepted, receipt.answer))
    }

    /// A robot gets the usual answer, and its submission is kept for a person to look at.
    async fn set_aside<C>(
        &self,
        submission: &Submission<C>,
        answer: StoredAnswer,
        call: &HttpCall,
    ) -> Result<(Accepted, StoredAnswer), StoreError> {
        let mut receipt = submission.receipt(answer);
        // Apart from real receipts: a person whose browser filled the trap sends the same again.
        receipt.key.scope = format!("{}#aside", receipt.key.scope);
        let quarantined = Quarantined {
            source: submission.form,
            reason: "honeypot",
            content_type: guard::header(call, CONTENT_TYPE).unwrap_or_default(),
            body: &call.body,
            email_digest: submission.aliases.email.as_ref(),
        };
        let (now, entropy) = (submission.now, &*self.site.shell.entropy);
        let accepted = self.site.store.quarantine(&quarantined, &receipt, now, entropy).await?;
        Ok((accepted, receipt.answer))
    }

    async fn ring(&self) {
        Doorbell::announce(self.doorbell.as_ref(), &self.site.shell).await;
    }
}

impl<C: Send + Sync> Submission<C> {
    fn new<F: Form<Content = C>>(
        intake: &Intake,
        call: &HttpCall,
        content: C,
        key: Option<&IdempotencyKey>,
        encoding: Encoding,
        caller: Digest,
        now: Timestamp,
    ) -> Self {
        let hash = intake.hash();
        let (email, phone) = F::person(&content);
        let fingerprint = F::fingerprint(&content);
        let agent = guard::header(call, USER_AGENT);
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
    pub(crate) fn answer(&self, body: &Value, page: Option<&Url>) -> StoredAnswer {
        match (self.encoding, page) {
            (Encoding::UrlEncoded, Some(page)) => StoredAnswer {
                status: StatusCode::SEE_OTHER.as_u16(),
                headers: vec![(LOCATION.as_str().to_owned(), page.to_string())],
                body: String::new(),
            },
            (Encoding::Json | Encoding::UrlEncoded, _) => StoredAnswer {
                status: StatusCode::OK.as_u16(),
                headers: Vec::new(),
                body: body.to_string(),
            },
        }
    }

    /// Where the answer is kept.
    fn receipt(&self, answer: StoredAnswer) -> Receipt {
        Receipt { key: self.receipt_key.clone(), fingerprint: self.fingerprint.clone(), answer }
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

fn http_answer(stored: &StoredAnswer) -> HttpAnswer {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    let mut answer = json_answer(status, &Value::Null);
    answer.body = stored.body.clone().into();
    for (name, value) in &stored.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
        {
            answer.headers.insert(name, value);
        }
    }
    answer
}
