//! Alerts: counted up per kind, destination and quarter of an hour, so that a person gets one message
//! and not a thousand (design §6).
//!
//! An alert is due in the same index as deliveries, under the name `alert`. It is sent once when it
//! appears and once more, with what came after, when its quarter ends.

use aws_sdk_dynamodb::types::ReturnValue;
use funil_core::clock::after;
use jiff::Timestamp;

use crate::Store;
use crate::delivery::claim::condition;
use crate::table::DUE_INDEX;
use crate::table::error::StoreError;
use crate::table::item::Item;
use crate::table::{item, key};

/// How long one alert counts, in seconds.
const BUCKET_S: i64 = 15 * 60;
/// How long a sender may take, in seconds; then another one may.
const SENDING_S: i64 = 60;
/// The name under which alerts are due.
const NAME: &str = "alert";

/// What a person has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertKind {
    /// A delivery was given up.
    Dead,
    /// A delivery ran out of time.
    Expired,
    /// A destination refuses us as a whole: credentials, payment, configuration.
    Blocked,
    /// A destination failed several times in a row.
    BreakerOpened,
    /// Something has been due for too long.
    Backlog,
}

impl AlertKind {
    const ALL: [Self; 5] =
        [Self::Dead, Self::Expired, Self::Blocked, Self::BreakerOpened, Self::Backlog];

    /// The name in keys and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Expired => "expired",
            Self::Blocked => "blocked",
            Self::BreakerOpened => "breaker_opened",
            Self::Backlog => "backlog",
        }
    }
}

/// An alert in the hands of one sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The destination.
    pub destination: String,
    /// What happened.
    pub kind: AlertKind,
    /// The beginning of its quarter of an hour.
    pub since: Timestamp,
    /// When it happened first in that quarter.
    pub first_at: Timestamp,
    /// How often it happened so far.
    pub count: i64,
    /// How many of those a message has told of.
    pub notified: i64,
    /// One delivery that it is about, as `<lead>/<delivery>`.
    pub example: Option<String>,
}

impl Alert {
    /// The end of its quarter of an hour.
    pub fn ends(&self) -> Timestamp {
        after(self.since, BUCKET_S)
    }
}

fn bucket(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second().div_euclid(BUCKET_S) * BUCKET_S).unwrap_or(at)
}

impl Store {
    /// Counts something that a person has to know.
    pub async fn raise_alert(
        &self,
        destination: &str,
        kind: AlertKind,
        example: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let set = "SET v = :v, #type = :type, destination = :destination, kind = :kind, \
                   due_pk = if_not_exists(due_pk, :due), due_sk = if_not_exists(due_sk, :now), \
                   first_at = if_not_exists(first_at, :now), expires_at = :expires";
        let set = match example {
            Some(_) => format!("{set}, example = if_not_exists(example, :example)"),
            None => set.to_owned(),
        };
        let mut update = self
            .update_alert(destination, kind, bucket(now))
            .update_expression(format!("{set} ADD #count :one"))
            .expression_attribute_names("#type", "type")
            .expression_attribute_names("#count", "count")
            .expression_attribute_values(":v", item::n(1))
            .expression_attribute_values(":type", item::s("alert"))
            .expression_attribute_values(":destination", item::s(destination))
            .expression_attribute_values(":kind", item::s(kind.name()))
            .expression_attribute_values(":due", item::s(key::due(NAME)))
            .expression_attribute_values(":now", item::s(key::time(now)))
            .expression_attribute_values(":expires", item::n(now.as_second() + 7 * 86_400))
            .expression_attribute_values(":one", item::n(1));
        if let Some(example) = example {
            update = update.expression_attribute_values(":example", item::s(example));
        }
        update.send().await.map_err(|error| StoreError::of("UpdateItem", &error))?;
        Ok(())
    }

    /// Whether anything was counted for a kind in the quarter of an hour of `at`.
    pub async fn was_alerted(
        &self,
        destination: &str,
        kind: AlertKind,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let found = self
            .client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::alert(destination, kind.name()), key::time(bucket(at)))))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::of("GetItem", &error))?;
        Ok(found.item.is_some())
    }

    /// Takes the alerts that are due into one sender's hands.
    pub async fn take_alerts(&self, now: Timestamp) -> Result<Vec<Alert>, StoreError> {
        let query = self
            .query(key::due(NAME))
            .index_name(DUE_INDEX)
            .key_condition_expression("due_pk = :pk AND due_sk <= :now")
            .expression_attribute_values(":now", item::s(key::time(now)))
            .limit(50);
        let page = query.send().await.map_err(|error| StoreError::of("Query", &error))?;
        let mut alerts = Vec::new();
        for found in page.items() {
            let (Some(pk), Some(sk)) = (item::text(found, "pk"), item::text(found, "sk")) else {
                continue;
            };
            let taken = self
                .client
                .update_item()
                .table_name(&*self.table)
                .set_key(Some(item::keys(pk, sk)))
                .update_expression("SET due_sk = :later")
                .condition_expression("due_sk <= :now")
                .expression_attribute_values(":later", item::s(key::time(after(now, SENDING_S))))
                .expression_attribute_values(":now", item::s(key::time(now)))
                .return_values(ReturnValue::AllNew)
                .send()
                .await;
            if let Some(taken) = condition(taken)? {
                alerts.extend(taken.attributes.as_ref().and_then(read));
            }
        }
        Ok(alerts)
    }

    /// Notes that a person was told of `told` cases; the rest is told when the quarter ends.
    pub async fn alert_notified(
        &self,
        alert: &Alert,
        notified: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let update = || {
            self.update_alert(&alert.destination, alert.kind, alert.since)
                .expression_attribute_values(":told", item::n(notified))
        };
        if now >= alert.ends() {
            let ended = update()
                .update_expression("SET told = :told REMOVE due_pk, due_sk")
                .condition_expression("#count = :count")
                .expression_attribute_names("#count", "count")
                .expression_attribute_values(":count", item::n(alert.count))
                .send()
                .await;
            if condition(ended)?.is_some() {
                return Ok(());
            }
            // A worker whose clock is late counted one more since the look: it is told next.
        }
        let next = alert.ends().max(now);
        let notified = update()
            .update_expression("SET told = :told, due_sk = :next")
            .expression_attribute_values(":next", item::s(key::time(next)))
            .send()
            .await;
        condition(notified)?;
        Ok(())
    }

    fn update_alert(
        &self,
        destination: &str,
        kind: AlertKind,
        since: Timestamp,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::alert(destination, kind.name()), key::time(since))))
    }
}

fn read(found: &Item) -> Option<Alert> {
    let name = item::text(found, "kind")?;
    let since = item::text(found, "sk")?.parse().ok()?;
    Some(Alert {
        destination: item::text(found, "destination")?.to_owned(),
        kind: AlertKind::ALL.into_iter().find(|kind| kind.name() == name)?,
        since,
        // Older code did not write it.
        first_at: item::text(found, "first_at").and_then(|at| at.parse().ok()).unwrap_or(since),
        count: item::number(found, "count")?,
        notified: item::number(found, "told").unwrap_or(0),
        example: item::text(found, "example").map(str::to_owned),
    })
}
