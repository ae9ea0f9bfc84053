//! What a provider says of a message after it took it: sent, delivered, read, or failed.
//!
//! Words come late, twice and in any order; the message's status only moves forward, and with it a
//! delivery that nobody knew the end of finds its end. Must not know any provider.

use funil_core::delivery::{ATTEMPTS_KEPT, Attempt, Delivery, MessageStatus, Reason, State};
use funil_core::id::DeliveryName;
use jiff::Timestamp;

use crate::DeliveryKey;
use crate::Store;
use crate::delivery::claim::condition;
use crate::table::error::StoreError;
use crate::table::{item, key};

/// How often a word is tried against a delivery that others write to meanwhile.
const TRIES: usize = 3;

/// A provider's word about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageUpdate {
    /// Whose.
    pub delivery: DeliveryName,
    /// How far it has come.
    pub status: MessageStatus,
    /// The provider's code where it failed.
    pub code: Option<u32>,
    /// When it happened, by the provider's clock.
    pub at: Option<Timestamp>,
}

/// What became of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is kept.
    Kept,
    /// It ended the delivery as dead.
    Died,
    /// It is nothing new.
    Old,
    /// There is no such delivery.
    Unknown,
    /// The delivery is just being written: tell it again later.
    Busy,
}

impl Store {
    /// Takes a provider's word about a message.
    pub async fn record_status(
        &self,
        word: MessageUpdate,
        now: Timestamp,
    ) -> Result<Recorded, StoreError> {
        for _ in 0..TRIES {
            let found = self.delivery_named(word.delivery).await?;
            let Some(delivery) = found.map(|found| found.delivery) else {
                return Ok(Recorded::Unknown);
            };
            if !word.status.is_news(delivery.message) || is_of_an_earlier_message(word, &delivery) {
                return Ok(Recorded::Old);
            }
            // Its worker is about to write that it was taken, which a failure must not lose against.
            if delivery.state == State::Leased && word.status == MessageStatus::Failed {
                return Ok(Recorded::Busy);
            }
            let end = end(&delivery, word);
            if self.write_status(&delivery, word, end, now).await? {
                return Ok(if end == Some(State::Dead) { Recorded::Died } else { Recorded::Kept });
            }
        }
        Ok(Recorded::Busy)
    }

    /// Writes it where the delivery still stands as read; answers whether it did.
    async fn write_status(
        &self,
        delivery: &Delivery,
        word: MessageUpdate,
        end: Option<State>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let stands = DeliveryKey::from(delivery);
        let mut set = vec!["message = :message"];
        let mut remove = Vec::new();
        let mut update = self
            .client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(stands.pk(), stands.sk.clone())))
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":was", item::s(delivery.state.name()))
            .expression_attribute_values(":message", item::s(word.status.name()));
        let known = match delivery.message {
            Some(known) => {
                update = update.expression_attribute_values(":known", item::s(known.name()));
                "message = :known"
            }
            None => "attribute_not_exists(message)",
        };
        if let Some(state) = end {
            let reason = (state == State::Dead)
                .then(|| Reason::Failed(word.code.unwrap_or_default()).to_string());
            let mut log = delivery.log.clone();
            log.push(Attempt {
                at: now,
                outcome: word.status.attempt_outcome().to_owned(),
                status: None,
                duration_ms: 0,
                reason: reason.clone(),
                detail: None,
            });
            let excess = log.len().saturating_sub(ATTEMPTS_KEPT);
            log.drain(..excess);
            set.extend(["#state = :state", "settled_at = :settled", "#log = :log"]);
            remove.extend(["due_pk", "due_sk", "doubtful_since"]);
            update = update
                .expression_attribute_names("#log", "log")
                .expression_attribute_values(":state", item::s(state.name()))
                .expression_attribute_values(":settled", item::attribute(&now, "time")?)
                .expression_attribute_values(":log", item::attribute(&log, "attempt")?);
            if let Some(reason) = reason {
                set.extend(["reason = :reason", "dead_pk = :dead", "dead_sk = :now"]);
                update = update
                    .expression_attribute_values(":reason", item::s(reason))
                    .expression_attribute_values(":dead", item::s(key::dead(&delivery.destination)))
                    .expression_attribute_values(":now", item::s(key::time(now)));
            } else {
                remove.extend(["reason", "dead_pk", "dead_sk"]);
            }
        }
        let mut expression = format!("SET {}", set.join(", "));
        if !remove.is_empty() {
            expression = format!("{expression} REMOVE {}", remove.join(", "));
        }
        let written = update
            .update_expression(expression)
            .condition_expression(format!("#state = :was AND {known}"))
            .send()
            .await;
        Ok(condition(written)?.is_some())
    }
}

/// Whether the word is about a message that failed before its delivery was sent again: a provider
/// repeats its words for days.
fn is_of_an_earlier_message(word: MessageUpdate, delivery: &Delivery) -> bool {
    let failed = MessageStatus::Failed.attempt_outcome();
    let last = delivery.log.iter().rfind(|attempt| attempt.outcome == failed);
    last.zip(word.at).is_some_and(|(failure, at)| at <= failure.at)
}

/// How a word ends a delivery, if it does: what left was sent, whatever we thought; what failed is
/// for a person.
fn end(delivery: &Delivery, word: MessageUpdate) -> Option<State> {
    let is_unknown = match delivery.state {
        State::Unknown => true,
        // It died of the doubt alone.
        State::Dead => delivery.reason == Some(Reason::MayHaveBeenSent.to_string()),
        State::Pending | State::Leased | State::Delivered | State::Skipped => false,
    };
    match word.status {
        MessageStatus::Sent | MessageStatus::Delivered | MessageStatus::Read => {
            is_unknown.then_some(State::Delivered)
        }
        MessageStatus::Failed => {
            (is_unknown || delivery.state == State::Delivered).then_some(State::Dead)
        }
    }
}
