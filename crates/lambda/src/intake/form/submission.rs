//! A form's request as it is read: its content, what is known of its sender, and the receipt by which
//! a duplicate is recognised.
//!
//! Must not know what becomes of it.

use funil_core::contact::consent::FormConsent;
use funil_core::destination::{self, AliasDigests, Destination};
use funil_core::event::{Event, EventData};
use funil_core::form::{Locale, SpamFields, SpamSign, Token};
use funil_core::hash::Digest;
use funil_core::id::{EventId, LeadId, QuarantineName};
use funil_core::pii::Text;
use funil_core::receipt::{IdempotencyKey, ReceiptKey};
use funil_store::{ConsentEvidence, Receipt, StoredResponse};
use http::StatusCode;
use http::header::{LOCATION, USER_AGENT};
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::{Form, Intake};
use crate::http::guard::{self, Encoding};
use crate::http::problem::Problem;
use crate::platform::request::HttpRequest;

/// The member of a response with the id of the event that a page may send to Meta, too.
pub(crate) const PAGE_EVENT: &str = "eventId";
/// The longest user agent that is kept, in characters.
const AGENT_CHARS_MAX: usize = 500;

/// A valid submission and what is known of its request.
#[derive(Clone)]
pub(crate) struct Submission<C> {
    pub(crate) content: C,
    pub(crate) now: Timestamp,
    pub(super) form: &'static str,
    /// The id of the event that it becomes.
    pub(crate) event_id: EventId,
    /// The language of the response.
    pub(crate) locale: Locale,
    pub(super) reader: Reader,
    pub(super) signs: Vec<SpamSign>,
    /// Where a destination needs it.
    pub(super) user_agent: Option<Text>,
    pub(super) aliases: AliasDigests,
    pub(super) evidence: ConsentEvidence,
    pub(super) fingerprint: String,
    pub(super) receipt_key: ReceiptKey,
    /// The request in quarantine that it is, if a person releases it.
    pub(super) released: Option<QuarantineName>,
}

/// Who reads the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// A script: it reads JSON.
    Script,
    /// A browser that posted a plain HTML form, and shows what it gets.
    Browser,
}

impl Reader {
    fn of(request: &HttpRequest, encoding: Encoding) -> Self {
        match encoding {
            Encoding::UrlEncoded if guard::takes_html(request) => Self::Browser,
            Encoding::UrlEncoded | Encoding::Json => Self::Script,
        }
    }
}

/// What a caller sent, read.
pub(super) struct Sent<C> {
    pub(super) content: C,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) reader: Reader,
    pub(super) spam: SpamFields,
}

impl<C> Sent<C> {
    /// Reads a request that comes at this time, or says what is wrong with it. Looks at nothing else, so it
    /// works without a table.
    pub(super) fn read<F: Form<Content = C>>(
        form: &F,
        request: &HttpRequest,
        at: Timestamp,
    ) -> Result<Self, Problem> {
        let (encoding, body) = guard::form_body(request)?;
        let key = idempotency_key(request)?;
        let content = form.read(&body, at).map_err(Problem::Fields)?;
        let reader = Reader::of(request, encoding);
        Ok(Self { content, key, reader, spam: SpamFields::of(&body) })
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

/// What is known of who sent a submission; nothing of one that a person releases.
#[derive(Default)]
pub(super) struct Sender {
    /// A digest of their address.
    caller: Option<Digest>,
    /// A digest of their user agent.
    agent: Option<Digest>,
    /// Their user agent, where a destination needs it.
    pub(super) user_agent: Option<Text>,
    signs: Vec<SpamSign>,
    locale: Locale,
}

impl Sender {
    pub(super) fn of(
        intake: &Intake,
        request: &HttpRequest,
        caller: Digest,
        now: Timestamp,
    ) -> Self {
        let agent = guard::header(request, USER_AGENT);
        Self {
            caller: Some(caller),
            agent: agent.map(|agent| intake.hash().monthly_digest(now, "agent", agent)),
            user_agent: agent
                .filter(|_| destination::page_events(&intake.app.config.destinations))
                .map(|agent| Text::new(agent.chars().take(AGENT_CHARS_MAX).collect())),
            signs: match guard::encoding(request) {
                Some(Encoding::UrlEncoded)
                    if guard::is_of_another_site(request, &intake.app.config) =>
                {
                    vec![SpamSign::ForeignOrigin]
                }
                Some(Encoding::UrlEncoded | Encoding::Json) | None => Vec::new(),
            },
            locale: guard::locale(request),
        }
    }
}

impl<C: Send + Sync> Submission<C> {
    pub(super) fn new<F: Form<Content = C>>(
        intake: &Intake,
        sent: Sent<C>,
        sender: Sender,
        now: Timestamp,
    ) -> Self {
        let hash = intake.hash();
        let Sent { content, key, reader, .. } = sent;
        let (email, phone) = F::person(&content);
        let fingerprint = F::fingerprint(&content);
        let receipt_of =
            |scope: &str| ReceiptKey::of_form(hash, scope, email, key.as_ref(), &fingerprint);
        Self {
            aliases: AliasDigests {
                email: Some(hash.digest("email", email.as_str())),
                phone: phone.map(|phone| hash.digest("phone", &phone.alias_text())),
            },
            evidence: ConsentEvidence {
                form: F::NAME.to_owned(),
                ip: sender.caller,
                agent: sender.agent,
            },
            receipt_key: match reader {
                Reader::Script => receipt_of(F::NAME),
                // A browser is redirected; a script with the same content must not get that
                // response.
                Reader::Browser => receipt_of(&format!("{}#html", F::NAME)),
            },
            event_id: EventId::form(F::NAME, now, &*intake.app.platform.entropy),
            locale: sender.locale,
            signs: sender.signs,
            user_agent: sender.user_agent,
            released: None,
            form: F::NAME,
            fingerprint,
            reader,
            content,
            now,
        }
    }
}

impl<C> Submission<C> {
    /// Adds what looks like spam in the body, in its token, and in that others wrote the same.
    pub(super) fn add_signs(&mut self, spam: &SpamFields, token: Token, is_repeated: bool) {
        self.signs.extend(&spam.signs);
        self.signs.extend(is_repeated.then_some(SpamSign::Repetition));
        self.signs.extend(match token {
            Token::Missing => Some(SpamSign::NoToken),
            Token::Unchecked => Some(SpamSign::TokenUnchecked),
            Token::NotAsked | Token::Valid | Token::Rejected => None,
        });
        self.signs.sort();
        self.signs.dedup();
    }

    /// The response: JSON, or the page to which a browser that posted a plain form is sent.
    pub(crate) fn response(&self, body: &Value, page: Option<&Url>) -> StoredResponse {
        match (self.reader, page) {
            (Reader::Browser, Some(page)) => StoredResponse {
                status: StatusCode::SEE_OTHER.as_u16(),
                headers: vec![(LOCATION.as_str().to_owned(), page.to_string())],
                body: String::new(),
            },
            (Reader::Script | Reader::Browser, _) => StoredResponse {
                status: StatusCode::OK.as_u16(),
                headers: Vec::new(),
                body: body.to_string(),
            },
        }
    }

    /// The event that it becomes on this lead.
    pub(crate) fn event(&self, lead_id: LeadId, data: EventData) -> Event {
        Event {
            signs: self.signs.clone(),
            user_agent: self.user_agent.clone(),
            ..Event::new(self.event_id.clone(), lead_id, data, self.now)
        }
    }

    /// The receipt that keeps the response.
    pub(super) fn receipt(&self, response: StoredResponse) -> Receipt {
        Receipt {
            key: self.receipt_key.clone(),
            fingerprint: self.fingerprint.clone(),
            response,
            caller: self.evidence.ip.clone(),
        }
    }
}

/// Adds to a response the id under which Meta gets the event, for the page's own Pixel.
pub(crate) fn add_page_event(
    body: &mut Value,
    event: &Event,
    enabled: &[&'static Destination],
    consent: Option<&FormConsent>,
) {
    if let Some(id) = destination::page_event(event, enabled, consent) {
        body[PAGE_EVENT] = Value::from(id.to_string());
    }
}
