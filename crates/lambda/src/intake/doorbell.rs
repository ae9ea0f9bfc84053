//! Rings: requests that say "drain what is due" or "deliver these", and carry no data but the keys of
//! deliveries (`docs/design.md`, "Ringing").
//!
//! A ring is an HTTP request where the functions have addresses (Netlify, the dev server) and an
//! asynchronous invocation on AWS. It only saves time: the schedule is what guarantees the work, so
//! the caller logs a failed ring and goes on. A ring never waits for the work.

use std::time::Duration;

use bytes::Bytes;
use funil_core::check::Finding;
use funil_core::clock::Clock;
use funil_core::delivery::exchange::endpoint;
use funil_core::form::{Field, Need, Schema, Takes};
use funil_core::settings::{Secret, Settings};
use funil_store::{AwsConfig, DeliveryKey, Platform, service_url};
use serde_json::{Value, json};
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
    /// No connection could be made in time.
    #[error("no connection to {function} in time")]
    NotInTime {
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
        /// The address before the function's name, from `DOORBELL_URL`.
        base: Url,
        /// The token that the ring shows: the first of `SERVICE_TOKEN`.
        token: Secret,
    },
    /// An asynchronous Lambda invocation of `<prefix><function>`.
    Lambda {
        /// What stands before each function's name at AWS, from `DOORBELL_FUNCTION_PREFIX`.
        prefix: String,
        /// The region, and the credentials that sign the invocation.
        aws: AwsConfig,
        /// Where the Lambda API is; `AWS_ENDPOINT_URL_LAMBDA` in a test.
        api: Url,
    },
}

/// How many deliveries one ring names at most.
pub(crate) const NAMED_MAX: usize = 100;

/// What a ring asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring<'k> {
    /// To deliver what is due.
    Due,
    /// To deliver the deliveries with these keys.
    Named(&'k [DeliveryKey]),
    /// To check itself, which shows that it can be rung.
    Check,
}

impl Ring<'_> {
    /// The body of its request; a ring for what is due has none over HTTP.
    fn body(&self) -> Option<Value> {
        match self {
            Self::Due => None,
            Self::Check => Some(json!({"check": true})),
            Self::Named(keys) => {
                let keys: Vec<String> = keys.iter().map(DeliveryKey::to_text).collect();
                Some(json!({"ring": true, "deliveries": keys}))
            }
        }
    }

    /// What it asks for, in a log line.
    fn in_words(&self) -> String {
        match self {
            Self::Due | Self::Named([]) => "what is due".to_owned(),
            Self::Check => "a check".to_owned(),
            Self::Named([first, more @ ..]) => {
                let (lead, id) = (first.lead_id, first.delivery_id().unwrap_or_default());
                match more.len() {
                    0 => format!("delivery {lead}/{id}"),
                    more => format!("delivery {lead}/{id} and {more} more"),
                }
            }
        }
    }
}

/// What the body of a ring may have, and whether it has to name deliveries.
pub(crate) fn schema(need: Need) -> Schema {
    let name = "deliveries".to_owned();
    let fields = vec![Field { name, need, takes: Takes::Deliveries }];
    Schema { fields, only: None }
}

/// The deliveries that the body of a ring names, if it is one that does. What is no key of a delivery is
/// passed over.
pub(crate) fn named(body: &Value) -> Option<Vec<DeliveryKey>> {
    let keys = body.get("deliveries")?.as_array()?;
    let keys = keys.iter().filter_map(|key| DeliveryKey::from_text(key.as_str()?));
    Some(keys.take(NAMED_MAX).collect())
}

/// Which functions this function rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Only `dispatch`, after something was accepted, where there is no stream to do so.
    Dispatch,
    /// The delivery functions. Nothing else rings them.
    Functions,
}

impl Doorbell {
    /// Reads which doorbell this deployment has. Without an `app`, whose own problems are noted, it
    /// still notes what is wrong with the doorbell.
    pub(crate) fn read(settings: &mut Settings<'_>, app: Option<&App>, whom: Whom) -> Option<Self> {
        if settings.optional("DOORBELL_URL").is_some() {
            let base = settings.url("DOORBELL_URL", None)?;
            return Some(Self::Http { base, token: app?.config.service_tokens.first()?.clone() });
        }
        if whom == Whom::Dispatch {
            return None;
        }
        let Some(prefix) = settings.optional("DOORBELL_FUNCTION_PREFIX").map(str::to_owned) else {
            return settings
                .problem("Set DOORBELL_URL, or DOORBELL_FUNCTION_PREFIX on AWS Lambda.");
        };
        let aws = app?.aws.clone();
        let default = service_url("lambda", &aws.region);
        let api = settings.url("AWS_ENDPOINT_URL_LAMBDA", Some(&default))?;
        Some(Self::Lambda { prefix, aws, api })
    }

    /// Rings `function` without waiting for its work.
    pub async fn ring(
        &self,
        platform: &Platform,
        function: &'static str,
        ring: Ring<'_>,
    ) -> Result<(), RingError> {
        self.ring_within(platform, function, ring, PATIENCE).await
    }

    /// Whether `function` can be rung, by a ring that starts nothing.
    pub(crate) async fn check(&self, platform: &Platform, function: &'static str) -> Finding {
        const SUBJECT: &str = "rings";

        match self.ring(platform, function, Ring::Check).await {
            Ok(()) => Finding::ok(SUBJECT, format!("{function} can be rung")),
            Err(error) => {
                Finding::failed(SUBJECT, format!("{error}. Deliveries wait for the schedule."))
            }
        }
    }

    /// Rings `dispatch` after something was accepted, where there is a doorbell.
    pub(crate) async fn announce(doorbell: Option<&Self>, platform: &Platform, ring: Ring<'_>) {
        let Some(doorbell) = doorbell else { return };
        let outcome = doorbell.ring_within(platform, "dispatch", ring, INTAKE_PATIENCE).await;
        if let Err(error) = outcome {
            let what = ring.in_words();
            match error {
                // Expected where the function starts cold: the patience is short.
                RingError::NotInTime { .. } => {
                    tracing::debug!(
                        "dispatch was not rung for {what}, which the schedule finds: {error}"
                    );
                }
                RingError::NoConnection { .. }
                | RingError::Refused { .. }
                | RingError::Unsigned { .. } => {
                    tracing::warn!(
                        "dispatch was not rung for {what}, which the schedule finds: {error}"
                    );
                }
            }
        }
    }

    /// Rings `function` and returns within `patience`.
    async fn ring_within(
        &self,
        platform: &Platform,
        function: &'static str,
        ring: Ring<'_>,
        patience: Duration,
    ) -> Result<(), RingError> {
        let body = ring.body();
        let request = match self {
            Self::Http { base, token } => {
                let request =
                    platform.http.post(endpoint(base, &[function])).bearer_auth(token.expose());
                match body {
                    Some(body) => {
                        request.header("content-type", "application/json").body(body.to_string())
                    }
                    None => request.header("content-length", "0"),
                }
            }
            Self::Lambda { prefix, aws, api } => {
                let body = body.unwrap_or_else(|| json!({"ring": true}));
                let name = format!("{prefix}{function}");
                let request = invocation(api, &name, &body, aws, &*platform.clock)
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
            Err(error) if error.is_timeout() => Err(RingError::NotInTime { function }),
            Err(_) => Err(RingError::NoConnection { function }),
        }
    }
}

/// The signed request of an asynchronous invocation (Lambda API reference, `Invoke`, with
/// `X-Amz-Invocation-Type: Event`).
pub fn invocation(
    api: &Url,
    function: &str,
    body: &Value,
    aws: &AwsConfig,
    clock: &dyn Clock,
) -> Option<http::Request<Bytes>> {
    let url = endpoint(api, &["2015-03-31", "functions", function, "invocations"]);
    let mut request = http::Request::post(url.as_str())
        .header("content-type", "application/json")
        .header("x-amz-invocation-type", "Event")
        .body(body.to_string().into())
        .ok()?;
    aws.sign("lambda", &mut request, clock)?;
    Some(request)
}
