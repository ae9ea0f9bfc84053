//! Cloudflare's Turnstile: whether a form's token stands for a person.
//!
//! The one request to somebody else while a visitor waits, so it is off unless `TURNSTILE_SECRET_KEY` is set, takes at
//! most a second, and no failure of it refuses a form (`docs/spam.md`). Must not know any form.

use std::time::Duration;

use funil_core::delivery::exchange::endpoint;
use funil_core::form::Token;
use funil_core::hash::sha256_hex;
use funil_core::settings::{Secret, Settings};
use funil_store::Platform;
use serde_json::{Value, json};
use url::Url;

/// How long Turnstile may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// What Turnstile says of a request that says nothing about the token.
const NOT_OF_THE_TOKEN: [&str; 4] =
    ["missing-input-secret", "invalid-input-secret", "bad-request", "internal-error"];

/// Whether a site asks for tokens.
#[derive(Clone, Debug)]
pub(crate) enum Turnstile {
    /// It asks for none.
    Off,
    /// This site of Turnstile's checks them.
    On(Site),
}

/// A site at Turnstile.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    secret: Secret,
    base: Url,
}

impl Turnstile {
    /// Reads `TURNSTILE_SECRET_KEY` and `TURNSTILE_BASE_URL`.
    pub(crate) fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let base = settings.url("TURNSTILE_BASE_URL", Some("https://challenges.cloudflare.com"));
        if settings.optional("TURNSTILE_SECRET_KEY").is_none() {
            return base.map(|_| Self::Off);
        }
        let secret = settings.secret("TURNSTILE_SECRET_KEY");
        secret.zip(base).map(|(secret, base)| Self::On(Site { secret, base }))
    }
}

impl Site {
    /// Whether a token stands for a person who submits this. The same submission gets the same response again; another
    /// submission with the same token is rejected.
    pub(crate) async fn verify(
        &self,
        platform: &Platform,
        function: &str,
        token: &Secret,
        fingerprint: &str,
    ) -> Token {
        match self.ask(platform, token, fingerprint).await {
            Some(response) if response["success"] == true => Token::Valid,
            Some(response) => {
                let codes: Vec<&str> = response["error-codes"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                if codes.is_empty() || codes.iter().any(|code| NOT_OF_THE_TOKEN.contains(code)) {
                    tracing::error!(
                        "Turnstile checked no token for {function}; compare TURNSTILE_SECRET_KEY with the site's secret key at \
                         Cloudflare. Forms are accepted with a sign meanwhile"
                    );
                    return Token::Unchecked;
                }
                Token::Rejected
            }
            None => {
                tracing::warn!(
                    "Turnstile did not respond to {function} in time; the form is accepted with a sign"
                );
                Token::Unchecked
            }
        }
    }

    async fn ask(&self, platform: &Platform, token: &Secret, fingerprint: &str) -> Option<Value> {
        let url = endpoint(&self.base, &["turnstile", "v0", "siteverify"]);
        let digest = sha256_hex(format!("{} {fingerprint}", token.expose()).as_bytes());
        let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
        let key = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
        let body = json!({
            "secret": self.secret.expose(), "response": token.expose(), "idempotency_key": key,
        });
        let request = platform.http.post(url).header("content-type", "application/json");
        let asked = async {
            let response = request.body(body.to_string()).send().await.ok()?;
            // Turnstile says what is wrong with a request by a status of 400, too.
            serde_json::from_slice(&response.bytes().await.ok()?).ok()
        };
        tokio::time::timeout(PATIENCE, asked).await.ok()?
    }
}
