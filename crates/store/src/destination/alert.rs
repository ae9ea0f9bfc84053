//! Alerts: counted by kind, destination and quarter of an hour, so that an outage is one message to a
//! person and not a thousand (`docs/design.md`, "Alerts").
//!
//! An alert is due in the same index as deliveries, under the name `alert`. It is sent when the first
//! occurrence is counted and once more, with the rest of the count, when its quarter ends.

use funil_core::clock::after;
use funil_core::delivery::Shard;
use jiff::Timestamp;

use crate::Store;
use crate::table::DUE_INDEX;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::{item, key};

/// The time over which one alert counts, in seconds.
const BUCKET_S: i64 = 15 * 60;
/// A day, in seconds.
const DAY_S: i64 = 24 * 60 * 60;
/// How long a sender may take, in seconds, before another one takes the alert.
const SENDING_S: i64 = 60;
/// The name under which alerts are due in the index.
const NAME: &str = "alert";

/// What a person is notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertKind {
    /// A delivery is dead.
    Dead,
    /// A delivery passed its deadline.
    Expired,
    /// A destination refuses us as a whole: credentials, payment, configuration.
    Blocked,
    /// A destination failed several times in a row.
    BreakerOpened,
    /// Something has been due for too long.
    Backlog,
    /// A number got as many messages as it may in a day.
    DailyLimit,
    /// A request was put into quarantine; the alert is about `<source>/<reason>`.
    Quarantined,
    /// Requests in quarantine that nobody has looked at are removed in a week; it is about their
    /// source.
    QuarantineExpires,
    /// A form quarantined as many requests today as it may, and refuses further ones; it is about the
    /// form.
    QuarantineFull,
    /// Several requests in a row had no right signature or token; it is about their provider.
    Unsigned,
    /// Somebody asked in a message to cancel or to move their call.
    CallChange,
}

impl AlertKind {
    const ALL: [Self; 11] = [
        Self::Dead,
        Self::Expired,
        Self::Blocked,
        Self::BreakerOpened,
        Self::Backlog,
        Self::DailyLimit,
        Self::Quarantined,
        Self::QuarantineExpires,
        Self::QuarantineFull,
        Self::Unsigned,
        Self::CallChange,
    ];

    /// The name in the table and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Expired => "expired",
            Self::Blocked => "blocked",
            Self::BreakerOpened => "breaker_opened",
            Self::Backlog => "backlog",
            Self::DailyLimit => "daily_limit",
            Self::Quarantined => "quarantined",
            Self::QuarantineExpires => "quarantine_expires",
            Self::QuarantineFull => "quarantine_full",
            Self::Unsigned => "unsigned",
            Self::CallChange => "call_change",
        }
    }
}

/// An alert that one sender has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The name of the destination, or what else it is about.
    pub destination: String,
    /// What the person is notified of.
    pub kind: AlertKind,
    /// The start of its quarter of an hour.
    pub since: Timestamp,
    /// When it was first counted in that quarter.
    pub first_at: Timestamp,
    /// How often it was counted in that quarter so far.
    pub count: i64,
    /// How many of those the person was notified of.
    pub notified: i64,
    /// One of the deliveries, as `<lead>/<delivery>`.
    pub example: Option<String>,
}

impl Alert {
    /// The end of its quarter of an hour.
    pub fn ends(&self) -> Timestamp {
        after(self.since, BUCKET_S)
    }
}

/// The start of the quarter of an hour of `at`.
fn bucket(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second().div_euclid(BUCKET_S) * BUCKET_S).unwrap_or(at)
}

impl Store {
    /// Counts an occurrence of something that a person is notified of.
    pub async fn raise_alert(
        &self,
        destination: &str,
        kind: AlertKind,
        example: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut count = Expression::of_type("alert")
            .set("destination", item::s(destination))
            .set("kind", item::s(kind.name()))
            .set_once("due_pk", item::s(key::due(NAME, Shard::FIRST)))
            .set_once("due_sk", item::s(key::time(now)))
            .set_once("first_at", item::s(key::time(now)))
            .set("expires_at", item::n(now.as_second() + 7 * 86_400))
            .add("count", 1);
        if let Some(example) = example {
            count = count.set_once("example", item::s(example));
        }
        self.update(keys(destination, kind, bucket(now)), count).await?;
        Ok(())
    }

    /// Raises an alert unless one was raised on this day (UTC): a person is notified once a day.
    pub async fn alert_once_a_day(
        &self,
        about: &str,
        kind: AlertKind,
        example: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let day = now.as_second().div_euclid(DAY_S) * DAY_S;
        let day = Timestamp::from_second(day).unwrap_or(now);
        if self.was_alerted(about, kind, day).await? {
            return Ok(());
        }
        self.raise_alert(about, kind, example, day).await
    }

    /// Whether an alert of this kind was counted in the quarter of an hour of `at`.
    pub async fn was_alerted(
        &self,
        destination: &str,
        kind: AlertKind,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(self.get(keys(destination, kind, bucket(at))).await?.is_some())
    }

    /// Takes the alerts that are due, each for this sender alone until `SENDING_S` has passed.
    pub async fn take_alerts(&self, now: Timestamp) -> Result<Vec<Alert>, StoreError> {
        let query = self
            .query(key::due(NAME, Shard::FIRST))
            .index_name(DUE_INDEX)
            .key_condition_expression("due_pk = :pk AND due_sk <= :now")
            .expression_attribute_values(":now", item::s(key::time(now)))
            .limit(50);
        let mut alerts = Vec::new();
        for found in self.first_page(query).await? {
            let (Some(pk), Some(sk)) = (item::text(&found, "pk"), item::text(&found, "sk")) else {
                continue;
            };
            let take = Expression::default()
                .set_as("due_sk", ":later", item::s(key::time(after(now, SENDING_S))))
                .condition("#due_sk <= :now")
                .value(":now", item::s(key::time(now)));
            let taken = self.update_and_get(item::keys(pk, sk), take).await?;
            alerts.extend(taken.as_ref().and_then(read));
        }
        Ok(alerts)
    }

    /// Notes that a person was notified of `notified` occurrences. Those that are counted later are
    /// due when the quarter ends.
    pub async fn alert_notified(
        &self,
        alert: &Alert,
        notified: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let keys = || keys(&alert.destination, alert.kind, alert.since);
        let noted = || Expression::default().set("told", item::n(notified));
        if now >= alert.ends() {
            let end = noted()
                .remove_all(&["due_pk", "due_sk"])
                .condition("#count = :count")
                .value(":count", item::n(alert.count));
            if self.update(keys(), end).await? {
                return Ok(());
            }
            // A worker whose clock is late counted one more meanwhile: the alert is due again.
        }
        let next = alert.ends().max(now);
        self.update(keys(), noted().set("due_sk", item::s(key::time(next)))).await?;
        Ok(())
    }
}

fn keys(destination: &str, kind: AlertKind, since: Timestamp) -> Item {
    item::keys(key::alert(destination, kind.name()), key::time(since))
}

fn read(found: &Item) -> Option<Alert> {
    let name = item::text(found, "kind")?;
    let since = item::text(found, "sk")?.parse().ok()?;
    Some(Alert {
        destination: item::text(found, "destination")?.to_owned(),
        kind: AlertKind::ALL.into_iter().find(|kind| kind.name() == name)?,
        since,
        first_at: item::text(found, "first_at")?.parse().ok()?,
        count: item::number(found, "count")?,
        notified: item::number(found, "told").unwrap_or(0),
        example: item::text(found, "example").map(str::to_owned),
    })
}
