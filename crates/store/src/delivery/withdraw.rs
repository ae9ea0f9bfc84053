//! Withdrawing: pending deliveries that are not to be sent any more.

use funil_core::clock::Entropy;
use funil_core::delivery::{Reason, StateKind};
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use jiff::Timestamp;

use crate::Store;
use crate::delivery::claim::keys;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item;
use crate::table::key::DeliveryKey;
use crate::table::transaction::{Transacted, Write};

impl Store {
    /// The update that ends a pending delivery as skipped.
    pub(crate) fn withdrawal(&self, reason: Reason, now: Timestamp) -> Expression {
        Expression::default()
            .set_as("state", ":skipped", item::s(StateKind::Skipped.name()))
            .set_as("settled_at", ":now", item::timestamp(now))
            .set("reason", item::s(reason.to_string()))
            .set("expires_at", self.goes_at(now))
            .remove_all(&["due_pk", "due_sk", "at_once"])
            .condition("#state = :pending")
            .value(":pending", item::s(StateKind::Pending.name()))
    }

    /// Ends a pending delivery as skipped. Returns whether it was pending; nothing is written
    /// otherwise.
    pub async fn withdraw(
        &self,
        delivery: &DeliveryKey,
        reason: Reason,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.transaction();
        transaction.update(Write::Withdrawal, keys(delivery), self.withdrawal(reason, now))?;
        match transaction.send(entropy).await? {
            Transacted::Done => Ok(true),
            Transacted::Conflict { .. } => Ok(false),
        }
    }

    /// Ends a pending delivery as skipped because a newer one of its lead and slot was delivered.
    /// Returns whether it was pending; nothing is written otherwise.
    pub async fn supersede(
        &self,
        delivery: &DeliveryKey,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.update(keys(delivery), self.withdrawal(Reason::Superseded, now)).await
    }

    /// Ends a lead's pending messages to a number as skipped. Returns how many they were.
    pub async fn withdraw_messages_to(
        &self,
        number: &Digest,
        (lead, destination): (LeadId, &str),
        reason: Reason,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<usize, StoreError> {
        let mut withdrawn = 0;
        for delivery in self.deliveries_of(lead, destination).await? {
            let is_to_number = delivery.phone_digest.as_ref() == Some(number);
            if is_to_number && delivery.state.kind() == StateKind::Pending {
                let key = DeliveryKey::from(&delivery);
                withdrawn += usize::from(self.withdraw(&key, reason, now, entropy).await?);
            }
        }
        Ok(withdrawn)
    }
}
