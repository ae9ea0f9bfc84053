//! `brevo-webhook`: Brevo reports that an e-mail bounced, or that the person wants none.
//!
//! What becomes of a report is in `intake::mailboxes`.

use std::collections::BTreeSet;

use funil_core::provider::mailbox::Parsed;
use funil_core::provider::{NotSigned, NotUnderstood, Verified, brevo};
use funil_core::settings::{ConfigError, Env, Secret};
use funil_store::{Platform, StoreError};
use http::HeaderName;
use jiff::Timestamp;

use crate::Function;
use crate::api::Operation;
use crate::app::App;
use crate::functions::{KeyIssuer, Registration, Signature};
use crate::http::guard;
use crate::intake::mailboxes;
use crate::intake::webhook::{self, Arrival, Kept, Webhook};
use crate::platform::request::HttpRequest;

const SECRET: &str = "BREVO_WEBHOOK_SECRET";

/// `brevo-webhook`: Brevo signs nothing, so its requests carry a token.
pub static REGISTRATION: Registration = Registration {
    name: "brevo-webhook",
    quarantine_source: Some(brevo::NAME),
    variables: &[(SECRET, "local-stage-brevo-secret")],
    signature: Some(Signature {
        key_variable: SECRET,
        issued_by: KeyIssuer::Owner,
        header: brevo::TOKEN_HEADER,
        sign: |_, secret, _| format!("Bearer {}", secret.expose()),
    }),
};

struct BrevoWebhook {
    app: App,
    tokens: Vec<Secret>,
}

/// Makes `brevo-webhook`. Of its own it reads the tokens.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let app = App::read_intake(&mut settings, platform);
    let tokens = settings.chosen_secrets(SECRET);
    let endpoint = app.zip(tokens).map(|(app, tokens)| BrevoWebhook { app, tokens });
    settings.finish(endpoint).map(webhook::function)
}

pub(crate) fn operations() -> Vec<Operation> {
    let summary = "Records bounces and complaints that Brevo reports.";
    let mut operation = webhook::operation::<BrevoWebhook>(&REGISTRATION, summary);
    operation.query = &[brevo::TOKEN_PARAMETER];
    vec![operation]
}

impl Webhook for BrevoWebhook {
    const NAME: &'static str = REGISTRATION.name;
    const PROVIDER: &'static str = brevo::NAME;
    type Parsed = Parsed;

    fn app(&self) -> &App {
        &self.app
    }

    fn verify<'r>(
        &self,
        request: &'r HttpRequest,
        _now: Timestamp,
    ) -> Result<Verified<'r>, NotSigned> {
        let header = guard::header(request, HeaderName::from_static(brevo::TOKEN_HEADER));
        let parameter = guard::parameter(request, brevo::TOKEN_PARAMETER);
        brevo::verify(&request.body, header, parameter, &self.tokens)
    }

    fn parse(&self, verified: Verified<'_>, _: &str) -> Result<Parsed, NotUnderstood> {
        brevo::parse(verified)
    }

    /// What a list says may have changed since it came, so only what could not be read then is taken.
    fn without(mut parsed: Parsed, understood: &Parsed) -> Parsed {
        let taken: BTreeSet<&str> =
            understood.reports.iter().map(|report| report.digest.as_str()).collect();
        parsed.reports.retain(|report| !taken.contains(report.digest.as_str()));
        parsed
    }

    async fn keep(&self, parsed: &Parsed, arrival: &Arrival) -> Result<Kept, StoreError> {
        Ok(mailboxes::take::<Self>(&self.app, parsed, arrival).await)
    }
}
