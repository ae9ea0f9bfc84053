//! A worker of one destination: drains what is due, oldest first, with bounded concurrency.
//!
//! Owns how long it goes on and what it may run at once. What happens to one delivery is
//! `attempt.rs`'s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use funil_core::clock::after;
use funil_core::destination::{self, Adapter, Destination, Kind};
use funil_core::hash::HashKey;
use funil_core::id::LeadId;
use funil_core::settings::{ConfigError, Env, Settings};
use funil_core::site::{Environment, SiteConfig};
use funil_store::{AwsConfig, DeliveryKey, Due, Platform, Store, StoreError};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::attempt::{Handled, REQUEST_NEEDS_S};
use crate::client::REQUEST_TIMEOUT;
use crate::gate::{Gate, TOKENS_PER_DELIVERY};

/// How many deliveries one worker has under way.
const CONCURRENCY: usize = 32;
/// How many due deliveries one look at the index brings.
const BATCH: i32 = 100;
/// How long a drain goes on with what falls due, in seconds.
const GOES_ON_S: i64 = 20;
/// An index lags its stream: a drain that finds nothing looks again so often, for 2 s in all.
const LOOKS_AGAIN: u32 = 8;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// What settling after the last request needs of the function's time, in seconds.
const SETTLING_NEEDS_S: i64 = 2;

/// How a drain treats what is not due yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It returns.
    None,
    /// It waits for what falls due within 20 s, and looks again for 2 s if it finds nothing.
    Waits,
}

/// What a drain did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Claims that ended in a settlement.
    pub settled: usize,
}

/// Whether this deployment sends.
pub(crate) enum Mode {
    /// With these credentials.
    Sends(Box<dyn Adapter>),
    /// Not from here: what is due is settled as skipped.
    OutsideProduction,
    /// The destination is not listed: what is due is left alone.
    Off,
}

/// The one who delivers for a destination.
pub struct Worker {
    pub(crate) destination: &'static Destination,
    pub(crate) mode: Mode,
    pub(crate) store: Store,
    pub(crate) platform: Platform,
    pub(crate) request_timeout: Duration,
    requests_per_minute: Option<i64>,
    pub(crate) hash_key: HashKey,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker({})", self.destination.name)
    }
}

impl Worker {
    /// Reads the configuration of a destination, by its name, and connects. Touches no network.
    pub fn connect(destination: &str, env: &Env, platform: &Platform) -> Result<Self, ConfigError> {
        let mut settings = env.settings();
        let Some(destination) = destination::find(destination) else {
            return Err(ConfigError(vec!["There is no such destination.".to_owned()]));
        };
        let site = SiteConfig::read(&mut settings);
        let aws = AwsConfig::read(&mut settings);
        let mode = site.as_ref().and_then(|site| Self::mode(destination, site, &mut settings));
        let requests_per_minute = Self::rate(destination, &mut settings);
        let worker = site.zip(aws).zip(mode).map(|((site, aws), mode)| Self {
            destination,
            mode,
            store: Store::connect(&aws, &site.table, platform),
            platform: platform.clone(),
            request_timeout: REQUEST_TIMEOUT,
            requests_per_minute,
            hash_key: site.hash_key,
        });
        settings.finish(worker)
    }

    /// Whom it delivers to.
    pub const fn destination(&self) -> &'static Destination {
        self.destination
    }

    /// With another limit on how long a provider may take.
    #[must_use]
    pub const fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The rate of the destination: its variable, else what its registration says. A rate below what
    /// one delivery may need is refused, because such a delivery would be released for ever.
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

    /// Outside production nothing leaves, unless it is pointed elsewhere or named. Only a destination
    /// that sends needs credentials.
    fn mode(
        destination: &'static Destination,
        site: &SiteConfig,
        settings: &mut Settings<'_>,
    ) -> Option<Mode> {
        if !site.destinations.contains(&destination) {
            return Some(Mode::Off);
        }
        let named = site.deliver_outside_production.contains(&destination);
        let elsewhere = settings.optional(destination.base_url_variable).is_some();
        if site.environment == Environment::Other && !named && !elsewhere {
            return Some(Mode::OutsideProduction);
        }
        (destination.connect)(settings).map(Mode::Sends)
    }

    /// Delivers what is due, oldest first, until nothing is or `stop_at` comes near.
    pub async fn drain(
        &self,
        patience: Patience,
        stop_at: Timestamp,
    ) -> Result<Drained, StoreError> {
        self.store.ready(&self.hash_key).await?;
        if matches!(self.mode, Mode::Off) {
            return Ok(Drained::default());
        }
        let stop_at = after(stop_at, -SETTLING_NEEDS_S);
        let goes_on_until = match patience {
            Patience::None => None,
            Patience::Waits => Some(after(self.platform.clock.now(), GOES_ON_S).min(stop_at)),
        };
        let gate = self.gate().await?;
        let drained = self.drain_through(&gate, goes_on_until, stop_at).await;
        gate.leave(self.platform.clock.now()).await?;
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
            let now = self.platform.clock.now();
            if now >= after(stop_at, -REQUEST_NEEDS_S) {
                return Ok(drained);
            }
            let horizon = goes_on_until.unwrap_or(now).max(now);
            let mut due = self.store.due(self.destination.name, horizon, BATCH).await?;
            let later = due.split_off(due.partition_point(|item| item.due_at <= now));
            tracing::debug!(
                destination = self.destination.name,
                due = due.len(),
                due_soon = later.len(),
                "looked for what is due"
            );
            let settled = self.handle_all(gate, due, stop_at).await;
            drained.settled += settled;
            if settled > 0 {
                continue;
            }
            // Nothing to do right now: wait for what falls due soon, or for an index that lags.
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

    /// Delivers one delivery now, if it is due.
    pub async fn deliver(
        &self,
        key: &DeliveryKey,
        stop_at: Timestamp,
    ) -> Result<Drained, StoreError> {
        self.store.ready(&self.hash_key).await?;
        let due = Due { key: key.clone(), due_at: self.platform.clock.now(), deadline: None };
        let gate = self.gate().await?;
        let settled = self.handle_all(&gate, vec![due], after(stop_at, -SETTLING_NEEDS_S)).await;
        gate.leave(self.platform.clock.now()).await?;
        Ok(Drained { settled })
    }

    async fn gate(&self) -> Result<Gate<'_>, StoreError> {
        let now = self.platform.clock.now();
        Gate::enter(&self.store, self.destination, self.requests_per_minute, now).await
    }

    /// Works as a delivery function asks: one delivery, or everything that is due.
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

    /// Handles due deliveries side by side; those of one lead one after another where they bring its
    /// state. One that fails is logged and stays due; it holds up no other.
    async fn handle_all(&self, gate: &Gate<'_>, due: Vec<Due>, stop_at: Timestamp) -> usize {
        let settled = AtomicUsize::new(0);
        let lanes = match self.destination.kind {
            Kind::Event => due.into_iter().map(|one| vec![one]).collect(),
            Kind::State => by_lead(due),
        };
        futures::stream::iter(lanes)
            .for_each_concurrent(CONCURRENCY, |lane| {
                let settled = &settled;
                async move {
                    for due in lane {
                        // What cannot be sent any more is not claimed either.
                        if self.platform.clock.now() >= after(stop_at, -REQUEST_NEEDS_S) {
                            return;
                        }
                        match self.handle(gate, &due, stop_at).await {
                            Ok(Handled::Settled) => {
                                settled.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(Handled::Passed) => {}
                            Ok(Handled::OutOfTokens) => return,
                            Err(error) => tracing::error!(
                                destination = self.destination.name,
                                lead = %due.key.lead_id,
                                delivery = due.key.delivery_id().unwrap_or_default(),
                                error = %error,
                                "the table failed during a delivery; it stays due"
                            ),
                        }
                    }
                }
            })
            .await;
        settled.into_inner()
    }
}

/// The deliveries of each lead together, leads in the order of their oldest.
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
    lanes
}
