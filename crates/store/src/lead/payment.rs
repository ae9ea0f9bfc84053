//! Payments, as items beside their lead, and what the lead has paid in all.
//!
//! A payment is read, changed by a report, and written on condition that nobody changed it meanwhile. The
//! lead's sum of each currency grows or shrinks in the same transaction by exactly what its payment did, so
//! neither what a report costs nor the sum depends on how many there are, or in what order.

use funil_core::event::TransactionId;
use funil_core::id::LeadId;
use funil_core::payment::Transaction;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::transaction::{Transaction as Writes, Write};
use crate::table::{item, key};

/// The attributes of a payment.
#[derive(Serialize, Deserialize)]
struct TransactionRecord {
    /// How often it was written, from 1.
    version: u64,
    #[serde(flatten)]
    transaction: Transaction,
}

/// A payment of a lead, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTransaction {
    /// How often it was written.
    version: u64,
    /// What it adds up to.
    pub transaction: Transaction,
}

/// What a report changes on a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionChange {
    /// The payment before; `None` where it is new.
    pub before: Option<KnownTransaction>,
    /// The payment after.
    pub after: Transaction,
}

impl TransactionChange {
    /// By how much it changes what the lead has paid in the payment's currency, in minor units.
    fn delta(&self) -> i64 {
        let before = self.before.as_ref().map_or(0, |known| known.transaction.net());
        self.after.net().saturating_sub(before)
    }

    /// Adds the payment to the writes of an acceptance.
    pub(crate) fn add(&self, writes: &mut Writes<'_>, lead: LeadId) -> Result<(), StoreError> {
        let version = self.before.as_ref().map_or(0, |known| known.version);
        let record = TransactionRecord { version: version + 1, transaction: self.after.clone() };
        let keys = (key::lead(lead), key::transaction(&self.after.id));
        let unchanged = match &self.before {
            None => Expression::default().condition("attribute_not_exists(pk)"),
            Some(known) => {
                let known = item::attribute(&known.version, "transaction")?;
                let version = Expression::default().name("#version", "version");
                version.value(":version", known).condition("#version = :version")
            }
        };
        writes.put_if(Write::Payment, item::item(keys, "transaction", &record)?, unchanged)
    }

    /// Changes the lead's sum.
    pub(crate) fn sum(&self, lead: Expression) -> Expression {
        match self.delta() {
            0 => lead,
            delta => lead.add(&item::spent(self.after.currency), delta),
        }
    }
}

/// Reads a payment.
pub(crate) fn to_transaction(found: Item) -> Result<KnownTransaction, StoreError> {
    let record: TransactionRecord = item::read(found, "transaction")?;
    Ok(KnownTransaction { version: record.version, transaction: record.transaction })
}

impl Store {
    /// A payment of a lead, if it is known.
    pub async fn transaction_of(
        &self,
        lead: LeadId,
        id: &TransactionId,
    ) -> Result<Option<KnownTransaction>, StoreError> {
        let found = self.get(item::keys(key::lead(lead), key::transaction(id))).await?;
        found.map(to_transaction).transpose()
    }
}
