//! What an accepted request changes on its lead, depending on the authority with which it came.
//!
//! Must not know how a change is written.

use jiff::Timestamp;

use super::{Lead, LeadFacts, LeadLatest, StatedPhone};
use crate::contact::Phone;
use crate::event::{
    Contact, FirstForms, Invitee, LeadSubmitted, Payer, PaymentEvent, QuestionnaireCompleted,
    SiteSubmission,
};
use crate::payment::Revenue;
use crate::pii::Text;
use crate::score::Answer;

/// What gives a form the right to change a lead (`docs/design.md`, "Who may say what").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// It carries the lead's random id and e-mail, so its values are the newest.
    Capability,
    /// It is the first form of a lead whose id anybody can learn.
    FirstForm,
    /// It is the first form of its kind of such a lead, which had other forms before: it adds what no form
    /// said before, changes nothing, and says nothing of what they agreed to.
    FirstOfKind,
    /// It is a later form of such a lead, so it changes nothing that others are shown.
    LaterForm,
}

/// What one accepted request changes on its lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeadChanges {
    /// Values to set, whatever the lead had before.
    pub latest: LeadLatest,
    /// Values to set where the lead has none: what somebody else says of a person never replaces what
    /// they said themselves.
    pub if_absent: LeadLatest,
    /// Facts to set where the lead has none.
    pub facts: LeadFacts,
    /// The form of the site that this is, to set where the lead had none of its kind.
    pub first_forms: FirstForms,
    /// Fields of [`LeadLatest`] to remove, by their names in the table.
    pub removed: Vec<&'static str>,
}

impl LeadChanges {
    /// The changes by a booking or its withdrawal: the invitee's contact data where the lead has none,
    /// and the time of booking, if it is said.
    pub fn of_booking(invitee: &Invitee, booked_at: Option<Timestamp>) -> Self {
        Self {
            if_absent: LeadLatest {
                name: invitee.name.clone(),
                phone: invitee.phone.clone(),
                ..LeadLatest::default()
            },
            facts: LeadFacts { booked_at, ..LeadFacts::default() },
            ..Self::default()
        }
    }

    /// The changes by what a CRM says of a contact: their data where the lead has none.
    pub fn of_contact(contact: &Contact) -> Self {
        Self {
            if_absent: LeadLatest {
                name: contact.name.clone(),
                email: contact.email.clone(),
                phone: contact.phone.clone(),
                ..LeadLatest::default()
            },
            ..Self::default()
        }
    }

    /// The changes by a payment: the payer's name where the lead has none, and, of a report that counts, when
    /// the first payment succeeded. A test, a failure and a free trial's invoice of nothing change nothing, and
    /// no payment says what somebody's number is.
    pub fn of_payment(event: &PaymentEvent, payer: &Payer, revenue: Revenue) -> Self {
        let paid_at = if let PaymentEvent::Succeeded(paid) = event
            && event.has_paid()
            && revenue.counts(paid.reported_by)
        {
            Some(paid.paid_at)
        } else {
            None
        };
        let name = payer.name.clone().filter(|_| event.has_paid());
        Self {
            if_absent: LeadLatest { name, ..LeadLatest::default() },
            facts: LeadFacts { paid_at, ..LeadFacts::default() },
            ..Self::default()
        }
    }

    /// The changes by a questionnaire. The link that an earlier one earned is removed if this one's
    /// score earns none.
    pub fn of_questionnaire(
        completed: &QuestionnaireCompleted,
        authority: Authority,
        occurred_at: Timestamp,
    ) -> Self {
        if authority == Authority::LaterForm {
            return Self::default();
        }
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

    /// The changes by the landing page's form. `known` is the lead, where it has been read.
    pub fn of_submission(
        submitted: &LeadSubmitted,
        authority: Authority,
        known: Option<&Lead>,
        occurred_at: Timestamp,
    ) -> Self {
        let form = &submitted.form;
        let agrees = form.phone.as_ref().is_some_and(|phone| agrees(phone, authority, known));
        if authority == Authority::LaterForm {
            let disputed = (!agrees).then_some(true);
            return Self {
                latest: LeadLatest { phone_disputed: disputed, ..LeadLatest::default() },
                ..Self::default()
            };
        }
        let phone_disputed = match authority {
            Authority::FirstOfKind => (!agrees).then_some(true),
            Authority::Capability | Authority::FirstForm | Authority::LaterForm => {
                form.phone.is_none().then_some(true)
            }
        };
        // An earlier answer that the new score did not count must not stay beside it.
        let scored = [
            ("monthly_revenue", form.monthly_revenue.is_none()),
            ("work_hours_daily", form.work_hours_daily.is_none()),
            ("main_struggle", form.main_struggle.is_none()),
            ("client_score", submitted.client_score.is_none()),
            ("phone_disputed", phone_disputed.is_none()),
        ];
        let person = LeadLatest {
            name: Some(form.name.clone()),
            phone: form.phone.clone(),
            ..LeadLatest::default()
        };
        // A lead whose id anybody can learn may have a name and a number from a booking.
        let (person, if_absent) = match authority {
            Authority::Capability => (person, LeadLatest::default()),
            Authority::FirstForm | Authority::FirstOfKind => (LeadLatest::default(), person),
            Authority::LaterForm => (LeadLatest::default(), LeadLatest::default()),
        };
        Self {
            if_absent,
            removed: scored.iter().filter(|(_, absent)| *absent).map(|(name, _)| *name).collect(),
            latest: LeadLatest {
                email: Some(form.email.clone()),
                form_phone: form.phone.clone(),
                phone_disputed,
                business_type: Some(form.business_type.clone()),
                monthly_revenue: form.monthly_revenue.as_ref().map(|a| Text::new(a.text())),
                work_hours_daily: form.work_hours_daily.as_ref().map(|a| Text::new(a.text())),
                main_struggle: form.main_struggle.clone(),
                source_section: form.source_section.clone(),
                traffic_source: form.traffic_source.clone(),
                amanda_score: Some(submitted.score.clone()),
                client_score: submitted.client_score,
                ..person
            },
            facts: LeadFacts {
                submitted_at: Some(occurred_at),
                first_touch: Some(form.attribution.clone()),
                ..LeadFacts::default()
            },
            first_forms: FirstForms::default(),
        }
    }
}

impl LeadChanges {
    /// The changes by one of the site's forms. `known` is the lead, where it has been read. Only a request for
    /// a consultation, which leads to a call, says to which number messages about a call go; one without a
    /// number says nothing of it.
    pub fn of_site(
        submission: &SiteSubmission<'_>,
        authority: Authority,
        known: Option<&Lead>,
        occurred_at: Timestamp,
    ) -> Self {
        let wanted = submission.consultation;
        let call_phone = submission.phone.filter(|_| wanted.is_some());
        let differs = call_phone.is_some_and(|phone| !agrees(phone, authority, known));
        let disputed = differs.then_some(true);
        let source = submission.origin.attribution.utm.source.clone();
        let person = LeadLatest {
            name: submission.name.cloned(),
            phone: submission.phone.cloned(),
            company: submission.company.cloned(),
            service_interest: submission.service_interest.cloned(),
            ..LeadLatest::default()
        };
        let (person, if_absent) = match authority {
            Authority::Capability => (person, LeadLatest::default()),
            // A lead whose id anybody can learn may have a name from elsewhere.
            Authority::FirstForm | Authority::FirstOfKind => (LeadLatest::default(), person),
            Authority::LaterForm => {
                return Self {
                    latest: LeadLatest { phone_disputed: disputed, ..LeadLatest::default() },
                    ..Self::default()
                };
            }
        };
        let (form_phone, phone_disputed) = match authority {
            Authority::FirstOfKind if differs => (None, disputed),
            Authority::Capability
            | Authority::FirstForm
            | Authority::FirstOfKind
            | Authority::LaterForm => (call_phone.cloned(), None),
        };
        // Of a request with the lead's random id, the newest number counts.
        let is_settled = authority == Authority::Capability && form_phone.is_some();
        Self {
            latest: LeadLatest {
                email: Some(submission.email.clone()),
                consultation_score: wanted.map(|wanted| wanted.score.clone()),
                // What an earlier request said must not stay beside the new score.
                budget_range: wanted.map(|wanted| {
                    let budget = wanted.form.budget_range.as_ref().map(Answer::text);
                    Text::new(budget.unwrap_or_default())
                }),
                preferred_dates: wanted.map(|wanted| Text::new(wanted.form.dates().join(", "))),
                form_phone,
                phone_disputed,
                ..person
            },
            if_absent: LeadLatest { traffic_source: source, ..if_absent },
            facts: LeadFacts {
                first_touch: Some(submission.origin.attribution.clone()),
                ..LeadFacts::default()
            },
            first_forms: FirstForms::only(submission.form, occurred_at),
            removed: is_settled.then_some("phone_disputed").into_iter().collect(),
        }
    }
}

/// Whether a later form states the number that is already known. The first form of its kind may be the first to state
/// one.
fn agrees(phone: &Phone, authority: Authority, known: Option<&Lead>) -> bool {
    match known.map_or(StatedPhone::NotAsked, Lead::stated_phone) {
        StatedPhone::One(stated) => stated == phone,
        StatedPhone::Disputed => false,
        StatedPhone::NotAsked => {
            let known = known.and_then(|lead| lead.latest.phone.as_ref());
            authority != Authority::LaterForm && known.is_none_or(|known| known == phone)
        }
    }
}
