//! The simulated Brevo (base URL `https://api.brevo.com/v3`).
//!
//! Owns the e-mails that were sent, the webhooks, and the rule that an `idempotencyKey` counts once: here for ever, so that a test sees
//! a repetition. See `docs/providers.md` ("Brevo"). This module must not know HTTP, nor how a response is withheld.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Providers;
use super::exchange::{ProviderRequest, ProviderResponse};

/// The state of the account.
#[derive(Debug, Default)]
pub(super) struct Brevo {
    emails: Vec<Value>,
    webhooks: Vec<Value>,
    /// The keys that were used.
    seen: BTreeSet<String>,
}

impl Brevo {
    pub(super) fn response(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        if request.received.header("api-key").is_none_or(str::is_empty) {
            return error(401, "unauthorized", "Key not found");
        }
        let path = request.path();
        let path = path.strip_prefix(&["v3"]).unwrap_or(&path);
        match (request.method(), path) {
            ("GET", ["account"]) => {
                let account = json!({"email": "contato@example.com", "plan": []});
                ProviderResponse::json(200, account, "the account")
            }
            ("GET", ["smtp", "templates", id]) => {
                let template = json!({"id": id, "isActive": true});
                ProviderResponse::json(200, template, "the template")
            }
            ("GET", ["senders"]) => {
                let senders = json!([{"id": 1, "email": "contato@example.com", "active": true}]);
                ProviderResponse::json(200, json!({"senders": senders}), "the senders")
            }
            ("GET", ["webhooks"]) if self.webhooks.is_empty() => {
                error(404, "document_not_found", "Webhook ID does not exist")
            }
            ("GET", ["webhooks"]) => {
                ProviderResponse::json(200, json!({"webhooks": self.webhooks}), "the webhooks")
            }
            ("POST", ["webhooks"]) => {
                let id = self.webhooks.len() + 1;
                let mut webhook = request.received.body.clone();
                webhook["id"] = json!(id);
                self.webhooks.push(webhook);
                ProviderResponse::json(201, json!({"id": id}), "made a webhook")
            }
            ("PUT", ["webhooks", id]) => {
                let Some(known) =
                    self.webhooks.iter_mut().find(|one| one["id"] == json!(id.parse::<u64>().ok()))
                else {
                    return error(404, "document_not_found", "Webhook ID does not exist");
                };
                for name in ["url", "events"] {
                    known[name] = request.received.body[name].clone();
                }
                ProviderResponse::empty(204, "changed a webhook")
            }
            ("POST", ["smtp", "email"]) => self.send(&request.received.body),
            _ => error(404, "document_not_found", "There is no such endpoint"),
        }
    }

    fn send(&mut self, body: &Value) -> ProviderResponse {
        let is_text = |pointer: &str| {
            body.pointer(pointer).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
        };
        let has_content = body["templateId"].is_u64()
            || is_text("/subject") && is_text("/htmlContent") && is_text("/sender/email");
        if !is_text("/to/0/email") {
            return error(400, "missing_parameter", "to is missing");
        }
        if !has_content {
            return error(400, "missing_parameter", "a template or a content is missing");
        }
        let key = body.pointer("/headers/idempotencyKey").and_then(Value::as_str);
        if let Some(key) = key
            && !self.seen.insert(key.to_owned())
        {
            return error(400, "duplicate_request", "This request was sent before");
        }
        self.emails.push(body.clone());
        let id = format!("<{}@smtp-relay.example>", self.emails.len());
        ProviderResponse::json(201, json!({"messageId": id}), "sent")
    }
}

/// An error as Brevo writes it.
fn error(status: u16, code: &str, message: &str) -> ProviderResponse {
    let body = json!({"code": code, "message": message});
    ProviderResponse::json(status, body, format!("refused: {code}"))
}

impl Providers {
    /// The webhooks of the account.
    pub fn brevo_webhooks(&self) -> Vec<Value> {
        self.read(|world| world.brevo.webhooks.clone())
    }

    /// The e-mails that Brevo sent, in order.
    pub fn brevo_emails(&self) -> Vec<Value> {
        self.read(|world| world.brevo.emails.clone())
    }
}
