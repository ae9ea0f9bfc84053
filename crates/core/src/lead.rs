//! A person in the funnel.
//!
//! A lead is written by one update that needs no read: `docs/design.md` ("Accepting"). Each request
//! sets [`LeadLatest`]; [`LeadFacts`] are set only once. The stage is derived from facts, so a late
//! event cannot move a customer back. Knows no destination and no key of the table.

mod changes;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::booking::link::with_name;
use crate::contact::attribution::Attribution;
use crate::contact::consent::{Consents, Decision, Grant, How};
use crate::contact::{Email, Phone};
use crate::event::{EmailStatus, Event, FirstForms, SiteForm};
use crate::form::questionnaire::Responses;
use crate::id::LeadId;
use crate::money::Currency;
use crate::payment::LatestPayments;
use crate::pii::{self, Text};
use crate::score::TieredScore;
use crate::score::amanda::ClientScore;
use crate::score::readiness::ReadinessScore;

pub use self::changes::{Authority, LeadChanges};

/// Everything known of a person, as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The id that the browser made, or one derived from the e-mail.
    pub id: LeadId,
    /// How often the lead was written, from 1.
    pub version: u64,
    /// The latest known values; each submission overwrites them.
    pub latest: LeadLatest,
    /// Values that are written once and stay.
    pub facts: LeadFacts,
    /// When they first submitted each of the site's forms, which stays as well.
    pub first_forms: FirstForms,
    /// What the person agreed to and refused, by purpose.
    pub consents: Consents,
    /// What they have paid in all, without what was given back or lost, in minor units by currency.
    pub spent: BTreeMap<Currency, i64>,
    /// The newest of their payments, refunds, disputes and subscriptions.
    pub payments: LatestPayments,
}

/// Contact data, answers and scores. In an update, a field that is absent stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadLatest {
    /// The e-mail, in lower case.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub email: Option<Email>,
    /// The name, as the person wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub name: Option<Text>,
    /// The phone, in E.164.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub phone: Option<Phone>,
    /// The number that the lead's forms gave, to which messages about a call may go.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub form_phone: Option<Phone>,
    /// Present where the lead's forms do not agree about [`form_phone`](Self::form_phone), or left it
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_disputed: Option<bool>,
    /// The company that they wrote for.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub company: Option<Text>,
    /// The service that they asked about.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub service_interest: Option<Text>,
    /// The person's line of business: the form's `businessType`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub business_type: Option<Text>,
    /// The range of their revenue in a month: the form's `monthlyRevenue`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub monthly_revenue: Option<Text>,
    /// Their hours of work in a day: the form's `workHoursDaily`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub work_hours_daily: Option<Text>,
    /// What they struggle with most: the form's `mainStruggle`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub main_struggle: Option<Text>,
    /// The part of the page from which the form was opened: its `sourceSection`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub source_section: Option<Text>,
    /// Where the visit came from, as the site names it: the form's `trafficSource`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub traffic_source: Option<Text>,
    /// Our score of the form, with the rules that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amanda_score: Option<TieredScore>,
    /// The score that the page computed, compared with ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_score: Option<ClientScore>,
    /// Our score of the questionnaire, with the rules that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_score: Option<ReadinessScore>,
    /// The questionnaire's answers, by question.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub responses: Option<Responses>,
    /// Our score of the request for a consultation, with the rules that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consultation_score: Option<TieredScore>,
    /// What they can spend on a consultation.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub budget_range: Option<Text>,
    /// When they would like a consultation, in their time zone, by commas.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub preferred_dates: Option<Text>,
    /// Whether their address gets e-mails, as the tool that sends them said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_status: Option<EmailStatus>,
    /// The link to book a call, if the score earned one; without the person's name.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub booking_url: Option<Text>,
}

/// Times and origins that are set only where there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadFacts {
    /// When the person first submitted the landing page's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_at: Option<Timestamp>,
    /// When they first completed the questionnaire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub questionnaire_at: Option<Timestamp>,
    /// When they first booked a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booked_at: Option<Timestamp>,
    /// When their first payment succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<Timestamp>,
    /// The visit of the first submission: page, campaign, and the browser's ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_touch: Option<Attribution>,
}

/// How far a lead has come, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// They submitted a form, and did nothing more.
    Lead,
    /// They completed the questionnaire.
    QuestionnaireComplete,
    /// They booked a call, whatever became of it.
    CallScheduled,
    /// They paid at least once.
    Customer,
}

impl Stage {
    /// The name that destinations are sent.
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
    /// A visitor, of whom nothing is known but that they agreed to analytics.
    pub fn visitor(id: LeadId, agreed_at: Timestamp) -> Self {
        let analytics = Grant { decision: Decision::Granted, at: agreed_at, how: How::Explicit };
        Self {
            id,
            version: 0,
            latest: LeadLatest::default(),
            facts: LeadFacts::default(),
            first_forms: FirstForms::default(),
            consents: Consents { analytics: Some(analytics), ..Consents::default() },
            spent: BTreeMap::new(),
            payments: LatestPayments::default(),
        }
    }

    /// The value of a destination's field for the booking link: the link with the lead's name filled
    /// in, or an empty text if the questionnaire earned none, so that an earlier link goes. `None` if
    /// there was no questionnaire.
    pub fn booking_field(&self) -> Option<String> {
        self.latest.readiness_score.as_ref()?;
        let link = self.latest.booking_url.as_ref().map(|link| match &self.latest.name {
            Some(name) => with_name(link, name),
            None => link.clone(),
        });
        Some(link.map(|link| link.expose().clone()).unwrap_or_default())
    }

    /// When they became a customer: by their earliest payment, whichever was reported first.
    pub fn customer_since(&self) -> Option<Timestamp> {
        self.payments.since.or(self.facts.paid_at)
    }

    /// How many whole days passed from the lead's first form or booking to their earliest payment.
    pub fn days_to_first_payment(&self) -> Option<i64> {
        self.days_to_payment(self.customer_since()?)
    }

    /// How many whole days passed from the lead's first form or booking to a payment. `None` for somebody who
    /// paid before they did anything else.
    pub fn days_to_payment(&self, paid_at: Timestamp) -> Option<i64> {
        const DAY_S: i64 = 24 * 3600;

        let facts = &self.facts;
        let first = [
            facts.submitted_at,
            facts.questionnaire_at,
            facts.booked_at,
            self.first_forms.earliest(),
        ];
        let first = first.into_iter().flatten().min()?;
        let passed_s = paid_at.as_second() - first.as_second();
        (passed_s >= 0).then_some(passed_s / DAY_S)
    }

    /// What the lead's forms say about the person's number.
    pub fn stated_phone(&self) -> StatedPhone<'_> {
        // Of the site's forms only one that leads to a call says a number, and it need not.
        if self.facts.submitted_at.is_none()
            && self.latest.form_phone.is_none()
            && self.latest.phone_disputed != Some(true)
        {
            return StatedPhone::NotAsked;
        }
        // Leads that were kept before `form_phone` was noted have only one number.
        let phone = self.latest.form_phone.as_ref().or(self.latest.phone.as_ref());
        match phone {
            Some(phone) if self.latest.phone_disputed != Some(true) => StatedPhone::One(phone),
            Some(_) | None => StatedPhone::Disputed,
        }
    }

    /// Whether what this event, one of the site's forms, says stands on the lead: under an id that anybody can
    /// learn only the first of its kind does.
    pub fn heeds(&self, form: SiteForm, event: &Event) -> bool {
        !self.id.is_derived() || self.first_forms.of(form) == Some(event.occurred_at)
    }

    /// The furthest stage that the facts prove.
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

/// What the forms of a lead say about the person's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatedPhone<'l> {
    /// No form with a field for it was submitted.
    NotAsked,
    /// All forms with a field for it give this number.
    One(&'l Phone),
    /// Different numbers, or none where there was a field for it.
    Disputed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_event_moves_nobody_back() {
        let mut lead = Lead {
            id: LeadId::parse("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11").unwrap(),
            version: 1,
            latest: LeadLatest::default(),
            facts: LeadFacts::default(),
            first_forms: FirstForms::default(),
            consents: Consents::default(),
            spent: BTreeMap::new(),
            payments: LatestPayments::default(),
        };
        assert_eq!(lead.stage().name(), "lead");
        lead.facts.paid_at = Some(Timestamp::UNIX_EPOCH);
        lead.facts.questionnaire_at = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(lead.stage().name(), "customer");
    }
}
