//! Payments, as items beside their lead, and what the lead has paid in all.
//!
//! A payment is read, changed by a report, and written only if nobody changed it meanwhile. The same transaction
//! changes the lead's total of that currency by the same amount. The newest payment, refund and dispute are stored on
//! the lead itself. So the cost of a report does not grow with the number of payments, and the order of reports does
//! not matter.

use funil_core::event::TransactionId;
use funil_core::id::LeadId;
use funil_core::payment::{LatestPayments, Transaction};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::transaction::{Transaction as Writes, Write};
use crate::table::{item, key};

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

/// What a report about a payment changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentChange {
    /// On the payment itself, for one that moves money.
    pub transaction: Option<TransactionChange>,
    /// On the newest payments that stand on the lead, where they change.
    pub latest: Option<LatestChange>,
}

/// The newest payments of a lead after a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestChange {
    /// The version of the lead of which they were made; `None` where there was no lead.
    pub lead_version: Option<u64>,
    /// The newest payments.
    pub after: LatestPayments,
}

impl PaymentChange {
    /// Adds the payment to the writes of an acceptance.
    pub(crate) fn add(&self, writes: &mut Writes<'_>, lead: LeadId) -> Result<(), StoreError> {
        self.transaction.as_ref().map_or(Ok(()), |change| change.add(writes, lead))
    }

    /// Changes the lead's sum and its newest payments.
    pub(crate) fn change(&self, mut lead: Expression) -> Result<Expression, StoreError> {
        if let Some(transaction) = &self.transaction {
            lead = transaction.sum(lead);
        }
        if let Some(latest) = &self.latest {
            lead = lead.set(item::PAYMENTS, item::attribute(&latest.after, "lead")?);
        }
        Ok(lead)
    }

    /// Whether the lead changed since it was read; `old` is the stored one, which the conflict brought.
    pub(crate) fn is_overtaken(&self, old: &Item) -> bool {
        let version = item::number(old, "version").and_then(|version| u64::try_from(version).ok());
        self.latest.as_ref().is_some_and(|latest| latest.lead_version != version)
    }
}

impl LatestChange {
    /// The condition that nobody wrote the lead since it was read.
    pub(crate) fn unchanged(&self, lead: Expression) -> Expression {
        match self.lead_version {
            None => lead.and("attribute_not_exists(pk)"),
            Some(version) => lead
                .value(":version_read", item::n(i64::try_from(version).unwrap_or(i64::MAX)))
                .and("#version = :version_read"),
        }
    }
}

/// A payment before and after a report, from which the write and the change of the lead's total follow.
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
    fn add(&self, writes: &mut Writes<'_>, lead: LeadId) -> Result<(), StoreError> {
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
    fn sum(&self, lead: Expression) -> Expression {
        match self.delta() {
            0 => lead,
            delta => lead.add(&item::spent(self.after.currency), delta),
        }
    }
}

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
