//! `lead-submit`: the landing page's form, which creates leads and scores them.
//!
//! What it shares with other forms is in `crate::intake::form`.

use funil_core::contact::{Email, Phone};
use funil_core::event::LeadSubmitted;
use funil_core::form::FieldErrors;
use funil_core::form::lead::LeadForm;
use funil_core::id::LeadId;
use funil_core::lead::{Authority, Lead, LeadChanges};
use funil_core::score::TieredScore;
use funil_core::score::amanda::{self, ClientScore};
use funil_core::score::rules::{AMANDA, Rules};
use funil_core::settings::{ConfigError, Env};
use funil_core::site::RateClass;
use funil_store::{Accepted, Fact, Platform, StoreError, StoredResponse};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Function;
use crate::api::{Operation, flag, object, uuid, with};
use crate::functions::Registration;
use crate::intake::form::{self, Effect, Form, Intake, MakesLead, Submission};

/// `lead-submit`, which anybody may post to.
pub static REGISTRATION: Registration = Registration {
    name: "lead-submit",
    quarantine_source: Some("lead-submit"),
    variables: &[],
    signature: None,
};

struct LeadSubmit {
    intake: Intake,
    rules: Rules,
}

/// Makes `lead-submit`. Of its own it reads the rules of the score.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let intake = Intake::read(&mut settings, platform);
    let rules = AMANDA.rules(&mut settings);
    let endpoint = intake.zip(rules).map(|(intake, rules)| LeadSubmit { intake, rules });
    settings.finish(endpoint).map(form::function)
}

pub(crate) fn operation() -> Operation {
    let returned = object([
        ("success", flag()),
        ("leadId", uuid()),
        ("amandaScore", json!({"type": "integer", "minimum": 0, "maximum": 100})),
        ("tier", json!({"enum": ["low", "medium", "high"]})),
    ]);
    let returned = with(returned, [(form::PAGE_EVENT, uuid())]);
    let summary = "Keeps a lead of the landing page's form, and scores it.";
    form::operation(REGISTRATION.name, summary, vec![LeadForm::schema()], returned)
}

/// A valid submission, scored.
#[derive(Clone)]
struct ScoredLead {
    form: LeadForm,
    /// The id under which it is kept, unless that belongs to another e-mail.
    lead_id: LeadId,
    score: TieredScore,
    client_score: Option<ClientScore>,
}

impl Form for LeadSubmit {
    const NAME: &'static str = REGISTRATION.name;
    const RATE: RateClass = RateClass::LeadForms;
    type Content = ScoredLead;

    fn intake(&self) -> &Intake {
        &self.intake
    }

    fn read(&self, body: &Value, _at: Timestamp) -> Result<ScoredLead, FieldErrors> {
        let form = LeadForm::parse(body)?;
        let score = amanda::score(&self.rules, &form.answers());
        Ok(ScoredLead {
            lead_id: self.intake.lead_id(&form.email, form.lead_id),
            client_score: form.client_score.map(|client| ClientScore::compare(client, score.total)),
            score,
            form,
        })
    }

    fn person(content: &ScoredLead) -> (&Email, Option<&Phone>) {
        (&content.form.email, content.form.phone.as_ref())
    }

    fn fingerprint(content: &ScoredLead) -> String {
        content.form.fingerprint()
    }

    fn response(&self, submission: &Submission<ScoredLead>) -> StoredResponse {
        self.response_as(submission, submission.content.lead_id)
    }

    async fn keep(
        &self,
        submission: &Submission<ScoredLead>,
    ) -> Result<(Accepted, StoredResponse), StoreError> {
        form::keep_lead(self, submission).await
    }

    /// A robot's response does not have the id that is derived from the e-mail.
    fn robot_content(&self, content: &ScoredLead) -> ScoredLead {
        let lead_id = self.intake.id_for_robot(content.lead_id, &content.form.email);
        ScoredLead { lead_id, ..content.clone() }
    }

    /// This form creates its lead, so it never refers to an unknown one.
    async fn knows(&self, _submission: &Submission<ScoredLead>) -> Result<bool, StoreError> {
        Ok(true)
    }
}

impl MakesLead for LeadSubmit {
    const FACT: Fact = Fact::Submitted;

    fn supplied(content: &ScoredLead) -> Option<LeadId> {
        content.form.lead_id
    }

    fn lead_id(content: &ScoredLead) -> LeadId {
        content.lead_id
    }

    fn effect(
        &self,
        submission: &Submission<ScoredLead>,
        lead: LeadId,
        authority: Authority,
        known: Option<&Lead>,
    ) -> Effect {
        let ScoredLead { form, score, client_score, .. } = &submission.content;
        let data =
            LeadSubmitted { form: form.clone(), score: score.clone(), client_score: *client_score };
        let assumed = match &form.consent {
            Some(_) => Vec::new(),
            None => self.intake.config.consent_when_absent.clone(),
        };
        let response = self.response_as(submission, lead);
        Effect {
            changes: LeadChanges::of_submission(&data, authority, known, submission.now),
            data: data.into(),
            consent: form.consent.clone(),
            assumed,
            response,
        }
    }
}

impl LeadSubmit {
    fn response_as(&self, submission: &Submission<ScoredLead>, lead_id: LeadId) -> StoredResponse {
        let ScoredLead { form, score, client_score, .. } = &submission.content;
        let mut body = json!({
            "success": true,
            "leadId": lead_id,
            "amandaScore": score.total,
            "tier": score.tier.name(),
        });
        let data =
            LeadSubmitted { form: form.clone(), score: score.clone(), client_score: *client_score };
        let event = submission.event(lead_id, data.into());
        let enabled = &self.intake.app.config.destinations;
        form::add_page_event(&mut body, &event, enabled, form.consent.as_ref());
        submission.response(&body, self.intake.config.thank_you_url.as_ref())
    }
}
