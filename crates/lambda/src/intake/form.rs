//! What all public forms share: the way of a submission past the rate limit, duplicates and robots, and the
//! response that a receipt keeps (`docs/design.md`, "Intake rules").
//!
//! A [`Form`] says what is its own. A submission costs two round trips to the table: the rate
//! check, and the transaction; the first request of a process also reads the table's identity,
//! beside the rate check. Must not know any form's fields.

mod intake;
mod new_lead;
mod spam;
mod submission;
mod turnstile;

use std::future::Future;

use funil_core::clock::after;
use funil_core::contact::consent::{ConsentChanges, FormConsent, Purpose};
use funil_core::contact::{Email, Phone};
use funil_core::destination::AliasDigests;
use funil_core::event::{Event, EventData};
use funil_core::form::{
    Caught, Field, FieldErrors, Honeypot, Need, Schema, SpamFields, Takes, Token,
};
use funil_core::id::LeadId;
use funil_core::lead::{Authority, LeadChanges};
use funil_core::receipt::IdempotencyKey;
use funil_core::site::RateClass;
use funil_store::{
    Accepted, Count, LeadWrite, QuarantinedRequest, StoreError, StoredResponse, TOTALS_TARGET,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::Function;
use crate::api::{Operation, Pages, Presence, RequestHeader, Returned};
use crate::app::App;
use crate::http::endpoint::{self, Access, HttpEndpoint};
use crate::http::guard;
use crate::http::page;
use crate::http::problem::{Problem, json_response, put};
use crate::intake::accept::Incoming;
use crate::intake::quarantine::{self, Corrections, Released, Releases};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

pub(crate) use intake::Intake;
pub(crate) use new_lead::{MakesLead, keep as keep_lead};
pub(crate) use submission::{PAGE_EVENT, Submission, add_page_event};
use submission::{Reader, Sender, Sent};

/// What a form takes; a browser on another origin asks with OPTIONS first.
pub(crate) const METHODS: &[Method] = &[Method::POST, Method::OPTIONS];

/// A day, in seconds.
const DAY_S: i64 = 24 * 60 * 60;

/// What is a form's own.
pub(crate) trait Form: Send + Sync + 'static {
    /// The function's name.
    const NAME: &'static str;
    /// The field of its body that names a lead.
    const LEAD_ID_FIELD: &'static str = "leadId";
    /// Which limit of requests one address has.
    const RATE: RateClass;
    /// A valid submission with what is computed from it.
    type Content: Clone + Send + Sync;

    /// What all forms work with.
    fn intake(&self) -> &Intake;
    /// Reads a body that comes at this time, or says everything that is wrong with it.
    fn read(&self, body: &Value, at: Timestamp) -> Result<Self::Content, FieldErrors>;
    /// The e-mail and the phone number of the person who submits it.
    fn person(content: &Self::Content) -> (&Email, Option<&Phone>);
    /// What makes two submissions the same one.
    fn fingerprint(content: &Self::Content) -> String;
    /// What its person wrote freely, if it asks for such a text.
    fn free_text(_content: &Self::Content) -> Option<&str> {
        None
    }
    /// The response to a submission under the lead id that it asks for.
    fn response(&self, submission: &Submission<Self::Content>) -> StoredResponse;
    /// The content by which a robot's response is made: it looks like any other, and reveals nothing of anybody.
    fn robot_content(&self, content: &Self::Content) -> Self::Content;
    /// Whether a submission from a person would be kept, and would not be refused because its lead is unknown.
    fn knows(
        &self,
        submission: &Submission<Self::Content>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Keeps the submission with [`Intake::accept`], and returns the response.
    fn keep(
        &self,
        submission: &Submission<Self::Content>,
    ) -> impl Future<Output = Result<(Accepted, StoredResponse), StoreError>> + Send;
}

/// The lead on which a submission is kept, and how.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) lead_id: LeadId,
    /// The id that the caller gave, where it is another one.
    pub(crate) supplied: Option<LeadId>,
    pub(crate) write: LeadWrite,
    /// What gives the form the right to change the lead.
    pub(crate) authority: Authority,
}

/// What a submission causes there.
pub(crate) struct Effect {
    pub(crate) data: EventData,
    pub(crate) changes: LeadChanges,
    /// What the form decided about consent, where it had boxes for it.
    pub(crate) consent: Option<FormConsent>,
    /// The purposes that count as agreed to where it did not decide about them.
    pub(crate) assumed: Vec<Purpose>,
    pub(crate) response: StoredResponse,
}

/// The headers by which a page on another origin may read a response.
pub(crate) const CORS: &[&str] =
    &["Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Vary"];

/// The request by which a browser asks whether a page on another origin may send a form.
pub(crate) fn preflight(form: &Operation) -> Operation {
    let summary = "Says what a page on another origin may send.";
    let mut operation = Operation::post(form.function, summary);
    operation.method = Method::OPTIONS;
    operation.refusals = Vec::new();
    operation.response_headers = CORS;
    operation.returns = vec![Returned {
        status: 204,
        when: "Always; the origin is named if it is one of CORS_ORIGINS.",
        content: None,
        headers: &[
            "Access-Control-Allow-Headers",
            "Access-Control-Allow-Methods",
            "Access-Control-Max-Age",
            "Allow",
        ],
    }];
    operation
}

/// What a form takes and returns: the fields of one of these layouts, those by which spam is recognised, and JSON as
/// `returned` says.
pub(crate) fn operation(
    function: &'static str,
    summary: &'static str,
    mut schemas: Vec<Schema>,
    returned: Value,
) -> Operation {
    for schema in &mut schemas {
        let of_all = [
            ("website", "Leave it empty and hidden: a robot fills it in."),
            ("elapsed_ms", "How long the person had the form before them, in milliseconds."),
            (
                "turnstile_token",
                "The token of Turnstile's widget. `cf-turnstile-response` is read too.",
            ),
        ];
        schema.fields.extend(of_all.map(|(name, what)| Field {
            name: name.to_owned(),
            need: Need::Optional,
            takes: Takes::SpamField(what),
        }));
    }
    let mut operation = Operation::post(function, summary)
        .takes(schemas, Presence::Required)
        .refuses_fields()
        .refuses([
            Problem::IdempotencyKey,
            Problem::KeyReused,
            Problem::RateLimited { retry_after_s: 0 },
        ]);
    operation.headers = &[RequestHeader {
        name: "Idempotency-Key",
        pattern: IdempotencyKey::PATTERN,
        meaning: "The same key and content get the same response again for a day.",
    }];
    operation.response_headers = CORS;
    operation.pages = Pages::ForBrowsers;
    let headers = &["Idempotency-Replayed"];
    operation.returns = vec![
        Returned {
            status: 200,
            when: "It is kept, or was kept before.",
            content: Some(("application/json", returned)),
            headers,
        },
        Returned {
            status: 303,
            when: "It is kept, and came from a plain HTML form: the browser goes on to a page.",
            content: None,
            headers: &["Idempotency-Replayed", "Location"],
        },
    ];
    operation
}

/// Makes the function of a form.
pub(crate) fn function<F: Form>(form: F) -> Function {
    endpoint::function(FormEndpoint(form))
}

struct FormEndpoint<F>(F);

impl<F: Form> HttpEndpoint for FormEndpoint<F> {
    fn function(&self) -> &'static str {
        F::NAME
    }

    fn app(&self) -> &App {
        &self.0.intake().app
    }

    fn methods(&self, request: &HttpRequest) -> &'static [Method] {
        if quarantine::is_meant(request) { quarantine::METHODS } else { METHODS }
    }

    fn access(&self) -> Access {
        Access::Public
    }

    async fn respond(
        &self,
        request: &HttpRequest,
        stop_at: Timestamp,
    ) -> Result<HttpResponse, Problem> {
        if request.method == Method::OPTIONS {
            return Ok(guard::preflight(METHODS));
        }
        if quarantine::is_meant(request) {
            return quarantine::respond(self, self.app(), request, stop_at).await;
        }
        submit(&self.0, request).await
    }

    fn finish(&self, request: &HttpRequest, response: &mut HttpResponse) {
        guard::allow_origin(request, &self.app().config.cors_origins, response);
        if request.method == Method::POST && guard::shows_html(request) {
            page::show(response, guard::locale(request));
        }
    }
}

impl<F: Form> Releases for FormEndpoint<F> {
    fn source(&self) -> &'static str {
        F::NAME
    }

    /// Accepts a robot's submission after all, because a person found that a person sent it.
    async fn release(
        &self,
        request: &QuarantinedRequest,
        corrections: &Corrections,
        _stop_at: Timestamp,
    ) -> Result<Released, Problem> {
        let (form, intake) = (&self.0, self.0.intake());
        let (_, mut body) = guard::read_form(&request.entry.content_type, &request.body)?;
        corrections.apply(&mut body)?;
        if let Some(lead) = corrections.lead {
            body[F::LEAD_ID_FIELD] = Value::String(lead.to_string());
        }
        // A date that has passed since the submission is no error.
        let came_at = request.entry.name.id.at();
        let content = form.read(&body, came_at).map_err(Problem::Fields)?;
        let now = intake.app.platform.clock.now();
        let spam = SpamFields { honeypot: Honeypot::Empty, token: None, signs: Vec::new() };
        let sent = Sent { content, key: None, reader: Reader::Script, spam };
        let mut submission = Submission::new::<F>(intake, sent, Sender::default(), now);
        submission.released = Some(request.entry.name.clone());
        if let Some(original) = &request.entry.original {
            submission.receipt_key = original.clone();
        }
        let (mut accepted, mut response) = form.keep(&submission).await?;
        if accepted == Accepted::KeyReused {
            // The person used the key for other content meanwhile, or this one was corrected.
            submission.receipt_key = submission.receipt_key.and_content(&submission.fingerprint);
            (accepted, response) = form.keep(&submission).await?;
        }
        match accepted {
            Accepted::Kept => {
                let body = serde_json::from_str(&response.body).unwrap_or_default();
                Ok(Released::Accepted(body))
            }
            Accepted::Duplicate(_) => Ok(Released::AlreadyKept),
            Accepted::NotInQuarantine => Err(Problem::NotInQuarantine),
            Accepted::NoSuchLead => Err(Problem::NoSuchLead),
            Accepted::KeyReused | Accepted::KeyOfAnother => Err(Problem::KeyReused),
            Accepted::OtherEmail
            | Accepted::Overtaken
            | Accepted::Exists(_)
            | Accepted::TooManyNewLeads => Err(StoreError::Conflict { what: "lead" }.into()),
        }
    }
}

async fn submit<F: Form>(form: &F, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let intake = form.intake();
    let now = intake.app.platform.clock.now();
    let caller = intake.caller(request, now);
    let sent = match Sent::read(form, request, now) {
        Ok(sent) => sent,
        Err(problem) => {
            let problem = intake.pass_invalid(F::NAME, F::RATE, &caller, problem, now).await;
            let sender = Sender::of(intake, request, caller, now);
            return earlier(form, request, sender, problem, now).await;
        }
    };
    intake.pass(F::NAME, F::RATE, &caller, now).await?;

    let spam = sent.spam.clone();
    let token = intake.token::<F>(&sent, &caller, now).await?;
    let is_repeated = intake.is_repeated::<F>(&sent.content, now).await?;
    let sender = Sender::of(intake, request, caller, now);
    let mut submission = Submission::new::<F>(intake, sent, sender, now);
    submission.add_signs(&spam, token, is_repeated);
    let caught = Caught::of(spam.honeypot, token, &submission.signs);
    let caught = caught.as_ref();
    // A token is good once. What was accepted with it, and is sent again, has its receipt.
    if token == Token::Rejected {
        let receipt = submission.receipt(form.response(&submission));
        if let Some(Accepted::Duplicate(stored)) = intake.app.store.receipt(&receipt, now).await? {
            return Ok(duplicate::<F>(intake, &stored, now));
        }
    }
    let (mut accepted, mut response) = keep(form, &submission, caught, request).await?;
    if accepted == Accepted::KeyOfAnother {
        // Two submissions share an e-mail and a key, such as a key that the site never changes. This one is new.
        submission.receipt_key = submission.receipt_key.and_content(&submission.fingerprint);
        (accepted, response) = keep(form, &submission, caught, request).await?;
    }
    match accepted {
        Accepted::Kept => Ok(http_response(&response)),
        Accepted::Duplicate(stored) => Ok(duplicate::<F>(intake, &stored, now)),
        Accepted::KeyReused | Accepted::KeyOfAnother => Err(Problem::KeyReused),
        Accepted::NoSuchLead => Err(Problem::NoSuchLead),
        // A form cannot have these results: it withdraws nothing, and one that makes leads takes an id that is free.
        Accepted::OtherEmail
        | Accepted::Overtaken
        | Accepted::Exists(_)
        | Accepted::NotInQuarantine
        | Accepted::TooManyNewLeads => Err(StoreError::Conflict { what: "lead" }.into()),
    }
}

/// Responds to a submission that is not valid now. It may have been valid when it was first sent (for example, with a
/// date that has passed since). Then its receipt still has the response.
async fn earlier<F: Form>(
    form: &F,
    request: &HttpRequest,
    sender: Sender,
    problem: Problem,
    now: Timestamp,
) -> Result<HttpResponse, Problem> {
    let day_before = after(now, -DAY_S);
    let (Problem::Fields(_), Ok(sent)) = (&problem, Sent::read(form, request, day_before)) else {
        return Err(problem);
    };
    let intake = form.intake();
    let submission = Submission::new::<F>(intake, sent, sender, now);
    let receipt = submission.receipt(form.response(&submission));
    match intake.app.store.receipt(&receipt, now).await? {
        Some(Accepted::Duplicate(stored)) => Ok(duplicate::<F>(intake, &stored, now)),
        Some(_) | None => Err(problem),
    }
}

fn duplicate<F: Form>(intake: &Intake, stored: &StoredResponse, now: Timestamp) -> HttpResponse {
    intake.app.platform.totals.count(Count::Duplicate(F::NAME));
    tracing::info!(
        target: TOTALS_TARGET,
        function = F::NAME,
        Duplicates = 1,
        at_ms = now.as_millisecond(),
        "responded to a duplicate submission to {} from its receipt{}",
        F::NAME,
        named_by(stored)
    );
    let mut response = http_response(stored);
    put(&mut response.headers, HeaderName::from_static("idempotency-replayed"), "true");
    response
}

/// The id in a stored response, for the log: of the lead, or of the event. A redirect and a questionnaire's response
/// have neither.
fn named_by(stored: &StoredResponse) -> String {
    let body: Value = serde_json::from_str(&stored.body).unwrap_or_default();
    let mut names = ["leadId", "submission_id"].into_iter();
    let id = names.find_map(|name| Some(format!(" ({name} {})", body[name].as_str()?)));
    id.unwrap_or_default()
}

/// Keeps a submission, or quarantines it where it was caught as spam.
async fn keep<F: Form>(
    form: &F,
    submission: &Submission<F::Content>,
    caught: Option<&Caught>,
    request: &HttpRequest,
) -> Result<(Accepted, StoredResponse), Problem> {
    let Some(caught) = caught else { return Ok(form.keep(submission).await?) };
    if !form.knows(submission).await? {
        return Err(Problem::NoSuchLead);
    }
    let content = form.robot_content(&submission.content);
    let response = form.response(&Submission { content, ..submission.clone() });
    form.intake().quarantine(submission, response, caught, request).await
}

impl Intake {
    /// Keeps a submission with everything that it causes.
    pub(crate) async fn accept<C>(
        &self,
        submission: &Submission<C>,
        place: Place,
        effect: Effect,
    ) -> Result<(Accepted, StoredResponse), StoreError> {
        let now = submission.now;
        let receipt = submission.receipt(effect.response);
        let consent = effect.consent.as_ref();
        let event = Event {
            supplied_lead_id: place.supplied,
            ..submission.event(place.lead_id, effect.data)
        };
        let incoming = Incoming {
            lead: place.write,
            changes: effect.changes,
            consent: match place.authority {
                Authority::Capability | Authority::FirstForm => {
                    ConsentChanges::of_form(consent, &effect.assumed, now)
                }
                Authority::FirstOfKind | Authority::LaterForm => ConsentChanges::of_contract(now),
            },
            explicit_consent: consent,
            evidence: submission.evidence.clone(),
            aliases: match place.authority {
                Authority::Capability | Authority::FirstForm => submission.aliases.clone(),
                // The form does not prove that the number belongs to the lead's person, so it gets no alias.
                Authority::FirstOfKind | Authority::LaterForm => {
                    AliasDigests { phone: None, ..submission.aliases.clone() }
                }
            },
            person: submission.aliases.clone(),
            released: submission.released.clone(),
            ..Incoming::new(submission.form, event, &receipt)
        };
        let accepted = self.app.accept(&incoming, now).await?;
        Ok((accepted, receipt.response))
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
