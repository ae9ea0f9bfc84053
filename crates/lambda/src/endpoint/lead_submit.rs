//! `lead-submit`: the landing page's form. Validates, scores, accepts, answers.
//!
//! Calls no provider. Two round trips to the table: the rate check (and, once per process, `META`
//! beside it), then the one transaction.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use funil_core::amanda::{self, ClientScore};
use funil_core::config::{ConfigError, Env, IntakeConfig};
use funil_core::consent::ConsentChanges;
use funil_core::destination::{AliasDigests, plan};
use funil_core::event::{Event, EventData, LeadSubmitted};
use funil_core::hash::Digest;
use funil_core::id::{EventId, LeadId};
use funil_core::idempotency::{IdempotencyKey, ReceiptKey};
use funil_core::lead::LeadChanges;
use funil_core::lead_form::{Honeypot, LeadForm};
use funil_store::{
    Acceptance, Accepted, ConsentEvidence, LeadWrite, Quarantined, RateLimit, RateVerdict, Receipt,
    Shell, StoreError, StoredAnswer,
};
use http::header::{CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Function;
use crate::doorbell::Doorbell;
use crate::function::Answer;
use crate::guard::{self, Encoding};
use crate::http_answer::HttpAnswer;
use crate::http_call::HttpCall;
use crate::problem::{Problem, json_answer, put};
use crate::site::Site;
use crate::trigger::Trigger;

pub(crate) const NAME: &str = "lead-submit";
const RATE: RateLimit = RateLimit { calls: 10, window_s: 60 };
/// How long intake gives its ring; a ring only saves time.
const RING: Duration = Duration::from_millis(50);

#[derive(Clone)]
struct LeadSubmit {
    site: Site,
    intake: IntakeConfig,
    doorbell: Option<Doorbell>,
}

/// Configures the function.
pub fn function(env: &Env, shell: &Shell) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let site = Site::read(&mut settings, shell);
    let intake = IntakeConfig::read(&mut settings);
    let doorbell = site
        .as_ref()
        .and_then(|site| Doorbell::read(&mut settings, None, &site.config.service_tokens));
    let endpoint = site.zip(intake).map(|(site, intake)| LeadSubmit { site, intake, doorbell });
    let endpoint = settings.finish(endpoint)?;
    Ok(Function::new(NAME, move |trigger, _| {
        let endpoint = endpoint.clone();
        async move { endpoint.handle(trigger).await }
    }))
}

impl LeadSubmit {
    async fn handle(&self, trigger: Trigger) -> Answer {
        match trigger {
            Trigger::Http(call) => Answer::Http(self.call(&call).await),
            Trigger::Stream(_) | Trigger::Schedule | Trigger::Direct(_) => Answer::http_only(NAME),
        }
    }

    async fn call(&self, call: &HttpCall) -> HttpAnswer {
        let locale = guard::locale(call);
        let answered = match guard::form_method(call) {
            Some(answered) => answered,
            None => self.submit(call).await,
        };
        let mut answer = answered.unwrap_or_else(|problem| problem.answer(locale));
        guard::allow_origin(call, &self.site.config.cors_origins, &mut answer);
        answer
    }

    async fn submit(&self, call: &HttpCall) -> Result<HttpAnswer, Problem> {
        let (encoding, body) = guard::form_body(call)?;
        if call.headers.get_all("idempotency-key").iter().count() > 1 {
            return Err(Problem::IdempotencyKey);
        }
        let key = call
            .headers
            .get("idempotency-key")
            .map(|value| value.to_str().ok().and_then(|text| IdempotencyKey::parse(text).ok()))
            .map(|key| key.ok_or(Problem::IdempotencyKey))
            .transpose()?;
        let form = LeadForm::parse(&body).map_err(Problem::Fields)?;
        let now = self.site.shell.clock.now();
        self.pass(call, now).await?;

        let submission = Submission::new(self, call, form, key.as_ref(), encoding, now);
        let accepted = match Honeypot::of(&body) {
            Honeypot::Empty => self.keep(&submission, now).await?,
            Honeypot::Filled => self.set_aside(&submission, call, now).await?,
        };
        match accepted {
            (Accepted::Kept, answer) => {
                self.ring().await;
                Ok(http_answer(&answer))
            }
            (Accepted::Replayed(stored), _) => {
                tracing::info!(
                    function = NAME,
                    Duplicates = 1,
                    at_ms = now.as_millisecond(),
                    "answered a repeated submission from its receipt"
                );
                let mut answer = http_answer(&stored);
                put(&mut answer.headers, HeaderName::from_static("idempotency-replayed"), "true");
                Ok(answer)
            }
            (Accepted::KeyReused, _) => Err(Problem::KeyReused),
            // Nobody can supply an id derived from another's e-mail, so it cannot be taken.
            (Accepted::OtherEmail | Accepted::NoSuchLead | Accepted::Overtaken, _) => {
                Err(StoreError::Unreadable { what: "derived lead" }.into())
            }
        }
    }

    /// The rate limit, and beside it the check that this is our table.
    async fn pass(&self, call: &HttpCall, now: Timestamp) -> Result<(), Problem> {
        let caller = self.caller(call, now);
        let ready = self.site.store.ready(&self.site.config.hash_key);
        let rate = self.site.store.rate(NAME, &caller, RATE, now);
        let (ready, rate) = futures::join!(ready, rate);
        ready?;
        match rate? {
            RateVerdict::Passes => Ok(()),
            RateVerdict::Refused { retry_after_s } => Err(Problem::RateLimited { retry_after_s }),
        }
    }

    /// Who calls, as a digest: callers whose address the platform does not tell share one limit.
    fn caller(&self, call: &HttpCall, now: Timestamp) -> Digest {
        let proxied = self.intake.client_ip_header.as_ref().and_then(|name| {
            let text = call.headers.get(name.as_str())?.to_str().ok()?;
            // Proxies append: only the last value is the proxy's own word.
            text.rsplit(',').next()?.trim().parse().ok()
        });
        let ip: Option<IpAddr> = proxied.or(call.client_ip);
        let ip = ip.map_or_else(|| "unknown".to_owned(), subscriber);
        self.site.config.hash_key.monthly_digest(now, "ip", &ip)
    }

    /// Keeps a lead. A supplied id that belongs to another e-mail is no error: the lead is kept under
    /// the id derived from its own.
    async fn keep(
        &self,
        submission: &Submission,
        now: Timestamp,
    ) -> Result<(Accepted, StoredAnswer), Problem> {
        let derived = LeadId::from_email(&self.site.config.hash_key, &submission.form.email);
        let supplied = submission.form.lead_id.filter(|supplied| *supplied != submission.lead_id);
        let (accepted, answer) = self.accept(submission, submission.lead_id, supplied, now).await?;
        if accepted != Accepted::OtherEmail {
            return Ok((accepted, answer));
        }
        Ok(self.accept(submission, derived, Some(submission.lead_id), now).await?)
    }

    async fn accept(
        &self,
        submission: &Submission,
        lead_id: LeadId,
        supplied_lead_id: Option<LeadId>,
        now: Timestamp,
    ) -> Result<(Accepted, StoredAnswer), StoreError> {
        let form = &submission.form;
        let data = LeadSubmitted {
            form: form.clone(),
            score: submission.score.clone(),
            client_score: submission.client_score,
        };
        let changes = LeadChanges::of_submission(&data, now);
        let event = Event {
            id: EventId::form(NAME, now, &*self.site.shell.entropy),
            lead_id,
            occurred_at: now,
            accepted_at: now,
            supplied_lead_id,
            data: EventData::LeadSubmitted(Box::new(data)),
        };
        let explicit = form.consent.as_ref();
        let consent = ConsentChanges::of_form(explicit, &self.intake.consent_when_absent, now);
        let deliveries =
            plan(&event, &self.site.config.destinations, explicit, &submission.aliases);
        let receipt = submission.receipt(lead_id);
        let acceptance = Acceptance {
            receipt: &receipt,
            event: &event,
            lead: LeadWrite::OfEmail,
            changes: &changes,
            consent: &consent,
            evidence: &submission.evidence,
            aliases: &submission.aliases,
            other_aliases: &[],
            deliveries: &deliveries,
            withdrawn: &[],
        };
        let accepted = self.site.store.accept(&acceptance, now, &*self.site.shell.entropy).await?;
        if accepted == Accepted::Kept {
            let (event, deliveries) = (&event.id, deliveries.len());
            tracing::info!(
                function = NAME,
                lead = %lead_id,
                event = %event,
                deliveries,
                Accepted = 1,
                at_ms = now.as_millisecond(),
                "accepted a lead"
            );
        }
        Ok((accepted, receipt.answer))
    }

    /// A robot gets the usual answer, and its submission is kept for a person to look at.
    async fn set_aside(
        &self,
        submission: &Submission,
        call: &HttpCall,
        now: Timestamp,
    ) -> Result<(Accepted, StoredAnswer), Problem> {
        let mut receipt = submission.receipt(submission.lead_id);
        // Apart from real receipts: a person whose browser filled the trap sends the same again.
        receipt.key.scope = format!("{}#aside", receipt.key.scope);
        let quarantined = Quarantined {
            source: NAME,
            reason: "honeypot",
            content_type: guard::header(call, CONTENT_TYPE).unwrap_or_default(),
            body: &call.body,
            email_digest: submission.aliases.email.as_ref(),
        };
        let entropy = &*self.site.shell.entropy;
        let accepted = self.site.store.quarantine(&quarantined, &receipt, now, entropy).await?;
        Ok((accepted, receipt.answer))
    }

    async fn ring(&self) {
        let Some(doorbell) = &self.doorbell else { return };
        if let Err(error) = doorbell.ring_within(&self.site.shell, "dispatch", RING).await {
            tracing::debug!(error = %error, "dispatch was not rung; the schedule will find the lead");
        }
    }
}

/// A valid submission and everything computed from it.
struct Submission {
    form: LeadForm,
    lead_id: LeadId,
    score: amanda::AmandaScore,
    client_score: Option<ClientScore>,
    aliases: AliasDigests,
    evidence: ConsentEvidence,
    fingerprint: String,
    receipt_key: ReceiptKey,
    thank_you: Option<String>,
}

impl Submission {
    fn new(
        endpoint: &LeadSubmit,
        call: &HttpCall,
        form: LeadForm,
        key: Option<&IdempotencyKey>,
        encoding: Encoding,
        now: Timestamp,
    ) -> Self {
        let hash = &endpoint.site.config.hash_key;
        let score = amanda::score(&form.answers());
        let fingerprint = form.fingerprint();
        let agent = guard::header(call, USER_AGENT);
        let derived = LeadId::from_email(hash, &form.email);
        // A derived id is somebody's own: whoever else sends it must not take it from them.
        let usable = form.lead_id.filter(|id| *id == derived || !id.is_derived());
        let thank_you = endpoint.intake.thank_you_url.as_ref().map(ToString::to_string);
        Self {
            lead_id: usable.unwrap_or(derived),
            client_score: form.client_score.map(|client| ClientScore::compare(client, score.total)),
            aliases: AliasDigests {
                email: Some(hash.digest("email", form.email.as_str())),
                phone: form.phone.as_ref().map(|phone| hash.digest("phone", &phone.alias_text())),
            },
            evidence: ConsentEvidence {
                form: NAME.to_owned(),
                ip: Some(endpoint.caller(call, now)),
                agent: agent.map(|agent| hash.monthly_digest(now, "agent", agent)),
            },
            receipt_key: match encoding {
                Encoding::Json => ReceiptKey::of_form(hash, NAME, &form.email, key, &fingerprint),
                // A browser's answer is a redirection: a script must not get it.
                Encoding::UrlEncoded => {
                    ReceiptKey::of_form(hash, "lead-submit#html", &form.email, key, &fingerprint)
                }
            },
            thank_you: thank_you.filter(|_| encoding == Encoding::UrlEncoded),
            score,
            fingerprint,
            form,
        }
    }

    /// The answer, and where it is kept.
    fn receipt(&self, lead_id: LeadId) -> Receipt {
        let body = json!({
            "success": true,
            "leadId": lead_id,
            "amandaScore": self.score.total,
            "tier": self.score.tier.name(),
        });
        let answer = match &self.thank_you {
            // A browser that posted a plain form goes to a page, by GET.
            Some(url) => StoredAnswer {
                status: StatusCode::SEE_OTHER.as_u16(),
                headers: vec![(LOCATION.as_str().to_owned(), url.clone())],
                body: String::new(),
            },
            None => StoredAnswer {
                status: StatusCode::OK.as_u16(),
                headers: Vec::new(),
                body: body.to_string(),
            },
        };
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
