//! The simulated Turnstile of Cloudflare: a token says itself what it stands for.
//!
//! `person…` is valid, `used…` was used before, `secret…` is checked with a wrong key, and every other is rejected.
//! See `docs/providers.md` ("Turnstile"). This module must not know HTTP, nor how a response is withheld.

use serde_json::{Value, json};

use super::exchange::{ProviderRequest, ProviderResponse};

pub(super) fn response(request: &ProviderRequest<'_>) -> ProviderResponse {
    let ("POST", ["turnstile", "v0", "siteverify"]) = (request.method(), request.path().as_slice())
    else {
        return ProviderResponse::empty(404, "refused: no such endpoint");
    };
    let body = &request.received.body;
    let token = body["response"].as_str().unwrap_or_default();
    let refused = |code: &str| {
        let verdict = json!({"success": false, "error-codes": [code]});
        ProviderResponse::json(200, verdict, format!("refused: {code}"))
    };
    if body["secret"].as_str().is_none_or(str::is_empty) {
        return refused("missing-input-secret");
    }
    match token {
        person if person.starts_with("person") => {
            let verdict = json!({"success": true, "error-codes": [], "hostname": Value::Null});
            ProviderResponse::json(200, verdict, "a person")
        }
        used if used.starts_with("used") => refused("timeout-or-duplicate"),
        secret if secret.starts_with("secret") => refused("invalid-input-secret"),
        _ => refused("invalid-input-response"),
    }
}
