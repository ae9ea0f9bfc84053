//! The table's own record: which `HASH_KEY` it was made with.
//!
//! Read once per process, beside the first rate check. A wrong key would file every alias and
//! receipt where nobody finds it, so it serves nothing.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use funil_core::hash::HashKey;
use serde::Serialize;

use crate::error::StoreError;
use crate::{Store, item, key};

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

    async fn check_meta(&self, hash_key: &HashKey) -> Result<(), StoreError> {
        let ours = hash_key.fingerprint();
        let found = self
            .client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::META, key::META)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::of("GetItem", &error))?;
        let theirs = match found.item {
            Some(meta) => item::text(&meta, "hash_key").map(str::to_owned),
            None => self.put_meta(ours.as_str()).await?,
        };
        if theirs.as_deref() == Some(ours.as_str()) {
            Ok(())
        } else {
            Err(StoreError::WrongHashKey)
        }
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
