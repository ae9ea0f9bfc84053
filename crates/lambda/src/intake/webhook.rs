//! What the webhooks of all providers share: the one answer to an authentic call, and keeping aside
//! what was not understood.
//!
//! Must not know any provider.

use funil_core::hash::sha256_hex;
use funil_core::provider::NotUnderstood;
use funil_core::receipt::ReceiptKey;
use funil_store::{Accepted, Quarantined, Receipt, StoreError, StoredResponse};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::app::Site;
use crate::http::guard;
use crate::http::problem::json_response;
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

/// The answer to every authentic call: providers read only its status.
pub(crate) fn received() -> HttpResponse {
    json_response(StatusCode::OK, &body())
}

fn body() -> Value {
    json!({"received": true})
}

/// The receipt of a call, by what it is known by; its content is not compared, because the same word
/// may come with newer circumstances.
pub(crate) fn receipt(provider: &str, request: &[&str]) -> Receipt {
    let key = ReceiptKey::of_provider(provider, request);
    let response = StoredResponse {
        status: StatusCode::OK.as_u16(),
        headers: Vec::new(),
        body: body().to_string(),
    };
    Receipt { fingerprint: key.key.clone(), key, response }
}

impl Site {
    /// Keeps an authentic call whole for a person, once however often it comes.
    pub(crate) async fn set_aside(
        &self,
        request: &HttpRequest,
        provider: &'static str,
        why: NotUnderstood,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        tracing::warn!(provider, reason = why.0, "kept aside an authentic call for a person");
        let quarantined = Quarantined {
            source: provider,
            reason: why.0,
            content_type: guard::header(request, CONTENT_TYPE).unwrap_or_default(),
            body: &request.body,
            email_digest: None,
        };
        let receipt = receipt(provider, &["aside", &sha256_hex(&request.body)]);
        self.store.quarantine(&quarantined, &receipt, now, &*self.platform.entropy).await
    }
}
