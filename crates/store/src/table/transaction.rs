//! Transactions: several writes, all or none, each with a label that names the one that met a
//! conflict.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsError, TransactWriteItemsInput,
};
use aws_sdk_dynamodb::types::{
    CancellationReason, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use funil_core::clock::Entropy;

use crate::Store;
use crate::table::client::RequestError;
use crate::table::error::StoreError;
use crate::table::expression::{Expression, Finished};
use crate::table::item::Item;

/// How often a transaction that met another one is tried again.
const CONFLICT_RETRIES: u32 = 3;
/// How often one is tried again that the table refused for its load: for about a second and a half.
const LOAD_RETRIES: u32 = 5;
/// The condition that an item does not exist.
const IS_ABSENT: &str = "attribute_not_exists(pk)";

/// What a write of a transaction is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// The receipt of a request.
    Receipt,
    /// The lead itself: an update of it, or the check that it exists.
    Lead,
    /// An event of the lead.
    Event,
    /// The proof of a consent or of its revocation.
    Consent,
    /// An alias of the lead.
    Alias,
    /// The claim that an object's alias belongs to the lead and to no other.
    AliasOwner,
    /// What the person behind an alias revoked.
    Revocation,
    /// The person behind an e-mail.
    Person,
    /// A booking of the lead.
    Booking,
    /// A payment of the lead.
    Payment,
    /// A delivery: a new one, or a person's decision about one.
    Delivery,
    /// The end of a delivery that is not to be sent.
    Withdrawal,
    /// A request in quarantine.
    Quarantine,
    /// The end of a request in quarantine that is released.
    Release,
}

impl Write {
    /// The error for a condition that cannot fail unless two items share a key.
    pub(crate) const fn conflict(self) -> StoreError {
        StoreError::Conflict { what: self.name() }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Receipt => "receipt",
            Self::Lead => "lead",
            Self::Event => "event",
            Self::Consent => "consent record",
            Self::Alias => "alias",
            Self::AliasOwner => "owner of an alias",
            Self::Revocation => "revocation",
            Self::Person => "person",
            Self::Booking => "booking",
            Self::Payment => "payment",
            Self::Delivery => "delivery",
            Self::Withdrawal => "withdrawn delivery",
            Self::Quarantine => "quarantined request",
            Self::Release => "released request",
        }
    }
}

/// How a transaction ended.
pub(crate) enum Transacted {
    /// Everything is written.
    Done,
    /// Nothing is written, because a condition did not hold.
    Conflict {
        /// The first write, in the order of adding, whose condition did not hold.
        write: Write,
        /// The item that is there, where the write asked for it.
        old: Option<Item>,
    },
}

/// Writes that are made together or not at all.
pub(crate) struct Transaction<'s> {
    store: &'s Store,
    labels: Vec<Write>,
    writes: Vec<TransactWriteItem>,
}

impl Store {
    /// A transaction without writes.
    pub(crate) const fn transaction(&self) -> Transaction<'_> {
        Transaction { store: self, labels: Vec::new(), writes: Vec::new() }
    }
}

impl Transaction<'_> {
    fn push(&mut self, label: Write, write: TransactWriteItem) {
        self.labels.push(label);
        self.writes.push(write);
    }

    /// Writes an item, whatever is there.
    pub(crate) fn put(&mut self, label: Write, item: Item) -> Result<(), StoreError> {
        let put = Put::builder().table_name(&*self.store.table).set_item(Some(item));
        let put = put.build().map_err(|_| StoreError::InvalidRequest { what: label.name() })?;
        self.push(label, TransactWriteItem::builder().put(put).build());
        Ok(())
    }

    /// Writes an item that must not exist.
    pub(crate) fn create(&mut self, label: Write, item: Item) -> Result<(), StoreError> {
        let put = Put::builder()
            .table_name(&*self.store.table)
            .set_item(Some(item))
            .condition_expression(IS_ABSENT)
            .build()
            .map_err(|_| StoreError::InvalidRequest { what: label.name() })?;
        self.push(label, TransactWriteItem::builder().put(put).build());
        Ok(())
    }

    /// Writes an item under a condition. A conflict brings the item that is there.
    pub(crate) fn put_if(
        &mut self,
        label: Write,
        item: Item,
        condition: Expression,
    ) -> Result<(), StoreError> {
        let Finished { condition, names, values, .. } = condition.finish();
        let put = Put::builder()
            .table_name(&*self.store.table)
            .set_item(Some(item))
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|_| StoreError::InvalidRequest { what: label.name() })?;
        self.push(label, TransactWriteItem::builder().put(put).build());
        Ok(())
    }

    /// Updates an item, under the expression's condition if it has one.
    pub(crate) fn update(
        &mut self,
        label: Write,
        key: Item,
        expression: Expression,
    ) -> Result<(), StoreError> {
        self.push_update(label, key, expression, None)
    }

    /// Updates an item under the expression's condition. A conflict brings the item that is there.
    pub(crate) fn update_or_get(
        &mut self,
        label: Write,
        key: Item,
        expression: Expression,
    ) -> Result<(), StoreError> {
        let old = ReturnValuesOnConditionCheckFailure::AllOld;
        self.push_update(label, key, expression, Some(old))
    }

    fn push_update(
        &mut self,
        label: Write,
        key: Item,
        expression: Expression,
        on_conflict: Option<ReturnValuesOnConditionCheckFailure>,
    ) -> Result<(), StoreError> {
        let Finished { update, condition, names, values } = expression.finish();
        let update = Update::builder()
            .table_name(&*self.store.table)
            .set_key(Some(key))
            .update_expression(update)
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .set_return_values_on_condition_check_failure(on_conflict)
            .build()
            .map_err(|_| StoreError::InvalidRequest { what: label.name() })?;
        self.push(label, TransactWriteItem::builder().update(update).build());
        Ok(())
    }

    /// Asks that the expression's condition holds of an item, and writes nothing to it.
    pub(crate) fn check(
        &mut self,
        label: Write,
        key: Item,
        expression: Expression,
    ) -> Result<(), StoreError> {
        let Finished { condition, names, values, .. } = expression.finish();
        let check = ConditionCheck::builder()
            .table_name(&*self.store.table)
            .set_key(Some(key))
            .set_condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .build()
            .map_err(|_| StoreError::InvalidRequest { what: label.name() })?;
        self.push(label, TransactWriteItem::builder().condition_check(check).build());
        Ok(())
    }

    /// Deletes an item that must exist.
    pub(crate) fn delete(&mut self, label: Write, key: Item) -> Result<(), StoreError> {
        let delete = Delete::builder()
            .table_name(&*self.store.table)
            .set_key(Some(key))
            .condition_expression("attribute_exists(pk)")
            .build()
            .map_err(|_| StoreError::InvalidRequest { what: label.name() })?;
        self.push(label, TransactWriteItem::builder().delete(delete).build());
        Ok(())
    }

    /// Makes the writes, all or none. A transaction that merely met another one, or that the table refused for its load,
    /// is tried again, with jitter. Each try has a token of its own, by which the repetitions of its request stay one
    /// write.
    pub(crate) async fn send(self, entropy: &dyn Entropy) -> Result<Transacted, StoreError> {
        let operation = "TransactWriteItems";
        let client = &self.store.client;
        let mut token = entropy.uuid_v4().to_string();
        let request = TransactWriteItemsInput::builder()
            .set_transact_items(Some(self.writes))
            .client_request_token(&token);
        let mut prepared =
            client.prepare(request).map_err(|error| StoreError::of(operation, &error))?;
        let mut tries = 0;
        loop {
            if tries > 0 {
                let new = entropy.uuid_v4().to_string();
                prepared.replace_token(&token, &new);
                token = new;
            }
            let result = client.send_prepared(&prepared).await;
            let reasons = match &result {
                Ok(_) => return Ok(Transacted::Done),
                Err(error) => match cancellation_reasons(error) {
                    Some(reasons) => reasons,
                    None => return Err(StoreError::of(operation, error)),
                },
            };
            // DynamoDB gives one reason for each write, in their order. A failed condition decides,
            // whatever else went wrong.
            let mut labelled = self.labels.iter().zip(reasons);
            let failed = labelled.find(|(_, why)| why.code() == Some("ConditionalCheckFailed"));
            if let Some((write, reason)) = failed {
                return Ok(Transacted::Conflict { write: *write, old: reason.item.clone() });
            }
            let code = reasons.iter().filter_map(CancellationReason::code).find(|c| *c != "None");
            let code = code.unwrap_or("TransactionCanceledException").to_owned();
            match code.as_str() {
                "TransactionConflict" if tries < CONFLICT_RETRIES => {
                    tries += 1;
                    let wait_ms = u64::from(tries) * 20 + entropy.number() % 60;
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
                "ThrottlingError" | "ProvisionedThroughputExceeded" if tries < LOAD_RETRIES => {
                    tries += 1;
                    let most_ms = 25 << tries;
                    let wait_ms = most_ms / 2 + entropy.number() % most_ms;
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
                "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded" => {
                    return Err(StoreError::Unavailable { operation, code });
                }
                _ => return Err(StoreError::Refused { operation, code }),
            }
        }
    }
}

fn cancellation_reasons(
    error: &RequestError<TransactWriteItemsError>,
) -> Option<&[CancellationReason]> {
    match error.service()? {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            Some(cancelled.cancellation_reasons())
        }
        _ => None,
    }
}
