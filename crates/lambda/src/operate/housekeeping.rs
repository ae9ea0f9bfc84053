//! What `dispatch` does each minute beside ringing: it raises alerts for a backlog and for dead
//! deliveries that nobody was notified of and for quarantined requests that go soon, and settles what
//! is due for destinations that are off.
//!
//! Nothing here sends: alerts are raised in the table, and `funil-delivery` sends them.

use funil_core::clock::after;
use funil_core::delivery::{Measured, Outcome, RING_S, Reason, settle};
use funil_core::destination::{self, Destination};
use funil_core::id::LeaseId;
use funil_store::{AlertKind, Claimed, Claiming, Count, StoreError, Written};
use jiff::Timestamp;

use crate::app::App;

/// How long something stays due for a destination that is off before it is skipped, in seconds: 24
/// h.
const OFF_S: i64 = 24 * 60 * 60;
/// How many of the oldest due deliveries are looked at for a backlog.
const BACKLOG_BATCH: i32 = 25;
/// How many of those are settled in one minute.
const OFF_BATCH: i32 = 25;
/// Dead deliveries older than this, in seconds, raise no alert any more.
const DEATHS_S: i64 = 24 * 60 * 60;

/// Does the housekeeping for every destination; where it fails for one, it goes on with the next.
/// `backlog_s` is how long, in seconds, something may be due before a person is notified.
pub(crate) async fn keep_house(app: &App, backlog_s: i64) {
    let now = app.platform.clock.now();
    for destination in destination::ALL {
        if let Err(error) = keep_house_of(app, destination, backlog_s, now).await {
            let name = destination.name;
            tracing::error!(
                destination = name,
                "the housekeeping of {name} failed, and is tried again in a minute: {error}"
            );
        }
    }
    if let Err(error) = expiring_quarantine(app, now).await {
        tracing::error!(
            "the housekeeping of the quarantine failed, and is tried again in a minute: {error}"
        );
    }
}

/// How many requests in quarantine are looked at in one minute, because they go in a week.
const EXPIRING_BATCH: i32 = 25;

/// Notifies a person of requests in quarantine that nobody has looked at and that go in a week.
async fn expiring_quarantine(app: &App, now: Timestamp) -> Result<(), StoreError> {
    for name in app.store.quarantine_expiring(now, EXPIRING_BATCH).await? {
        let (kind, example) = (AlertKind::QuarantineExpires, name.to_string());
        app.store.alert_once_a_day(&name.source, kind, Some(&example), now).await?;
        app.store.quarantine_warned(&name).await?;
    }
    Ok(())
}

async fn keep_house_of(
    app: &App,
    destination: &'static Destination,
    backlog_s: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    if app.config.destinations.contains(&destination) {
        backlog(app, destination, backlog_s, now).await?;
    } else {
        skip_what_is_off(app, destination, now).await?;
    }
    unreported_death(app, destination, now).await
}

async fn backlog(
    app: &App,
    destination: &Destination,
    backlog_s: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    // One whose ring was lost counts from its acceptance.
    let too_old = after(now, -backlog_s);
    let oldest = app.store.due(destination.name, after(too_old, RING_S), BACKLOG_BATCH).await?;
    let is_backlog = oldest.iter().any(|due| due.waits_since() <= too_old);
    if !is_backlog || app.store.was_alerted(destination.name, AlertKind::Backlog, now).await? {
        return Ok(());
    }
    app.store.raise_alert(destination.name, AlertKind::Backlog, None, now).await
}

/// Raises the alert of a dead delivery whose worker ended between the settlement and the alert.
async fn unreported_death(
    app: &App,
    destination: &Destination,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(newest) = app.store.newest_dead(destination.name).await? else { return Ok(()) };
    if newest.died_at < after(now, -DEATHS_S) {
        return Ok(());
    }
    for kind in [AlertKind::Dead, AlertKind::Expired] {
        if app.store.was_alerted(destination.name, kind, newest.died_at).await? {
            return Ok(());
        }
    }
    let delivery = newest.key.delivery_id().unwrap_or_default();
    let example = format!("{}/{delivery}", newest.key.lead_id);
    app.store.raise_alert(destination.name, AlertKind::Dead, Some(&example), newest.died_at).await
}

/// Skips, after a day, what was planned before a destination was taken off the list.
async fn skip_what_is_off(
    app: &App,
    destination: &Destination,
    now: Timestamp,
) -> Result<(), StoreError> {
    for due in app.store.due(destination.name, after(now, -OFF_S), OFF_BATCH).await? {
        let lease = LeaseId::random(&*app.platform.entropy);
        let claimed = app.store.claim(&due.key, Claiming::Due, lease, now).await?;
        let Claimed::Ours(claim) = claimed else { continue };
        let Ok(delivery) = &claim.delivery else {
            app.store.release_unread(&claim, after(now, OFF_S)).await?;
            continue;
        };
        // What may have been sent stays unknown, whether its destination is on or off.
        let outcome = delivery.recorded_outcome().unwrap_or(Outcome::Skipped(Reason::Off));
        let settlement = settle(
            delivery,
            &outcome,
            destination.when_unknown,
            Measured::default(),
            now,
            app.platform.entropy.number(),
        );
        if app.store.settle(&claim, &settlement).await? == Written::LeaseLost {
            continue;
        }
        let settled = Count::Settled { destination: destination.name, outcome: outcome.name() };
        app.platform.totals.count(settled);
        tracing::info!(
            destination = destination.name,
            lead = %delivery.lead_id,
            delivery = %delivery.id,
            state = settlement.state.name(),
            "settled {} as {}, because {} is off", delivery.name(), settlement.state.name(),
            destination.name
        );
    }
    Ok(())
}
