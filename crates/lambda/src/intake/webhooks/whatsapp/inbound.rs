//! What people write to us: that they want no more messages, that they want them again, or that they
//! want to cancel or to move their call.
//!
//! Owns what identifies a message. Which words mean what is in `funil_core::provider::whatsapp`. Must
//! not know about our own messages.

use std::sync::atomic::{AtomicBool, Ordering};

use funil_core::booking::{self, BookingId};
use funil_core::contact::consent::Purpose;
use funil_core::event::{CallChangeRequested, CallWish, Event};
use funil_core::hash::Digest;
use funil_core::id::{EventId, LeadId};
use funil_core::provider::whatsapp::{self, Inbound, Number};
use funil_store::{Accepted, AlertKind, StoreError};
use jiff::Timestamp;

use super::people::{BSUID, LEADS_TOUCHED, PHONE};
use super::{Taken, WhatsAppWebhook};
use crate::intake::accept::Incoming;
use crate::intake::webhook::{self, Webhook as _};

impl WhatsAppWebhook {
    /// Records that somebody wants no more messages. Only an opt-in through the same channel, or an operator, undoes
    /// it. A number that no numbering plan has may be written in another way where we know it, so a person has to
    /// look if no lead is found.
    pub(super) async fn opt_out(
        &self,
        message: &Inbound,
        of_nobody: &AtomicBool,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let store = &self.app.store;
        let at = said_at(message, now);
        let person = self.known(&message.person);
        if let Some(bsuid) = &person.bsuid {
            store.revoke(BSUID, bsuid, Purpose::Whatsapp, at).await?;
        }
        let said = self.message_digest(message);
        let (mut leads, mut is_known, mut taken) = (Vec::new(), person.is_sure, Taken::All);
        for phone in self.all_phones(&person).await? {
            store.revoke(PHONE, &phone, Purpose::Whatsapp, at).await?;
            // The revocation stands, and sending looks at it. The other numbers are revoked too before Meta
            // is asked to send this again, so that what is queued is withdrawn as well.
            match self.stop(&phone, at, now).await {
                Ok(stopped) => leads.extend(stopped),
                Err(error) => {
                    (is_known, taken) = (true, Taken::NotAll);
                    tracing::warn!(
                        "the opt-out in message {} is kept, but what is queued could not be withdrawn; Meta is asked \
                         to send it again: {error}",
                        said.as_str()
                    );
                }
            }
            // A number that came with the id is one that we know.
            is_known |= !leads.is_empty() || person.phone.as_ref() != Some(&phone);
        }
        if !is_known {
            of_nobody.store(true, Ordering::Relaxed);
        }
        tracing::info!(
            function = Self::NAME,
            leads = leads.len(),
            "revoked WhatsApp for {}, because the person opted out in message {}",
            webhook::leads_in_words(&leads),
            said.as_str()
        );
        Ok(taken)
    }

    /// Records that somebody who had opted out wants messages again.
    pub(super) async fn opt_in(
        &self,
        message: &Inbound,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let store = &self.app.store;
        let entropy = &*self.app.platform.entropy;
        let at = said_at(message, now);
        let person = self.known(&message.person);
        if let Some(bsuid) = &person.bsuid {
            store.restore(BSUID, bsuid, Purpose::Whatsapp, at).await?;
        }
        let mut leads = Vec::new();
        for phone in self.phones(&person).await? {
            store.restore(PHONE, &phone, Purpose::Whatsapp, at).await?;
            for lead in self.leads_with(&phone).await? {
                if !self.is_of(&lead, &phone) {
                    continue;
                }
                let purpose = Purpose::Whatsapp;
                let done = store.restore_of_lead(lead.id, purpose, at, Self::NAME, entropy).await?;
                leads.extend(done.then_some(lead.id));
            }
        }
        tracing::info!(
            function = Self::NAME,
            leads = leads.len(),
            "a person opted in again in message {}; their opt-out was shown on {}",
            self.message_digest(message).as_str(),
            webhook::leads_in_words(&leads)
        );
        Ok(Taken::All)
    }

    /// Notes that somebody wants to cancel or to move their call, and alerts a person: on the leads of
    /// their numbers with a call ahead, else on the newest one. Meta may send a message again, so this
    /// has a receipt.
    pub(super) async fn note(
        &self,
        message: &Inbound,
        wish: CallWish,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let person = self.known(&message.person);
        let mut leads: Vec<LeadId> = Vec::new();
        for phone in self.phones(&person).await? {
            leads.extend(self.leads_with(&phone).await?.iter().map(|lead| lead.id));
        }
        leads.truncate(LEADS_TOUCHED);
        let mut wishes: Vec<(LeadId, Option<BookingId>)> = Vec::new();
        for lead in &leads {
            let bookings = self.app.store.bookings(*lead).await?;
            if let Some(next) = booking::next(&bookings, now) {
                wishes.push((*lead, Some(next.id.clone())));
            }
        }
        if wishes.is_empty() {
            wishes.extend(leads.first().map(|newest| (*newest, None)));
        }
        for (lead, booking) in wishes {
            let request = CallChangeRequested { wish, booking };
            let accepted = self.keep_request(message, lead, request, now).await?;
            // A repetition alerts too, because the process of the first may have died before it did.
            if matches!(accepted, Accepted::Kept | Accepted::Duplicate(_)) {
                let (kind, example) = (AlertKind::CallChange, lead.to_string());
                self.app.store.raise_alert(whatsapp::NAME, kind, Some(&example), now).await?;
            }
        }
        Ok(Taken::All)
    }

    /// Keeps what somebody wants on a lead, once.
    async fn keep_request(
        &self,
        message: &Inbound,
        lead: LeadId,
        request: CallChangeRequested,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        let id = self.event_id(message, lead);
        let receipt = webhook::receipt(whatsapp::NAME, &[id.as_str()]);
        let event =
            Event { occurred_at: said_at(message, now), ..Event::new(id, lead, request, now) };
        self.app.accept(&Incoming::new(Self::NAME, event, &receipt), now).await
    }

    /// The id of the event of a message on a lead.
    fn event_id(&self, message: &Inbound, lead: LeadId) -> EventId {
        let digest = self.message_digest(message);
        EventId::of_provider(whatsapp::NAME, &format!("message:{}:{lead}", digest.as_str()))
    }

    /// What identifies a message in event ids and in the log. WhatsApp's own id of it holds the sender's
    /// number, so a keyed digest stands for it.
    fn message_digest(&self, message: &Inbound) -> Digest {
        let number = message.person.number.as_ref().map(Number::alias_text).unwrap_or_default();
        let id = message.id.as_ref().map(|id| id.expose().clone());
        let id = id.unwrap_or_else(|| format!("{number} {:?} {:?}", message.at, message.word));
        self.app.config.hash_key.digest("wamid", &id)
    }
}

/// When a message was written, to the second as WhatsApp says it. A time from a clock that is ahead
/// must not outweigh what the person writes later.
fn said_at(message: &Inbound, now: Timestamp) -> Timestamp {
    let at = message.at.unwrap_or(now).min(now);
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
