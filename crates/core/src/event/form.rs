//! Forms that a person submitted, with our scores.

use serde::{Deserialize, Serialize};

use super::group::event_group;
use crate::contact::consent::FormConsent;
use crate::form::lead::LeadForm;
use crate::form::questionnaire::{NextStep, QuestionnaireForm};
use crate::pii::{self, Text};
use crate::score::amanda::{AmandaScore, ClientScore};
use crate::score::readiness::ReadinessScore;

event_group! {
    /// A person submitted a form.
    FormEvent in EventData::Form {
        /// The landing page's form was submitted.
        "lead_submitted" => LeadSubmitted(LeadSubmitted),
        /// A lead completed the questionnaire.
        "questionnaire_completed" => QuestionnaireCompleted(QuestionnaireCompleted),
    }
}

impl FormEvent {
    /// The consent object of the form, if it had one.
    pub const fn consent(&self) -> Option<&FormConsent> {
        match self {
            Self::LeadSubmitted(submitted) => submitted.form.consent.as_ref(),
            Self::QuestionnaireCompleted(completed) => completed.form.consent.as_ref(),
        }
    }

    /// The names of the fields that were dropped.
    pub fn dropped(&self) -> &[String] {
        match self {
            Self::LeadSubmitted(submitted) => &submitted.form.dropped,
            Self::QuestionnaireCompleted(_) => &[],
        }
    }
}

/// The landing page's form with its scores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadSubmitted {
    /// The form as it was submitted.
    pub form: LeadForm,
    /// Our score of the form, from 0 to 100.
    pub score: AmandaScore,
    /// The score that the page computed, if it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_score: Option<ClientScore>,
}

/// The questionnaire with its score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionnaireCompleted {
    /// The questionnaire as it was submitted.
    pub form: QuestionnaireForm,
    /// Our score of the answers, from 0 to 100.
    pub score: ReadinessScore,
    /// What the page offers the person for this score.
    pub next_step: NextStep,
    /// The link to book a call, if the score earned one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub booking_url: Option<Text>,
}
