//! `consultation-booking`: the site's form for a consultation, which creates leads, scores them, and responds
//! with the link to book a call where the score earns one.
//!
//! What it shares with other forms is in `site.rs` beside it and in `crate::intake::form`.

use funil_core::booking::link::{booking_link, with_name};
use funil_core::contact::consent::FormConsent;
use funil_core::event::{ConsultationRequested, SiteForm, SiteSubmission};
use funil_core::form::consultation::ConsultationForm;
use funil_core::form::questionnaire::NextStep;
use funil_core::form::{FieldErrors, Locale};
use funil_core::id::LeadId;
use funil_core::pii::Text;
use funil_core::score::rules::{CONSULTATION, Rules};
use funil_core::settings::{ConfigError, Env};
use funil_core::site::BookingConfig;
use funil_store::Platform;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::site::{self, SiteFunction};
use crate::Function;
use crate::api::{Operation, object, uuid, with};
use crate::functions::Registration;
use crate::intake::form;

/// `consultation-booking`, which anybody may post to.
pub static REGISTRATION: Registration = Registration {
    name: "consultation-booking",
    quarantine_source: Some("consultation-booking"),
    variables: &[],
    signature: None,
};

/// Makes `consultation-booking`. Of its own it reads the booking link and the rules of the score.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    site::function(env, platform, |settings| {
        let booking = BookingConfig::read(settings);
        let rules = CONSULTATION.rules(settings);
        Some(ConsultationBooking { booking: booking?, rules: rules? })
    })
}

pub(crate) fn operation() -> Operation {
    let summary = "Keeps a request for a consultation, scores it, and says what comes next.";
    let [success, submission_id, message, integrations] = site::returned_members();
    let score = ("score", json!({"type": "integer", "minimum": 0, "maximum": 100}));
    let next_step = ("next_step", json!({"enum": ["calendar_booking", "nurture"]}));
    let returned = object([success, submission_id, message, integrations, score, next_step]);
    let link = ("booking_url", json!({"type": "string", "format": "uri"}));
    let returned = with(returned, [link, (form::PAGE_EVENT, uuid())]);
    form::operation(REGISTRATION.name, summary, ConsultationForm::schemas(), returned)
}

struct ConsultationBooking {
    booking: BookingConfig,
    rules: Rules,
}

impl ConsultationBooking {
    /// The link to book a call, with what the request itself brought filled in, if its score earns one.
    fn link(&self, requested: &ConsultationRequested, lead: LeadId) -> Option<Text> {
        let page = match requested.next_step {
            NextStep::CalendarBooking => self.booking.page.as_ref()?,
            NextStep::Nurture => return None,
        };
        let form = &requested.form;
        Some(with_name(&booking_link(page, lead, &form.email), &form.name))
    }
}

impl SiteFunction for ConsultationBooking {
    const NAME: &'static str = REGISTRATION.name;
    const FORM: SiteForm = SiteForm::Consultation;
    type Content = ConsultationRequested;

    fn read(&self, body: &Value, at: Timestamp) -> Result<ConsultationRequested, FieldErrors> {
        let form = ConsultationForm::parse(body, at)?;
        let score = self.rules.tiered(|question| form.answer(question));
        let next_step = NextStep::of(score.total, self.booking.threshold);
        Ok(ConsultationRequested { form, score, next_step })
    }

    fn submission(content: &ConsultationRequested) -> SiteSubmission<'_> {
        content.submission()
    }

    fn consent(content: &ConsultationRequested) -> Option<FormConsent> {
        content.form.consent()
    }

    fn fingerprint(content: &ConsultationRequested) -> String {
        content.form.fingerprint()
    }

    fn thanks(locale: Locale) -> &'static str {
        match locale {
            Locale::En => "Thank you. We have received your request.",
            Locale::PtBr => "Obrigado! Recebemos o seu pedido.",
        }
    }

    fn more(&self, requested: &ConsultationRequested, lead: LeadId) -> Vec<(&'static str, Value)> {
        let link = self.link(requested, lead);
        let link = link.map(|link| ("booking_url", json!(link.expose())));
        let next_step = requested.next_step.name();
        let scored = [("score", requested.score.total.into()), ("next_step", next_step.into())];
        scored.into_iter().chain(link).collect()
    }

    /// Who may book goes to the booking page.
    fn page(&self, requested: &ConsultationRequested, lead: LeadId) -> Option<url::Url> {
        url::Url::parse(self.link(requested, lead)?.expose()).ok()
    }
}
