//! The identity of the table: which `HASH_KEY` it was made with, and over how many shards deliveries were
//! ever spread.
//!
//! A wrong key would file every alias and receipt where nobody finds it, so a function with a wrong
//! key serves nothing. The identity is read once per process, beside the first rate check.

use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemInput};
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use funil_core::delivery::Shards;
use funil_core::hash::HashKey;
use serde::Serialize;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::{item, key};

/// The attributes of the table's identity.
#[derive(Serialize)]
struct IdentityRecord {
    /// The version of the table's layout.
    schema: u32,
    /// A digest that recognises `HASH_KEY`.
    hash_key: String,
}

impl Store {
    /// Checks that the table was made with this `HASH_KEY`; a table without an identity gets this
    /// one. Notes that this process spreads deliveries over more shards than others did before. Reads
    /// once per process, and does nothing after it succeeded.
    pub async fn ready(&self, hash_key: &HashKey) -> Result<(), StoreError> {
        self.ready.get_or_try_init(|| self.check_or_create_identity(hash_key)).await.copied()
    }

    /// Reads the table's identity now, whatever [`ready`](Self::ready) found before, and checks that
    /// it is of this `HASH_KEY`. Writes nothing; a table without an identity passes, because nobody
    /// has used it yet.
    pub async fn verify_identity(&self, hash_key: &HashKey) -> Result<(), StoreError> {
        match self.table_identity().await? {
            Some(found) => same(item::text(&found, "hash_key"), hash_key.fingerprint().as_str()),
            None => Ok(()),
        }
    }

    /// Looks over how many shards deliveries are spread: another process may have begun to use more.
    pub async fn look_at_shards(&self) -> Result<Shards, StoreError> {
        self.table_identity().await?;
        Ok(self.shards())
    }

    /// The shards in which deliveries may stand, as far as was looked.
    pub(crate) fn shards(&self) -> Shards {
        Shards::new(self.spread_over.load(Ordering::Relaxed)).unwrap_or(Shards::ONE)
    }

    /// Notes in the table that deliveries are spread over so many shards, before the first one is. The
    /// number only grows, because deliveries may stand in a shard for months.
    pub(crate) async fn spread_over(&self, shards: Shards) -> Result<(), StoreError> {
        let grow = Expression::default()
            .set("due_shards", item::n(shards.count()))
            .condition("attribute_not_exists(#due_shards) OR #due_shards < :due_shards");
        self.update(keys(), grow).await?;
        self.spread_over.fetch_max(shards.count(), Ordering::Relaxed);
        Ok(())
    }

    async fn check_or_create_identity(&self, hash_key: &HashKey) -> Result<(), StoreError> {
        let ours = hash_key.fingerprint();
        let theirs = match self.table_identity().await? {
            Some(found) => item::text(&found, "hash_key").map(str::to_owned),
            None => self.create_identity(ours.as_str()).await?,
        };
        same(theirs.as_deref(), ours.as_str())?;
        if self.writes_to > self.shards() {
            self.spread_over(self.writes_to).await?;
        }
        Ok(())
    }

    async fn table_identity(&self) -> Result<Option<Item>, StoreError> {
        let found = self.get(keys()).await?;
        let shards = found.as_ref().and_then(|found| item::number(found, "due_shards"));
        if let Some(shards) = shards.and_then(|shards| u8::try_from(shards).ok()) {
            self.spread_over.fetch_max(shards, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// Creates the identity. If another process was faster, what it wrote counts.
    async fn create_identity(&self, ours: &str) -> Result<Option<String>, StoreError> {
        let record = IdentityRecord { schema: 1, hash_key: ours.to_owned() };
        let keys = (key::TABLE_IDENTITY.to_owned(), key::TABLE_IDENTITY.to_owned());
        let put = PutItemInput::builder()
            .table_name(&*self.table)
            .set_item(Some(item::item(keys, "meta", &record)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match self.client.send(put).await {
            Ok(_) => Ok(Some(ours.to_owned())),
            Err(error) => match error.service() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    let old = failed.item();
                    Ok(old.and_then(|old| item::text(old, "hash_key")).map(str::to_owned))
                }
                _ => Err(StoreError::of("PutItem", &error)),
            },
        }
    }
}

fn keys() -> Item {
    item::keys(key::TABLE_IDENTITY, key::TABLE_IDENTITY)
}

fn same(theirs: Option<&str>, ours: &str) -> Result<(), StoreError> {
    if theirs == Some(ours) { Ok(()) } else { Err(StoreError::WrongHashKey) }
}
