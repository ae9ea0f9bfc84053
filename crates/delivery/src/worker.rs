//! A worker of one destination: delivers what is due, oldest first, several deliveries side by side.
//!
//! Owns how long it goes on and how much it does at once. What happens to one delivery is in
//! `attempt.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use funil_core::clock::after;
use funil_core::destination::{self, Destination, Kind};
use funil_core::id::LeadId;
use funil_core::settings::{ConfigError, Env, Environment, Settings};
use funil_core::site::SiteConfig;
use funil_store::{AwsConfig, DeliveryKey, Due, Platform, Store, StoreError};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::attempt::{Handled, Handler, Mode};
use crate::bounds::REQUEST_NEEDS_S;
use crate::client::REQUEST_TIMEOUT;
use crate::gate::{Gate, TOKENS_PER_DELIVERY};

/// How many deliveries one worker handles side by side.
const CONCURRENCY: usize = 32;
/// How many due deliveries one query of the index returns.
const BATCH: i32 = 100;
/// How long a drain waits for what falls due meanwhile, in seconds.
const GOES_ON_S: i64 = 20;
/// How often a drain that finds nothing looks again, because the index lags behind the stream.
const LOOKS_AGAIN: u32 = 8;
/// The wait before each further look: 2 s for all of them.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// How much of the function's time is kept for settling after the last request, in seconds.
const SETTLING_NEEDS_S: i64 = 2;

/// Whether a drain waits for what is not due yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It returns once nothing is due.
    None,
    /// It goes on with what falls due within 20 s, and looks again for 2 s if it finds nothing.
    Waits,
}

/// The result of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// How many claims ended in a settlement.
    pub settled: usize,
}

/// Delivers to one destination.
pub struct Worker {
    handler: Handler,
    /// The destination's limit, if it has one.
    requests_per_minute: Option<i64>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker({})", self.handler.destination.name)
    }
}

impl Worker {
    /// Reads the configuration for the destination with this name. Opens no connection yet.
    pub fn connect(destination: &str, env: &Env, platform: &Platform) -> Result<Self, ConfigError> {
        let mut settings = env.settings();
        let Some(destination) = destination::find(destination) else {
            return Err(ConfigError(vec!["There is no such destination.".to_owned()]));
        };
        let site = SiteConfig::read(&mut settings);
        let aws = AwsConfig::read(&mut settings);
        let mode = Self::mode(destination, &mut settings);
        let requests_per_minute = Self::rate(destination, &mut settings);
        let daily_per_number = Self::daily(destination, &mut settings);
        let worker = site.zip(aws).zip(mode).map(|((site, aws), mode)| {
            let handler = Handler {
                destination,
                mode,
                store: Store::connect(&aws, &site.table, platform),
                platform: platform.clone(),
                request_timeout: REQUEST_TIMEOUT,
                hash_key: site.hash_key,
                daily_per_number,
            };
            Self { handler, requests_per_minute }
        });
        settings.finish(worker)
    }

    /// The destination that it delivers to.
    pub const fn destination(&self) -> &'static Destination {
        self.handler.destination
    }

    /// Sets how long a provider may take to respond to one request; [`REQUEST_TIMEOUT`] otherwise.
    #[must_use]
    pub const fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.handler.request_timeout = timeout;
        self
    }

    /// The destination's requests per minute: its variable, otherwise what its registration says. A
    /// rate below what one delivery may need is refused, because that delivery would be released for
    /// ever.
    fn rate(destination: &Destination, settings: &mut Settings<'_>) -> Option<i64> {
        let name = destination.requests_per_minute_variable();
        match settings.optional(&name).map(str::parse::<u32>) {
            Some(Ok(rate)) if i64::from(rate) >= TOKENS_PER_DELIVERY => Some(i64::from(rate)),
            Some(_) => settings.problem(format!(
                "{name} must be a whole number of at least {TOKENS_PER_DELIVERY}, which one delivery \
                 may need."
            )),
            None => destination.requests_per_minute.map(i64::from),
        }
    }

    /// The most messages to one number in a day: the destination's variable, otherwise what its
    /// registration says.
    fn daily(destination: &Destination, settings: &mut Settings<'_>) -> Option<i64> {
        let limit = destination.daily_per_number?;
        let name = limit.variable;
        match settings.optional(name).map(str::parse::<u32>) {
            Some(Ok(most)) if i64::from(most) > limit.kept => Some(i64::from(most)),
            Some(_) => settings.problem(format!(
                "{name} must be a whole number above {}, which are kept for reminders.",
                limit.kept
            )),
            None => Some(limit.most),
        }
    }

    /// Whether this deployment sends. Outside production a destination sends only if its base URL is
    /// set or if it is named; only a destination that sends needs credentials.
    ///
    /// Where `DESTINATIONS` is missing the destination counts as on, so that what it lacks is named
    /// too.
    fn mode(destination: &'static Destination, settings: &mut Settings<'_>) -> Option<Mode> {
        let is_named = |name: &str| settings.list(name).contains(&destination.name);
        if settings.optional("DESTINATIONS").is_some() && !is_named("DESTINATIONS") {
            return Some(Mode::Off);
        }
        let named = is_named("DELIVER_OUTSIDE_PRODUCTION");
        let elsewhere = settings.optional(destination.base_url_variable).is_some();
        if settings.environment() == Environment::Other && !named && !elsewhere {
            return Some(Mode::OutsideProduction);
        }
        (destination.connect)(settings).map(Mode::Sends)
    }

    /// Delivers what is due, oldest first, until nothing is due or `stop_at` is near.
    pub async fn drain(
        &self,
        patience: Patience,
        stop_at: Timestamp,
    ) -> Result<Drained, StoreError> {
        self.handler.store.ready(&self.handler.hash_key).await?;
        if matches!(self.handler.mode, Mode::Off) {
            return Ok(Drained::default());
        }
        let stop_at = after(stop_at, -SETTLING_NEEDS_S);
        let goes_on_until = match patience {
            Patience::None => None,
            Patience::Waits => {
                Some(after(self.handler.platform.clock.now(), GOES_ON_S).min(stop_at))
            }
        };
        let gate = self.gate().await?;
        let drained = self.drain_through(&gate, goes_on_until, stop_at).await;
        gate.leave(self.handler.platform.clock.now()).await?;
        drained
    }

    async fn drain_through(
        &self,
        gate: &Gate<'_>,
        goes_on_until: Option<Timestamp>,
        stop_at: Timestamp,
    ) -> Result<Drained, StoreError> {
        let mut drained = Drained::default();
        let mut looks_left = if goes_on_until.is_some() { LOOKS_AGAIN } else { 0 };
        loop {
            let now = self.handler.platform.clock.now();
            if now >= after(stop_at, -REQUEST_NEEDS_S) {
                return Ok(drained);
            }
            let horizon = goes_on_until.unwrap_or(now).max(now);
            let mut due =
                self.handler.store.due(self.handler.destination.name, horizon, BATCH).await?;
            let later = due.split_off(due.partition_point(|item| item.due_at <= now));
            tracing::debug!(
                destination = self.handler.destination.name,
                due = due.len(),
                due_soon = later.len(),
                "found {} due deliveries to {}",
                due.len(),
                self.handler.destination.name
            );
            let settled = self.handle_all(gate, due, stop_at).await;
            drained.settled += settled;
            if settled > 0 {
                continue;
            }
            // Nothing is due now: wait for what falls due soon, or for the index that lags behind.
            let wait = match later.first() {
                Some(next) => {
                    Duration::try_from(next.due_at.duration_since(now)).unwrap_or_default()
                }
                None if drained.settled == 0 && looks_left > 0 => {
                    looks_left -= 1;
                    LOOK_AGAIN_AFTER
                }
                None => return Ok(drained),
            };
            if goes_on_until.is_none_or(|until| now >= until) {
                return Ok(drained);
            }
            tokio::time::sleep(wait.max(Duration::from_millis(20))).await;
        }
    }

    /// Delivers one delivery, if it is due.
    pub async fn deliver(
        &self,
        key: &DeliveryKey,
        stop_at: Timestamp,
    ) -> Result<Drained, StoreError> {
        self.handler.store.ready(&self.handler.hash_key).await?;
        let due =
            Due { key: key.clone(), due_at: self.handler.platform.clock.now(), deadline: None };
        let gate = self.gate().await?;
        let settled = self.handle_all(&gate, vec![due], after(stop_at, -SETTLING_NEEDS_S)).await;
        gate.leave(self.handler.platform.clock.now()).await?;
        Ok(Drained { settled })
    }

    async fn gate(&self) -> Result<Gate<'_>, StoreError> {
        let now = self.handler.platform.clock.now();
        Gate::enter(&self.handler.store, self.handler.destination, self.requests_per_minute, now)
            .await
    }

    /// The work of a delivery function: it delivers one delivery, or everything that is due, and
    /// returns how many were settled.
    pub fn into_work(
        self,
    ) -> impl Fn(Option<DeliveryKey>, Timestamp) -> BoxFuture<'static, Result<usize, StoreError>>
    + Send
    + Sync
    + 'static {
        let worker = Arc::new(self);
        move |only, stop_at| {
            let worker = Arc::clone(&worker);
            Box::pin(async move {
                let drained = match only {
                    Some(key) => worker.deliver(&key, stop_at).await?,
                    None => worker.drain(Patience::Waits, stop_at).await?,
                };
                Ok(drained.settled)
            })
        }
    }

    /// Handles due deliveries side by side. Where they bring the lead's state, those of one lead are
    /// handled one after another. One that fails is logged, stays due, and holds up no other.
    async fn handle_all(&self, gate: &Gate<'_>, due: Vec<Due>, stop_at: Timestamp) -> usize {
        let settled = AtomicUsize::new(0);
        let lanes = match self.handler.destination.kind {
            Kind::Event => due.into_iter().map(|one| vec![one]).collect(),
            Kind::State => by_lead(due),
        };
        futures::stream::iter(lanes)
            .for_each_concurrent(CONCURRENCY, |lane| {
                let settled = &settled;
                async move {
                    for due in lane {
                        // Without time for a request nothing is claimed.
                        if self.handler.platform.clock.now() >= after(stop_at, -REQUEST_NEEDS_S) {
                            return;
                        }
                        match self.handler.handle(gate, &due, stop_at).await {
                            Ok(Handled::Settled) => {
                                settled.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(Handled::Passed) => {}
                            Ok(Handled::OutOfTokens) => return,
                            Err(error) => self.log_failure(&due, &error),
                        }
                    }
                }
            })
            .await;
        settled.into_inner()
    }

    fn log_failure(&self, due: &Due, error: &StoreError) {
        let (lead, id) = (due.key.lead_id, due.key.delivery_id().unwrap_or_default());
        tracing::error!(
            destination = self.handler.destination.name,
            lead = %lead,
            delivery = id,
            error = %error,
            "the table failed while {lead}/{id} was handled; it stays due"
        );
    }
}

/// The deliveries grouped by lead, the newest first; the leads are in the order in which they fell due.
fn by_lead(due: Vec<Due>) -> Vec<Vec<Due>> {
    let mut lanes: Vec<Vec<Due>> = Vec::new();
    let mut lane_of: BTreeMap<LeadId, usize> = BTreeMap::new();
    for one in due {
        let lane = *lane_of.entry(one.key.lead_id).or_insert_with(|| {
            lanes.push(Vec::new());
            lanes.len() - 1
        });
        lanes[lane].push(one);
    }
    // Of several that bring the same state only the newest is sent.
    for lane in &mut lanes {
        lane.sort_by(|one, other| other.key.sk.cmp(&one.key.sk));
    }
    lanes
}
