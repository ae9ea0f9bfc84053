//! Creating the table, as `template.yaml` does: keys, the two sparse indexes, TTL and stream.
//!
//! For the local engine and for tests; on AWS the template makes the table.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use funil_core::hash::HashKey;

use crate::Store;
use crate::table::error::StoreError;

/// The name of the index of what is due.
pub(crate) const DUE_INDEX: &str = "due";
/// The name of the index of what is dead.
pub(crate) const DEAD_INDEX: &str = "dead";

/// Whether the table tells of its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `dispatch` reads it.
    On,
    /// Nobody reads it: intake rings, and the schedule looks. The local engine pays for each write by
    /// counting all that it has streamed before.
    Off,
}

impl Store {
    /// Creates the table with its indexes and its `META` item; does nothing where it exists.
    pub async fn create_table(&self, hash_key: &HashKey, stream: Stream) -> Result<(), StoreError> {
        let streamed = match stream {
            Stream::On => {
                let images = StreamViewType::NewImage;
                StreamSpecification::builder().stream_enabled(true).stream_view_type(images)
            }
            Stream::Off => StreamSpecification::builder().stream_enabled(false),
        };
        let streamed = streamed.build().map_err(|_| StoreError::Unreadable { what: "stream" })?;
        let create = self
            .client
            .create_table()
            .table_name(&*self.table)
            .billing_mode(BillingMode::PayPerRequest)
            .set_attribute_definitions(Some(
                ["pk", "sk", "due_pk", "due_sk", "dead_pk", "dead_sk"].map(text).into(),
            ))
            .set_key_schema(Some(keys("pk", "sk")))
            .global_secondary_indexes(index(DUE_INDEX, "due_pk", "due_sk", &["deadline"])?)
            .global_secondary_indexes(index(DEAD_INDEX, "dead_pk", "dead_sk", &[])?)
            .stream_specification(streamed);
        match create.send().await {
            Ok(_) => {}
            Err(error)
                if error.as_service_error().is_some_and(aws_sdk_dynamodb::operation::create_table::CreateTableError::is_resource_in_use_exception) => {}
            Err(error) => return Err(StoreError::of("CreateTable", &error)),
        }
        self.until_active().await?;
        self.expire_items().await?;
        self.ready(hash_key).await
    }

    /// A table on AWS is there some seconds after it was asked for.
    async fn until_active(&self) -> Result<(), StoreError> {
        for _ in 0..60 {
            let described = self.client.describe_table().table_name(&*self.table).send().await;
            let described = described.map_err(|error| StoreError::of("DescribeTable", &error))?;
            let status = described.table.and_then(|table| table.table_status);
            if status == Some(TableStatus::Active) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let code = "the table is not active after a minute".to_owned();
        Err(StoreError::Unavailable { operation: "DescribeTable", code })
    }

    /// Lets the table drop what has expired.
    async fn expire_items(&self) -> Result<(), StoreError> {
        let described = self.client.describe_time_to_live().table_name(&*self.table).send().await;
        let described = described.map_err(|error| StoreError::of("DescribeTimeToLive", &error))?;
        let status = described.time_to_live_description.and_then(|ttl| ttl.time_to_live_status);
        if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
            return Ok(());
        }
        let ttl = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name("expires_at")
            .build()
            .map_err(|_| StoreError::Unreadable { what: "ttl" })?;
        let update = self.client.update_time_to_live().table_name(&*self.table);
        let updated = update.time_to_live_specification(ttl).send().await;
        updated.map_err(|error| StoreError::of("UpdateTimeToLive", &error))?;
        Ok(())
    }
}

fn text(name: &str) -> AttributeDefinition {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .expect("name and type are given")
}

fn keys(hash: &str, range: &str) -> Vec<KeySchemaElement> {
    [(hash, KeyType::Hash), (range, KeyType::Range)]
        .map(|(name, kind)| {
            KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(kind)
                .build()
                .expect("name and type are given")
        })
        .into()
}

fn index(
    name: &str,
    hash: &str,
    range: &str,
    included: &[&str],
) -> Result<GlobalSecondaryIndex, StoreError> {
    let projection = Projection::builder();
    let projection = if included.is_empty() {
        projection.projection_type(ProjectionType::KeysOnly)
    } else {
        let names = included.iter().map(|name| (*name).to_owned()).collect();
        projection.projection_type(ProjectionType::Include).set_non_key_attributes(Some(names))
    };
    GlobalSecondaryIndex::builder()
        .index_name(name)
        .set_key_schema(Some(keys(hash, range)))
        .projection(projection.build())
        .build()
        .map_err(|_| StoreError::Unreadable { what: "index" })
}
