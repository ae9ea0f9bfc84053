//! What a delivery is built from, as the table has it now.
//!
//! Must not know what is decided with it.

use funil_core::contact::consent::Purpose;
use funil_core::delivery::Delivery;
use funil_core::destination::{AliasDigests, Reaches, Slot};
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use funil_core::lead::Lead;
use funil_store::{DeliveryInputs, Found, StoreError};

use super::Handler;

impl Handler {
    /// The oldest lead of the e-mail, if it is another lead. A destination that decides about a purpose itself needs
    /// that lead's consent.
    pub(super) async fn elder(
        &self,
        oldest: Option<LeadId>,
        lead: &Lead,
        slot: &Slot,
    ) -> Result<Option<Lead>, StoreError> {
        match oldest.filter(|oldest| *oldest != lead.id && slot.asks_for.is_some()) {
            Some(oldest) => self.store.lead(oldest).await,
            None => Ok(None),
        }
    }

    /// Reads everything that the delivery is built from. If the lead got its address or number after the delivery was
    /// planned, the revocations of that address or number are read too.
    pub(super) async fn inputs(
        &self,
        delivery: &Delivery,
        slot: &Slot,
    ) -> Result<DeliveryInputs, StoreError> {
        let mut inputs = self.store.delivery_inputs(delivery, self.destination).await?;
        if let Some((kind, digest)) = self.addressed_since(delivery, slot, &inputs) {
            // In a box of its own, because it is rare and larger than all the rest.
            let revocations = Box::pin(self.store.revocations_of((kind, &digest))).await?;
            inputs.revocations.push(revocations);
        }
        Ok(inputs)
    }

    /// The address or number to which the delivery goes, if it was planned without it.
    fn addressed_since(
        &self,
        delivery: &Delivery,
        slot: &Slot,
        inputs: &DeliveryInputs,
    ) -> Option<(&'static str, Digest)> {
        let Found::There(lead) = &inputs.lead else { return None };
        let Found::There(event) = &inputs.event else { return None };
        let now = AliasDigests::of(&lead.latest, &self.hash_key);
        if slot.reaches == Reaches::Mailbox {
            let planned = delivery.email_digest.as_ref();
            return now.email.filter(|email| planned != Some(email)).map(|email| ("email", email));
        }
        let is_message =
            slot.purpose == Purpose::Whatsapp || slot.unless_revoked == Some(Purpose::Whatsapp);
        // If the event already names the recipient of a message, the lead's present number does not matter.
        let is_open = is_message && event.data.recipient().is_none();
        now.phone
            .filter(|phone| is_open && delivery.phone_digest.as_ref() != Some(phone))
            .map(|phone| ("phone", phone))
    }
}
