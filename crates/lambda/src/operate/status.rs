//! How every destination stands, read from the table: what `health` and `metrics` report.
//!
//! A handful of small queries for each destination, all at once; nothing is scanned and no provider
//! is contacted. Must not know how it is shown.

use funil_core::delivery::breaker::Breaker;
use funil_core::destination::{self, Destination};
use funil_store::{Counted, Signatures, StoreError};
use jiff::Timestamp;

use crate::app::App;
use crate::functions;

/// Deliveries are counted up to here.
pub(crate) const DELIVERIES_MAX: i32 = 1000;
/// Requests in quarantine are counted up to here: they are read whole to be counted.
pub(crate) const QUARANTINED_MAX: i32 = 100;

/// How one destination stands.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) destination: &'static Destination,
    /// Whether it is listed in `DESTINATIONS`.
    pub(crate) enabled: bool,
    pub(crate) breaker: Breaker,
    /// For how long the oldest has been due, in seconds, or has been accepted, if its ring was lost;
    /// nothing is due without it.
    pub(crate) oldest_due_age_s: Option<i64>,
    /// Still to be settled, due or not.
    pub(crate) pending: Counted,
    /// Waiting for a person.
    pub(crate) dead: Counted,
}

/// Every destination of the registry, on or off: one that was turned off may have a backlog.
pub(crate) async fn destinations(app: &App, now: Timestamp) -> Result<Vec<Report>, StoreError> {
    app.store.look_at_shards().await?;
    futures::future::try_join_all(destination::ALL.iter().map(|one| report(app, one, now))).await
}

/// How many requests of each source are in quarantine.
pub(crate) async fn quarantine(app: &App) -> Result<Vec<(&'static str, Counted)>, StoreError> {
    let counts = functions::quarantine_sources().map(|source| async move {
        Ok((source, app.store.quarantine_count(source, QUARANTINED_MAX).await?))
    });
    futures::future::try_join_all(counts).await
}

/// How each provider signed its requests lately.
pub(crate) async fn webhooks(app: &App) -> Result<Vec<(&'static str, Signatures)>, StoreError> {
    let signed = functions::intake().filter(|one| one.signature.is_some());
    let providers = signed.filter_map(|one| one.quarantine_source);
    let known = providers
        .map(|provider| async move { Ok((provider, app.store.signatures(provider).await?)) });
    futures::future::try_join_all(known).await
}

async fn report(
    app: &App,
    destination: &'static Destination,
    now: Timestamp,
) -> Result<Report, StoreError> {
    let store = &app.store;
    let (breaker, oldest, pending, dead) = futures::try_join!(
        store.breaker(destination.name),
        store.due(destination.name, now, 1),
        store.pending_count(destination.name, DELIVERIES_MAX),
        store.dead_count(destination.name, DELIVERIES_MAX),
    )?;
    Ok(Report {
        destination,
        enabled: app.config.destinations.contains(&destination),
        breaker,
        oldest_due_age_s: oldest.first().map(|due| now.as_second() - due.waits_since().as_second()),
        pending,
        dead,
    })
}
