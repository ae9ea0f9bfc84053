//! `questionnaire-submit`: the questionnaire of a known lead, which scores the answers, updates the
//! lead and responds with the next step.
//!
//! What it shares with other forms is in `intake/form.rs`. The link to book a call carries
//! the name that the request brought, else the lead's, which costs one read where the score earns a
//! link. Only a request with the lead's own e-mail gets it, because no other is accepted.

use funil_core::booking::link::{booking_link, with_name};
use funil_core::contact::{Email, Phone};
use funil_core::event::QuestionnaireCompleted;
use funil_core::form::FieldErrors;
use funil_core::form::questionnaire::{NextStep, QuestionnaireForm};
use funil_core::lead::LeadChanges;
use funil_core::pii::Text;
use funil_core::score::readiness;
use funil_core::settings::{ConfigError, Env};
use funil_core::site::BookingConfig;
use funil_store::{Accepted, LeadWrite, Platform, StoreError, StoredResponse};
use serde_json::{Value, json};
use url::Url;

use crate::Function;
use crate::functions::Registration;
use crate::intake::form::{self, Effect, Form, Intake, Submission};

/// What is known of the function without starting it.
pub static REGISTRATION: Registration = Registration {
    name: "questionnaire-submit",
    quarantine_source: "questionnaire-submit",
    variables: &[],
    signature: None,
};

struct QuestionnaireSubmit {
    intake: Intake,
    booking: BookingConfig,
}

/// Configures the function.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let intake = Intake::read(&mut settings, platform);
    let booking = BookingConfig::read(&mut settings);
    let endpoint = intake.zip(booking);
    let endpoint = endpoint.map(|(intake, booking)| QuestionnaireSubmit { intake, booking });
    settings.finish(endpoint).map(form::function)
}

impl Form for QuestionnaireSubmit {
    const NAME: &'static str = REGISTRATION.name;
    type Content = QuestionnaireCompleted;

    fn intake(&self) -> &Intake {
        &self.intake
    }

    fn read(&self, body: &Value) -> Result<QuestionnaireCompleted, FieldErrors> {
        let form = QuestionnaireForm::parse(body)?;
        let score = readiness::score(|question| form.answer(question));
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
        self.response_for(submission, submission.content.form.name.as_ref())
    }

    /// Keeps the answers on the lead, which has to exist with this e-mail. Without a consent object
    /// of its own the questionnaire grants `contact` and leaves every other consent as the lead's
    /// earlier form set it.
    async fn keep(
        &self,
        submission: &Submission<QuestionnaireCompleted>,
    ) -> Result<(Accepted, StoredResponse), StoreError> {
        let completed = &submission.content;
        let name = self.name(completed).await?;
        let effect = Effect {
            lead_id: completed.form.lead_id,
            supplied_lead_id: None,
            lead: LeadWrite::KnownOfEmail,
            data: completed.clone().into(),
            changes: LeadChanges::of_questionnaire(completed, submission.now),
            consent: completed.form.consent.as_ref(),
            consent_when_absent: &[],
            response: self.response_for(submission, name.as_ref()),
        };
        self.intake.accept(submission, effect).await
    }
}

impl QuestionnaireSubmit {
    /// The response, with a booking link for a person of this name.
    fn response_for(
        &self,
        submission: &Submission<QuestionnaireCompleted>,
        name: Option<&Text>,
    ) -> StoredResponse {
        let completed = &submission.content;
        let mut body = json!({
            "success": true,
            "transformationScore": completed.score.total,
            "nextStep": completed.next_step.name(),
        });
        let link = completed.booking_url.as_ref().map(|link| match name {
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

    /// The name in the link: the one that the request brought, else the lead's.
    async fn name(&self, completed: &QuestionnaireCompleted) -> Result<Option<Text>, StoreError> {
        let form = &completed.form;
        if form.name.is_some() || completed.booking_url.is_none() {
            return Ok(form.name.clone());
        }
        let lead = self.intake.app.store.lead(form.lead_id).await?;
        Ok(lead.and_then(|lead| lead.latest.name))
    }
}
