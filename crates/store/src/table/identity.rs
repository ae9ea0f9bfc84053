//! The table's own record: which `HASH_KEY` it was made with.
//!
//! Read once per process, beside the first rate check. A wrong key would file every alias and
//! receipt where nobody finds it, so it serves nothing.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use funil_core::hash::HashKey;
use serde::Serialize;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::item::Item;
use crate::table::{item, key};

/// The attributes of `META`.
#[derive(Serialize)]
struct Meta {
    schema: u32,
    hash_key: String,
}

impl Store {
    /// Makes sure that this is the table of this `HASH_KEY`. Costs a read once per process.
    pub async fn ready(&self, hash_key: &HashKey) -> Result<(), StoreError> {
        self.ready.get_or_try_init(|| self.check_meta(hash_key)).await.copied()
    }

    /// Asks the table now, whatever was found before: does it answer, and is it of this `HASH_KEY`?
    /// Writes nothing; a table without `META` is one that nobody has used yet.
    pub async fn answers(&self, hash_key: &HashKey) -> Result<(), StoreError> {
        match self.read_meta().await? {
            Some(meta) => same(item::text(&meta, "hash_key"), hash_key.fingerprint().as_str()),
            None => Ok(()),
        }
    }

    async fn check_meta(&self, hash_key: &HashKey) -> Result<(), StoreError> {
        let ours = hash_key.fingerprint();
        let theirs = match self.read_meta().await? {
            Some(meta) => item::text(&meta, "hash_key").map(str::to_owned),
            None => self.put_meta(ours.as_str()).await?,
        };
        same(theirs.as_deref(), ours.as_str())
    }

    async fn read_meta(&self) -> Result<Option<Item>, StoreError> {
        let found = self
            .client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::META, key::META)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::of("GetItem", &error))?;
        Ok(found.item)
    }

    /// Creates `META`; where somebody was faster, what they wrote counts.
    async fn put_meta(&self, ours: &str) -> Result<Option<String>, StoreError> {
        let meta = Meta { schema: 1, hash_key: ours.to_owned() };
        let put = self
            .client
            .put_item()
            .table_name(&*self.table)
            .set_item(Some(item::item((key::META.into(), key::META.into()), "meta", &meta)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match put {
            Ok(_) => Ok(Some(ours.to_owned())),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    let old = failed.item();
                    Ok(old.and_then(|old| item::text(old, "hash_key")).map(str::to_owned))
                }
                _ => Err(StoreError::of("PutItem", &error)),
            },
        }
    }
}

fn same(theirs: Option<&str>, ours: &str) -> Result<(), StoreError> {
    if theirs == Some(ours) { Ok(()) } else { Err(StoreError::WrongHashKey) }
}
