//! `dispatch`: rings the delivery functions that have something due.
//!
//! It reads the stream, a schedule each minute, and rings. It holds no provider secret and sends
//! nothing itself. A failed ring is logged, never a batch failure: the next schedule rings again.
//! `POST …/replay` is in [`replay`].

mod replay;

use std::collections::BTreeSet;
use std::sync::Arc;

use funil_core::clock::after;
use funil_core::destination::{self, Destination};
use funil_core::settings::{ConfigError, Env};
use funil_store::{DELIVERY_PREFIX, Platform, StoreError, destination_of, key_time};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::housekeeping;
use crate::Function;
use crate::app::Site;
use crate::http::guard;
use crate::http::problem::{Problem, json_response};
use crate::intake::doorbell::Doorbell;
use crate::platform::function::Response;
use crate::platform::request::HttpRequest;
use crate::platform::trigger::{StreamChange, StreamRecord, Trigger, batch_item_failures};

const NAME: &str = "dispatch";
/// What is due within this, in seconds, is rung for at once: the next schedule is a minute away.
const SOON_S: i64 = 60;

/// How long something may be due before a person is told, in seconds.
const BACKLOG_S: i64 = 15 * 60;

/// Tells a person what is due to be told; answers how many messages went out.
type Tell = dyn Fn() -> BoxFuture<'static, Result<usize, StoreError>> + Send + Sync;

#[derive(Clone)]
struct Dispatch {
    site: Site,
    doorbell: Doorbell,
    backlog_s: i64,
    tell: Arc<Tell>,
}

/// Configures the function; `tell` sends the alerts that are due.
pub fn function<T>(env: &Env, platform: &Platform, tell: T) -> Result<Function, ConfigError>
where
    T: Fn() -> BoxFuture<'static, Result<usize, StoreError>> + Send + Sync + 'static,
{
    let mut settings = env.settings();
    let site = Site::read(&mut settings, platform);
    let doorbell = site.as_ref().and_then(|site| {
        let tokens = &site.config.service_tokens;
        let doorbell = Doorbell::read(&mut settings, Some(&site.aws), tokens);
        doorbell.or_else(|| {
            settings.problem("Set DOORBELL_URL, or DOORBELL_FUNCTION_PREFIX on AWS Lambda.")
        })
    });
    let backlog_s = match settings.optional("BACKLOG_ALERT_SECONDS").map(str::parse) {
        None => Some(BACKLOG_S),
        Some(Ok(seconds)) if seconds > 0 => Some(seconds),
        Some(_) => settings.problem("BACKLOG_ALERT_SECONDS must be a whole number above zero."),
    };
    let tell: Arc<Tell> = Arc::new(tell);
    let endpoint = site
        .zip(doorbell)
        .zip(backlog_s)
        .map(|((site, doorbell), backlog_s)| Dispatch { site, doorbell, backlog_s, tell });
    let endpoint = settings.finish(endpoint)?;
    Ok(Function::new(NAME, move |trigger, _| {
        let endpoint = endpoint.clone();
        async move { endpoint.handle(trigger).await }
    }))
}

impl Dispatch {
    async fn handle(&self, trigger: Trigger) -> Response {
        match trigger {
            Trigger::Http(request) => {
                let responded = self.request(&request).await;
                Response::Http(
                    responded.unwrap_or_else(|problem| problem.response(guard::locale(&request))),
                )
            }
            Trigger::Stream(records) => Response::Value(self.stream(&records).await),
            Trigger::Schedule | Trigger::Direct(_) => match self.ring_due().await {
                Ok(rung) => {
                    self.look_after().await;
                    Response::Value(json!({"rung": rung}))
                }
                Err(error) => {
                    tracing::error!(error = %error, "the table failed; nothing was rung");
                    Response::Value(json!({"error": "the table failed"}))
                }
            },
        }
    }

    async fn request(
        &self,
        request: &HttpRequest,
    ) -> Result<crate::platform::response::HttpResponse, Problem> {
        if request.method != Method::POST {
            return Err(Problem::Method("POST"));
        }
        guard::authorised(request, &self.site.config.service_tokens)?;
        if request.path.trim_end_matches('/').rsplit('/').next() == Some("replay") {
            return self.replay(request).await;
        }
        let rung = self.ring_due().await?;
        Ok(json_response(StatusCode::OK, &json!({"rung": rung})))
    }

    /// Rings, once, each destination with a new delivery that is due within a minute.
    async fn stream(&self, records: &[StreamRecord]) -> Value {
        let soon = key_time(after(self.site.platform.clock.now(), SOON_S));
        let due: BTreeSet<&str> = records
            .iter()
            .filter(|record| match record.change {
                StreamChange::Insert => record.sk.starts_with(DELIVERY_PREFIX),
                StreamChange::Modify | StreamChange::Remove | StreamChange::Unknown => false,
            })
            .filter(|record| record.due_at.as_ref().is_some_and(|due_at| *due_at <= soon))
            .filter_map(|record| destination_of(&record.sk))
            .collect();
        self.ring(due.into_iter().filter_map(destination::find)).await;
        batch_item_failures(&[])
    }

    /// Rings every destination of the registry that has something due.
    async fn ring_due(&self) -> Result<Vec<&'static str>, StoreError> {
        self.site.store.ready(&self.site.config.hash_key).await?;
        let now = self.site.platform.clock.now();
        let looks = destination::ALL.iter().map(|destination| async move {
            (*destination, self.site.store.due(destination.name, now, 1).await)
        });
        let mut due = Vec::new();
        for (destination, found) in futures::future::join_all(looks).await {
            match found {
                Ok(found) if found.is_empty() => {}
                Ok(_) => due.push(destination),
                // Nobody knows: one ring too many costs less than a delivery too late.
                Err(error) => {
                    tracing::error!(destination = destination.name, error = %error, "the table failed");
                    due.push(destination);
                }
            }
        }
        Ok(self.ring(due.into_iter()).await)
    }

    /// What is looked after each minute. A failure here is logged; the next minute looks again.
    async fn look_after(&self) {
        if let Err(error) = housekeeping::look_after(&self.site, self.backlog_s).await {
            tracing::error!(error = %error, "the table failed while dispatch looked after it");
        }
        if let Err(error) = (self.tell)().await {
            tracing::error!(error = %error, "the table failed while alerts were told");
        }
    }

    async fn ring(
        &self,
        destinations: impl Iterator<Item = &'static Destination>,
    ) -> Vec<&'static str> {
        let rings = destinations.map(|destination| async move {
            match self.doorbell.ring(&self.site.platform, destination.function).await {
                Ok(()) => Some(destination.function),
                Err(error) => {
                    tracing::warn!(error = %error, "a ring failed; the next schedule rings again");
                    None
                }
            }
        });
        let rung = futures::future::join_all(rings).await;
        rung.into_iter().flatten().collect()
    }
}
