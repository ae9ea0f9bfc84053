//! The simulated WhatsApp Cloud API (base URL `https://graph.facebook.com`).
//!
//! Owns the messages that were accepted, the templates, the subscription to webhooks, and the errors of the real API with their codes: a wrong
//! path, no token, an invalid template, parameters that are empty or have line breaks, and a second
//! message to the same number within six seconds (the pair rate limit). See `docs/providers.md`
//! ("WhatsApp"). This module must not know HTTP, nor how a response is withheld. It builds the
//! bodies of webhooks ([`WhatsAppMessage::status`]) and must not sign or send them.

use serde::Serialize;
use serde_json::{Value, json};

use super::Providers;
use super::exchange::{ProviderRequest, ProviderResponse};

/// The minimum time between two messages to one number, in milliseconds (error 131056).
const PAIR_MS: i64 = 6_000;

/// The names of the templates that the account has from the beginning, approved, with the number of their
/// variables.
const TEMPLATES: [(&str, usize); 3] =
    [("welcome_booking_confirmation", 3), ("call_reminder_24h", 2), ("call_reminder_2h", 3)];
/// Their language.
const LANGUAGE: &str = "pt_BR";

/// The state of the account.
#[derive(Debug, Default)]
pub(super) struct WhatsApp {
    messages: Vec<WhatsAppMessage>,
    too_fast: usize,
    /// The templates that were submitted, in addition to [`TEMPLATES`].
    submitted: Vec<Value>,
    webhook: Subscription,
}

/// Whether the app gets the account's webhooks.
#[derive(Debug, Default, PartialEq, Eq)]
enum Subscription {
    #[default]
    On,
    Off,
}

/// A message that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatsAppMessage {
    /// The id of the message, `wamid.…`.
    pub id: String,
    /// The id of the phone number that it was sent from.
    pub phone_number_id: String,
    /// The recipient's number, as digits with the country code.
    pub to: String,
    /// The template's name.
    pub template: String,
    /// The template's language.
    pub language: String,
    /// The texts for the template's body, in order.
    pub parameters: Vec<String>,
    /// The callback data (`biz_opaque_callback_data`), which is returned in status updates.
    pub callback_data: Option<String>,
    /// When it was accepted, in RFC 3339 by the clock of the providers.
    pub at: String,
}

impl WhatsAppMessage {
    /// The body of the webhook with a status update: `sent`, `delivered`, `read`, or `failed` with
    /// an error code. `at` is in Unix seconds.
    pub fn status(&self, status: &str, code: Option<u32>, at: i64) -> Value {
        let mut update = json!({
            "id": self.id,
            "status": status,
            "timestamp": at.to_string(),
            "recipient_id": self.to,
        });
        if let Some(data) = &self.callback_data {
            update["biz_opaque_callback_data"] = json!(data);
        }
        if let Some(code) = code {
            let details = json!({"details": "Simulated."});
            update["errors"] = json!([{
                "code": code, "title": "Simulated failure", "error_data": details,
            }]);
        }
        webhook("statuses", &update)
    }

    /// The body of the webhook with a reply of this message's recipient. `at` is in Unix seconds.
    pub fn reply(&self, text: &str, at: i64) -> Value {
        inbound(&self.to, text, at)
    }
}

/// The body of the webhook with a message that a person wrote. `from` is the sender's number as
/// digits; `at` is in Unix seconds.
pub fn inbound(from: &str, text: &str, at: i64) -> Value {
    let message = json!({
        "from": from,
        "id": format!("wamid.inbound.{from}.{at}"),
        "timestamp": at.to_string(),
        "type": "text",
        "text": {"body": text},
    });
    webhook("messages", &message)
}

fn webhook(list: &str, item: &Value) -> Value {
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "551130000000", "phone_number_id": "100000000000001"},
        list: [item],
    });
    json!({
        "object": "whatsapp_business_account",
        "entry": [{"id": "200000000000002", "changes": [{"field": "messages", "value": value}]}],
    })
}

/// The refusal of a request: the API's error code and the reason.
struct Refused(u32, &'static str);

impl WhatsApp {
    pub(super) fn response(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        let path = request.path();
        let result = match (request.method(), path.as_slice()) {
            ("POST", [version, number, "messages"]) if is_version(version) => {
                self.messages(request, number)
            }
            (method, [version, rest @ ..]) if is_version(version) => {
                self.account(request, method, rest)
            }
            _ => Err(Refused(100, "Unsupported request.")),
        };
        match result {
            Ok(response) => response,
            Err(Refused(code, why)) => {
                let status = if code == 190 { 401 } else { 400 };
                let error = json!({
                    "message": format!("(#{code}) {why}"),
                    "type": "OAuthException",
                    "code": code,
                    "error_data": {"messaging_product": "whatsapp", "details": why},
                    "fbtrace_id": "simulated",
                });
                ProviderResponse::json(
                    status,
                    json!({"error": error}),
                    format!("refused: {code} {why}"),
                )
            }
        }
    }

    /// What is asked of the number or of the account that it belongs to.
    fn account(
        &mut self,
        request: &ProviderRequest<'_>,
        method: &str,
        path: &[&str],
    ) -> Result<ProviderResponse, Refused> {
        if !request.has_bearer() {
            return Err(Refused(190, "Invalid OAuth access token."));
        }
        let ok = |body: Value, note: &str| Ok(ProviderResponse::json(200, body, note));
        match (method, path) {
            ("GET", [number]) => {
                ok(json!({"id": number, "quality_rating": "GREEN"}), "showed the number")
            }
            ("GET", [_, "message_templates"]) => {
                let wanted = request.received.query.get("name");
                let mut found = templates();
                found.extend(self.submitted.iter().cloned());
                found.retain(|one| wanted.is_none_or(|name| one["name"] == name.as_str()));
                ok(json!({"data": found}), "listed templates")
            }
            ("POST", [_, "message_templates"]) => {
                let Some(name) = request.text("name") else {
                    return Err(Refused(100, "The parameter name is required."));
                };
                let mut template = request.received.body.clone();
                template["status"] = json!("PENDING");
                self.submitted.push(template);
                ok(json!({"id": "1", "status": "PENDING"}), &format!("takes {name} for review"))
            }
            ("GET", [_, "subscribed_apps"]) => {
                let app = json!({"whatsapp_business_api_data": {"id": "1", "name": "Simulated"}});
                let apps = match self.webhook {
                    Subscription::On => vec![app],
                    Subscription::Off => vec![],
                };
                ok(json!({"data": apps}), "listed subscriptions")
            }
            ("POST", [_, "subscribed_apps"]) => {
                self.webhook = Subscription::On;
                ok(json!({"success": true}), "subscribed")
            }
            ("DELETE", [_, "subscribed_apps"]) => {
                self.webhook = Subscription::Off;
                ok(json!({"success": true}), "unsubscribed")
            }
            _ => Err(Refused(100, "Unsupported request.")),
        }
    }

    fn messages(
        &mut self,
        request: &ProviderRequest<'_>,
        number: &str,
    ) -> Result<ProviderResponse, Refused> {
        if !request.has_bearer() {
            return Err(Refused(190, "Invalid OAuth access token."));
        }
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refused(33, "The phone number id is not a number's id."));
        }
        let message = self.read(request, number)?;
        let at: Option<jiff::Timestamp> = message.at.parse().ok();
        let before = self.messages.iter().rev().find(|known| known.to == message.to);
        let before = before.and_then(|known| known.at.parse::<jiff::Timestamp>().ok());
        if before
            .zip(at)
            .is_some_and(|(before, at)| at.as_millisecond() - before.as_millisecond() < PAIR_MS)
        {
            self.too_fast += 1;
            return Err(Refused(131_056, "Pair rate limit hit."));
        }
        let note = format!("took {} to {}", message.template, message.to);
        let body = json!({
            "messaging_product": "whatsapp",
            "contacts": [{"input": message.to, "wa_id": message.to}],
            "messages": [{"id": message.id, "message_status": "accepted"}],
        });
        self.messages.push(message);
        Ok(ProviderResponse::json(200, body, note))
    }

    fn read(
        &self,
        request: &ProviderRequest<'_>,
        number: &str,
    ) -> Result<WhatsAppMessage, Refused> {
        let body = &request.received.body;
        for (name, wanted) in [
            ("messaging_product", "whatsapp"),
            ("recipient_type", "individual"),
            ("type", "template"),
        ] {
            if request.text(name) != Some(wanted) {
                return Err(Refused(100, "messaging_product, recipient_type or type is wrong."));
            }
        }
        let to = request.text("to").unwrap_or_default();
        if !(8..=15).contains(&to.len()) || !to.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refused(131_009, "`to` is not a number with its country's code."));
        }
        let template = &body["template"];
        let text =
            |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let (Some(name), Some(language)) =
            (text(&template["name"]), text(&template["language"]["code"]))
        else {
            return Err(Refused(132_001, "The template has no name or no language."));
        };
        Ok(WhatsAppMessage {
            id: format!("wamid.simulated{}", self.messages.len() + 1),
            phone_number_id: number.to_owned(),
            to: to.to_owned(),
            template: name,
            language,
            parameters: parameters(template)?,
            callback_data: request.text("biz_opaque_callback_data").map(str::to_owned),
            at: request.received.at.clone(),
        })
    }
}

/// The templates that the account has from the beginning.
fn templates() -> Vec<Value> {
    let template = |(name, variables): (&str, usize)| {
        let variables: Vec<String> = (1..=variables).map(|n| format!("{{{{{n}}}}}")).collect();
        let body = json!({"type": "BODY", "text": format!("Olá, {}!", variables.join(", "))});
        json!({
            "id": "1", "name": name, "language": LANGUAGE, "category": "UTILITY",
            "status": "APPROVED", "components": [body],
        })
    };
    TEMPLATES.map(template).into()
}

/// The texts of the template's only component, which is its body.
fn parameters(template: &Value) -> Result<Vec<String>, Refused> {
    let wrong = || Refused(132_012, "The components are not one body with text parameters.");
    let components = template["components"].as_array().ok_or_else(wrong)?;
    let [body] = components.as_slice() else { return Err(wrong()) };
    if body["type"] != "body" {
        return Err(wrong());
    }
    let mut texts = Vec::new();
    for parameter in body["parameters"].as_array().ok_or_else(wrong)? {
        let text = parameter["text"].as_str().filter(|_| parameter["type"] == "text");
        let text = text.ok_or_else(wrong)?;
        if text.trim().is_empty() || text.contains(['\n', '\r', '\t']) || text.contains("    ") {
            return Err(Refused(
                132_012,
                "A parameter is empty, has a new line or a tab, or more than four spaces in a row.",
            ));
        }
        texts.push(text.to_owned());
    }
    Ok(texts)
}

fn is_version(segment: &str) -> bool {
    let number = segment.strip_prefix('v').unwrap_or_default();
    number.split_once('.').is_some_and(|(major, minor)| {
        !major.is_empty() && [major, minor].iter().all(|n| n.bytes().all(|b| b.is_ascii_digit()))
    })
}

impl Providers {
    /// The messages that WhatsApp accepted, in order.
    pub fn whatsapp_messages(&self) -> Vec<WhatsAppMessage> {
        self.read(|world| world.whatsapp.messages.clone())
    }

    /// How many messages were refused because they came within six seconds of another one to the
    /// same number.
    pub fn whatsapp_too_fast(&self) -> usize {
        self.read(|world| world.whatsapp.too_fast)
    }
}
