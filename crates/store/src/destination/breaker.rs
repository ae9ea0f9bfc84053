//! The breaker of a destination, as all workers share it.
//!
//! Each write is one update that needs no read: failures are counted by the table, and one probe is
//! chosen by a condition.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use funil_core::clock::after;
use funil_core::delivery::breaker::{Breaker, FAILURES_TO_OPEN, Open};
use jiff::Timestamp;

use crate::Store;
use crate::delivery::claim::condition;
use crate::table::error::StoreError;
use crate::table::item::Item;
use crate::table::{item, key};

impl Store {
    /// What is known of a destination.
    pub async fn breaker(&self, destination: &str) -> Result<Breaker, StoreError> {
        let found = self
            .client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::destination(destination), key::BREAKER)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::of("GetItem", &error))?;
        Ok(found.item.as_ref().map(read).unwrap_or_default())
    }

    /// Counts a failure; opens the breaker when there were enough in a row. Answers what is known
    /// now.
    pub async fn destination_failed(
        &self,
        destination: &str,
        reason: &str,
        probe_after_s: i64,
        now: Timestamp,
    ) -> Result<Breaker, StoreError> {
        let counted = self
            .update_breaker(destination)
            .update_expression("SET last_failure = :now, v = :v, #type = :type ADD failures :one")
            .expression_attribute_names("#type", "type")
            .expression_attribute_values(":type", item::s("breaker"))
            .expression_attribute_values(":v", item::n(1))
            .expression_attribute_values(":now", item::attribute(&now, "time")?)
            .expression_attribute_values(":one", item::n(1))
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .map_err(|error| StoreError::of("UpdateItem", &error))?;
        let breaker = counted.attributes.as_ref().map(read).unwrap_or_default();
        if breaker.failures < FAILURES_TO_OPEN {
            return Ok(breaker);
        }
        self.open_breaker(destination, reason, probe_after_s, now).await
    }

    /// Opens the breaker, or moves the next probe of an open one.
    pub async fn open_breaker(
        &self,
        destination: &str,
        reason: &str,
        probe_after_s: i64,
        now: Timestamp,
    ) -> Result<Breaker, StoreError> {
        let opened = self
            .update_breaker(destination)
            .update_expression(
                "SET opened_at = if_not_exists(opened_at, :now), reason = :reason, \
                 probe_at = :probe, last_failure = :now, v = :v, #type = :type",
            )
            .expression_attribute_names("#type", "type")
            .expression_attribute_values(":type", item::s("breaker"))
            .expression_attribute_values(":v", item::n(1))
            .expression_attribute_values(":now", item::attribute(&now, "time")?)
            .expression_attribute_values(":reason", item::s(reason))
            .expression_attribute_values(":probe", item::s(key::time(after(now, probe_after_s))))
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .map_err(|error| StoreError::of("UpdateItem", &error))?;
        Ok(opened.attributes.as_ref().map(read).unwrap_or_default())
    }

    /// Becomes the one worker that probes an open destination, if nobody else is; the next one may
    /// after `probe_after_s`.
    pub async fn take_probe(
        &self,
        destination: &str,
        probe_after_s: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let taken = self
            .update_breaker(destination)
            .update_expression("SET probe_at = :next")
            // Only an open breaker has a time for its probe.
            .condition_expression("probe_at <= :now")
            .expression_attribute_values(":next", item::s(key::time(after(now, probe_after_s))))
            .expression_attribute_values(":now", item::s(key::time(now)))
            .send()
            .await;
        Ok(condition(taken)?.is_some())
    }

    /// Notes a success: the breaker closes and its count starts anew.
    pub async fn destination_succeeded(
        &self,
        destination: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.update_breaker(destination)
            .update_expression(
                "SET last_success = :now, failures = :zero, v = :v, #type = :type \
                 REMOVE opened_at, reason, probe_at",
            )
            .expression_attribute_names("#type", "type")
            .expression_attribute_values(":type", item::s("breaker"))
            .expression_attribute_values(":v", item::n(1))
            .expression_attribute_values(":zero", item::n(0))
            .expression_attribute_values(":now", item::attribute(&now, "time")?)
            .send()
            .await
            .map_err(|error| StoreError::of("UpdateItem", &error))?;
        Ok(())
    }

    fn update_breaker(&self, destination: &str) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::destination(destination), key::BREAKER)))
    }
}

fn read(found: &Item) -> Breaker {
    let time = |name: &str| item::text(found, name).and_then(|text| text.parse().ok());
    let open = time("opened_at").zip(time("probe_at")).map(|(since, probe_at)| Open {
        since,
        reason: item::text(found, "reason").unwrap_or_default().to_owned(),
        probe_at,
    });
    Breaker {
        failures: item::number(found, "failures").and_then(|n| n.try_into().ok()).unwrap_or(0),
        open,
        last_success: time("last_success"),
        last_failure: time("last_failure"),
    }
}
