//! Rings: requests that say "drain what is due" and carry no data (`docs/design.md`, "Ringing").
//!
//! A ring is an HTTP request where the functions have addresses (Netlify, the dev server) and an
//! asynchronous invocation on AWS. It only saves time: the schedule is what guarantees the work, so
//! the caller logs a failed ring and goes on. A ring never waits for the work.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use funil_core::clock::Clock;
use funil_core::delivery::exchange::endpoint;
use funil_core::settings::{Secret, Settings};
use funil_store::{AwsConfig, Platform};
use url::Url;

use crate::app::App;

/// How long a ring may take. The function that was rung goes on with its work after that.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long an intake function waits for its ring, because somebody waits for its response.
const INTAKE_PATIENCE: Duration = Duration::from_millis(50);

/// Why a ring failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// No connection could be made.
    #[error("no connection to {function}; check DOORBELL_URL")]
    NoConnection {
        /// The function that was rung.
        function: &'static str,
    },
    /// The function refused the ring.
    #[error("{function} responded {status} to a ring; check SERVICE_TOKEN and its deployment")]
    Refused {
        /// The function that was rung.
        function: &'static str,
        /// The HTTP status of its response.
        status: u16,
    },
    /// The invocation could not be signed.
    #[error("the invocation of {function} could not be signed")]
    Unsigned {
        /// The function that was rung.
        function: &'static str,
    },
}

/// How this deployment rings functions.
#[derive(Clone, Debug)]
pub enum Doorbell {
    /// `POST <base>/<function>` with the service token.
    Http {
        /// `DOORBELL_URL`
        base: Url,
        /// The first of `SERVICE_TOKEN`.
        token: Secret,
    },
    /// An asynchronous Lambda invocation of `<prefix><function>`.
    Lambda {
        /// `DOORBELL_FUNCTION_PREFIX`
        prefix: String,
        /// The region, and the credentials that sign the invocation.
        aws: AwsConfig,
        /// Where the Lambda API is; `AWS_ENDPOINT_URL_LAMBDA` in a test.
        api: Url,
    },
}

/// Whom a function rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rings {
    /// Only `dispatch`, after something was accepted, where there is no stream to do so.
    Dispatch,
    /// The delivery functions, which nobody else does.
    Functions,
}

impl Doorbell {
    /// Reads which doorbell this deployment has. Without an `app`, whose own problems are noted, it
    /// still notes what is wrong with the doorbell.
    pub(crate) fn read(
        settings: &mut Settings<'_>,
        app: Option<&App>,
        rings: Rings,
    ) -> Option<Self> {
        if settings.optional("DOORBELL_URL").is_some() {
            let base = settings.url("DOORBELL_URL", None)?;
            return Some(Self::Http { base, token: app?.config.service_tokens.first()?.clone() });
        }
        if rings == Rings::Dispatch {
            return None;
        }
        let Some(prefix) = settings.optional("DOORBELL_FUNCTION_PREFIX").map(str::to_owned) else {
            return settings
                .problem("Set DOORBELL_URL, or DOORBELL_FUNCTION_PREFIX on AWS Lambda.");
        };
        let aws = app?.aws.clone();
        let default = format!("https://lambda.{}.amazonaws.com", aws.region);
        let api = settings.url("AWS_ENDPOINT_URL_LAMBDA", Some(&default))?;
        Some(Self::Lambda { prefix, aws, api })
    }

    /// Rings `function` without waiting for its work.
    pub async fn ring(&self, platform: &Platform, function: &'static str) -> Result<(), RingError> {
        self.ring_within(platform, function, PATIENCE).await
    }

    /// Rings `dispatch` after something was accepted, where there is a doorbell.
    pub(crate) async fn announce(doorbell: Option<&Self>, platform: &Platform) {
        let Some(doorbell) = doorbell else { return };
        if let Err(error) = doorbell.ring_within(platform, "dispatch", INTAKE_PATIENCE).await {
            let what = "dispatch was not rung; the schedule will find what is due";
            match error {
                // Expected where the function starts cold: the patience is short.
                RingError::NoConnection { .. } => tracing::debug!(error = %error, "{what}"),
                RingError::Refused { .. } | RingError::Unsigned { .. } => {
                    tracing::warn!(error = %error, "{what}");
                }
            }
        }
    }

    /// Rings `function` and returns within `patience`.
    async fn ring_within(
        &self,
        platform: &Platform,
        function: &'static str,
        patience: Duration,
    ) -> Result<(), RingError> {
        let request = match self {
            Self::Http { base, token } => platform
                .http
                .post(endpoint(base, &[function]))
                .bearer_auth(token.expose())
                .header("content-length", "0"),
            Self::Lambda { prefix, aws, api } => {
                let request =
                    invocation(api, &format!("{prefix}{function}"), aws, &*platform.clock)
                        .ok_or(RingError::Unsigned { function })?;
                let (parts, body) = request.into_parts();
                platform.http.post(parts.uri.to_string()).headers(parts.headers).body(body)
            }
        };
        match request.timeout(patience).send().await {
            Ok(response)
                if response.status().is_client_error() || response.status().is_server_error() =>
            {
                Err(RingError::Refused { function, status: response.status().as_u16() })
            }
            Ok(_) => Ok(()),
            // A timeout after connecting means that the function received the ring.
            Err(error) if error.is_timeout() && !error.is_connect() => Ok(()),
            Err(_) => Err(RingError::NoConnection { function }),
        }
    }
}

/// The signed request of an asynchronous invocation (Lambda API reference, `Invoke`, with
/// `X-Amz-Invocation-Type: Event`).
pub fn invocation(
    api: &Url,
    function: &str,
    aws: &AwsConfig,
    clock: &dyn Clock,
) -> Option<http::Request<String>> {
    let url = endpoint(api, &["2015-03-31", "functions", function, "invocations"]);
    let body = r#"{"ring":true}"#.to_owned();
    let mut request = http::Request::post(url.as_str())
        .header("content-type", "application/json")
        .header("x-amz-invocation-type", "Event")
        .body(body)
        .ok()?;
    let identity = aws.credentials().into();
    let at_ms = u64::try_from(clock.now().as_millisecond()).ok()?;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&aws.region)
        .name("lambda")
        .time(SystemTime::UNIX_EPOCH + Duration::from_millis(at_ms))
        .settings(SigningSettings::default())
        .build()
        .ok()?
        .into();
    let headers = request.headers().iter();
    let headers: Vec<(&str, &str)> =
        headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let signable = SignableRequest::new(
        "POST",
        url.as_str(),
        headers.into_iter(),
        SignableBody::Bytes(request.body().as_bytes()),
    )
    .ok()?;
    let (instructions, _) = sign(signable, &params).ok()?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Some(request)
}
