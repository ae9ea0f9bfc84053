//! Forms that a person submitted, with our scores, and when they first submitted each of the site's forms.
//!
//! Owns what is said of each form of the site: its name, the attribute of a lead with the time of the first
//! one, and what it is for. Must not know what a destination makes of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::group::event_group;
use crate::contact::attribution::Attribution;
use crate::contact::consent::FormConsent;
use crate::contact::{Email, Phone};
use crate::form::consultation::ConsultationForm;
use crate::form::contact::ContactForm;
use crate::form::lead::LeadForm;
use crate::form::newsletter::NewsletterForm;
use crate::form::questionnaire::{NextStep, QuestionnaireForm};
use crate::form::site::Origin;
use crate::pii::{self, Text};
use crate::score::TieredScore;
use crate::score::amanda::ClientScore;
use crate::score::readiness::ReadinessScore;

event_group! {
    /// A person submitted a form.
    FormEvent in EventData::Form {
        /// The landing page's form was submitted.
        "lead_submitted" => LeadSubmitted(LeadSubmitted),
        /// A lead completed the questionnaire.
        "questionnaire_completed" => QuestionnaireCompleted(QuestionnaireCompleted),
        /// The contact form was submitted.
        "contact_submitted" => ContactSubmitted(ContactSubmitted),
        /// Somebody signed up for the newsletter.
        "newsletter_requested" => NewsletterRequested(NewsletterRequested),
        /// A consultation was asked for.
        "consultation_requested" => ConsultationRequested(ConsultationRequested),
    }
}

impl FormEvent {
    /// What the form decided about consent, if it had boxes for it.
    pub fn consent(&self) -> Option<Cow<'_, FormConsent>> {
        match self {
            Self::LeadSubmitted(submitted) => submitted.form.consent.as_ref().map(Cow::Borrowed),
            Self::QuestionnaireCompleted(completed) => {
                completed.form.consent.as_ref().map(Cow::Borrowed)
            }
            Self::ContactSubmitted(contact) => contact.form.consent().map(Cow::Owned),
            Self::NewsletterRequested(newsletter) => newsletter.form.consent().map(Cow::Owned),
            Self::ConsultationRequested(requested) => requested.form.consent().map(Cow::Owned),
        }
    }

    /// The names of the fields that were dropped.
    pub fn dropped(&self) -> &[String] {
        if let Self::LeadSubmitted(submitted) = self {
            return &submitted.form.dropped;
        }
        self.of_site().map_or(&[], |site| &site.origin.dropped)
    }

    /// Where its visit came from, if the form says so.
    pub fn attribution(&self) -> Option<&Attribution> {
        if let Self::LeadSubmitted(submitted) = self {
            return Some(&submitted.form.attribution);
        }
        self.of_site().map(|site| &site.origin.attribution)
    }

    /// What it says, if it is one of the site's forms.
    pub fn of_site(&self) -> Option<SiteSubmission<'_>> {
        match self {
            Self::LeadSubmitted(_) | Self::QuestionnaireCompleted(_) => None,
            Self::ContactSubmitted(contact) => Some(contact.submission()),
            Self::NewsletterRequested(newsletter) => Some(newsletter.submission()),
            Self::ConsultationRequested(requested) => Some(requested.submission()),
        }
    }
}

/// The site's forms, without the landing page's form and the questionnaire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SiteForm {
    /// The contact form.
    Contact,
    /// The newsletter form.
    Newsletter,
    /// The form for a consultation.
    Consultation,
}

impl SiteForm {
    /// Every one of these forms.
    pub const ALL: [Self; 3] = [Self::Contact, Self::Newsletter, Self::Consultation];

    /// The form's name, the attribute of a lead with the time when it was first submitted, and what it is for.
    const fn about(self) -> (&'static str, &'static str, SiteFormKind) {
        match self {
            Self::Contact => ("contact", "contacted_at", SiteFormKind::Inquiry),
            Self::Newsletter => ("newsletter", "newsletter_at", SiteFormKind::SignUp),
            Self::Consultation => ("consultation", "consultation_at", SiteFormKind::Inquiry),
        }
    }

    /// The name that destinations are sent where the site gave the form none.
    pub const fn name(self) -> &'static str {
        self.about().0
    }

    /// The attribute of a lead with the time when this form was first submitted.
    pub const fn attribute(self) -> &'static str {
        self.about().1
    }

    /// What it is for.
    pub const fn kind(self) -> SiteFormKind {
        self.about().2
    }
}

/// What one of the site's forms is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteFormKind {
    /// The person wants to be answered: they are a lead like those of the landing page.
    Inquiry,
    /// The person wants the newsletter.
    SignUp,
}

/// When a person first submitted each of the site's forms. On a lead each time is an attribute of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstForms(BTreeMap<SiteForm, Timestamp>);

impl FirstForms {
    /// Only this form, submitted at this time.
    pub fn only(form: SiteForm, at: Timestamp) -> Self {
        Self(BTreeMap::from([(form, at)]))
    }

    /// When they first submitted this form.
    pub fn of(&self, form: SiteForm) -> Option<Timestamp> {
        self.0.get(&form).copied()
    }

    /// When they first submitted any of them.
    pub fn earliest(&self) -> Option<Timestamp> {
        self.0.values().min().copied()
    }
}

impl Serialize for FirstForms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(form, at)| (form.attribute(), at)))
    }
}

impl<'de> Deserialize<'de> for FirstForms {
    /// Reads the attributes of a lead that are its own, and passes the others over.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Attributes;

        impl<'de> Visitor<'de> for Attributes {
            type Value = FirstForms;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the attributes of a lead")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FirstForms, A::Error> {
                let mut times = BTreeMap::new();
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    match SiteForm::ALL.into_iter().find(|form| form.attribute() == name) {
                        Some(form) => {
                            let at: Option<Timestamp> = map.next_value()?;
                            times.extend(at.map(|at| (form, at)));
                        }
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(FirstForms(times))
            }
        }

        deserializer.deserialize_map(Attributes)
    }
}

/// What one of the site's forms says, whichever it is.
#[derive(Clone, Copy, Debug)]
pub struct SiteSubmission<'e> {
    /// The form, which decides what the submission may change on a lead.
    pub form: SiteForm,
    /// What the browser sent beside what the person typed.
    pub origin: &'e Origin,
    /// The person's e-mail address.
    pub email: &'e Email,
    /// Their name.
    pub name: Option<&'e Text>,
    /// Their phone number.
    pub phone: Option<&'e Phone>,
    /// Their company.
    pub company: Option<&'e Text>,
    /// The service that they ask about.
    pub service_interest: Option<&'e Text>,
    /// What they wrote.
    pub message: Option<&'e Text>,
    /// What only a request for a consultation says.
    pub consultation: Option<&'e ConsultationRequested>,
}

impl<'e> SiteSubmission<'e> {
    /// The form's name: the site's own, or ours.
    pub fn form_type(&self) -> &'e str {
        self.origin.form_type.as_ref().map_or(self.form.name(), |name| name.expose())
    }
}

/// The site's contact form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactSubmitted {
    /// The form as it was submitted.
    pub form: ContactForm,
}

impl ContactSubmitted {
    /// The fields that all of the site's forms have.
    pub const fn submission(&self) -> SiteSubmission<'_> {
        let form = &self.form;
        SiteSubmission {
            form: SiteForm::Contact,
            origin: &form.origin,
            email: &form.email,
            name: Some(&form.name),
            phone: form.phone.as_ref(),
            company: form.company.as_ref(),
            service_interest: form.service_interest.as_ref(),
            message: Some(&form.message),
            consultation: None,
        }
    }
}

/// A sign-up for the newsletter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewsletterRequested {
    /// The form as it was submitted.
    pub form: NewsletterForm,
}

impl NewsletterRequested {
    /// The fields that all of the site's forms have.
    pub const fn submission(&self) -> SiteSubmission<'_> {
        let form = &self.form;
        SiteSubmission {
            form: SiteForm::Newsletter,
            origin: &form.origin,
            email: &form.email,
            name: form.name.as_ref(),
            phone: None,
            company: None,
            service_interest: None,
            message: None,
            consultation: None,
        }
    }
}

/// The landing page's form with its scores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadSubmitted {
    /// The form as it was submitted.
    pub form: LeadForm,
    /// Our score of the form, from 0 to 100.
    pub score: TieredScore,
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

/// A request for a consultation, with its score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsultationRequested {
    /// The form as it was submitted.
    pub form: ConsultationForm,
    /// Our score of the form, from 0 to 100.
    pub score: TieredScore,
    /// What the page offers the person for this score.
    pub next_step: NextStep,
}

impl ConsultationRequested {
    /// The fields that all of the site's forms have.
    pub const fn submission(&self) -> SiteSubmission<'_> {
        let form = &self.form;
        SiteSubmission {
            form: SiteForm::Consultation,
            origin: &form.origin,
            email: &form.email,
            name: Some(&form.name),
            phone: form.phone.as_ref(),
            company: form.company.as_ref(),
            service_interest: Some(&form.service),
            message: form.message.as_ref(),
            consultation: Some(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Record {
        version: u64,
        #[serde(flatten)]
        first_forms: FirstForms,
    }

    /// Leads that are kept have these names.
    const STORED: [(SiteForm, &str); 3] = [
        (SiteForm::Contact, "contacted_at"),
        (SiteForm::Newsletter, "newsletter_at"),
        (SiteForm::Consultation, "consultation_at"),
    ];

    #[test]
    fn the_time_of_each_first_form_is_an_attribute_of_the_lead() {
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for (form, name) in STORED {
            let written = serde_json::to_value(FirstForms::only(form, at)).unwrap();
            assert_eq!(written, json!({name: "2026-01-02T03:04:05Z"}));
        }
        let item = json!({
            "version": 2, "name": "Ana", "tags": ["a"], "newsletter_at": null,
            "contacted_at": "2026-01-02T03:04:05Z", "consultation_at": "2026-01-02T03:04:06Z",
        });
        let read: Record = serde_json::from_value(item).unwrap();
        let times = STORED.map(|(form, _)| read.first_forms.of(form).map(Timestamp::as_second));
        let second = at.as_second();
        assert_eq!((read.version, times), (2, [Some(second), None, Some(second + 1)]));
        assert_eq!(read.first_forms.earliest(), Some(at));
        let damaged = json!({"version": 2, "contacted_at": "yesterday"});
        assert!(serde_json::from_value::<Record>(damaged).is_err());
    }
}
