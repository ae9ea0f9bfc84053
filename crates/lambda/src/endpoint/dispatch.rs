//! `dispatch`: rings the delivery functions that have something due.
//!
//! It reads the stream, a schedule each minute, and rings. It holds no provider secret and sends
//! nothing itself. A failed ring is logged, never a batch failure: the next schedule rings again.
//! `POST …/replay` is in [`replay`].

mod replay;

use std::collections::BTreeSet;

use funil_core::clock::after;
use funil_core::config::{ConfigError, Env};
use funil_core::destination::{self, Destination};
use funil_store::{DELIVERY_PREFIX, Shell, StoreError, destination_of, key_time};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Function;
use crate::doorbell::Doorbell;
use crate::function::Answer;
use crate::guard;
use crate::http_call::HttpCall;
use crate::problem::{Problem, json_answer};
use crate::site::Site;
use crate::trigger::{StreamChange, StreamRecord, Trigger, batch_item_failures};

const NAME: &str = "dispatch";
/// What is due within this, in seconds, is rung for at once: the next schedule is a minute away.
const SOON_S: i64 = 60;

#[derive(Clone)]
struct Dispatch {
    site: Site,
    doorbell: Doorbell,
}

/// Configures the function.
pub fn function(env: &Env, shell: &Shell) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let site = Site::read(&mut settings, shell);
    let doorbell = site.as_ref().and_then(|site| {
        let tokens = &site.config.service_tokens;
        let doorbell = Doorbell::read(&mut settings, Some(&site.aws), tokens);
        doorbell.or_else(|| {
            settings.problem("Set DOORBELL_URL, or DOORBELL_FUNCTION_PREFIX on AWS Lambda.")
        })
    });
    let endpoint = site.zip(doorbell).map(|(site, doorbell)| Dispatch { site, doorbell });
    let endpoint = settings.finish(endpoint)?;
    Ok(Function::new(NAME, move |trigger, _| {
        let endpoint = endpoint.clone();
        async move { endpoint.handle(trigger).await }
    }))
}

impl Dispatch {
    async fn handle(&self, trigger: Trigger) -> Answer {
        match trigger {
            Trigger::Http(call) => {
                let answered = self.call(&call).await;
                Answer::Http(
                    answered.unwrap_or_else(|problem| problem.answer(guard::locale(&call))),
                )
            }
            Trigger::Stream(records) => Answer::Value(self.stream(&records).await),
            Trigger::Schedule | Trigger::Direct(_) => match self.ring_due().await {
                Ok(rung) => Answer::Value(json!({"rung": rung})),
                Err(error) => {
                    tracing::error!(error = %error, "the table failed; nothing was rung");
                    Answer::Value(json!({"error": "the table failed"}))
                }
            },
        }
    }

    async fn call(&self, call: &HttpCall) -> Result<crate::http_answer::HttpAnswer, Problem> {
        if call.method != Method::POST {
            return Err(Problem::Method("POST"));
        }
        guard::authorised(call, &self.site.config.service_tokens)?;
        if call.path.trim_end_matches('/').rsplit('/').next() == Some("replay") {
            return self.replay(call).await;
        }
        let rung = self.ring_due().await?;
        Ok(json_answer(StatusCode::OK, &json!({"rung": rung})))
    }

    /// Rings, once, each destination with a new delivery that is due within a minute.
    async fn stream(&self, records: &[StreamRecord]) -> Value {
        let soon = key_time(after(self.site.shell.clock.now(), SOON_S));
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
        let now = self.site.shell.clock.now();
        let looks = destination::ALL.iter().map(|destination| async move {
            let due = self.site.store.due(destination.name, now, 1).await?;
            Ok((!due.is_empty()).then_some(*destination))
        });
        let due: Vec<_> = futures::future::try_join_all(looks).await?;
        Ok(self.ring(due.into_iter().flatten()).await)
    }

    async fn ring(
        &self,
        destinations: impl Iterator<Item = &'static Destination>,
    ) -> Vec<&'static str> {
        let rings = destinations.map(|destination| async move {
            match self.doorbell.ring(&self.site.shell, destination.function).await {
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
