//! Contact2Sale's leads, enriched: `docs/providers.md` ("Contact2Sale", "Diretrix", "Work API").
//!
//! A chain of up to four requests for one lead: who has this number, who has this e-mail, what is known of this CPF,
//! and a message with it to Contact2Sale. The first three cost money and bring data of a person, so each reply is kept
//! on the lead before the next step begins, only what `replies` allows of it, and the whole is off unless the
//! operator names a legal basis. The message is read by people, so it is never sent twice.

pub mod account;
mod message;
mod replies;

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use super::repetition::{Repeats, ReplayPolicy};
use super::{Adapter, Connector, Context, Destination, Keeps, Kind, Planned, Slot, Step, Whose};
use crate::check::{Finding, Probe, not_itself, refusal};
use crate::contact::consent::Purpose;
use crate::contact::{Cpf, Phone};
use crate::delivery::exchange::{Method, Request, Response, endpoint};
use crate::delivery::{KeptReply, Outcome, Reason, WhenUnknown, judge};
use crate::event::{CrmLead, CrmLeadAction, DealEvent, EventData};
use crate::hash::sha256_hex;
use crate::pii::Text;
use crate::settings::{Secret, Settings};
use account::Account;
use replies::{Found, Unread};

/// Its name, and that of the CRM in events.
const NAME: &str = "c2s";

static ENRICHMENT: Slot = Slot::new("enrichment", Purpose::Contact);

/// How long it is worth trying, in hours: a seller calls a lead on the same day.
const WORTH_H: i64 = 3 * 24;
/// The requests of the whole chain.
const REQUESTS_MAX: usize = 4;
/// How long Contact2Sale asks to wait after too many requests, in seconds: it says "1 minute", and no header.
const THROTTLED_S: u32 = 65;
/// How many times the Work API may return an object without basic data before we conclude that it does not know the
/// CPF. Its failures look the same, so the first replies prove nothing. With the retry schedule this takes about half
/// an hour.
const UNREAD_TRIES: u32 = 4;
/// The name under which every reply keeps why it was asked for.
const LEGAL_BASIS: &str = "legal_basis";

/// Contact2Sale: looks a lead up, and sends what was found to its seller.
pub static DESTINATION: Destination = Destination {
    name: NAME,
    function: "lead-enrichment",
    provider: NAME,
    kind: Kind::State,
    whose: Whose::Leads,
    deadline_h: WORTH_H,
    when_unknown: WhenUnknown::NeedsPerson,
    replay: ReplayPolicy { repeats: Repeats::Counted, too_old_h: None },
    person_pause_s: None,
    keyed_by_email: false,
    keeps_replies: true,
    follows_bookings: false,
    page_event: None,
    daily_per_number: None,
    requests_per_minute: Some(10),
    base_url_variable: "C2S_BASE_URL",
    local_path: "/integration",
    other_base_urls: &[("DIRETRIX_BASE_URL", "/diretrix"), ("WORK_API_BASE_URL", "/work-api")],
    local_credentials: &[
        ("C2S_TOKEN", "local-c2s"),
        ("DIRETRIX_PASSWORD", "local-diretrix"),
        ("WORK_API_TOKEN", "local-work-api"),
    ],
    local_settings: &[
        ("DIRETRIX_USERNAME", "funil"),
        ("ENRICHMENT_LEGAL_BASIS", "legitimate_interest"),
    ],
    slots: &[ENRICHMENT],
    plan: |event| {
        let taken = taken(&event.data).into_iter();
        taken.map(|lead| Planned { due_at: lead.not_before, ..(&ENRICHMENT).into() }).collect()
    },
};

/// What makes its adapter. Only the function that delivers to it links this.
pub static CONNECTOR: Connector = Connector {
    destination: &DESTINATION,
    connect: |settings| Some(Box::new(C2s(Lookups::read(settings)?))),
};

/// The leads that Contact2Sale made or changed. Nobody calls one that is closed.
fn taken(event: &EventData) -> Option<&CrmLead> {
    use EventData::{Call, Consent, Deal, Form, Operation, Payment, Visit};

    match event {
        Deal(DealEvent::Lead(lead)) => {
            let is_open = matches!(lead.action, CrmLeadAction::Created | CrmLeadAction::Updated);
            (lead.crm == NAME && is_open).then_some(lead)
        }
        Deal(_) | Form(_) | Call(_) | Payment(_) | Consent(_) | Operation(_) | Visit(_) => None,
    }
}

/// Why the operator may look people up: one of the bases of LGPD, art. 7, that a company can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LegalBasis {
    /// Item I.
    Consent,
    /// Item II.
    LegalObligation,
    /// Item V.
    Contract,
    /// Item VI.
    ExerciseOfRights,
    /// Item IX.
    LegitimateInterest,
    /// Item X.
    CreditProtection,
}

impl LegalBasis {
    pub(super) const ALL: [Self; 6] = [
        Self::Consent,
        Self::LegalObligation,
        Self::Contract,
        Self::ExerciseOfRights,
        Self::LegitimateInterest,
        Self::CreditProtection,
    ];

    /// Its name in `ENRICHMENT_LEGAL_BASIS` and with each reply.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::LegalObligation => "legal_obligation",
            Self::Contract => "contract",
            Self::ExerciseOfRights => "exercise_of_rights",
            Self::LegitimateInterest => "legitimate_interest",
            Self::CreditProtection => "credit_protection",
        }
    }

    const fn in_portuguese(self) -> &'static str {
        match self {
            Self::Consent => "consentimento",
            Self::LegalObligation => "obrigação legal",
            Self::Contract => "contrato",
            Self::ExerciseOfRights => "exercício de direitos",
            Self::LegitimateInterest => "legítimo interesse",
            Self::CreditProtection => "proteção do crédito",
        }
    }
}

/// Whether people are looked up, which needs a legal basis.
enum Lookups {
    Off,
    On(Box<Enrichment>),
}

impl Lookups {
    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        const VARIABLE: &str = "ENRICHMENT_LEGAL_BASIS";

        let Some(named) = settings.optional(VARIABLE) else { return Some(Self::Off) };
        let basis = LegalBasis::ALL.into_iter().find(|basis| basis.name() == named);
        let basis = basis.or_else(|| {
            let known = LegalBasis::ALL.map(LegalBasis::name).join(", ");
            settings.problem(format!("{VARIABLE} must be one of these: {known}."))
        });
        let on = Enrichment::connect(settings);
        let (basis, on) = basis.zip(on)?;
        Some(Self::On(Box::new(on(basis))))
    }
}

struct C2s(Lookups);

struct Enrichment {
    basis: LegalBasis,
    account: Account,
    /// Where the text stands in the body of a message, as names from the outside in.
    message_field: Vec<String>,
    diretrix: Url,
    diretrix_authorization: Secret,
    work_api: Url,
    work_api_token: Secret,
}

impl Enrichment {
    fn connect(settings: &mut Settings<'_>) -> Option<impl FnOnce(LegalBasis) -> Self + use<>> {
        let account = Account::read(settings);
        let message_field = settings.optional("C2S_MESSAGE_FIELD").unwrap_or("message");
        let message_field: Vec<String> = message_field.split('.').map(str::to_owned).collect();
        let diretrix = settings.url("DIRETRIX_BASE_URL", None);
        let username = settings.required("DIRETRIX_USERNAME");
        let password = settings.secret("DIRETRIX_PASSWORD");
        let work_api =
            settings.url("WORK_API_BASE_URL", Some("https://completa.workbuscas.com/api"));
        let work_api_token = settings.secret("WORK_API_TOKEN");
        let (account, diretrix) = (account?, diretrix?);
        let (username, password) = (username?, password?);
        let (work_api, work_api_token) = (work_api?, work_api_token?);
        let diretrix_authorization = basic(username, &password);
        Some(move |basis| Self {
            basis,
            account,
            message_field,
            diretrix,
            diretrix_authorization,
            work_api,
            work_api_token,
        })
    }

    fn of_diretrix(&self, path: &[&str]) -> Request {
        let path = [&["Consultas", "Pessoa"], path].concat();
        let request = Request::safe(Method::Get, endpoint(&self.diretrix, &path), None);
        request.header("authorization", self.diretrix_authorization.expose())
    }

    fn of_work_api(&self, cpf: &Cpf) -> Request {
        let mut url = self.work_api.clone();
        url.query_pairs_mut()
            .append_pair("token", self.work_api_token.expose())
            .append_pair("modulo", "cpf")
            .append_pair("consulta", cpf.as_str());
        Request::safe(Method::Get, url, None)
    }

    /// Returns what a step found, now or earlier; otherwise returns the request to send, or the reply to keep. "Nothing
    /// found" is valid for one day.
    fn found<'c>(
        &self,
        context: &Context<'c>,
        so_far: &[Response],
        step: &str,
        (ask, read): (impl FnOnce() -> Request, impl FnOnce(&Response) -> Result<Found, Outcome>),
    ) -> Result<&'c KeptReply, Step> {
        let today = format!("{step}:{}", context.event.accepted_at.strftime("%Y-%m-%d"));
        if let Some(kept) = context.kept_reply(step).or_else(|| context.kept_reply(&today)) {
            return Ok(kept);
        }
        let Some(response) = so_far.first() else { return Err(Step::send(ask().private())) };
        let (step, mut fields, keeps) = match read(response) {
            Ok(Found::Somebody(fields)) => (step, fields, Keeps::ForGood),
            Ok(Found::Nobody(fields)) => (&*today, fields, Keeps::ADay),
            Err(outcome) => return Err(Step::Done(outcome)),
        };
        fields.insert(LEGAL_BASIS.to_owned(), self.basis.name().to_owned());
        Err(Step::keep(step, fields, keeps))
    }

    /// The person's CPF, with where it comes from: what Contact2Sale sent, else who has the number, else who has the
    /// e-mail. Only what Contact2Sale says of the person counts: anybody can write another number into a form.
    fn cpf(
        &self,
        context: &Context<'_>,
        (lead, name): (&CrmLead, &Text),
        so_far: &[Response],
    ) -> Result<Option<(Cpf, &'static str)>, Step> {
        if let Some(cpf) = &lead.cpf {
            return Ok(Some((cpf.clone(), "Contact2Sale")));
        }
        let number = lead.phone.as_ref().and_then(national);
        let email = lead.email.as_ref().map(|email| email.as_str().to_owned());
        let inputs = [
            (number, "diretrix_phone", "Telefone", "Diretrix, pelo telefone"),
            (email, "diretrix_email", "Email", "Diretrix, pelo e-mail"),
        ];
        for (input, step, path, source) in inputs {
            let Some(input) = input else { continue };
            // The first name is part of the step's key: the same number with another first name is a new lookup.
            let step = step_of(step, &[&input, &replies::first_name(name.expose())]);
            let ask = || self.of_diretrix(&[path, &input]);
            let read = |response: &Response| replies::of_diretrix(response, name);
            let kept = self.found(context, so_far, &step, (ask, read))?;
            if let Some(cpf) = kept.field(replies::CPF).and_then(|text| Cpf::parse(text).ok()) {
                return Ok(Some((cpf, source)));
            }
        }
        Ok(None)
    }

    fn next(
        &self,
        context: &Context<'_>,
        lead: &CrmLead,
        so_far: &[Response],
    ) -> Result<Outcome, Step> {
        // Without it nobody can tell whether what is found is theirs.
        let Some(name) = &lead.name else {
            return Ok(Outcome::Skipped(Reason::Missing("name")));
        };
        let Some((cpf, source)) = self.cpf(context, (lead, name), so_far)? else {
            return Ok(Outcome::Skipped(Reason::Missing("cpf")));
        };
        let step = step_of("work_api", &[cpf.as_str(), &replies::first_name(name.expose())]);
        let ask = || self.of_work_api(&cpf);
        let read = |response: &Response| {
            let last = context.delivery.attempts >= UNREAD_TRIES;
            let unread = if last { Unread::Nobody } else { Unread::TriedAgain };
            replies::of_work_api(response, name, unread)
        };
        let known = self.found(context, so_far, &step, (ask, read))?;
        if known.field(replies::OTHER_PERSON).is_some() {
            return Ok(Outcome::Skipped(Reason::Missing("same_name")));
        }
        // One message for each Contact2Sale lead and CPF. Contact2Sale reports our own message as a change of the lead,
        // and that must not cause another message. A second message is sent only if the first had the CPF alone, and
        // more is known now.
        let step_of =
            |kind: &str| step_of(&format!("{kind}:{}", lead.lead.as_str()), &[cpf.as_str()]);
        let whole = step_of("message");
        let is_whole = known.field(replies::NAME).is_some();
        if !is_whole && context.kept_reply(&whole).is_some() {
            return Ok(Outcome::Skipped(Reason::OfAnother));
        }
        let step = if is_whole { whole } else { step_of("short_message") };
        let Some(kept) = context.kept_reply(&step) else {
            return Err(Step::keep(&step, BTreeMap::new(), Keeps::ForGood));
        };
        if kept.by != context.delivery.id {
            return Ok(Outcome::Skipped(Reason::OfAnother));
        }
        if let Some(response) = so_far.first() {
            return Ok(judged(response));
        }
        let text = message::text(&cpf, source, known, self.basis);
        let lead = lead.lead.as_str();
        Err(Step::send(self.account.message(lead, &self.message_field, &text)))
    }
}

impl Adapter for C2s {
    fn next(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        let Some(lead) = taken(&context.event.data) else {
            return Step::Done(Outcome::Rejected(Reason::NotUnderstood));
        };
        match &self.0 {
            Lookups::Off => Step::Done(Outcome::Skipped(Reason::Missing("legal_basis"))),
            Lookups::On(on) => on.next(context, lead, so_far).map_or_else(|step| step, Step::Done),
        }
    }

    fn requests_max(&self, _slot: &Slot) -> usize {
        match self.0 {
            Lookups::Off => 0,
            Lookups::On(_) => REQUESTS_MAX,
        }
    }

    /// The account at Contact2Sale. The others have no request that costs nothing.
    fn probes(&self) -> Vec<Probe<'_>> {
        const SUBJECT: &str = "credentials";

        let Lookups::On(on) = &self.0 else {
            let says = "enrichment is off: set ENRICHMENT_LEGAL_BASIS to why you may look people up (LGPD, art. 7), or \
                        take c2s out of DESTINATIONS";
            return vec![Probe::Known(Finding::warning("legal basis", says))];
        };
        let ask = Probe::ask(SUBJECT, on.account.me(), |response| {
            vec![match refusal(SUBJECT, "C2S_TOKEN", response) {
                Some(finding) => finding,
                None if !response.json().is_object() => {
                    not_itself(SUBJECT, "C2S_BASE_URL", "Contact2Sale")
                }
                None => Finding::ok(SUBJECT, "Contact2Sale takes C2S_TOKEN"),
            }]
        });
        let says = "each request of Diretrix and of the Work API costs money, so their credentials are not tried";
        vec![ask, Probe::Known(Finding::unchecked("paid sources", says))]
    }
}

/// After a response that is not clear the message may have been taken. The outcome is unknown then, because no seller
/// may get a message twice.
fn judged(response: &Response) -> Outcome {
    let body = response.json();
    match response.status {
        200..=299 if body["success"] == Value::Bool(false) => {
            Outcome::Rejected(Reason::UnexpectedResponse("no_success"))
        }
        200..=299 if body.is_object() || response.body.expose().trim().is_empty() => {
            Outcome::Delivered
        }
        200..=299 => Outcome::Unknown(Reason::UnexpectedResponse("no_json")),
        429 => Outcome::Retry {
            reason: Reason::Status(429),
            retry_after_s: Some(response.retry_after_s.unwrap_or_default().max(THROTTLED_S)),
        },
        500 | 502 | 504 => Outcome::Unknown(Reason::Status(response.status)),
        _ => judge(response),
    }
}

/// The key of a step: its name, and a digest of what it depends on.
fn step_of(step: &str, inputs: &[&str]) -> String {
    let parts: Vec<String> =
        inputs.iter().map(|input| format!("{}:{input}", input.len())).collect();
    format!("{step}:{}", &sha256_hex(parts.join(";").as_bytes())[..12])
}

/// The digits of a Brazilian number without its country's code; Diretrix knows no others.
fn national(phone: &Phone) -> Option<String> {
    phone.as_str().strip_prefix("+55").map(str::to_owned)
}

/// The header of HTTP's basic authentication.
fn basic(username: &str, password: &Secret) -> Secret {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let pair = format!("{username}:{}", password.expose());
    Secret::new(format!("Basic {}", STANDARD.encode(pair)))
}

#[cfg(test)]
mod tests;
