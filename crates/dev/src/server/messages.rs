//! What WhatsApp does on its own on the stage: tells of each message's statuses, and passes on what a
//! person writes back. Both go to `whatsapp-webhook`, signed as Meta signs.
//!
//! It must not know what Funil does with them.

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
use super::functions_route::webhook;
use crate::simulated::{WhatsAppMessage, whatsapp_inbound};

/// The function that Meta calls.
const WEBHOOK: &str = "whatsapp-webhook";
/// How often the stage looks for messages whose statuses are to be told.
const EVERY: Duration = Duration::from_secs(1);
/// What becomes of every message here.
const STATUSES: [&str; 2] = ["sent", "delivered"];

/// What a person writes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Written {
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

/// A person writes back. Answers what Funil said to WhatsApp.
pub(super) async fn write(
    State(shared): State<Arc<Shared>>,
    Json(written): Json<Written>,
) -> Response {
    let lead = match shared.store.lead(written.lead_id).await {
        Ok(lead) => lead,
        Err(error) => {
            tracing::error!(error = %error, "the lead could not be read");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let Some(phone) = lead.and_then(|lead| lead.latest.phone) else {
        return (StatusCode::NOT_FOUND, "This lead has no phone.\n").into_response();
    };
    let at = shared.platform.clock.now().as_second();
    let from = phone.as_str().trim_start_matches('+');
    let answered = send(&shared, &whatsapp_inbound(from, &written.text, at)).await;
    Json(json!({"status": answered.as_u16()})).into_response()
}

/// Tells the statuses of every message that WhatsApp took, once each, for as long as the stage lives.
pub(super) async fn tell_statuses(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(EVERY);
    // What it took before this start was told then.
    let mut told = shared.providers.whatsapp_messages().len();
    loop {
        ticks.tick().await;
        for message in shared.providers.whatsapp_messages().iter().skip(told) {
            for status in STATUSES {
                let at = shared.platform.clock.now().as_second();
                send(&shared, &message.status(status, None, at)).await;
            }
            told += 1;
        }
    }
}

async fn send(shared: &Shared, told: &Value) -> StatusCode {
    let body = told.to_string();
    let secret = Secret::new(shared.environment.variable("WHATSAPP_APP_SECRET"));
    webhook(
        shared,
        WEBHOOK,
        whatsapp::SIGNATURE_HEADER,
        &whatsapp::sign(&secret, body.as_bytes()),
        body,
    )
    .await
}
