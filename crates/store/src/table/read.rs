//! Reads: one item, several items, and queries of one partition of the table or of an index.

use std::time::Duration;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::KeysAndAttributes;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::item::{self, Item};

/// How often a batch asks for the keys that DynamoDB left for later.
const BATCH_TRIES: u32 = 3;
/// How many keys one request may have (DynamoDB's limit).
const BATCH_KEYS: usize = 100;
/// The first pause before the keys that were left are asked for; each further one is longer by as much.
const BATCH_WAIT: Duration = Duration::from_millis(50);

impl Store {
    /// The item under `key`, read consistently.
    pub(crate) async fn get(&self, key: Item) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&*self.table).set_key(Some(key));
        let output = request.consistent_read(true).send().await;
        Ok(output.map_err(|error| StoreError::of("GetItem", &error))?.item)
    }

    /// The items that exist under `keys`, read consistently, in no order.
    pub(crate) async fn batch_get(&self, keys: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::new();
        for chunk in keys.chunks(BATCH_KEYS) {
            found.extend(self.batch_get_chunk(chunk.to_vec()).await?);
        }
        Ok(found)
    }

    async fn batch_get_chunk(&self, keys: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::new();
        let mut wanted = keys;
        for tries in 0..BATCH_TRIES {
            // DynamoDB leaves keys for later when it throttles.
            tokio::time::sleep(BATCH_WAIT * tries).await;
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut wanted)))
                .consistent_read(true)
                .build()
                .map_err(|_| StoreError::InvalidRequest { what: "batch of keys" })?;
            let output = self
                .client
                .batch_get_item()
                .request_items(&*self.table, request)
                .send()
                .await
                .map_err(|error| StoreError::of("BatchGetItem", &error))?;
            for items in output.responses.unwrap_or_default().into_values() {
                found.extend(items);
            }
            for left in output.unprocessed_keys.unwrap_or_default().into_values() {
                wanted.extend(left.keys);
            }
            if wanted.is_empty() {
                return Ok(found);
            }
        }
        let code = "unprocessed keys".to_owned();
        Err(StoreError::Unavailable { operation: "BatchGetItem", code })
    }

    /// A query of one partition, of the table or of an index; `:pk` is its key.
    pub(crate) fn query(&self, pk: String) -> QueryFluentBuilder {
        self.client.query().table_name(&*self.table).expression_attribute_values(":pk", item::s(pk))
    }

    /// A consistent query of the items of one partition whose sort key begins with `prefix`.
    pub(crate) fn query_prefix(&self, pk: String, prefix: &str) -> QueryFluentBuilder {
        self.query(pk)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":prefix", item::s(prefix))
    }
}

/// The first items that a query finds, at most `most`: strangers decide how many there are.
pub(crate) async fn first_items(
    query: QueryFluentBuilder,
    most: usize,
) -> Result<Vec<Item>, StoreError> {
    let limit = i32::try_from(most).unwrap_or(i32::MAX);
    let mut pages = query.limit(limit).into_paginator().send();
    let mut found = Vec::new();
    while found.len() < most
        && let Some(page) = pages.next().await
    {
        let page = page.map_err(|error| StoreError::of("Query", &error))?;
        found.extend(page.items.unwrap_or_default());
    }
    found.truncate(most);
    Ok(found)
}

/// The items of a query's first page.
pub(crate) async fn first_page(query: QueryFluentBuilder) -> Result<Vec<Item>, StoreError> {
    let page = query.send().await.map_err(|error| StoreError::of("Query", &error))?;
    Ok(page.items.unwrap_or_default())
}
