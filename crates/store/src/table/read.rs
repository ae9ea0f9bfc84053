//! Reads: one item, several items, and queries of one partition of the table or of an index.

use std::time::Duration;

use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemInput;
use aws_sdk_dynamodb::operation::get_item::GetItemInput;
use aws_sdk_dynamodb::operation::query::QueryInput;
use aws_sdk_dynamodb::operation::query::builders::QueryInputBuilder;
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
        let request = GetItemInput::builder().table_name(&*self.table).set_key(Some(key));
        let output = self.client.send(request.consistent_read(true)).await;
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
            let request = BatchGetItemInput::builder().request_items(&*self.table, request);
            let output = self
                .client
                .send(request)
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
    pub(crate) fn query(&self, pk: String) -> QueryInputBuilder {
        QueryInput::builder()
            .table_name(&*self.table)
            .expression_attribute_values(":pk", item::s(pk))
    }

    /// A consistent query of the items of one partition whose sort key begins with `prefix`.
    pub(crate) fn query_prefix(&self, pk: String, prefix: &str) -> QueryInputBuilder {
        self.query(pk)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":prefix", item::s(prefix))
    }

    /// The first items that a query finds, at most `most`: strangers decide how many there are.
    pub(crate) async fn first_items(
        &self,
        query: QueryInputBuilder,
        most: usize,
    ) -> Result<Vec<Item>, StoreError> {
        let limit = i32::try_from(most).unwrap_or(i32::MAX);
        let mut pages = self.pages(query.limit(limit));
        let mut found = Vec::new();
        while found.len() < most
            && let Some(page) = pages.next().await
        {
            found.extend(page?);
        }
        found.truncate(most);
        Ok(found)
    }

    /// The items of a query's first page.
    pub(crate) async fn first_page(
        &self,
        query: QueryInputBuilder,
    ) -> Result<Vec<Item>, StoreError> {
        self.pages(query).next().await.unwrap_or(Ok(Vec::new()))
    }

    /// A query, page by page.
    pub(crate) const fn pages(&self, query: QueryInputBuilder) -> Pages<'_> {
        Pages { store: self, next: Some(query) }
    }
}

/// The pages of a query that are not read yet.
pub(crate) struct Pages<'s> {
    store: &'s Store,
    /// The query from the first page that is left.
    next: Option<QueryInputBuilder>,
}

impl Pages<'_> {
    /// The items of the next page, or `None` after the last one. A page may be empty.
    pub(crate) async fn next(&mut self) -> Option<Result<Vec<Item>, StoreError>> {
        let query = self.next.take()?;
        let page = match self.store.client.send(query.clone()).await {
            Ok(page) => page,
            Err(error) => return Some(Err(StoreError::of("Query", &error))),
        };
        // Only a broken table would end a page where it began.
        let is_further = |key: &Item| Some(key) != query.get_exclusive_start_key().as_ref();
        let last = page.last_evaluated_key.filter(|key| !key.is_empty() && is_further(key));
        self.next = last.map(|last| query.set_exclusive_start_key(Some(last)));
        Some(Ok(page.items.unwrap_or_default()))
    }
}
