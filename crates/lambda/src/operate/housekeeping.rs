//! What `dispatch` looks after each minute, beside ringing: a backlog, deaths that nobody was told of,
//! and deliveries of destinations that are off.
//!
//! Nothing here sends; alerts are raised in the table and told by whoever tells.

use funil_core::clock::after;
use funil_core::delivery::{Delivery, Measured, Outcome, Reason, Sending, settle};
use funil_core::destination::{self, Destination};
use funil_core::id::LeaseId;
use funil_store::{AlertKind, Claimed, Claiming, StoreError};
use jiff::Timestamp;

use crate::app::Site;

/// After so long, in seconds, what a destination that is off left due is settled: 24 h.
const OFF_S: i64 = 24 * 60 * 60;
/// How many of those are settled in one minute.
const OFF_BATCH: i32 = 25;
/// Deaths older than this, in seconds, are not told of any more.
const DEATHS_S: i64 = 24 * 60 * 60;

/// Looks after every destination of the registry. `backlog_s` is how long something may be due.
pub(crate) async fn look_after(site: &Site, backlog_s: i64) -> Result<(), StoreError> {
    let now = site.platform.clock.now();
    for destination in destination::ALL {
        if site.config.destinations.contains(destination) {
            backlog(site, destination, backlog_s, now).await?;
        } else {
            skip_what_is_off(site, destination, now).await?;
        }
        untold_death(site, destination, now).await?;
    }
    Ok(())
}

async fn backlog(
    site: &Site,
    destination: &Destination,
    backlog_s: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let oldest = site.store.due(destination.name, after(now, -backlog_s), 1).await?;
    if oldest.is_empty()
        || site.store.was_alerted(destination.name, AlertKind::Backlog, now).await?
    {
        return Ok(());
    }
    site.store.raise_alert(destination.name, AlertKind::Backlog, None, now).await
}

/// A worker that dies between a settlement and its alert leaves a death that nobody was told of.
async fn untold_death(
    site: &Site,
    destination: &Destination,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(newest) = site.store.newest_dead(destination.name).await? else { return Ok(()) };
    if newest.died_at < after(now, -DEATHS_S) {
        return Ok(());
    }
    for kind in [AlertKind::Dead, AlertKind::Expired] {
        if site.store.was_alerted(destination.name, kind, newest.died_at).await? {
            return Ok(());
        }
    }
    let delivery = newest.key.delivery_id().unwrap_or_default();
    let example = format!("{}/{delivery}", newest.key.lead_id);
    site.store.raise_alert(destination.name, AlertKind::Dead, Some(&example), newest.died_at).await
}

/// What was planned before a destination was taken off the list: after a day it is skipped.
async fn skip_what_is_off(
    site: &Site,
    destination: &Destination,
    now: Timestamp,
) -> Result<(), StoreError> {
    for due in site.store.due(destination.name, after(now, -OFF_S), OFF_BATCH).await? {
        let lease = LeaseId::random(&*site.platform.entropy);
        let claimed = site.store.claim(&due.key, Claiming::Due, lease, now).await?;
        let Claimed::Ours(claim) = claimed else { continue };
        let Ok(delivery) = &claim.delivery else {
            site.store.release_unread(&claim, after(now, OFF_S)).await?;
            continue;
        };
        let settlement = settle(
            delivery,
            &skipped(delivery),
            destination.when_unknown,
            Measured::default(),
            now,
            site.platform.entropy.number(),
        );
        site.store.settle(&claim, &settlement).await?;
        tracing::info!(
            destination = destination.name,
            lead = %delivery.lead_id,
            delivery = %delivery.id,
            "skipped what was due for a destination that is off"
        );
    }
    Ok(())
}

/// What was interrupted in a harmful request stays a doubt, on or off.
const fn skipped(delivery: &Delivery) -> Outcome {
    if let Sending::Begun(_) = delivery.state.sending() {
        Outcome::Unknown(Reason::MayHaveBeenSent)
    } else {
        Outcome::Skipped(Reason::Off)
    }
}
