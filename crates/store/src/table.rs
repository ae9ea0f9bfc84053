//! Creating the table, as `template.yaml` does: keys, the two sparse indexes, TTL and stream.
//!
//! For the local engine and for tests; on AWS the template makes the table.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType,
    TimeToLiveSpecification,
};
use funil_core::hash::HashKey;

use crate::Store;
use crate::error::StoreError;

/// The name of the index of what is due.
pub(crate) const DUE_INDEX: &str = "due";
/// The name of the index of what is dead.
pub(crate) const DEAD_INDEX: &str = "dead";

impl Store {
    /// Creates the table with its indexes and its `META` item; does nothing where it exists.
    pub async fn create_table(&self, hash_key: &HashKey) -> Result<(), StoreError> {
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
            .stream_specification(
                StreamSpecification::builder()
                    .stream_enabled(true)
                    .stream_view_type(StreamViewType::NewImage)
                    .build()
                    .map_err(|_| StoreError::Unreadable { what: "stream" })?,
            );
        match create.send().await {
            Ok(_) => {}
            Err(error)
                if error.as_service_error().is_some_and(aws_sdk_dynamodb::operation::create_table::CreateTableError::is_resource_in_use_exception) =>
            {
                return self.ready(hash_key).await;
            }
            Err(error) => return Err(StoreError::of("CreateTable", &error)),
        }
        let ttl = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name("expires_at")
            .build()
            .map_err(|_| StoreError::Unreadable { what: "ttl" })?;
        self.client
            .update_time_to_live()
            .table_name(&*self.table)
            .time_to_live_specification(ttl)
            .send()
            .await
            .map_err(|error| StoreError::of("UpdateTimeToLive", &error))?;
        self.ready(hash_key).await
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
