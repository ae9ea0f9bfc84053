//! The webhooks of the simulated WhatsApp: status updates of each message, and replies of a person.
//!
//! Both are sent to `whatsapp-webhook`, signed as Meta signs them. This module must not know what
//! Funil does with them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use funil_core::id::LeadId;
use funil_core::provider::whatsapp;
use funil_core::settings::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::functions_route;
use crate::simulated::{WhatsAppMessage, whatsapp_inbound};

/// The function that receives the webhooks.
const WEBHOOK: &str = "whatsapp-webhook";
/// How often new messages are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// The status updates that are sent for every message.
const STATUSES: [&str; 2] = ["sent", "delivered"];

/// The body of the request with which a person replies on the console.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Reply {
    lead_id: LeadId,
    text: String,
}

/// The messages of a lead, for the console.
pub(super) fn of_lead(shared: &Shared, lead_id: LeadId) -> Vec<Value> {
    let prefix = format!("{lead_id}/");
    let messages = shared.providers.whatsapp_messages();
    let its = |message: &&WhatsAppMessage| {
        message.callback_data.as_ref().is_some_and(|data| data.starts_with(&prefix))
    };
    messages.iter().filter(its).map(|message| json!(message)).collect()
}

/// Sends the reply of a person. The response has the status with which Funil responded.
pub(super) async fn reply(State(shared): State<Arc<Shared>>, Json(reply): Json<Reply>) -> Response {
    let Reply { lead_id, text } = reply;
    let lead = match shared.store.lead(lead_id).await {
        Ok(lead) => lead,
        Err(error) => {
            tracing::error!("the lead {lead_id} could not be read: {error}");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let Some(phone) = lead.and_then(|lead| lead.latest.phone) else {
        return (StatusCode::NOT_FOUND, "This lead has no phone.\n").into_response();
    };
    let at = shared.platform.clock.now().as_second();
    let from = phone.as_str().trim_start_matches('+');
    let status = send(&shared, &whatsapp_inbound(from, &text, at)).await;
    Json(json!({"status": status.as_u16()})).into_response()
}

/// Sends the status updates of every new message, once each, until the dev server ends.
pub(super) async fn send_status_updates(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(EVERY);
    // The status updates of messages from before this start were sent then.
    let mut handled = shared.providers.whatsapp_messages().len();
    loop {
        ticks.tick().await;
        for message in shared.providers.whatsapp_messages().iter().skip(handled) {
            for status in STATUSES {
                let at = shared.platform.clock.now().as_second();
                send(&shared, &message.status(status, None, at)).await;
            }
            handled += 1;
        }
    }
}

/// Sends a webhook and returns the status of the response.
async fn send(shared: &Shared, webhook: &Value) -> StatusCode {
    let body = webhook.to_string();
    let secret = Secret::new(shared.environment.variable("WHATSAPP_APP_SECRET"));
    functions_route::webhook(
        shared,
        WEBHOOK,
        whatsapp::SIGNATURE_HEADER,
        &whatsapp::sign(&secret, body.as_bytes()),
        body,
    )
    .await
}
