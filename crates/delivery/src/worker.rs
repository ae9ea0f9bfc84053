//! A worker of one destination: its configuration, and what it can be asked to deliver.
//!
//! How a drain goes on is in `drain.rs`, what happens to one delivery in `attempt.rs`.

use std::sync::Arc;
use std::time::Duration;

use funil_core::check::Finding;
use funil_core::clock::after;
use funil_core::destination::{Adapter, Connector, Destination};
use funil_core::settings::{ConfigError, Env, Environment, Settings};
use funil_core::site::SiteConfig;
use funil_store::{AwsConfig, Claiming, DeliveryKey, Due, Platform, Store, StoreError, Work};
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::attempt::{Handler, Mode};
use crate::backlog::Task;
use crate::bounds::SETTLING_NEEDS_S;
use crate::check;
use crate::client::REQUEST_TIMEOUT;
use crate::drain::{Drain, Drained};
use crate::gate::Gate;
use crate::pressure::Refusals;
use crate::rate::{Needs, Rate};
use crate::sweep::Sweep;

/// How long a drain waits for retries of its own deliveries, in seconds.
const GOES_ON_S: i64 = 20;

/// Whether a drain waits for what is not due yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It returns once nothing is due.
    None,
    /// It goes on with retries of its own deliveries that fall due within 20 s, and looks again for 2 s
    /// if it finds nothing.
    Waits,
}

/// Work that goes on until it returns how many deliveries were settled.
type Working = BoxFuture<'static, Result<usize, StoreError>>;
/// A check that goes on until it returns what it found.
type Checking = BoxFuture<'static, Vec<Finding>>;

/// Delivers to one destination.
pub struct Worker {
    handler: Handler,
    /// The destination's requests per minute, if it has a limit, and what one delivery needs of them.
    rate: Option<(i64, Needs)>,
    /// How old a due delivery is before a drain takes it, in seconds.
    older_than_s: i64,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker({})", self.handler.destination.name)
    }
}

impl Worker {
    /// Reads the configuration for a destination. Opens no connection yet.
    pub fn connect(
        connector: &'static Connector,
        env: &Env,
        platform: &Platform,
    ) -> Result<Self, ConfigError> {
        let mut settings = env.settings();
        let destination = connector.destination;
        let site = SiteConfig::read(&mut settings);
        let aws = AwsConfig::read(&mut settings);
        let mode = Self::mode(connector, &mut settings);
        let needs = match &mode {
            Some(Mode::Sends(adapter)) => Some(needs(destination, &**adapter)),
            Some(Mode::OutsideProduction | Mode::Off) | None => None,
        };
        let rate = Self::rate(destination, needs, &mut settings);
        let daily_per_number = Self::daily(destination, &mut settings);
        let worker = site.zip(aws).zip(mode).map(|((site, aws), mode)| {
            let older_than_s = site.rings.swept_after_s();
            let handler = Handler {
                destination,
                mode,
                store: Store::connect(&aws, &site.table, platform).of_site(&site),
                platform: platform.clone(),
                request_timeout: REQUEST_TIMEOUT,
                hash_key: site.hash_key,
                daily_per_number,
                refusals: Refusals::default(),
            };
            Self { handler, rate: rate.zip(needs), older_than_s }
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
    fn rate(
        destination: &Destination,
        needs: Option<Needs>,
        settings: &mut Settings<'_>,
    ) -> Option<i64> {
        let name = destination.requests_per_minute_variable();
        let least = needs.and_then(|needs| i64::try_from(needs.most).ok()).unwrap_or(1);
        match settings.optional(&name).map(str::parse::<u32>) {
            Some(Ok(rate)) if i64::from(rate) >= least => Some(i64::from(rate)),
            Some(_) => settings.problem(format!(
                "{name} must be a whole number of at least {least}, which one delivery may need."
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
    fn mode(connector: &Connector, settings: &mut Settings<'_>) -> Option<Mode> {
        let destination = connector.destination;
        let is_named = |name: &str| settings.list(name).contains(&destination.name);
        if settings.optional("DESTINATIONS").is_some() && !is_named("DESTINATIONS") {
            return Some(Mode::Off);
        }
        let named = is_named("DELIVER_OUTSIDE_PRODUCTION");
        let elsewhere = settings.optional(destination.base_url_variable).is_some();
        if settings.environment() == Environment::Other && !named && !elsewhere {
            return Some(Mode::OutsideProduction);
        }
        (connector.connect)(settings).map(Mode::Sends)
    }

    /// Delivers what is due, oldest first, until nothing is due, nothing goes through or `stop_at` is
    /// near.
    pub async fn drain(
        &self,
        patience: Patience,
        stop_at: Timestamp,
    ) -> Result<Drained, StoreError> {
        self.handler.store.ready(&self.handler.hash_key).await?;
        if matches!(self.handler.mode, Mode::Off) {
            return Ok(Drained::default());
        }
        let Handler { store, destination, platform, .. } = &self.handler;
        let (gate, shards) = futures::try_join!(
            Box::pin(self.gate(None, platform.clock.now())),
            Box::pin(store.look_at_shards())
        )?;
        let sweep = Sweep::new(destination.name, shards, self.older_than_s, platform);
        self.run(gate, (Vec::new(), Some(sweep)), patience, stop_at).await
    }

    /// Delivers these, those of them that nobody has claimed yet, and goes on with their retries that
    /// fall due soon.
    pub async fn deliver_named(
        &self,
        keys: &[DeliveryKey],
        stop_at: Timestamp,
    ) -> Result<Drained, StoreError> {
        self.deliver(keys, Claiming::Named, Patience::Waits, stop_at).await
    }

    /// Delivers these, if they are due or wait for a ring.
    pub async fn deliver_now(
        &self,
        keys: &[DeliveryKey],
        stop_at: Timestamp,
    ) -> Result<Drained, StoreError> {
        self.deliver(keys, Claiming::Now, Patience::None, stop_at).await
    }

    async fn deliver(
        &self,
        keys: &[DeliveryKey],
        claiming: Claiming,
        patience: Patience,
        stop_at: Timestamp,
    ) -> Result<Drained, StoreError> {
        self.handler.store.ready(&self.handler.hash_key).await?;
        let is_off = matches!(self.handler.mode, Mode::Off) && claiming == Claiming::Named;
        if keys.is_empty() || is_off {
            return Ok(Drained::default());
        }
        if claiming == Claiming::Named && self.handler.refusals.are_recent(Instant::now()) {
            let (name, left) = (self.handler.destination.name, keys.len());
            tracing::warn!(
                destination = name,
                left,
                "the table has too much to do; a ring's {left} deliveries to {name} are left to the sweep"
            );
            return Ok(Drained::default());
        }
        let now = self.handler.platform.clock.now();
        let task = |key: &DeliveryKey| Task {
            due: Due { key: key.clone(), due_at: now, deadline: None },
            claiming,
        };
        let gate = self.gate(Some(keys.len()), now).await?;
        self.run(gate, (keys.iter().map(task).collect(), None), patience, stop_at).await
    }

    async fn run(
        &self,
        gate: Gate<'_>,
        work: (Vec<Task>, Option<Sweep>),
        patience: Patience,
        stop_at: Timestamp,
    ) -> Result<Drained, StoreError> {
        let (store, clock) = (&self.handler.store, &self.handler.platform.clock);
        let now = clock.now();
        let stop_at = after(stop_at, -SETTLING_NEEDS_S);
        let goes_on_until = match patience {
            Patience::None => None,
            Patience::Waits => Some(after(now, GOES_ON_S).min(stop_at)),
        };
        let parts = (&self.handler, &gate);
        let drain = Drain::new(parts, work, goes_on_until, stop_at);
        let (drained, sweep) = Box::pin(drain.run()).await;
        let left = match sweep {
            Some(sweep) => sweep.leave(store).await,
            None => Ok(()),
        };
        if let Err(error) = left.and(gate.leave(clock.now()).await) {
            let name = self.handler.destination.name;
            tracing::error!(
                destination = name,
                "the table failed at the end of a drain of {name}, whose breaker or tokens may be old: {error}"
            );
        }
        drained
    }

    /// `deliveries` is how many are to be delivered, if that is known.
    async fn gate(
        &self,
        deliveries: Option<usize>,
        now: Timestamp,
    ) -> Result<Gate<'_>, StoreError> {
        let Handler { store, destination, .. } = &self.handler;
        let rate = self.rate.map(|rate| Rate::new(store, destination.name, rate, deliveries));
        Gate::enter(store, destination, rate, now).await
    }

    /// The work of a delivery function, which returns how many deliveries were settled, and its check of
    /// the destination's account.
    pub fn into_work(
        self,
    ) -> (
        impl Fn(Work, Timestamp) -> Working + Send + Sync + 'static,
        impl Fn() -> Checking + Send + Sync + 'static,
    ) {
        let worker = Arc::new(self);
        let checked = Arc::clone(&worker);
        let work = move |work, stop_at| -> Working {
            let worker = Arc::clone(&worker);
            Box::pin(async move {
                let drained = match work {
                    Work::Due => worker.drain(Patience::Waits, stop_at).await?,
                    Work::Named(keys) => worker.deliver_named(&keys, stop_at).await?,
                    Work::Now(keys) => worker.deliver_now(&keys, stop_at).await?,
                };
                Ok(drained.settled)
            })
        };
        let check = move || -> Checking {
            let worker = Arc::clone(&checked);
            Box::pin(async move { check::check(&worker.handler).await })
        };
        (work, check)
    }
}

/// How many requests one delivery makes, by slot.
fn needs(destination: &Destination, adapter: &dyn Adapter) -> Needs {
    let counts = || destination.slots.iter().map(|slot| adapter.requests_max(slot));
    Needs { least: counts().min().unwrap_or(1), most: counts().max().unwrap_or(1) }
}
