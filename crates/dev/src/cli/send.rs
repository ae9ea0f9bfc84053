//! Sending sample events to running functions, signed as their providers sign.

use std::path::{Path, PathBuf};

use funil_core::delivery::exchange::endpoint;
use funil_core::id::LeadId;
use funil_core::provider::{calendly, whatsapp};
use funil_core::settings::{Env, Secret};
use funil_lambda::platform::trigger::{Trigger, TriggerError};
use funil_store::Platform;
use serde_json::Value;
use url::Url;

use crate::server::{DEV_CALENDLY_KEY, DEV_WHATSAPP_APP_SECRET};

/// Why a sample was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is no JSON.
    #[error("{path} is not JSON: {source}")]
    Json {
        /// Which.
        path: PathBuf,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// It is no event.
    #[error("{path} is not an event: {source}")]
    Event {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: TriggerError,
    },
    /// It is no HTTP call.
    #[error("{path} is not an HTTP event; use `funil invoke` for the others")]
    NotHttp {
        /// Which.
        path: PathBuf,
    },
    /// The folder does not tell a function.
    #[error("{path} does not stand in a folder named after its function")]
    NoFunction {
        /// Which.
        path: PathBuf,
    },
    /// Nobody answered.
    #[error("{url} does not answer; start the dev server with `cargo run`")]
    NoResponse {
        /// Where.
        url: Url,
    },
}

/// What came back.
#[derive(Debug)]
pub struct Sent {
    /// The function.
    pub function: String,
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// The lead that the answer names, or the call that it accepts.
    pub lead_id: Option<LeadId>,
}

/// Sends the sample at `path` (`events/<function>/<sample>.json`) to `<to>/<function>`, and to the path
/// below it that the sample names. A provider's is
/// signed now, by the key that `env` has, else by the stage's.
pub async fn send(
    path: &Path,
    to: &Url,
    env: &Env,
    platform: &Platform,
) -> Result<Sent, SendError> {
    let owned = || path.to_owned();
    let text = std::fs::read(path).map_err(|source| SendError::Read { path: owned(), source })?;
    let event: Value = serde_json::from_slice(&text)
        .map_err(|source| SendError::Json { path: owned(), source })?;
    let trigger =
        Trigger::parse(event).map_err(|source| SendError::Event { path: owned(), source })?;
    let Trigger::Http(call) = trigger else { return Err(SendError::NotHttp { path: owned() }) };
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let function = folder.ok_or_else(|| SendError::NoFunction { path: owned() })?.to_owned();

    let said = lead_in(&call.body);
    let asked = call.path.split('/').skip_while(|segment| *segment != function);
    let below: Vec<&str> = asked.skip(1).filter(|segment| !segment.is_empty()).collect();
    let mut url = endpoint(&endpoint(to, &[&function]), &below);
    if !call.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&call.query);
    }
    let signature = signature(&function, &call.body, env, platform);
    let mut request = platform.http.request(call.method, url.clone()).body(call.body);
    for (name, value) in &call.headers {
        let hop = [http::header::HOST, http::header::CONTENT_LENGTH, http::header::ACCEPT_ENCODING];
        if !hop.contains(name) && !name.as_str().starts_with("x-forwarded") {
            request = request.header(name, value);
        }
    }
    if let Some((name, value)) = signature {
        request = request.header(name, value);
    }
    let answer = request.send().await.map_err(|_| SendError::NoResponse { url: url.clone() })?;
    let status = answer.status().as_u16();
    let body = answer.text().await.map_err(|_| SendError::NoResponse { url })?;
    // An accepted call about a known lead need not be answered with its id; a booking may name it.
    let lead_id = lead_in(body.as_bytes()).or(said.filter(|_| (200..300).contains(&status)));
    Ok(Sent { function, status, body, lead_id })
}

fn lead_in(body: &[u8]) -> Option<LeadId> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let of_booking = || json["payload"]["tracking"]["utm_content"].as_str();
    LeadId::parse(json["leadId"].as_str().or_else(of_booking)?).ok()
}

/// The header by which a provider's call is known, for a function that asks for one.
fn signature(
    function: &str,
    body: &[u8],
    env: &Env,
    platform: &Platform,
) -> Option<(&'static str, String)> {
    let now = platform.clock.now();
    let key = |name: &str, of_the_stage: &str| {
        Secret::new(env.settings().list(name).first().copied().unwrap_or(of_the_stage))
    };
    match function {
        "calendar-webhook" => {
            let key = key("CALENDLY_SIGNING_KEY", DEV_CALENDLY_KEY);
            Some((calendly::SIGNATURE_HEADER, calendly::sign(body, &key, now)))
        }
        // The handshake has no body, and is known by its token.
        "whatsapp-webhook" if !body.is_empty() => {
            let key = key("WHATSAPP_APP_SECRET", DEV_WHATSAPP_APP_SECRET);
            Some((whatsapp::SIGNATURE_HEADER, whatsapp::sign(&key, body)))
        }
        _ => None,
    }
}
