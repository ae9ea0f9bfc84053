//! Status updates: how far a message of ours came, or that it failed.
//!
//! Must not know what people write.

use funil_core::delivery::{Delivery, Reason};
use funil_core::id::{DeliveryName, LeadId};
use funil_core::provider::whatsapp::{self, StatusUpdate};
use funil_store::{AlertKind, MessageUpdate, Recorded, StoreError};
use jiff::Timestamp;

use super::{Taken, WhatsAppWebhook};

impl WhatsAppWebhook {
    /// Records the status updates about the messages of one lead, in their order.
    pub(super) async fn record_statuses(
        &self,
        lead: LeadId,
        updates: &[(DeliveryName, &StatusUpdate)],
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let mut deliveries = self.app.store.deliveries_of(lead, whatsapp::NAME).await?;
        let mut taken = Taken::All;
        for (name, update) in updates {
            let place = deliveries.iter().position(|one| one.id == name.delivery_id);
            let mut known = place.map(|place| deliveries.swap_remove(place));
            taken = taken.and(self.take_status(update, *name, &mut known, now).await)?;
            deliveries.extend(known);
        }
        Ok(taken)
    }

    /// Takes one status update. For somebody with a username it carries only the business-scoped id;
    /// the message itself went to the number of its delivery, so both belong to one person.
    async fn take_status(
        &self,
        update: &StatusUpdate,
        name: DeliveryName,
        known: &mut Option<Delivery>,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let mut taken = self.record_status(update, name, known, now).await?;
        let person = self.known(&update.person);
        if person.phone.is_none()
            && let Some(delivery) = known
            && let Some(pair) = person.bsuid.zip(delivery.phone_digest.clone())
            && self.app.store.linked_phones(std::slice::from_ref(&pair)).await?.is_empty()
        {
            taken = taken.and(self.introduce(&pair, now).await)?;
        }
        Ok(taken)
    }

    /// Records how far a message came, or that it failed.
    async fn record_status(
        &self,
        update: &StatusUpdate,
        delivery: DeliveryName,
        known: &mut Option<Delivery>,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let reported = MessageUpdate {
            delivery,
            destination: whatsapp::NAME,
            status: update.status,
            code: update.code,
            at: update.at,
        };
        let recorded = self.app.store.record_status(reported, known, now).await?;
        let status = update.status.name();
        match recorded {
            Recorded::Kept => {
                tracing::info!(%delivery, status, "the message of delivery {delivery} is now {status}");
            }
            Recorded::Died => {
                let code = update.code.unwrap_or_default();
                tracing::warn!(
                    %delivery,
                    status,
                    code,
                    "the message of delivery {delivery} failed with code {code} and will not arrive"
                );
                let (kind, example) = (AlertKind::Dead, delivery.to_string());
                self.app.store.raise_alert(whatsapp::NAME, kind, Some(&example), now).await?;
                let reason = Reason::Failed(code);
                let number = known.as_ref().and_then(|known| known.phone_digest.as_ref());
                if let Some(number) = number.filter(|_| reason.is_about_number()) {
                    let (of, entropy) =
                        ((delivery.lead_id, whatsapp::NAME), &*self.app.platform.entropy);
                    let store = &self.app.store;
                    store.withdraw_messages_to(number, of, reason, now, entropy).await?;
                }
            }
            Recorded::Old | Recorded::Unknown => {
                tracing::debug!(
                    %delivery,
                    status,
                    "ignored the status {status} of the message of delivery {delivery}, which is not new"
                );
            }
            Recorded::Busy => {
                tracing::info!(
                    %delivery,
                    status,
                    "delivery {delivery} is just being written; Meta is asked to send the status {status} again"
                );
                return Ok(Taken::NotAll);
            }
        }
        Ok(Taken::All)
    }
}
