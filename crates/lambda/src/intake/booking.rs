//! Accepting an event about a booking: with the messages that end with it, in one transaction.
//!
//! Owns which deliveries a withdrawal takes along and how often it looks again when a worker was
//! faster. Must not know who tells of a booking, nor what is sent about a call.

use funil_core::booking::{BookingId, BookingStatus, StatusChange};
use funil_core::contact::consent::ConsentChanges;
use funil_core::delivery::{Reason, StateKind};
use funil_core::destination::{AliasDigests, plan};
use funil_core::event::Event;
use funil_core::hash::Digest;
use funil_core::lead::LeadChanges;
use funil_store::{
    Acceptance, Accepted, ConsentEvidence, DeliveryKey, LeadWrite, Receipt, StoreError,
};
use jiff::Timestamp;

use crate::app::Site;

/// The destination whose messages are about bookings.
const MESSAGES: &str = "whatsapp";
/// How often a withdrawal looks at the deliveries before it gives up.
const LOOKS: usize = 3;

/// A call that tells of a booking.
#[derive(Debug)]
pub(crate) struct BookingUpdate<'a> {
    /// What happened.
    pub(crate) event: &'a Event,
    /// Which lead it may change.
    pub(crate) lead: LeadWrite,
    /// What it changes on the lead.
    pub(crate) changes: &'a LeadChanges,
    /// What the person agreed to by it.
    pub(crate) consent: &'a ConsentChanges,
    /// The function that was told.
    pub(crate) told_by: &'static str,
    /// The answer to keep, and under which key.
    pub(crate) receipt: &'a Receipt,
    /// The lead's aliases that are new with this call.
    pub(crate) aliases: &'a AliasDigests,
    /// Other aliases of the lead: kind and digest.
    pub(crate) other_aliases: &'a [(&'static str, Digest)],
    /// The lead's e-mail and phone after this call, by which deliveries find revocations.
    pub(crate) person: &'a AliasDigests,
}

impl Site {
    /// Keeps the event with its deliveries, and withdraws what ends with it. Nobody is sent a message
    /// about a booking that is known not to stand.
    ///
    /// [`Accepted::Overtaken`] means that a worker held one of the messages at each look; nothing is
    /// kept then, so the caller is to come again.
    pub(crate) async fn accept_booking(
        &self,
        word: &BookingUpdate<'_>,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        let evidence = ConsentEvidence { form: word.told_by.to_owned(), ..Default::default() };
        let mut accepted = Accepted::Overtaken;
        for _ in 0..LOOKS {
            let (withdrawn, ended) =
                futures::try_join!(self.withdrawn(word.event), self.ended(word.event))?;
            let mut deliveries = plan(word.event, &self.config.destinations, None, word.person);
            deliveries.retain(|delivery| ended.is_none() || delivery.booking != ended);
            let acceptance = Acceptance {
                receipt: word.receipt,
                event: word.event,
                lead: word.lead,
                changes: word.changes,
                consent: word.consent,
                evidence: &evidence,
                aliases: word.aliases,
                other_aliases: word.other_aliases,
                deliveries: &deliveries,
                withdrawn: &withdrawn,
            };
            accepted = self.store.accept(&acceptance, now, &*self.platform.entropy).await?;
            match accepted {
                Accepted::Overtaken => {}
                Accepted::Kept => {
                    let (event, deliveries) = (&word.event.id, deliveries.len());
                    tracing::info!(
                        function = word.told_by,
                        lead = %word.event.lead_id,
                        event = %event,
                        deliveries,
                        withdrawn = withdrawn.len(),
                        Accepted = 1,
                        at_ms = now.as_millisecond(),
                        "accepted a word about a booking"
                    );
                    break;
                }
                Accepted::Duplicate(_)
                | Accepted::KeyReused
                | Accepted::OtherEmail
                | Accepted::NoSuchLead => break,
            }
        }
        Ok(accepted)
    }

    /// The messages that nobody holds, about the bookings that the event withdraws.
    async fn withdrawn(&self, event: &Event) -> Result<Vec<(DeliveryKey, Reason)>, StoreError> {
        let ends: Vec<(BookingId, BookingStatus)> = event
            .data
            .bookings()
            .into_iter()
            .filter_map(|change| match change.status {
                StatusChange::Set(status) if !status.stands() => Some((change.id, status)),
                StatusChange::Set(_) | StatusChange::BookedIfNew => None,
            })
            .collect();
        if ends.is_empty() {
            return Ok(Vec::new());
        }
        let messages = self.store.deliveries_of(event.lead_id, MESSAGES).await?;
        let pending = messages.iter().filter(|message| message.state.kind() == StateKind::Pending);
        Ok(pending
            .filter_map(|message| {
                let about = message.booking.as_ref()?;
                let (_, status) = ends.iter().find(|(id, _)| id == about)?;
                Some((DeliveryKey::from(message), Reason::Withdrawn(*status)))
            })
            .collect())
    }

    /// The booking that the event is to plan messages for, if its end was heard of before it.
    async fn ended(&self, event: &Event) -> Result<Option<BookingId>, StoreError> {
        let Some(call) = event.data.call() else { return Ok(None) };
        let known = self.store.booking(event.lead_id, &call.booking).await?;
        Ok(known.filter(|booking| !booking.status.stands()).map(|booking| booking.id))
    }
}
