//! `dispatch`: rings the delivery functions that have something due.
//!
//! The table's stream, a schedule each minute, and rings trigger it. Where rings name deliveries, it
//! passes their keys on. It holds no provider secret and delivers nothing but alerts. A failed ring is
//! logged and never fails a batch of the stream: the next schedule rings again. `POST …/replay` is in
//! [`replay`].

mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use funil_core::check::Finding;
use funil_core::clock::after;
use funil_core::destination::{self, Destination, Whose};
use funil_core::form::Need;
use funil_core::json::JsonError;
use funil_core::settings::{ConfigError, Env};
use funil_store::{
    DeliveryKey, Due, Platform, StoreError, TOTALS_TARGET, destination_of, key_time,
};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::housekeeping;
use crate::Function;
use crate::api::{Operation, Presence, list, object, text};
use crate::app::App;
use crate::http::check::of_table;
use crate::http::endpoint::{self, Access, HttpEndpoint};
use crate::http::guard;
use crate::http::problem::{Problem, json_response};
use crate::intake::doorbell::{self, Doorbell, NAMED_MAX, Ring, Whom};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;
use crate::platform::trigger::{StreamRecord, Trigger, all_records_handled};

/// What is due within this many seconds counts as due at once: the clocks of two functions differ.
const SOON_S: i64 = 5;

/// How long something may be due before a person is notified, in seconds.
const BACKLOG_S: i64 = 15 * 60;

/// Sends the alerts that are due, and returns how many messages went out.
type Notify = dyn Fn() -> BoxFuture<'static, Result<usize, StoreError>> + Send + Sync;

struct Dispatch {
    app: App,
    doorbell: Doorbell,
    backlog_s: i64,
    notify: Arc<Notify>,
    /// Where alerts go.
    alerts: Finding,
}

/// Makes `dispatch`. `notify` sends the alerts that are due, and says where they go. The error
/// names what either of the two lacks.
pub fn function<T>(
    env: &Env,
    platform: &Platform,
    notify: Result<(T, Finding), ConfigError>,
) -> Result<Function, ConfigError>
where
    T: Fn() -> BoxFuture<'static, Result<usize, StoreError>> + Send + Sync + 'static,
{
    let mut settings = env.settings();
    let app = App::read(&mut settings, platform);
    let doorbell = Doorbell::read(&mut settings, app.as_ref(), Whom::Functions);
    let backlog_s = match settings.optional("BACKLOG_ALERT_SECONDS").map(str::parse) {
        None => Some(BACKLOG_S),
        Some(Ok(seconds)) if seconds > 0 => Some(seconds),
        Some(_) => settings.problem("BACKLOG_ALERT_SECONDS must be a whole number above zero."),
    };
    let of_function = settings.finish(app.zip(doorbell).zip(backlog_s));
    let (of_function, (notify, alerts)) = ConfigError::both(of_function, notify)?;
    let (((app, doorbell), backlog_s), notify) = (of_function, Arc::new(notify));
    Ok(endpoint::function(Dispatch { app, doorbell, backlog_s, notify, alerts }))
}

pub(crate) fn operations() -> Vec<Operation> {
    let rung = object([("rung", list(&text()))]);
    vec![
        Operation::post("dispatch", "Rings the functions that have something due.")
            .authorised()
            .takes(vec![doorbell::schema(Need::Optional)], Presence::Optional)
            .returns("The functions that were rung.", rung),
        replay::operation(),
    ]
}

impl HttpEndpoint for Dispatch {
    fn function(&self) -> &'static str {
        "dispatch"
    }

    fn app(&self) -> &App {
        &self.app
    }

    fn methods(&self, _request: &HttpRequest) -> &'static [Method] {
        &[Method::POST]
    }

    fn access(&self) -> Access {
        Access::ServiceToken
    }

    async fn respond(
        &self,
        request: &HttpRequest,
        _stop_at: Timestamp,
    ) -> Result<HttpResponse, Problem> {
        if request.path.trim_end_matches('/').rsplit('/').next() == Some(replay::PATH) {
            return self.replay(request).await;
        }
        let named = if request.body.is_empty() {
            None
        } else {
            let (_, body) = guard::form_body(request)?;
            if !body.is_object() {
                return Err(Problem::Json(JsonError::Syntax));
            }
            doorbell::named(&body)
        };
        let rung = match named {
            Some(keys) => self.ring_named(keys).await,
            None => self.ring_found(&self.look().await?).await,
        };
        Ok(json_response(StatusCode::OK, &json!({"rung": rung})))
    }

    async fn check(&self) -> Vec<Finding> {
        let now = self.app.platform.clock.now();
        let looks = destination::ALL.iter().map(|one| self.app.store.due(one.name, now, 1));
        let due = futures::future::try_join_all(looks).await;
        let rung = self.app.config.destinations.first().map(|one| one.function);
        let mut findings = vec![of_table("index due", due, "what is due can be read")];
        if let Some(function) = rung {
            findings.push(self.doorbell.check(&self.app.platform, function).await);
        }
        findings.push(self.alerts.clone());
        findings
    }

    async fn run(&self, trigger: Trigger, _stop_at: Timestamp) -> Value {
        match trigger {
            Trigger::Stream(records) => self.stream(&records).await,
            Trigger::Direct(ring) if let Some(keys) = doorbell::named(&ring) => {
                json!({"rung": self.ring_named(keys).await})
            }
            trigger @ (Trigger::Schedule | Trigger::Direct(_) | Trigger::Http(_)) => {
                match self.look().await {
                    Ok(found) => {
                        if matches!(trigger, Trigger::Schedule) {
                            self.log_ages(&found);
                        }
                        let rung = self.ring_found(&found).await;
                        self.housekeep().await;
                        json!({"rung": rung})
                    }
                    Err(error) => {
                        tracing::error!("the table failed, so dispatch rang no function: {error}");
                        json!({"error": "the table failed"})
                    }
                }
            }
        }
    }
}

/// What is due for a destination: the oldest delivery, if there is one.
type Found = (&'static Destination, Result<Vec<Due>, StoreError>);

impl Dispatch {
    /// Rings for the new deliveries of a batch: by name where they have the mark, else once for each
    /// destination with one that is due at once.
    async fn stream(&self, records: &[StreamRecord]) -> Value {
        let soon = key_time(after(self.app.platform.clock.now(), SOON_S));
        let (mut named, mut due) = (Vec::new(), BTreeSet::new());
        for record in records.iter().filter(|record| record.is_new) {
            let Some(key) = DeliveryKey::parse(&record.pk, &record.sk) else { continue };
            // Whoever visits a page rings nobody: the sweep finds what is due of them.
            if key.whose() == Whose::Visitors {
                continue;
            }
            if record.at_once {
                named.push(key);
            } else if record.due_at.as_ref().is_some_and(|due_at| *due_at <= soon) {
                due.extend(
                    destination_of(&record.sk).and_then(destination::find).map(|one| one.name),
                );
            }
        }
        self.ring_named(named).await;
        self.ring(due.into_iter().filter_map(destination::find)).await;
        all_records_handled()
    }

    /// Rings the destinations of these deliveries, which it names to them, and returns their functions.
    async fn ring_named(&self, keys: Vec<DeliveryKey>) -> Vec<&'static str> {
        let mut by_destination: BTreeMap<&str, Vec<DeliveryKey>> = BTreeMap::new();
        for key in keys {
            let found = destination_of(&key.sk).and_then(destination::find);
            if let Some(destination) = found {
                by_destination.entry(destination.name).or_default().push(key);
            }
        }
        let mut rings = Vec::new();
        for (name, keys) in &by_destination {
            if let Some(destination) = destination::find(name) {
                rings.extend(keys.chunks(NAMED_MAX).map(|keys| (destination, Ring::Named(keys))));
            }
        }
        self.ring_all(rings.into_iter()).await
    }

    /// Looks for what is due, for each destination of the registry.
    async fn look(&self) -> Result<Vec<Found>, StoreError> {
        self.app.store.ready(&self.app.config.hash_key).await?;
        if let Err(error) = self.app.store.look_at_shards().await {
            tracing::error!(
                "could not read over how many shards deliveries are spread, so the last known number is used: {error}"
            );
        }
        let older_than_s = self.app.config.rings.swept_after_s();
        let now = after(self.app.platform.clock.now(), -older_than_s);
        let looks = destination::ALL.iter().map(|destination| async move {
            (*destination, self.app.store.due(destination.name, now, 1).await)
        });
        Ok(futures::future::join_all(looks).await)
    }

    /// Counts for how long the oldest delivery of each destination that is on has been due. One whose
    /// ring was lost counts from its acceptance.
    fn log_ages(&self, found: &[Found]) {
        let now = self.app.platform.clock.now();
        for (destination, due) in found {
            let (name, Ok(due)) = (destination.name, due) else { continue };
            if !self.app.config.destinations.contains(destination) {
                continue;
            }
            let since = due.first().map_or(now, Due::waits_since);
            let age_s = now.as_second() - since.as_second();
            tracing::info!(
                target: TOTALS_TARGET,
                destination = name,
                OldestDueSeconds = age_s,
                at_ms = now.as_millisecond(),
                "the oldest due delivery to {name} has waited for {age_s} s"
            );
        }
    }

    /// Rings for what was found, and returns the functions.
    async fn ring_found(&self, found: &[Found]) -> Vec<&'static str> {
        let mut due = Vec::new();
        for (destination, found) in found {
            match found {
                Ok(found) if found.is_empty() => {}
                Ok(_) => due.push(*destination),
                // Whether something is due is not known, and one ring too many costs less than a
                // late delivery.
                Err(error) => {
                    tracing::error!(
                        destination = destination.name,
                        "could not look for what is due for {}, which is rung all the same: {error}",
                        destination.name
                    );
                    due.push(*destination);
                }
            }
        }
        self.ring(due.into_iter()).await
    }

    /// Does what is to be done each minute beside ringing. A failure is logged, and the next minute
    /// tries again.
    async fn housekeep(&self) {
        housekeeping::keep_house(&self.app, self.backlog_s).await;
        if let Err(error) = (self.notify)().await {
            tracing::error!("the table failed while alerts were sent: {error}");
        }
    }

    async fn ring(
        &self,
        destinations: impl Iterator<Item = &'static Destination>,
    ) -> Vec<&'static str> {
        self.ring_all(destinations.map(|destination| (destination, Ring::Due))).await
    }

    async fn ring_all<'k>(
        &self,
        rings: impl Iterator<Item = (&'static Destination, Ring<'k>)>,
    ) -> Vec<&'static str> {
        let rings = rings.map(|(destination, ring)| async move {
            match self.doorbell.ring(&self.app.platform, destination.function, ring).await {
                Ok(()) => Some(destination.function),
                Err(error) => {
                    tracing::warn!(
                        "the ring of {} failed, and the next schedule rings again: {error}",
                        destination.function
                    );
                    None
                }
            }
        });
        let mut rung: Vec<_> =
            futures::future::join_all(rings).await.into_iter().flatten().collect();
        // One that was rung for more deliveries than one ring names stands in it once.
        rung.dedup();
        rung
    }
}
