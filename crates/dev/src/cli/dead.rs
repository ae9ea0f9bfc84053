//! `funil dead`: lists, shows, replays and settles dead deliveries.
//!
//! It prints no personal data, except that `show` prints the beginning of a provider's response.
//! Which deliveries can be replayed is decided by `funil_lambda::operate::replay`, which also
//! handles `POST /api/dispatch/replay`. See `docs/design.md` ("Replay").

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use funil_core::destination::{self, Destination};
use funil_core::event::{Operator, Verdict};
use funil_core::id::DeliveryName;
use funil_core::pii::Text;
use funil_core::replay::Safety;
use funil_lambda::operate::replay::{Candidates, Judged, Selection, is_ended, replay, settle};
use funil_store::{Platform, Store, key_time};
use jiff::Timestamp;
use tokio::time::{Interval, MissedTickBehavior};

use crate::cli::{Failure, progress};

/// The commands of `funil dead`.
#[derive(Subcommand, Clone, Debug)]
pub enum DeadCommand {
    /// List dead deliveries, oldest first.
    List {
        /// Which deliveries to list.
        #[command(flatten)]
        filter: Filter,
        /// The maximum number of deliveries.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one delivery with its attempts and the provider's responses.
    Show {
        /// The delivery, as `<lead>/<delivery>`.
        delivery: DeliveryName,
    },
    /// Send dead deliveries again, with the same ids. Without --yes it is a dry run.
    Replay(ReplayArguments),
    /// Record what happened to a delivery that may have been sent.
    Settle {
        /// The delivery, as `<lead>/<delivery>`.
        delivery: DeliveryName,
        /// What happened to it.
        #[arg(long = "as")]
        settled_as: SettledAs,
    },
}

/// Which dead deliveries to select.
#[derive(Args, Clone, Debug, Default)]
pub struct Filter {
    /// Only deliveries for this destination.
    #[arg(long, value_parser = a_destination)]
    pub destination: Option<&'static Destination>,
    /// Only deliveries that ended for this reason, such as `http_400`.
    #[arg(long)]
    pub reason: Option<String>,
    /// Only deliveries that died at this time or later, such as 2026-11-21T12:00:00Z.
    #[arg(long)]
    pub since: Option<Timestamp>,
    /// Only deliveries that died at this time or earlier.
    #[arg(long)]
    pub until: Option<Timestamp>,
}

/// The arguments of `funil dead replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArguments {
    /// Only these deliveries, as `<lead>/<delivery>`.
    pub deliveries: Vec<DeliveryName>,
    /// Which deliveries to replay if none is named.
    #[command(flatten)]
    pub filter: Filter,
    /// Send them. Without it this is a dry run.
    #[arg(long)]
    pub yes: bool,
    /// Also replay deliveries that the destination may receive twice.
    #[arg(long)]
    pub even_duplicates: bool,
    /// The maximum number of replays a second.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub per_second: u32,
}

/// What a person decided about a delivery.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettledAs {
    /// The destination received it.
    Delivered,
    /// It must not be sent.
    Skipped,
}

/// Parses the name of a destination, for arguments.
pub fn a_destination(name: &str) -> Result<&'static Destination, String> {
    destination::find(name).ok_or_else(|| {
        let names: Vec<_> = destination::ALL.iter().map(|known| known.name).collect();
        format!("the destinations are {}", names.join(", "))
    })
}

impl Filter {
    fn selection(&self, named: &[DeliveryName]) -> Selection {
        Selection {
            destination: self.destination,
            reason: self.reason.clone(),
            since: self.since,
            until: self.until,
            named: named.to_vec(),
        }
    }
}

/// Runs a command and prints its result to `out`.
pub async fn run(
    command: DeadCommand,
    store: &Store,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    match command {
        DeadCommand::List { filter, limit } => list(&filter, limit, store, platform, out).await,
        DeadCommand::Show { delivery } => show(delivery, store, platform, out).await,
        DeadCommand::Replay(arguments) => replay_all(&arguments, store, platform, out).await,
        DeadCommand::Settle { delivery, settled_as } => {
            let verdict = match settled_as {
                SettledAs::Delivered => Verdict::Delivered,
                SettledAs::Skipped => Verdict::Skipped,
            };
            settle_one(delivery, verdict, store, platform, out).await
        }
    }
}

async fn list(
    filter: &Filter,
    limit: usize,
    store: &Store,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut candidates = Candidates::of(store, filter.selection(&[]), platform.clock.now());
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(judged) = candidates.next().await?
    {
        found.push(judged);
    }
    table(&found, out)?;
    if found.len() == limit && candidates.next().await?.is_some() {
        writeln!(out, "There are more; raise --limit to list them.")?;
    }
    Ok(())
}

fn table(found: &[Judged], out: &mut impl Write) -> Result<(), Failure> {
    if found.is_empty() {
        writeln!(out, "Nothing waits for a person.")?;
        return Ok(());
    }
    let heads = ["delivery", "slot", "ended at", "reason", "attempts", "safety"].map(str::to_owned);
    let rows = found.iter().map(|judged| {
        let delivery = &judged.ended.delivery;
        [
            judged.name().to_string(),
            format!("{}/{}", delivery.destination, delivery.slot),
            delivery.settled_at().map(key_time).unwrap_or_default(),
            delivery.reason_text().unwrap_or_default(),
            delivery.attempts.to_string(),
            judged.safety.to_string(),
        ]
    });
    let rows: Vec<_> = std::iter::once(heads).chain(rows).collect();
    let widths: [usize; 6] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    for row in rows {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

async fn named(name: DeliveryName, store: &Store, now: Timestamp) -> Result<Judged, Failure> {
    let ended = store.delivery_named(name).await?;
    let ended = ended.ok_or("The table has no such delivery.")?;
    Ok(Judged::new(ended, now))
}

async fn show(
    name: DeliveryName,
    store: &Store,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let judged = named(name, store, platform.clock.now()).await?;
    let delivery = &judged.ended.delivery;
    let time = |at: Option<Timestamp>| at.map(key_time).unwrap_or_default();
    let event = judged.ended.event.as_ref();
    let safety =
        if is_ended(delivery.state.kind()) { judged.safety.name() } else { "has not ended" };
    for (name, value) in [
        ("delivery", name.to_string()),
        ("slot", format!("{}/{}", delivery.destination, delivery.slot)),
        ("event", event.map(|event| event.data.name().to_owned()).unwrap_or_default()),
        ("event id", delivery.event_id.to_string()),
        ("occurred at", time(event.map(|event| event.occurred_at))),
        ("accepted at", time(Some(delivery.accepted_at))),
        ("deadline", time(Some(delivery.deadline))),
        ("state", delivery.state.name().to_owned()),
        ("reason", delivery.reason_text().unwrap_or_default()),
        ("ended at", time(delivery.settled_at())),
        ("attempts", delivery.attempts.to_string()),
        ("replay", safety.to_owned()),
        ("why", judged.safety.reason().unwrap_or_default().to_owned()),
    ] {
        writeln!(out, "{}", format!("{name:<12} {value}").trim_end())?;
    }
    for attempt in &delivery.log {
        writeln!(
            out,
            "  {}  {:<10} {:<4} {:>6} ms  {}",
            key_time(attempt.at),
            attempt.outcome,
            attempt.status.map(|status| status.to_string()).unwrap_or_default(),
            attempt.duration_ms,
            attempt.reason_text().unwrap_or_default(),
        )?;
        if let Some(detail) = attempt.detail.as_ref().map(Text::expose) {
            writeln!(out, "      {}", one_line(detail))?;
        }
    }
    Ok(())
}

/// A provider's text without control characters, which a terminal could take as a command.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

async fn replay_all(
    arguments: &ReplayArguments,
    store: &Store,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let selection = arguments.filter.selection(&arguments.deliveries);
    let mut candidates = Candidates::of(store, selection, platform.clock.now());
    let mut found = Vec::new();
    let looking = progress::spinner("looking");
    while let Some(judged) = candidates.next().await? {
        found.push(judged);
        looking.inc(1);
    }
    looking.finish_and_clear();
    if !arguments.yes {
        table(&found, out)?;
    }
    let count =
        |matches: fn(&Safety) -> bool| found.iter().filter(|one| matches(&one.safety)).count();
    let duplicates = count(|safety| matches!(safety, Safety::WouldDuplicate(_)));
    let (safe, late) = (
        count(|safety| matches!(safety, Safety::Safe)),
        count(|safety| matches!(safety, Safety::TooLate(_))),
    );
    writeln!(
        out,
        "{} found: {safe} safe, {duplicates} would duplicate, {late} too late.",
        found.len()
    )?;
    let allowed: Vec<_> =
        found.iter().filter(|judged| judged.safety.allows(arguments.even_duplicates)).collect();
    if !arguments.yes {
        writeln!(
            out,
            "Dry run: nothing was changed. With --yes {} would be sent again{}.",
            allowed.len(),
            if duplicates > 0 && !arguments.even_duplicates {
                "; --even-duplicates adds those that would duplicate"
            } else {
                ""
            }
        )?;
        return Ok(());
    }
    let bar = progress::bar(allowed.len(), "replaying");
    let mut ticks = pace(arguments.per_second);
    let mut replayed = 0;
    for judged in allowed {
        ticks.tick().await;
        let even_duplicates = arguments.even_duplicates;
        if replay(store, platform, judged, even_duplicates, Operator::Cli).await? {
            replayed += 1;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    writeln!(out, "{replayed} replayed. The next scheduled run of dispatch sends them.")?;
    Ok(())
}

/// Ticks at most this many times a second.
fn pace(per_second: u32) -> Interval {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    // By default, ticks that a slow table held up would follow at once and exceed the maximum.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn settle_one(
    name: DeliveryName,
    verdict: Verdict,
    store: &Store,
    platform: &Platform,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let judged = named(name, store, platform.clock.now()).await?;
    if !settle(store, platform, &judged.ended, verdict, Operator::Cli).await? {
        return Err("Only a dead or unknown delivery can be settled.".into());
    }
    writeln!(out, "{name} is settled as {}.", verdict.name())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ticks_that_were_missed_do_not_follow_at_once() {
        let mut ticks = pace(10);
        ticks.tick().await;
        advance(Duration::from_secs(5)).await;
        let started = Instant::now();
        for _ in 0..11 {
            ticks.tick().await;
        }
        assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    }
}
