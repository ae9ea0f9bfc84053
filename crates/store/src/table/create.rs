//! Creates the table: keys, the two sparse indexes, TTL and stream.
//!
//! For the local emulator, for tests, and for a deployment that does not get its table from `template.yaml`, which
//! declares the same one.

use std::time::Duration;

use aws_sdk_dynamodb::operation::create_table::{CreateTableError, CreateTableInput};
use aws_sdk_dynamodb::operation::describe_table::DescribeTableInput;
use aws_sdk_dynamodb::operation::describe_time_to_live::DescribeTimeToLiveInput;
use aws_sdk_dynamodb::operation::update_time_to_live::UpdateTimeToLiveInput;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use funil_core::hash::HashKey;

use crate::Store;
use crate::table::client::RequestError;
use crate::table::error::StoreError;

/// The index of open deliveries and alerts by their due time.
pub(crate) const DUE_INDEX: &str = "due";
/// The index of dead deliveries by the time they died.
pub(crate) const DEAD_INDEX: &str = "dead";

/// Whether the table has a stream of its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The table has a stream, and `dispatch` reads it.
    On,
    /// The table has no stream: intake rings `dispatch`, and the schedule looks for what is due. The
    /// local emulator gets slower with each record that it has streamed.
    Off,
}

impl Store {
    /// Creates the table with its indexes and its identity; does nothing where it exists.
    pub async fn create_table(&self, hash_key: &HashKey, stream: Stream) -> Result<(), StoreError> {
        let streamed = match stream {
            Stream::On => {
                let images = StreamViewType::NewImage;
                StreamSpecification::builder().stream_enabled(true).stream_view_type(images)
            }
            Stream::Off => StreamSpecification::builder().stream_enabled(false),
        };
        let streamed =
            streamed.build().map_err(|_| StoreError::InvalidRequest { what: "stream" })?;
        let create = CreateTableInput::builder()
            .table_name(&*self.table)
            .billing_mode(BillingMode::PayPerRequest)
            .set_attribute_definitions(Some(
                ["pk", "sk", "due_pk", "due_sk", "dead_pk", "dead_sk"].map(text).into(),
            ))
            .set_key_schema(Some(keys("pk", "sk")))
            .global_secondary_indexes(index(DUE_INDEX, "due_pk", "due_sk", &["deadline"])?)
            .global_secondary_indexes(index(DEAD_INDEX, "dead_pk", "dead_sk", &[])?)
            .stream_specification(streamed);
        match self.client.send(create).await {
            Ok(_) => {}
            Err(error) if exists(&error) => {}
            Err(error) => return Err(StoreError::of("CreateTable", &error)),
        }
        self.until_active().await?;
        self.expire_items().await?;
        self.ready(hash_key).await
    }

    /// Waits until the table can be used, which on AWS is some seconds after its creation.
    async fn until_active(&self) -> Result<(), StoreError> {
        for _ in 0..60 {
            let described =
                self.client.send(DescribeTableInput::builder().table_name(&*self.table)).await;
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

    /// Makes the table delete items whose `expires_at` has passed.
    async fn expire_items(&self) -> Result<(), StoreError> {
        let described =
            self.client.send(DescribeTimeToLiveInput::builder().table_name(&*self.table)).await;
        let described = described.map_err(|error| StoreError::of("DescribeTimeToLive", &error))?;
        let status = described.time_to_live_description.and_then(|ttl| ttl.time_to_live_status);
        if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
            return Ok(());
        }
        let ttl = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name("expires_at")
            .build()
            .map_err(|_| StoreError::InvalidRequest { what: "TTL setting" })?;
        let update = UpdateTimeToLiveInput::builder().table_name(&*self.table);
        let updated = self.client.send(update.time_to_live_specification(ttl)).await;
        updated.map_err(|error| StoreError::of("UpdateTimeToLive", &error))?;
        Ok(())
    }
}

fn exists(error: &RequestError<CreateTableError>) -> bool {
    error.service().is_some_and(CreateTableError::is_resource_in_use_exception)
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
        .map_err(|_| StoreError::InvalidRequest { what: "index" })
}
