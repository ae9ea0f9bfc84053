//! `mailerlite-webhook`: MailerLite reports what became of its subscribers.
//!
//! What becomes of a report is in `intake::mailboxes`. Nothing of it is planned for MailerLite (`docs/providers.md`,
//! "MailerLite").

use std::collections::BTreeSet;

use funil_core::provider::mailbox::Parsed;
use funil_core::provider::mailerlite::{self, Encoding};
use funil_core::provider::{NotSigned, NotUnderstood, Verified};
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

const SECRET: &str = "MAILERLITE_WEBHOOK_SECRET";
const SIGNATURE: HeaderName = HeaderName::from_static(mailerlite::SIGNATURE_HEADER);

/// `mailerlite-webhook`: MailerLite signs its requests with the secret of the webhook.
pub static REGISTRATION: Registration = Registration {
    name: "mailerlite-webhook",
    quarantine_source: Some(mailerlite::NAME),
    variables: &[(SECRET, "local-stage-mailerlite-secret")],
    signature: Some(Signature {
        key_variable: SECRET,
        issued_by: KeyIssuer::Provider,
        header: mailerlite::SIGNATURE_HEADER,
        sign: |body, secret, _now| mailerlite::sign(body, secret),
    }),
};

struct MailerLiteWebhook {
    app: App,
    secrets: Vec<Secret>,
    encoding: Encoding,
}

/// Makes `mailerlite-webhook`. Of its own it reads the signing secrets and how a signature is written.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let app = App::read_intake(&mut settings, platform);
    let secrets = settings.issued_secrets(SECRET);
    let encoding = Encoding::read(&mut settings);
    let endpoint = app.zip(secrets).zip(encoding);
    let endpoint =
        endpoint.map(|((app, secrets), encoding)| MailerLiteWebhook { app, secrets, encoding });
    settings.finish(endpoint).map(webhook::function)
}

pub(crate) fn operations() -> Vec<Operation> {
    let summary = "Records unsubscribes, bounces and complaints that MailerLite reports.";
    vec![webhook::operation::<MailerLiteWebhook>(&REGISTRATION, summary)]
}

impl Webhook for MailerLiteWebhook {
    const NAME: &'static str = REGISTRATION.name;
    const PROVIDER: &'static str = mailerlite::NAME;
    type Parsed = Parsed;

    fn app(&self) -> &App {
        &self.app
    }

    fn verify<'r>(
        &self,
        request: &'r HttpRequest,
        _now: Timestamp,
    ) -> Result<Verified<'r>, NotSigned> {
        let header = guard::header(request, SIGNATURE);
        mailerlite::verify(&request.body, header, &self.secrets, self.encoding)
    }

    fn parse(&self, verified: Verified<'_>, _: &str) -> Result<Parsed, NotUnderstood> {
        mailerlite::parse(verified)
    }

    /// What an envelope says may have changed since it came, so only what could not be read then is taken.
    fn without(mut parsed: Parsed, understood: &Parsed) -> Parsed {
        let taken: BTreeSet<&str> =
            understood.reports.iter().map(|report| report.digest.as_str()).collect();
        parsed.reports.retain(|report| !taken.contains(report.digest.as_str()));
        parsed
    }

    /// Takes every report by itself, so that one that cannot be kept now holds up no other.
    async fn keep(&self, parsed: &Parsed, arrival: &Arrival) -> Result<Kept, StoreError> {
        Ok(mailboxes::take::<Self>(&self.app, parsed, arrival).await)
    }
}
