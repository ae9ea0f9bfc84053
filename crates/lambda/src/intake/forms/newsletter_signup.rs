//! `newsletter-signup`: the site's newsletter form. Signing up twice is no error.
//!
//! What it shares with other forms is in `site.rs` beside it and in `crate::intake::form`. Who is subscribed,
//! and whom MailerLite asks first, is decided when it is delivered.

use funil_core::contact::consent::FormConsent;
use funil_core::event::{NewsletterRequested, SiteForm, SiteSubmission};
use funil_core::form::newsletter::NewsletterForm;
use funil_core::form::{FieldErrors, Locale};
use funil_core::settings::{ConfigError, Env};
use funil_store::Platform;
use jiff::Timestamp;
use serde_json::Value;

use super::site::{self, SiteFunction};
use crate::Function;
use crate::api::Operation;
use crate::functions::Registration;
use crate::intake::form;

/// `newsletter-signup`, which anybody may post to.
pub static REGISTRATION: Registration = Registration {
    name: "newsletter-signup",
    quarantine_source: Some("newsletter-signup"),
    variables: &[],
    signature: None,
};

/// Makes `newsletter-signup`, which reads nothing beside the variables of every form.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    site::function(env, platform, |_| Some(NewsletterSignup))
}

pub(crate) fn operation() -> Operation {
    let summary = "Keeps a sign-up for the newsletter.";
    form::operation(REGISTRATION.name, summary, NewsletterForm::schemas(), site::returned())
}

struct NewsletterSignup;

impl SiteFunction for NewsletterSignup {
    const NAME: &'static str = REGISTRATION.name;
    const FORM: SiteForm = SiteForm::Newsletter;
    type Content = NewsletterRequested;

    fn read(&self, body: &Value, _at: Timestamp) -> Result<NewsletterRequested, FieldErrors> {
        NewsletterForm::parse(body).map(|form| NewsletterRequested { form })
    }

    fn submission(content: &NewsletterRequested) -> SiteSubmission<'_> {
        content.submission()
    }

    fn consent(content: &NewsletterRequested) -> Option<FormConsent> {
        content.form.consent()
    }

    fn fingerprint(content: &NewsletterRequested) -> String {
        content.form.fingerprint()
    }

    /// The same for everybody: whether somebody is new must not show.
    fn thanks(locale: Locale) -> &'static str {
        match locale {
            Locale::En => "Thank you. If we need you to confirm, we will send you an e-mail.",
            Locale::PtBr => "Obrigado! Se for preciso confirmar, você vai receber um e-mail.",
        }
    }
}
