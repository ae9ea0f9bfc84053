//! `funil backfill`: plans deliveries for what was accepted while a destination was off.
//!
//! Ids and keys are those that the deliveries would have had, so whatever is there already stays as
//! it is. Consent is checked when they are sent, as always.

use std::io::Write;

use clap::Args;
use funil_core::delivery::{Delivery, State};
use funil_core::destination::{AliasDigests, Destination, plan};
use funil_core::event::Event;
use funil_core::hash::HashKey;
use funil_core::replay::replay_deadline;
use funil_store::{Platform, Store, StoreError};
use jiff::Timestamp;

use crate::cli::dead::{Failure, a_destination};
use crate::cli::progress;

/// What to plan.
#[derive(Args, Clone, Debug)]
pub struct BackfillArguments {
    /// For this destination.
    #[arg(long, value_parser = a_destination)]
    pub destination: &'static Destination,
    /// What was accepted then or later, such as 2026-11-21T12:00:00Z.
    #[arg(long)]
    pub since: Option<Timestamp>,
    /// What was accepted then or earlier.
    #[arg(long)]
    pub until: Option<Timestamp>,
    /// Do it; otherwise it is a dry run.
    #[arg(long)]
    pub yes: bool,
}

/// What a run found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backfilled {
    /// Events looked at.
    pub events: u64,
    /// Deliveries that were missing, and are planned if this is no dry run.
    pub missing: u64,
    /// Deliveries that were there.
    pub there: u64,
    /// Deliveries that would be past their deadline.
    pub too_late: u64,
    /// Events that newer code wrote.
    pub unread: u64,
}

/// Plans what is missing, and tells on `out`.
pub async fn run(
    arguments: &BackfillArguments,
    hash_key: &HashKey,
    store: &Store,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<Backfilled, Failure> {
    store.ready(hash_key).await?;
    let bar = progress::spinner("events");
    let mut done = Backfilled::default();
    let mut from = None;
    loop {
        let page = store.scan_events(arguments.since, arguments.until, from).await?;
        done.unread += u64::try_from(page.unread).unwrap_or(u64::MAX);
        for event in &page.events {
            backfill(event, arguments, hash_key, store, platform.clock.now(), &mut done).await?;
            bar.inc(1);
        }
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    let Backfilled { events, missing, there, too_late, unread } = done;
    let name = arguments.destination.name;
    writeln!(
        out,
        "{events} events: {name} has {there} deliveries, {missing} were missing, \
         {too_late} are too late."
    )?;
    if unread > 0 {
        writeln!(out, "{unread} events were written by newer code and left alone.")?;
    }
    if arguments.yes {
        writeln!(out, "{missing} planned. The next schedule delivers them.")?;
    } else {
        writeln!(out, "Dry run: nothing was changed. With --yes {missing} would be planned.")?;
    }
    Ok(done)
}

async fn backfill(
    event: &Event,
    arguments: &BackfillArguments,
    hash_key: &HashKey,
    store: &Store,
    now: Timestamp,
    done: &mut Backfilled,
) -> Result<(), StoreError> {
    done.events += 1;
    let destination = arguments.destination;
    let ends = |delivery: &Delivery| {
        delivery.deadline.min(replay_deadline(destination, delivery, event, now))
    };
    let mut missing = Vec::new();
    for delivery in plan(event, &[destination], None, &AliasDigests::default()) {
        let due_at = delivery.due_at().unwrap_or(now);
        // A reminder: it is sent at its time or not at all.
        let has_time_of_its_own = due_at > delivery.accepted_at;
        if store.is_planned(&delivery).await? {
            done.there += 1;
        } else if now >= ends(&delivery) || has_time_of_its_own && due_at < now {
            done.too_late += 1;
        } else {
            missing.push(delivery);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let Some(lead) = store.lead(event.lead_id).await? else { return Ok(()) };
    let aliases = AliasDigests::of(&lead.latest, hash_key);
    for mut delivery in missing {
        delivery.state = State::due(delivery.due_at().map_or(now, |due_at| due_at.max(now)));
        delivery.deadline = ends(&delivery);
        delivery.email_digest.clone_from(&aliases.email);
        delivery.phone_digest.clone_from(&aliases.phone);
        if !arguments.yes || store.plan_missing(&delivery).await? {
            done.missing += 1;
        } else {
            done.there += 1;
        }
    }
    Ok(())
}
