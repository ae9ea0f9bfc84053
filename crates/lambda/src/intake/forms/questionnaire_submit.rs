//! `questionnaire-submit`: the questionnaire of a known lead, which scores the answers, updates the
//! lead and responds with the next step.
//!
//! What it shares with other forms is in `intake/form.rs`. The link to book a call carries the name
//! that the request itself brought, or none: whoever knows an e-mail must not learn a name.

use funil_core::booking::link::{booking_link, with_name};
use funil_core::contact::{Email, Phone};
use funil_core::event::QuestionnaireCompleted;
use funil_core::form::FieldErrors;
use funil_core::form::questionnaire::{NextStep, QuestionnaireForm};
use funil_core::lead::{Authority, LeadChanges};
use funil_core::score::readiness;
use funil_core::score::rules::{READINESS, Rules};
use funil_core::settings::{ConfigError, Env};
use funil_core::site::{BookingConfig, RateClass};
use funil_store::{Accepted, Fact, LeadWrite, Platform, StoreError, StoredResponse};
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use crate::Function;
use crate::api::{Operation, flag, object};
use crate::functions::Registration;
use crate::http::problem::Problem;
use crate::intake::form::{self, Effect, Form, Intake, Place, Submission};

/// `questionnaire-submit`, which anybody may post to.
pub static REGISTRATION: Registration = Registration {
    name: "questionnaire-submit",
    quarantine_source: Some("questionnaire-submit"),
    variables: &[],
    signature: None,
};

struct QuestionnaireSubmit {
    intake: Intake,
    booking: BookingConfig,
    rules: Rules,
}

/// Makes `questionnaire-submit`. Of its own it reads the booking link and the rules of the score.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let intake = Intake::read(&mut settings, platform);
    let booking = BookingConfig::read(&mut settings);
    let rules = READINESS.rules(&mut settings);
    let endpoint = intake.zip(booking).zip(rules);
    let endpoint =
        endpoint.map(|((intake, booking), rules)| QuestionnaireSubmit { intake, booking, rules });
    settings.finish(endpoint).map(form::function)
}

pub(crate) fn operation() -> Operation {
    let mut returned = object([
        ("success", flag()),
        ("transformationScore", json!({"type": "integer", "minimum": 0, "maximum": 100})),
        ("nextStep", json!({"enum": ["calendar_booking", "nurture"]})),
    ]);
    returned["properties"]["bookingUrl"] = json!({"type": "string", "format": "uri"});
    let summary = "Keeps a lead's answers to the questionnaire, and says what comes next.";
    // The document describes the built-in questions.
    let schemas = READINESS.built_in().map(|rules| QuestionnaireForm::schema(&rules));
    let schemas = schemas.into_iter().collect();
    form::operation(REGISTRATION.name, summary, schemas, returned).refuses([Problem::NoSuchLead])
}

impl Form for QuestionnaireSubmit {
    const NAME: &'static str = REGISTRATION.name;
    const RATE: RateClass = RateClass::LeadForms;
    type Content = QuestionnaireCompleted;

    fn intake(&self) -> &Intake {
        &self.intake
    }

    fn read(&self, body: &Value, _at: Timestamp) -> Result<QuestionnaireCompleted, FieldErrors> {
        let form = QuestionnaireForm::parse(body, &self.rules)?;
        let score = readiness::score(&self.rules, |question| form.answer(question));
        let next_step = NextStep::of(score.total, self.booking.threshold);
        let page = match next_step {
            NextStep::CalendarBooking => self.booking.page.as_ref(),
            NextStep::Nurture => None,
        };
        let booking_url = page.map(|page| booking_link(page, form.lead_id, &form.email));
        Ok(QuestionnaireCompleted { form, score, next_step, booking_url })
    }

    fn person(content: &QuestionnaireCompleted) -> (&Email, Option<&Phone>) {
        (&content.form.email, None)
    }

    fn fingerprint(content: &QuestionnaireCompleted) -> String {
        content.form.fingerprint()
    }

    fn response(&self, submission: &Submission<QuestionnaireCompleted>) -> StoredResponse {
        let completed = &submission.content;
        let mut body = json!({
            "success": true,
            "transformationScore": completed.score.total,
            "nextStep": completed.next_step.name(),
        });
        let link = completed.booking_url.as_ref().map(|link| match &completed.form.name {
            Some(name) => with_name(link, name),
            None => link.clone(),
        });
        if let Some(link) = &link {
            body["bookingUrl"] = json!(link.expose());
        }
        // A plain form is redirected only where a thank-you page is configured; who may book goes
        // to the booking page.
        let thank_you = self.intake.config.thank_you_url.as_ref();
        let booking = link.and_then(|link| Url::parse(link.expose()).ok());
        submission.response(&body, thank_you.map(|page| booking.as_ref().unwrap_or(page)))
    }

    /// Keeps the answers on the lead, which has to exist with this e-mail. Without a consent object
    /// of its own the questionnaire grants `contact` and leaves every other consent as the lead's
    /// earlier form set it; under an id that anybody can learn it does so in any case.
    async fn keep(
        &self,
        submission: &Submission<QuestionnaireCompleted>,
    ) -> Result<(Accepted, StoredResponse), StoreError> {
        if !submission.content.form.lead_id.is_derived() {
            return self.accept(submission, LeadWrite::KnownOfEmail, Authority::Capability).await;
        }
        let first = LeadWrite::FirstOfKnown(Fact::Questionnaire);
        let (accepted, response) = self.accept(submission, first, Authority::FirstOfKind).await?;
        if let Accepted::Exists(_) = accepted {
            return self.accept(submission, LeadWrite::KnownOfEmail, Authority::LaterForm).await;
        }
        Ok((accepted, response))
    }

    fn robot_content(&self, content: &QuestionnaireCompleted) -> QuestionnaireCompleted {
        content.clone()
    }

    /// Whether the lead exists with this e-mail, so that robots and people get the same status.
    async fn knows(
        &self,
        submission: &Submission<QuestionnaireCompleted>,
    ) -> Result<bool, StoreError> {
        let form = &submission.content.form;
        let lead = self.intake.app.store.lead(form.lead_id).await?;
        Ok(lead.is_some_and(|lead| lead.latest.email.as_ref() == Some(&form.email)))
    }
}

impl QuestionnaireSubmit {
    async fn accept(
        &self,
        submission: &Submission<QuestionnaireCompleted>,
        lead: LeadWrite,
        authority: Authority,
    ) -> Result<(Accepted, StoredResponse), StoreError> {
        let completed = &submission.content;
        let place =
            Place { lead_id: completed.form.lead_id, supplied: None, write: lead, authority };
        let effect = Effect {
            data: completed.clone().into(),
            changes: LeadChanges::of_questionnaire(completed, authority, submission.now),
            consent: completed.form.consent.clone(),
            assumed: Vec::new(),
            response: self.response(submission),
        };
        self.intake.accept(submission, place, effect).await
    }
}
