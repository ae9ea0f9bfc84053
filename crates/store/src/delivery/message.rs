//! Status updates: how far a message has come, as its provider reports.
//!
//! Updates come late, twice and in any order. A message's status only moves forward, and an update may
//! end a delivery of which nobody knew whether it was sent. Must not know any provider.

use funil_core::delivery::{
    Attempt, AttemptOutcome, Delivery, MessageStatus, Reason, State, StateKind, log_attempt,
};
use funil_core::id::DeliveryName;
use jiff::Timestamp;

use crate::DeliveryKey;
use crate::Store;
use crate::delivery::claim::keys;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::{item, key};

/// How often an update is tried against a delivery that others write to meanwhile.
const TRIES: usize = 3;

/// A provider's status update about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageUpdate {
    /// The delivery that the message is of.
    pub delivery: DeliveryName,
    /// The name of the delivery's destination.
    pub destination: &'static str,
    /// How far the message has come.
    pub status: MessageStatus,
    /// The provider's code where it failed.
    pub code: Option<u32>,
    /// When it happened, by the provider's clock.
    pub at: Option<Timestamp>,
}

/// What became of a status update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The status is written to the delivery.
    Kept,
    /// The status is written, and ended the delivery as dead.
    Died,
    /// It changes nothing, because the message is further already.
    Old,
    /// There is no such delivery.
    Unknown,
    /// The delivery is being written by others. The provider has to send the update again.
    Busy,
}

impl Store {
    /// Records a provider's status update about a message. `known` is its delivery where it was read
    /// already; afterwards it is the delivery as it is then.
    pub async fn record_status(
        &self,
        update: MessageUpdate,
        known: &mut Option<Delivery>,
        now: Timestamp,
    ) -> Result<Recorded, StoreError> {
        for _ in 0..TRIES {
            if known.is_none() {
                let found = self.message_named(update.delivery, update.destination).await?;
                *known = found.map(|found| found.delivery);
            }
            let Some(delivery) = known.as_ref() else { return Ok(Recorded::Unknown) };
            if !update.status.is_news(delivery.message)
                || is_of_an_earlier_message(update, delivery)
            {
                return Ok(Recorded::Old);
            }
            // The worker is about to write that the provider took the message. A failure that is
            // written before that would be overwritten.
            let is_leased = delivery.state.kind() == StateKind::Leased;
            if is_leased && update.status == MessageStatus::Failed {
                return Ok(Recorded::Busy);
            }
            let end = end(delivery, update, now);
            let written = self.write_status(delivery, update, end.as_ref(), now).await?;
            let is_written = written.is_some();
            // An item that others wrote to meanwhile, or that newer code did, is read again.
            *known = written.and_then(|written| item::to_delivery(written).ok());
            if is_written {
                let died = matches!(end, Some(State::Dead { .. }));
                return Ok(if died { Recorded::Died } else { Recorded::Kept });
            }
        }
        Ok(Recorded::Busy)
    }

    /// Writes the update, and with it the end of the delivery, if the delivery is still as it was
    /// read. Returns the item as it is then.
    async fn write_status(
        &self,
        delivery: &Delivery,
        update: MessageUpdate,
        end: Option<&State>,
        now: Timestamp,
    ) -> Result<Option<Item>, StoreError> {
        let mut write = Expression::default()
            .set("message", item::s(update.status.name()))
            .value(":was", item::s(delivery.state.name()));
        write = match delivery.message {
            Some(known) => write
                .condition("#state = :was AND #message = :known")
                .value(":known", item::s(known.name())),
            None => write.condition("#state = :was AND attribute_not_exists(#message)"),
        };
        if let Some(state) = end {
            let attempt = Attempt {
                at: now,
                outcome: AttemptOutcome::Reported(update.status),
                status: None,
                duration_ms: 0,
                reason: state.reason().cloned(),
                detail: None,
            };
            let log = log_attempt(&delivery.log, attempt);
            write = write
                .set("state", item::s(state.name()))
                .set("settled_at", item::timestamp(now))
                .set("log", item::attribute(&log, "attempt")?)
                .remove_all(&["due_pk", "due_sk", "doubtful_since"]);
            write = match state.reason() {
                Some(reason) => write
                    .set("reason", item::s(reason.to_string()))
                    .set("dead_pk", item::s(key::dead(&delivery.destination, delivery.shard)))
                    .set_as("dead_sk", ":now", item::s(key::time(now)))
                    .remove("expires_at"),
                None => write
                    .set("expires_at", self.goes_at(now))
                    .remove_all(&["reason", "dead_pk", "dead_sk"]),
            };
        }
        self.update_and_get(keys(&DeliveryKey::from(delivery)), write).await
    }
}

/// Whether the update is about a message that failed before its delivery was sent again: a provider
/// repeats its updates for days.
fn is_of_an_earlier_message(update: MessageUpdate, delivery: &Delivery) -> bool {
    let failed = AttemptOutcome::Reported(MessageStatus::Failed);
    let last = delivery.log.iter().rfind(|attempt| attempt.outcome == failed);
    last.zip(update.at).is_some_and(|(failure, at)| at <= failure.at)
}

/// How an update ends a delivery, if it does: a message that the provider reports as sent was sent,
/// whatever our record says, and one that failed waits for a person.
fn end(delivery: &Delivery, update: MessageUpdate, now: Timestamp) -> Option<State> {
    let is_unknown = match &delivery.state {
        State::Unknown { .. } | State::Unconfirmed { .. } => true,
        // A dead delivery counts only if it died because it may have been sent.
        State::Dead { .. } => delivery.state.is_because_of(Reason::MayHaveBeenSent),
        State::Pending { .. }
        | State::Leased { .. }
        | State::Delivered { .. }
        | State::Skipped { .. } => false,
    };
    if update.status.was_sent() {
        return is_unknown.then_some(State::Delivered { at: now, reason: None });
    }
    let was_delivered = delivery.state.kind() == StateKind::Delivered;
    (is_unknown || was_delivered).then(|| State::Dead {
        at: now,
        reason: Reason::Failed(update.code.unwrap_or_default()).into(),
    })
}
