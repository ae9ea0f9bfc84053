//! What the site's forms share: their lead, their consent and their response.
//!
//! A [`SiteFunction`] says what is its own. Must not know any form's fields.

use funil_core::contact::consent::{FormConsent, Purpose};
use funil_core::contact::{Email, Phone};
use funil_core::destination;
use funil_core::event::{EventData, SiteForm, SiteSubmission};
use funil_core::form::{FieldErrors, Locale};
use funil_core::id::LeadId;
use funil_core::lead::{Authority, Lead, LeadChanges};
use funil_core::settings::{ConfigError, Env, Settings};
use funil_core::site::RateClass;
use funil_store::{Accepted, Fact, Platform, StoreError, StoredResponse};
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use crate::Function;
use crate::api::{flag, list, object, text};
use crate::intake::form::{self, Effect, Form, Intake, MakesLead, Submission};

/// What is one form's own.
pub(super) trait SiteFunction: Send + Sync + 'static {
    /// The function's name.
    const NAME: &'static str;
    /// Which of the site's forms it is.
    const FORM: SiteForm;
    /// A valid submission, as its event keeps it.
    type Content: Clone + Into<EventData> + Send + Sync;

    /// Reads a body that comes at this time, or says everything that is wrong with it.
    fn read(&self, body: &Value, at: Timestamp) -> Result<Self::Content, FieldErrors>;
    /// What the submission says, in the form that all forms of the site share.
    fn submission(content: &Self::Content) -> SiteSubmission<'_>;
    /// What it decides about consent.
    fn consent(content: &Self::Content) -> Option<FormConsent>;
    /// What makes two submissions the same one.
    fn fingerprint(content: &Self::Content) -> String;
    /// The message that the visitor sees.
    fn thanks(locale: Locale) -> &'static str;

    /// What the response has beside what all of them have, for a submission that is kept on this lead.
    fn more(&self, _content: &Self::Content, _lead: LeadId) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    /// Where a browser goes that posted a plain HTML form, if not to the site's own page.
    fn page(&self, _content: &Self::Content, _lead: LeadId) -> Option<Url> {
        None
    }
}

/// A valid submission, and the id under which it is kept unless that belongs to another e-mail.
#[derive(Clone)]
pub(super) struct Content<C> {
    submitted: C,
    lead_id: LeadId,
}

struct SiteEndpoint<S> {
    intake: Intake,
    own: S,
}

/// Configures the function of one of the site's forms.
pub(super) fn function<S: SiteFunction>(
    env: &Env,
    platform: &Platform,
    read: impl FnOnce(&mut Settings<'_>) -> Option<S>,
) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let intake = Intake::read(&mut settings, platform);
    let own = read(&mut settings);
    let endpoint = intake.zip(own).map(|(intake, own)| SiteEndpoint { intake, own });
    settings.finish(endpoint).map(form::function)
}

/// What every response has.
pub(super) fn returned() -> Value {
    object(returned_members())
}

/// The members of every response, with their schemas.
pub(super) fn returned_members() -> [(&'static str, Value); 4] {
    [
        ("success", flag()),
        ("submission_id", text()),
        ("message", text()),
        ("integrations", object([("planned", list(&text()))])),
    ]
}

impl<S: SiteFunction> Form for SiteEndpoint<S> {
    const NAME: &'static str = S::NAME;
    const LEAD_ID_FIELD: &'static str = "lead_id";
    const RATE: RateClass = RateClass::SiteForms;
    type Content = Content<S::Content>;

    fn intake(&self) -> &Intake {
        &self.intake
    }

    fn read(&self, body: &Value, at: Timestamp) -> Result<Self::Content, FieldErrors> {
        let submitted = self.own.read(body, at)?;
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

    fn free_text(content: &Self::Content) -> Option<&str> {
        S::submission(&content.submitted).message.map(|text| text.expose().as_str())
    }

    fn response(&self, submission: &Submission<Self::Content>) -> StoredResponse {
        self.response_as(submission, submission.content.lead_id)
    }

    async fn keep(
        &self,
        submission: &Submission<Self::Content>,
    ) -> Result<(Accepted, StoredResponse), StoreError> {
        form::keep_lead(self, submission).await
    }

    /// A robot's response does not have the id that is derived from the e-mail.
    fn robot_content(&self, content: &Self::Content) -> Self::Content {
        let email = S::submission(&content.submitted).email;
        let lead_id = self.intake.id_for_robot(content.lead_id, email);
        Content { lead_id, ..content.clone() }
    }

    /// It makes its lead, so it never refers to an unknown one.
    async fn knows(&self, _submission: &Submission<Self::Content>) -> Result<bool, StoreError> {
        Ok(true)
    }
}

impl<S: SiteFunction> MakesLead for SiteEndpoint<S> {
    const FACT: Fact = Fact::Site(S::FORM);

    fn supplied(content: &Self::Content) -> Option<LeadId> {
        S::submission(&content.submitted).origin.lead_id
    }

    fn lead_id(content: &Self::Content) -> LeadId {
        content.lead_id
    }

    fn effect(
        &self,
        submission: &Submission<Self::Content>,
        lead: LeadId,
        authority: Authority,
        known: Option<&Lead>,
    ) -> Effect {
        let submitted = &submission.content.submitted;
        let said = S::submission(submitted);
        let when_absent = &self.intake.config.consent_when_absent;
        // Consent to marketing is never assumed: only the box for it decides.
        let assumed = when_absent
            .iter()
            .copied()
            .filter(|purpose| said.origin.consent.is_none() && *purpose != Purpose::MarketingEmail);
        Effect {
            changes: LeadChanges::of_site(&said, authority, known, submission.now),
            consent: S::consent(submitted),
            assumed: assumed.collect(),
            response: self.response_as(submission, lead),
            data: submitted.clone().into(),
        }
    }
}

impl<S: SiteFunction> SiteEndpoint<S> {
    /// The response to a submission on this lead. It lists the destinations that the form wants for everybody, so
    /// it tells nothing about the lead.
    fn response_as(
        &self,
        submission: &Submission<Content<S::Content>>,
        lead: LeadId,
    ) -> StoredResponse {
        let submitted = &submission.content.submitted;
        let mut body = json!({
            "success": true,
            "submission_id": submission.event_id,
            "message": S::thanks(submission.locale),
            "integrations": {"planned": self.planned(submission, submitted)},
        });
        for (name, value) in self.own.more(submitted, lead) {
            body[name] = value;
        }
        let event = submission.event(lead, submitted.clone().into());
        let enabled = &self.intake.app.config.destinations;
        form::add_page_event(&mut body, &event, enabled, S::consent(submitted).as_ref());
        let thank_you = self.intake.config.thank_you_url.as_ref();
        let own = self.own.page(submitted, lead);
        submission.response(&body, thank_you.map(|page| own.as_ref().unwrap_or(page)))
    }

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
