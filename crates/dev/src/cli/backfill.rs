//! `funil backfill`: plans deliveries for events that were accepted while a destination was off.
//!
//! The deliveries get the ids and keys that they would have had, so a delivery that exists already
//! stays as it is. Consent is checked when they are sent, as for every delivery. See
//! `docs/design.md` ("Replay").

use std::io::Write;

use clap::Args;
use funil_core::delivery::{Delivery, Queue, State};
use funil_core::destination::{AliasDigests, Destination, plan};
use funil_core::event::Event;
use funil_core::hash::HashKey;
use funil_core::replay::replay_deadline;
use funil_store::{Platform, Store, StoreError};
use jiff::Timestamp;

use crate::cli::Failure;
use crate::cli::dead::a_destination;
use crate::cli::progress;

/// The arguments of `funil backfill`.
#[derive(Args, Clone, Debug)]
pub struct BackfillArguments {
    /// The destination to plan deliveries for.
    #[arg(long, value_parser = a_destination)]
    pub destination: &'static Destination,
    /// Only events accepted at this time or later, such as 2026-11-21T12:00:00Z.
    #[arg(long)]
    pub since: Option<Timestamp>,
    /// Only events accepted at this time or earlier.
    #[arg(long)]
    pub until: Option<Timestamp>,
    /// Plan the deliveries. Without it this is a dry run.
    #[arg(long)]
    pub yes: bool,
}

/// The result of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backfilled {
    /// How many events were checked.
    pub events: u64,
    /// How many deliveries were missing. They are planned now, except in a dry run.
    pub missing: u64,
    /// How many deliveries existed already.
    pub there: u64,
    /// How many deliveries would be past their deadline.
    pub too_late: u64,
    /// How many events were written by newer code and skipped.
    pub unread: u64,
}

/// Plans the deliveries that are missing and prints the result to `out`.
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
            backfill(event, arguments, hash_key, store, platform, &mut done).await?;
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
        "{events} events checked for {name}: {there} deliveries exist, {missing} were missing, \
         {too_late} are too late."
    )?;
    if unread > 0 {
        writeln!(out, "{unread} events were written by newer code and skipped.")?;
    }
    if arguments.yes {
        writeln!(
            out,
            "{missing} deliveries planned. The next scheduled run of dispatch sends them."
        )?;
    } else {
        writeln!(
            out,
            "Dry run: nothing was changed. With --yes {missing} deliveries would be planned."
        )?;
    }
    Ok(done)
}

async fn backfill(
    event: &Event,
    arguments: &BackfillArguments,
    hash_key: &HashKey,
    store: &Store,
    platform: &Platform,
    done: &mut Backfilled,
) -> Result<(), StoreError> {
    done.events += 1;
    let (now, entropy) = (platform.clock.now(), &*platform.entropy);
    let destination = arguments.destination;
    let ends = |delivery: &Delivery| {
        delivery.deadline.min(replay_deadline(destination, delivery, event, now))
    };
    let mut missing = Vec::new();
    for delivery in plan(event, &[destination], None, &AliasDigests::default(), Queue::default()) {
        let due_at = delivery.due_at().unwrap_or(now);
        // A reminder is sent at its own time or not at all.
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
        if !arguments.yes || store.plan_missing(&delivery, entropy).await? {
            done.missing += 1;
        } else {
            done.there += 1;
        }
    }
    Ok(())
}
