//! Keeping a form that may make the lead that it is about.
//!
//! Owns under which id it is kept, and what gives it the right to change that lead
//! (`docs/design.md`, "Who may say what"). Must not know any form's fields.

use funil_core::contact::Email;
use funil_core::id::LeadId;
use funil_core::lead::{Authority, Lead};
use funil_store::{Accepted, Fact, LeadWrite, StoreError, StoredResponse};

use super::{Effect, Form, Intake, Place, Submission};

/// A form that makes its lead where there is none.
pub(crate) trait MakesLead: Form {
    /// The fact that its first submission states.
    const FACT: Fact;

    /// The lead id that the browser sent.
    fn supplied(content: &Self::Content) -> Option<LeadId>;

    /// The id under which it asks to be kept.
    fn lead_id(content: &Self::Content) -> LeadId;

    /// What it causes on this lead. `known` is the lead, where it has been read.
    fn effect(
        &self,
        submission: &Submission<Self::Content>,
        lead: LeadId,
        authority: Authority,
        known: Option<&Lead>,
    ) -> Effect;
}

impl Intake {
    /// The id under which a form of this e-mail is kept: the one that it brings, unless that is one which is
    /// derived from another e-mail. A derived id belongs to its e-mail; nobody else may claim it.
    pub(crate) fn lead_id(&self, email: &Email, supplied: Option<LeadId>) -> LeadId {
        let derived = LeadId::from_email(self.hash(), email);
        supplied.filter(|id| *id == derived || !id.is_derived()).unwrap_or(derived)
    }
}

/// Keeps a form. A supplied id that belongs to another e-mail is not an error: the lead is then kept under
/// the id that is derived from its own e-mail. The same happens when the e-mail has had as many new leads
/// today as it may.
pub(crate) async fn keep<F: MakesLead>(
    form: &F,
    submission: &Submission<F::Content>,
) -> Result<(Accepted, StoredResponse), StoreError> {
    let lead_id = F::lead_id(&submission.content);
    let supplied = F::supplied(&submission.content).filter(|supplied| *supplied != lead_id);
    if lead_id.is_derived() {
        return keep_as_public(form, submission, supplied).await;
    }
    let place =
        Place { lead_id, supplied, write: LeadWrite::New, authority: Authority::Capability };
    let (accepted, response) = accept(form, submission, place, None).await?;
    match accepted {
        Accepted::Exists(known) => {
            let place = Place { write: LeadWrite::KnownOfEmail, ..place };
            accept(form, submission, place, Some(&known)).await
        }
        Accepted::OtherEmail | Accepted::TooManyNewLeads => {
            keep_as_public(form, submission, Some(lead_id)).await
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

/// Keeps a form under the id that is derived from its e-mail. Anybody can learn that id, so only the first
/// form says who the person is and what they agreed to, and only the first of its kind what that kind asks.
async fn keep_as_public<F: MakesLead>(
    form: &F,
    submission: &Submission<F::Content>,
    supplied: Option<LeadId>,
) -> Result<(Accepted, StoredResponse), StoreError> {
    let (email, _) = F::person(&submission.content);
    let place = Place {
        lead_id: LeadId::from_email(form.intake().hash(), email),
        supplied,
        write: LeadWrite::FirstForm,
        authority: Authority::FirstForm,
    };
    let (mut accepted, mut response) = accept(form, submission, place, None).await?;
    if let Accepted::Exists(known) = &accepted
        && !F::FACT.is_of(known)
    {
        let write = LeadWrite::FirstOfKnown(F::FACT);
        let place = Place { write, authority: Authority::FirstOfKind, ..place };
        (accepted, response) = accept(form, submission, place, Some(known)).await?;
    }
    let Accepted::Exists(known) = accepted else { return Ok((accepted, response)) };
    let place = Place { write: LeadWrite::KnownOfEmail, authority: Authority::LaterForm, ..place };
    accept(form, submission, place, Some(&known)).await
}

async fn accept<F: MakesLead>(
    form: &F,
    submission: &Submission<F::Content>,
    place: Place,
    known: Option<&Lead>,
) -> Result<(Accepted, StoredResponse), StoreError> {
    let effect = form.effect(submission, place.lead_id, place.authority, known);
    form.intake().accept(submission, place, effect).await
}
