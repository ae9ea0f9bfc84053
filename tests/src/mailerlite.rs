//! MailerLite as a caller: the bodies of its webhooks, signed.
//!
//! The payload formats are those of `docs/providers.md` ("MailerLite"). It must not know what becomes of a
//! subscriber.

use funil_core::provider::mailerlite;
use funil_core::settings::Secret;
use http::Method;
use serde_json::{Value, json};

use crate::world::{Deployment, EMAIL, Response, World};

/// The site's `MAILERLITE_WEBHOOK_SECRET`.
pub const MAILERLITE_SECRET: &str = "tests-stage-mailerlite-secret";

/// A report about the world's lead, in the flat format.
pub fn report(event: &str) -> Value {
    report_of(event, EMAIL)
}

/// A report about an address, in the flat format.
pub fn report_of(event: &str, email: &str) -> Value {
    json!({
        "id": "31986843064993537", "email": email, "status": "active", "source": "api",
        "fields": {"name": "Ana"}, "event": format!("subscriber.{event}"), "account_id": 7,
    })
}

/// A report about the world's lead and a group, in the nested format.
pub fn grouped(event: &str, group: &str) -> Value {
    json!({
        "type": format!("subscriber.{event}"),
        "subscriber": {"id": "31986843064993537", "email": EMAIL, "status": "active"},
        "group": {"id": "101", "name": group}, "account_id": 7,
    })
}

impl World {
    /// Sends a webhook of MailerLite's, signed.
    pub async fn mailerlite(&self, body: &Value) -> Response {
        send(self, body).await
    }
}

/// Sends a webhook of MailerLite's to one process, signed.
pub async fn send(to: &Deployment, body: &Value) -> Response {
    let body = body.to_string();
    let signature = mailerlite::sign(body.as_bytes(), &Secret::new(MAILERLITE_SECRET));
    let headers =
        [("content-type", "application/json"), (mailerlite::SIGNATURE_HEADER, &*signature)];
    to.send("mailerlite-webhook", Method::POST, &headers, body.as_bytes()).await
}
