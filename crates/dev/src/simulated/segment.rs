//! The simulated Segment HTTP Tracking API (base URL `https://api.segment.io`).
//!
//! Owns the messages that were kept, and the rule that a `messageId` counts once. Like the real API
//! it responds 200 to nearly everything and silently drops what it cannot use; the note of the
//! request says so. See `docs/providers.md` ("Segment"). This module must not know HTTP, nor how a
//! response is withheld.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Providers;
use super::exchange::{ProviderRequest, ProviderResponse};

const BATCH_BYTES_MAX: usize = 500 * 1024;
const BATCH_MESSAGES_MAX: usize = 2_500;
const MESSAGE_BYTES_MAX: usize = 32 * 1024;
const MESSAGE_ID_CHARS_MAX: usize = 100;

/// The state of the workspace.
#[derive(Debug, Default)]
pub(super) struct Segment {
    messages: Vec<Value>,
    seen: BTreeSet<String>,
}

impl Segment {
    pub(super) fn response(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        let path = request.path();
        // Some clients have the version in the base URL, others in the path.
        let path = path.strip_prefix(&["v1"]).unwrap_or(&path);
        match (request.method(), path) {
            ("POST", ["batch"]) => self.batch(request),
            ("POST", [kind @ ("identify" | "track" | "page" | "screen" | "group" | "alias")]) => {
                self.single(request, kind)
            }
            _ => ProviderResponse::refusal(404, "Not found."),
        }
    }

    fn batch(&mut self, request: &ProviderRequest<'_>) -> ProviderResponse {
        let messages =
            request.object().and_then(|body| body.get("batch")).and_then(Value::as_array);
        let Some(messages) = messages else {
            return ProviderResponse::refusal(400, "The body must be a JSON object with a batch.");
        };
        if request.size > BATCH_BYTES_MAX {
            return ProviderResponse::refusal(400, "The batch is over 500 KB.");
        }
        if messages.iter().any(|message| message.to_string().len() > MESSAGE_BYTES_MAX) {
            return ProviderResponse::refusal(400, "A message of the batch is over 32 KB.");
        }
        if messages.len() > BATCH_MESSAGES_MAX {
            return accepted("dropped in silence: over 2,500 messages".to_owned());
        }
        if !has_write_key(request) {
            return accepted(NO_WRITE_KEY.to_owned());
        }
        let notes: Vec<String> = messages.iter().map(|message| self.keep(message)).collect();
        accepted(notes.join(", "))
    }

    fn single(&mut self, request: &ProviderRequest<'_>, kind: &str) -> ProviderResponse {
        let Some(body) = request.object() else {
            return ProviderResponse::refusal(400, "The body must be a JSON object.");
        };
        if request.size > MESSAGE_BYTES_MAX {
            return ProviderResponse::refusal(400, "The message is over 32 KB.");
        }
        if !has_write_key(request) {
            return accepted(NO_WRITE_KEY.to_owned());
        }
        let mut message = body.clone();
        message.remove("writeKey");
        message.insert("type".to_owned(), Value::from(kind));
        accepted(self.keep(&Value::Object(message)))
    }

    /// Keeps a message, unless it is a duplicate or not usable, and returns a note about it.
    fn keep(&mut self, message: &Value) -> String {
        let text = |name: &str| message[name].as_str().filter(|text| !text.is_empty());
        let kind = text("type").unwrap_or("message");
        if text("userId").is_none() && text("anonymousId").is_none() {
            return format!("{kind} dropped in silence: no userId or anonymousId");
        }
        if kind == "track" && text("event").is_none() {
            return "track dropped in silence: no event".to_owned();
        }
        if let Some(id) = text("messageId") {
            if id.chars().count() > MESSAGE_ID_CHARS_MAX {
                return format!("{kind} dropped in silence: its messageId is over 100 characters");
            }
            if !self.seen.insert(id.to_owned()) {
                return format!("duplicate messageId {id} ignored");
            }
        }
        self.messages.push(message.clone());
        format!("kept {kind}")
    }
}

const NO_WRITE_KEY: &str = "dropped in silence: no write key";

fn accepted(note: String) -> ProviderResponse {
    ProviderResponse::json(200, json!({"success": true}), note)
}

fn has_write_key(request: &ProviderRequest<'_>) -> bool {
    request.text("writeKey").is_some()
        || request.received.header("authorization").is_some_and(|value| value.starts_with("Basic "))
}

impl Providers {
    /// The messages that Segment kept, in order, each with its `type` and without duplicates.
    pub fn segment_messages(&self) -> Vec<Value> {
        self.read(|world| world.segment.messages.clone())
    }
}
