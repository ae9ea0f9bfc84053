//! A person in the funnel.
//!
//! The lead is written by one update that needs no read (design §5): [`LeadLatest`] is set by each
//! call, [`LeadFacts`] only once. Its stage is derived from facts, so a late event cannot take a
//! customer back. Knows no destination and no key of the table.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::booking::link::with_name;
use crate::contact::attribution::Attribution;
use crate::contact::consent::Consents;
use crate::contact::{Email, Phone};
use crate::event::{Invitee, LeadSubmitted, QuestionnaireCompleted};
use crate::form::questionnaire::Responses;
use crate::id::LeadId;
use crate::pii::{self, Text};
use crate::score::amanda::{AmandaScore, ClientScore};
use crate::score::readiness::ReadinessScore;

/// Everything known of a person, as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Who.
    pub id: LeadId,
    /// How often the lead was written.
    pub version: u64,
    /// What the last call that said it said.
    pub latest: LeadLatest,
    /// What the first call that said it said.
    pub facts: LeadFacts,
    /// What the person agreed to.
    pub consents: Consents,
}

/// Contact data and answers: the latest word counts. Absent fields are left as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadLatest {
    /// E-mail.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub email: Option<Email>,
    /// Name, as the person wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub name: Option<Text>,
    /// Phone.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub phone: Option<Phone>,
    /// `businessType`
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub business_type: Option<Text>,
    /// `monthlyRevenue`
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub monthly_revenue: Option<Text>,
    /// `workHoursDaily`
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub work_hours_daily: Option<Text>,
    /// `mainStruggle`
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub main_struggle: Option<Text>,
    /// Which part of the page the form was opened from.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub source_section: Option<Text>,
    /// Where the visit came from, in the site's words.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub traffic_source: Option<Text>,
    /// Our score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amanda_score: Option<AmandaScore>,
    /// The client's own score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_score: Option<ClientScore>,
    /// How ready the questionnaire's answers say they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_score: Option<ReadinessScore>,
    /// The questionnaire's answers.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub responses: Option<Responses>,
    /// The link to book a call, where the score leads to one; without the name.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub booking_url: Option<Text>,
}

/// What is written once and stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadFacts {
    /// When the lead was first submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_at: Option<Timestamp>,
    /// When the questionnaire was first answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub questionnaire_at: Option<Timestamp>,
    /// When a call was first booked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booked_at: Option<Timestamp>,
    /// When the first payment succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<Timestamp>,
    /// Where the first submission came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_touch: Option<Attribution>,
}

/// How far a lead has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Submitted a form.
    Lead,
    /// Answered the questionnaire.
    QuestionnaireComplete,
    /// Booked a call.
    CallScheduled,
    /// Paid.
    Customer,
}

impl Stage {
    /// The name that destinations get.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::QuestionnaireComplete => "questionnaire_complete",
            Self::CallScheduled => "call_scheduled",
            Self::Customer => "customer",
        }
    }
}

impl Lead {
    /// What a destination's field for the link to book a call holds: the link with the name filled
    /// in, nothing where the questionnaire earned none, so that an earlier one goes. Absent where
    /// there was no questionnaire.
    pub fn booking_field(&self) -> Option<String> {
        self.latest.readiness_score.as_ref()?;
        let link = self.latest.booking_url.as_ref().map(|link| match &self.latest.name {
            Some(name) => with_name(link, name),
            None => link.clone(),
        });
        Some(link.map(|link| link.expose().clone()).unwrap_or_default())
    }

    /// The furthest stage that the facts tell of.
    pub const fn stage(&self) -> Stage {
        let facts = &self.facts;
        if facts.paid_at.is_some() {
            Stage::Customer
        } else if facts.booked_at.is_some() {
            Stage::CallScheduled
        } else if facts.questionnaire_at.is_some() {
            Stage::QuestionnaireComplete
        } else {
            Stage::Lead
        }
    }
}

/// What one accepted call changes on its lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeadChanges {
    /// Set.
    pub latest: LeadLatest,
    /// Set if absent: what somebody else says about the person never replaces their own word.
    pub if_absent: LeadLatest,
    /// Set if absent.
    pub facts: LeadFacts,
    /// Fields of [`LeadLatest`] that are removed, by the names they have in the table.
    pub removed: Vec<&'static str>,
}

impl LeadChanges {
    /// What a booking, or the end of one, says about its lead: contact data where the lead has
    /// none, and that a call was booked.
    pub fn of_booking(invitee: &Invitee, booked_at: Timestamp) -> Self {
        Self {
            if_absent: LeadLatest {
                name: invitee.name.clone(),
                phone: invitee.phone.clone(),
                ..LeadLatest::default()
            },
            facts: LeadFacts { booked_at: Some(booked_at), ..LeadFacts::default() },
            ..Self::default()
        }
    }

    /// What an answered questionnaire says about its lead. A link that an earlier one earned goes
    /// with the score that earned it.
    pub fn of_questionnaire(completed: &QuestionnaireCompleted, occurred_at: Timestamp) -> Self {
        Self {
            latest: LeadLatest {
                readiness_score: Some(completed.score.clone()),
                responses: Some(completed.form.responses.clone()),
                booking_url: completed.booking_url.clone(),
                ..LeadLatest::default()
            },
            facts: LeadFacts { questionnaire_at: Some(occurred_at), ..LeadFacts::default() },
            removed: completed.booking_url.is_none().then_some("booking_url").into_iter().collect(),
            ..Self::default()
        }
    }

    /// What a submitted form says about its lead.
    pub fn of_submission(submitted: &LeadSubmitted, occurred_at: Timestamp) -> Self {
        let form = &submitted.form;
        // What was scored belongs together: an answer that this score did not count must not stay.
        let scored = [
            ("monthly_revenue", form.monthly_revenue.is_none()),
            ("work_hours_daily", form.work_hours_daily.is_none()),
            ("main_struggle", form.main_struggle.is_none()),
            ("client_score", submitted.client_score.is_none()),
        ];
        Self {
            if_absent: LeadLatest::default(),
            removed: scored.iter().filter(|(_, absent)| *absent).map(|(name, _)| *name).collect(),
            latest: LeadLatest {
                email: Some(form.email.clone()),
                name: Some(form.name.clone()),
                phone: form.phone.clone(),
                business_type: Some(form.business_type.clone()),
                monthly_revenue: form.monthly_revenue.as_ref().map(|a| Text::new(a.text())),
                work_hours_daily: form.work_hours_daily.as_ref().map(|a| Text::new(a.text())),
                main_struggle: form.main_struggle.clone(),
                source_section: form.source_section.clone(),
                traffic_source: form.traffic_source.clone(),
                amanda_score: Some(submitted.score.clone()),
                client_score: submitted.client_score,
                ..LeadLatest::default()
            },
            facts: LeadFacts {
                submitted_at: Some(occurred_at),
                first_touch: Some(form.attribution.clone()),
                ..LeadFacts::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_event_takes_nobody_back() {
        let mut lead = Lead {
            id: LeadId::parse("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11").unwrap(),
            version: 1,
            latest: LeadLatest::default(),
            facts: LeadFacts::default(),
            consents: Consents::default(),
        };
        assert_eq!(lead.stage().name(), "lead");
        lead.facts.paid_at = Some(Timestamp::UNIX_EPOCH);
        lead.facts.questionnaire_at = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(lead.stage().name(), "customer");
    }
}
