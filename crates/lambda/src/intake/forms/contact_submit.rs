//! `contact-submit`: the site's contact form, which creates leads and brings their message to the CRM.
//!
//! What it shares with other forms is in `site.rs` beside it and in `crate::intake::form`.

use funil_core::contact::consent::FormConsent;
use funil_core::event::{ContactSubmitted, SiteForm, SiteSubmission};
use funil_core::form::contact::ContactForm;
use funil_core::form::{FieldErrors, Locale};
use funil_core::settings::{ConfigError, Env};
use funil_store::Platform;
use jiff::Timestamp;
use serde_json::Value;

use super::site::{self, SiteFunction};
use crate::Function;
use crate::api::{Operation, uuid, with};
use crate::functions::Registration;
use crate::intake::form;

/// `contact-submit`, which anybody may post to.
pub static REGISTRATION: Registration = Registration {
    name: "contact-submit",
    quarantine_source: Some("contact-submit"),
    variables: &[],
    signature: None,
};

/// Makes `contact-submit`, which reads nothing beside the variables of every form.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    site::function(env, platform, |_| Some(ContactSubmit))
}

pub(crate) fn operation() -> Operation {
    let summary = "Keeps a message of the site's contact form.";
    let returned = with(site::returned(), [(form::PAGE_EVENT, uuid())]);
    form::operation(REGISTRATION.name, summary, ContactForm::schemas(), returned)
}

struct ContactSubmit;

impl SiteFunction for ContactSubmit {
    const NAME: &'static str = REGISTRATION.name;
    const FORM: SiteForm = SiteForm::Contact;
    type Content = ContactSubmitted;

    fn read(&self, body: &Value, _at: Timestamp) -> Result<ContactSubmitted, FieldErrors> {
        ContactForm::parse(body).map(|form| ContactSubmitted { form })
    }

    fn submission(content: &ContactSubmitted) -> SiteSubmission<'_> {
        content.submission()
    }

    fn consent(content: &ContactSubmitted) -> Option<FormConsent> {
        content.form.consent()
    }

    fn fingerprint(content: &ContactSubmitted) -> String {
        content.form.fingerprint()
    }

    fn thanks(locale: Locale) -> &'static str {
        match locale {
            Locale::En => "Thank you. We have received your message.",
            Locale::PtBr => "Obrigado! Recebemos a sua mensagem.",
        }
    }
}
