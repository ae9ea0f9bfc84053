//! What the site's forms share: their lead, their consent and their response.
//!
//! A [`SiteFunction`] says what is its own. Must not know any form's fields.

use std::marker::PhantomData;

use funil_core::contact::consent::{FormConsent, Purpose};
use funil_core::contact::{Email, Phone};
use funil_core::destination;
use funil_core::event::{EventData, SiteSubmission};
use funil_core::form::{FieldErrors, Locale};
use funil_core::id::LeadId;
use funil_core::lead::{Authority, Lead, LeadChanges};
use funil_core::settings::{ConfigError, Env};
use funil_core::site::RateClass;
use funil_store::{Accepted, Fact, Platform, StoreError, StoredResponse};
use serde_json::{Value, json};

use crate::Function;
use crate::api::{flag, list, object, text};
use crate::intake::form::{self, Effect, Form, Intake, MakesLead, Submission};

/// What is one form's own.
pub(super) trait SiteFunction: Send + Sync + 'static {
    /// The function's name.
    const NAME: &'static str;
    /// The fact that its first submission states.
    const FACT: Fact;
    /// A valid submission, as its event keeps it.
    type Content: Clone + Into<EventData> + Send + Sync;

    /// Reads a body, or says everything that is wrong with it.
    fn read(body: &Value) -> Result<Self::Content, FieldErrors>;
    /// What it says.
    fn submission(content: &Self::Content) -> SiteSubmission<'_>;
    /// What it decides about consent.
    fn consent(content: &Self::Content) -> Option<FormConsent>;
    /// What makes two submissions the same one.
    fn fingerprint(content: &Self::Content) -> String;
    /// What the visitor is told.
    fn thanks(locale: Locale) -> &'static str;
}

/// A valid submission, and the id under which it is kept unless that belongs to another e-mail.
#[derive(Clone)]
pub(super) struct Content<C> {
    submitted: C,
    lead_id: LeadId,
}

struct SiteEndpoint<S> {
    intake: Intake,
    function: PhantomData<S>,
}

/// Configures the function of one of the site's forms.
pub(super) fn function<S: SiteFunction>(
    env: &Env,
    platform: &Platform,
) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let intake = Intake::read(&mut settings, platform);
    let endpoint = intake.map(|intake| SiteEndpoint::<S> { intake, function: PhantomData });
    settings.finish(endpoint).map(form::function)
}

/// What a response has.
pub(super) fn returned() -> Value {
    object([
        ("success", flag()),
        ("submission_id", text()),
        ("message", text()),
        ("integrations", object([("planned", list(&text()))])),
    ])
}

impl<S: SiteFunction> Form for SiteEndpoint<S> {
    const NAME: &'static str = S::NAME;
    const LEAD_ID_FIELD: &'static str = "lead_id";
    const RATE: RateClass = RateClass::SiteForms;
    type Content = Content<S::Content>;

    fn intake(&self) -> &Intake {
        &self.intake
    }

    fn read(&self, body: &Value) -> Result<Self::Content, FieldErrors> {
        let submitted = S::read(body)?;
        let submission = S::submission(&submitted);
        let lead_id = self.intake.lead_id(submission.email, submission.origin.lead_id);
        Ok(Content { submitted, lead_id })
    }

    fn person(content: &Self::Content) -> (&Email, Option<&Phone>) {
        let submission = S::submission(&content.submitted);
        (submission.email, submission.phone)
    }

    fn fingerprint(content: &Self::Content) -> String {
        S::fingerprint(&content.submitted)
    }

    /// The destinations are those that the form itself wants, whoever's it is, so the response says nothing
    /// of a lead.
    fn response(&self, submission: &Submission<Self::Content>) -> StoredResponse {
        let submitted = &submission.content.submitted;
        let body = json!({
            "success": true,
            "submission_id": submission.event_id,
            "message": S::thanks(submission.locale),
            "integrations": {"planned": self.planned(submission, submitted)},
        });
        submission.response(&body, self.intake.config.thank_you_url.as_ref())
    }

    async fn keep(
        &self,
        submission: &Submission<Self::Content>,
    ) -> Result<(Accepted, StoredResponse), StoreError> {
        form::keep_lead(self, submission).await
    }

    fn robot_content(&self, content: &Self::Content) -> Self::Content {
        content.clone()
    }

    /// It makes its lead, so it never refers to an unknown one.
    async fn knows(&self, _submission: &Submission<Self::Content>) -> Result<bool, StoreError> {
        Ok(true)
    }
}

impl<S: SiteFunction> MakesLead for SiteEndpoint<S> {
    const FACT: Fact = S::FACT;

    fn supplied(content: &Self::Content) -> Option<LeadId> {
        S::submission(&content.submitted).origin.lead_id
    }

    fn lead_id(content: &Self::Content) -> LeadId {
        content.lead_id
    }

    fn effect(
        &self,
        submission: &Submission<Self::Content>,
        _lead: LeadId,
        authority: Authority,
        _known: Option<&Lead>,
    ) -> Effect {
        let submitted = &submission.content.submitted;
        let said = S::submission(submitted);
        let when_absent = &self.intake.config.consent_when_absent;
        // The box for marketing decides alone about marketing.
        let assumed = when_absent
            .iter()
            .copied()
            .filter(|purpose| said.origin.consent.is_none() && *purpose != Purpose::MarketingEmail);
        Effect {
            changes: LeadChanges::of_site(&said, authority, submission.now),
            consent: S::consent(submitted),
            assumed: assumed.collect(),
            response: self.response(submission),
            data: submitted.clone().into(),
        }
    }
}

impl<S: SiteFunction> SiteEndpoint<S> {
    /// The names of the destinations that get it, if the person's consent allows it when it is sent.
    fn planned(
        &self,
        submission: &Submission<Content<S::Content>>,
        submitted: &S::Content,
    ) -> Vec<&'static str> {
        let event = submission.event(submission.content.lead_id, submitted.clone().into());
        let consent = S::consent(submitted);
        let enabled = &self.intake.app.config.destinations;
        destination::wanted(&event, enabled, consent.as_ref())
    }
}
