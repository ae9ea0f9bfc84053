//! What a person took back, kept at their alias.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use funil_core::consent::Purpose;
use funil_core::hash::Digest;
use jiff::Timestamp;

use crate::error::StoreError;
use crate::{Store, item, key};

impl Store {
    /// Notes that the person behind an alias (`email` or `phone`) took back a purpose. An older word
    /// never replaces a newer one.
    pub async fn revoke(
        &self,
        alias_kind: &str,
        digest: &Digest,
        purpose: Purpose,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::alias(alias_kind, digest), key::CONSENT)))
            .update_expression("SET #revoked = :at, v = :v, #type = :type")
            .condition_expression("attribute_not_exists(#revoked) OR #revoked < :at")
            .expression_attribute_names("#revoked", item::revoked(purpose))
            .expression_attribute_names("#type", "type")
            .expression_attribute_values(":at", item::s(key::time(at)))
            .expression_attribute_values(":v", item::n(1))
            .expression_attribute_values(":type", item::s("revocation"))
            .send()
            .await;
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(StoreError::of("UpdateItem", &error)),
            },
        }
    }
}
