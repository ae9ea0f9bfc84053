//! `funil send`: sends sample requests to running functions, signed as their providers sign them.
//!
//! A sample is an event in `events/<function>/<sample>.json`, in any payload format. It is sent as
//! the HTTP request that it describes. This module must not know what a function does with a
//! request.

use std::path::{Path, PathBuf};

use funil_core::delivery::exchange::endpoint;
use funil_core::id::LeadId;
use funil_core::settings::{Env, Secret};
use funil_lambda::platform::request::HttpEventError;
use funil_lambda::platform::trigger::Trigger;
use funil_store::Platform;
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::whose::Whose;

/// Why a sample was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The path of the sample.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The file is not JSON.
    #[error("{path} is not JSON: {source}")]
    Json {
        /// The path of the sample.
        path: PathBuf,
        /// The error of the parser.
        source: serde_json::Error,
    },
    /// The JSON is not an event of any known payload format.
    #[error("{path} is not an event: {source}")]
    Event {
        /// The path of the sample.
        path: PathBuf,
        /// The error of the parser.
        source: HttpEventError,
    },
    /// The event is not an HTTP request.
    #[error("{path} is not an HTTP request; use `funil invoke` for other events")]
    NotHttp {
        /// The path of the sample.
        path: PathBuf,
    },
    /// The file is in no folder, so its function is not known.
    #[error("{path} is not in a folder with the name of its function")]
    NoFunction {
        /// The path of the sample.
        path: PathBuf,
    },
    /// There was no response.
    #[error("{url} does not respond; start the dev server with `cargo run`")]
    NoResponse {
        /// The address of the request.
        url: Url,
    },
}

/// The response to a sample.
#[derive(Debug)]
pub struct Sent {
    /// The name of the function.
    pub function: String,
    /// The HTTP status.
    pub status: u16,
    /// The body of the response.
    pub body: String,
    /// The lead that the response names; else the one of the request, or of its e-mail, if it was accepted.
    pub whose: Option<Whose>,
}

/// Sends the sample at `path` (`events/<function>/<sample>.json`) to `<to>/<function>` and the rest
/// of the sample's own path. The sample of a provider is signed with the key in `env`, or else with that
/// of the dev server, at the time of the dev server's clock, which may have been moved.
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
    let Trigger::Http(sample) = trigger else { return Err(SendError::NotHttp { path: owned() }) };
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let function = folder.ok_or_else(|| SendError::NoFunction { path: owned() })?.to_owned();

    let named = lead_in(&sample.body).map(Whose::Lead).or_else(|| Whose::of_body(&sample.body));
    let own_path = sample.path.split('/').skip_while(|segment| *segment != function);
    let below: Vec<&str> = own_path.skip(1).filter(|segment| !segment.is_empty()).collect();
    let mut url = endpoint(&endpoint(to, &[&function]), &below);
    if !sample.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&sample.query);
    }
    let now = now_at(to, platform).await;
    let signature = signature(&function, &sample.body, env, now);
    let mut request = platform.http.request(sample.method, url.clone()).body(sample.body);
    for (name, value) in &sample.headers {
        let hop = [http::header::HOST, http::header::CONTENT_LENGTH, http::header::ACCEPT_ENCODING];
        if !hop.contains(name) && !name.as_str().starts_with("x-forwarded") {
            request = request.header(name, value);
        }
    }
    if let Some((name, value)) = signature {
        request = request.header(name, value);
    }
    let response = request.send().await.map_err(|_| SendError::NoResponse { url: url.clone() })?;
    let status = response.status().as_u16();
    let body = response.text().await.map_err(|_| SendError::NoResponse { url })?;
    // The response to a request about a known lead may not have its id. The request of a booking or of a
    // payment may.
    let whose = lead_in(body.as_bytes()).map(Whose::Lead);
    let whose = whose.or(named.filter(|_| (200..400).contains(&status)));
    Ok(Sent { function, status, body, whose })
}

/// The time by the clock of the dev server at `to`; the present time where there is none.
async fn now_at(to: &Url, platform: &Platform) -> Timestamp {
    let asked = async {
        let response = platform.http.get(to.join("/stage/clock").ok()?).send().await.ok()?;
        let state: Value = serde_json::from_slice(&response.bytes().await.ok()?).ok()?;
        state["now"].as_str()?.parse().ok()
    };
    asked.await.unwrap_or_else(|| platform.clock.now())
}

fn lead_in(body: &[u8]) -> Option<LeadId> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let object = &json["data"]["object"];
    let places = [
        &json["leadId"],
        &json["payload"]["tracking"]["utm_content"],
        &object["metadata"]["lead_id"],
        &object["client_reference_id"],
    ];
    LeadId::parse(places.into_iter().find_map(Value::as_str)?).ok()
}

/// The signature header, for a function that verifies the requests of a provider. The key is the one of the
/// environment, else the dev server's.
fn signature(
    function: &str,
    body: &[u8],
    env: &Env,
    now: Timestamp,
) -> Option<(&'static str, String)> {
    // A handshake has no body and is not signed.
    if body.is_empty() {
        return None;
    }
    let registration = funil_lambda::functions::intake().find(|known| known.name == function)?;
    let signature = registration.signature.as_ref()?;
    let of_dev_server =
        registration.variables.iter().find(|(name, _)| *name == signature.key_variable);
    let settings = env.settings();
    let configured = settings.list(signature.key_variable).first().copied();
    let key = Secret::new(configured.or(of_dev_server.map(|(_, value)| *value))?);
    Some((signature.header, (signature.sign)(body, &key, now)))
}
