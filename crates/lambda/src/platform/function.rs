//! A function: one event value goes in, one value comes out. Must not know what any function does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use funil_core::form::Locale;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;
use tracing::Instrument as _;

use crate::http::problem::{Problem, json_response};
use crate::platform::request::PayloadFormat;
use crate::platform::response::HttpResponse;
use crate::platform::trigger::Trigger;

/// What a handler returns.
pub(crate) enum Response {
    /// To an HTTP request.
    Http(HttpResponse),
    /// To a stream, a schedule or a direct invocation.
    Value(Value),
}

type Handling = Pin<Box<dyn Future<Output = Response> + Send>>;
type Handler = dyn Fn(Trigger, Timestamp) -> Handling + Send + Sync;

/// One of Funil's functions, configured and ready. Cheap to clone.
#[derive(Clone)]
pub struct Function {
    /// Its name: of its binary, its folder and its path.
    pub name: &'static str,
    handler: Arc<Handler>,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Function({})", self.name)
    }
}

impl Function {
    pub(crate) fn new<F, H>(name: &'static str, handler: F) -> Self
    where
        F: Fn(Trigger, Timestamp) -> H + Send + Sync + 'static,
        H: Future<Output = Response> + Send + 'static,
    {
        Self {
            name,
            handler: Arc::new(move |trigger, stop_at| Box::pin(handler(trigger, stop_at))),
        }
    }

    /// Handles one event in any payload format. `stop_at` is when the platform ends the invocation.
    pub async fn invoke(&self, event: Value, stop_at: Timestamp) -> Value {
        let span = tracing::info_span!("invocation", function = self.name);
        async {
            // Netlify sends a schedule as an HTTP request, and wants an HTTP response.
            let is_http = event.get("httpMethod").is_some();
            match Trigger::parse(event) {
                Ok(trigger) => {
                    tracing::debug!(trigger = trigger.name(), "invoked");
                    let payload_format = payload_format_of(&trigger);
                    match (self.handler)(trigger, stop_at).await {
                        Response::Http(response) => {
                            response.into_event(payload_format.unwrap_or(PayloadFormat::HttpV2))
                        }
                        Response::Value(value) if is_http => {
                            let status = match value.get("error") {
                                None => StatusCode::OK,
                                Some(_) => StatusCode::INTERNAL_SERVER_ERROR,
                            };
                            json_response(status, &value).into_event(PayloadFormat::Netlify)
                        }
                        Response::Value(value) => value,
                    }
                }
                Err(error) => {
                    let name = self.name;
                    tracing::warn!("{name} refused an event that cannot be read: {error}");
                    Problem::Unreadable.response(Locale::En).into_event(error.payload_format())
                }
            }
        }
        .instrument(span)
        .await
    }
}

fn payload_format_of(trigger: &Trigger) -> Option<PayloadFormat> {
    match trigger {
        Trigger::Http(request) => Some(request.payload_format),
        Trigger::Stream(_) | Trigger::Schedule | Trigger::Direct(_) => None,
    }
}
