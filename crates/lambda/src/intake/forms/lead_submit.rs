//! `lead-submit`: the landing page's form, which creates leads and scores them.
//!
//! What it shares with other forms is in `crate::intake::form`.

use funil_core::contact::{Email, Phone};
use funil_core::event::LeadSubmitted;
use funil_core::form::FieldErrors;
use funil_core::form::lead::LeadForm;
use funil_core::id::LeadId;
use funil_core::lead::{Authority, Lead, LeadChanges};
use funil_core::score::amanda::{self, AmandaScore, ClientScore};
use funil_core::settings::{ConfigError, Env};
use funil_core::site::RateClass;
use funil_store::{Accepted, Fact, LeadWrite, Platform, StoreError, StoredResponse};
use serde_json::{Value, json};

use crate::Function;
use crate::api::{Operation, flag, object, uuid};
use crate::functions::Registration;
use crate::intake::form::{self, Effect, Form, Intake, Submission};

/// What is known of the function without starting it.
pub static REGISTRATION: Registration = Registration {
    name: "lead-submit",
    quarantine_source: "lead-submit",
    variables: &[],
    signature: None,
};

struct LeadSubmit {
    intake: Intake,
}

/// Configures the function.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let endpoint = Intake::read(&mut settings, platform).map(|intake| LeadSubmit { intake });
    settings.finish(endpoint).map(form::function)
}

/// What it takes and returns.
pub(crate) fn operation() -> Operation {
    let returned = object([
        ("success", flag()),
        ("leadId", uuid()),
        ("amandaScore", json!({"type": "integer", "minimum": 0, "maximum": 100})),
        ("tier", json!({"enum": ["low", "medium", "high"]})),
    ]);
    let summary = "Keeps a lead of the landing page's form, and scores it.";
    form::operation(REGISTRATION.name, summary, LeadForm::schema(), returned)
}

/// A valid submission, scored.
#[derive(Clone)]
struct ScoredLead {
    form: LeadForm,
    /// The id under which it is kept, unless that belongs to another e-mail.
    lead_id: LeadId,
    score: AmandaScore,
    client_score: Option<ClientScore>,
}

impl Form for LeadSubmit {
    const NAME: &'static str = REGISTRATION.name;
    const RATE: RateClass = RateClass::LeadForms;
    type Content = ScoredLead;

    fn intake(&self) -> &Intake {
        &self.intake
    }

    fn read(&self, body: &Value) -> Result<ScoredLead, FieldErrors> {
        let form = LeadForm::parse(body)?;
        let score = amanda::score(&form.answers());
        let derived = self.derived(&form);
        // A derived id belongs to the e-mail that it is derived from; nobody else may claim it.
        let usable = form.lead_id.filter(|id| *id == derived || !id.is_derived());
        Ok(ScoredLead {
            lead_id: usable.unwrap_or(derived),
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

    /// Keeps a lead. A supplied id that belongs to another e-mail is not an error: the lead is then
    /// kept under the id that is derived from its own e-mail. The same happens when the e-mail has
    /// had as many new leads today as it may.
    async fn keep(
        &self,
        submission: &Submission<ScoredLead>,
    ) -> Result<(Accepted, StoredResponse), StoreError> {
        let ScoredLead { form, lead_id, .. } = &submission.content;
        let supplied = form.lead_id.filter(|supplied| supplied != lead_id);
        if lead_id.is_derived() {
            return self.keep_as_public(submission, supplied).await;
        }
        let id = Id { lead: *lead_id, supplied };
        let new = (LeadWrite::New, Authority::Capability);
        let (accepted, response) = self.accept(submission, id, new, None).await?;
        match accepted {
            Accepted::Exists(known) => {
                let known_one = (LeadWrite::KnownOfEmail, Authority::Capability);
                self.accept(submission, id, known_one, Some(&known)).await
            }
            Accepted::OtherEmail | Accepted::TooManyNewLeads => {
                self.keep_as_public(submission, Some(*lead_id)).await
            }
            Accepted::Kept
            | Accepted::Duplicate(_)
            | Accepted::KeyReused
            | Accepted::KeyOfAnother
            | Accepted::NoSuchLead
            | Accepted::NotInQuarantine
            | Accepted::Overtaken => Ok((accepted, response)),
        }
    }

    /// A robot is not told the id that is derived from the e-mail.
    fn robot_content(&self, content: &ScoredLead) -> ScoredLead {
        let entropy = &*self.intake.app.platform.entropy;
        let lead_id = content.lead_id;
        let random = LeadId::random(entropy);
        ScoredLead {
            lead_id: if lead_id.is_derived() { random } else { lead_id },
            ..content.clone()
        }
    }

    /// This form creates its lead, so it never refers to an unknown one.
    async fn knows(&self, _submission: &Submission<ScoredLead>) -> Result<bool, StoreError> {
        Ok(true)
    }
}

/// The ids of a submission.
#[derive(Clone, Copy)]
struct Id {
    /// Under which it is kept.
    lead: LeadId,
    /// Which the caller gave, where it is another one.
    supplied: Option<LeadId>,
}

impl LeadSubmit {
    fn derived(&self, form: &LeadForm) -> LeadId {
        LeadId::from_email(self.intake.hash(), &form.email)
    }

    fn response_as(&self, submission: &Submission<ScoredLead>, lead_id: LeadId) -> StoredResponse {
        let score = &submission.content.score;
        let body = json!({
            "success": true,
            "leadId": lead_id,
            "amandaScore": score.total,
            "tier": score.tier.name(),
        });
        submission.response(&body, self.intake.config.thank_you_url.as_ref())
    }

    /// Keeps a form under the id that is derived from its e-mail. Anybody can learn that id, so only
    /// the first form says who the person is.
    async fn keep_as_public(
        &self,
        submission: &Submission<ScoredLead>,
        supplied: Option<LeadId>,
    ) -> Result<(Accepted, StoredResponse), StoreError> {
        let id = Id { lead: self.derived(&submission.content.form), supplied };
        let first = (LeadWrite::FirstOfEmail(Fact::Submitted), Authority::FirstWord);
        let (accepted, response) = self.accept(submission, id, first, None).await?;
        let Accepted::Exists(known) = accepted else { return Ok((accepted, response)) };
        let later = (LeadWrite::KnownOfEmail, Authority::LaterWord);
        self.accept(submission, id, later, Some(&known)).await
    }

    async fn accept(
        &self,
        submission: &Submission<ScoredLead>,
        id: Id,
        (lead, authority): (LeadWrite, Authority),
        known: Option<&Lead>,
    ) -> Result<(Accepted, StoredResponse), StoreError> {
        let ScoredLead { form, score, client_score, .. } = &submission.content;
        let data =
            LeadSubmitted { form: form.clone(), score: score.clone(), client_score: *client_score };
        let effect = Effect {
            lead_id: id.lead,
            supplied_lead_id: id.supplied,
            lead,
            authority,
            changes: LeadChanges::of_submission(&data, authority, known, submission.now),
            data: data.into(),
            consent: form.consent.as_ref(),
            consent_when_absent: &self.intake.config.consent_when_absent,
            response: self.response_as(submission, id.lead),
        };
        self.intake.accept(submission, effect).await
    }
}
