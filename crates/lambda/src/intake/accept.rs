//! The one way in: whatever an endpoint wants kept becomes an [`Incoming`], and [`App::accept`]
//! plans its deliveries, writes everything in one transaction, logs and rings. For requests about
//! calls, [`App::accept_calls`] also withdraws the messages that end with them.
//!
//! Three things go to the store by themselves, because they are no news of a lead: a visit of a page, an
//! authorised sync of a delivery function, and the revocations of an address or a number, which hold whoever
//! it belongs to.
//!
//! Must not know who sent the request, nor what any destination does with the event.

use funil_core::booking::{BookingChange, BookingId, BookingStatus};
use funil_core::contact::consent::{ConsentChanges, FormConsent};
use funil_core::delivery::{Reason, StateKind};
use funil_core::destination::{self, AliasDigests, plan};
use funil_core::event::Event;
use funil_core::hash::Digest;
use funil_core::id::{LeadId, QuarantineName};
use funil_core::lead::LeadChanges;
use funil_store::{
    Acceptance, Accepted, ConsentEvidence, DeliveryKey, LeadWrite, PaymentChange, Receipt,
    StoreError, TOTALS_TARGET,
};
use jiff::Timestamp;

use crate::app::App;

/// How often a withdrawal looks at a lead's messages again because a worker took one meanwhile.
const WITHDRAWAL_TRIES: usize = 3;

/// Something that happened, with everything that is to be kept of it.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    /// The function that received it, under which it is counted.
    pub(crate) function: &'static str,
    pub(crate) event: Event,
    /// Which lead it may change.
    pub(crate) lead: LeadWrite,
    /// What it changes on the lead.
    pub(crate) changes: LeadChanges,
    /// What the person agreed to by it.
    pub(crate) consent: ConsentChanges,
    /// The consent object of the request itself, where there was one: what it denies is not
    /// planned.
    pub(crate) explicit_consent: Option<&'a FormConsent>,
    /// The proof of the consent.
    pub(crate) evidence: ConsentEvidence,
    /// The response to keep, and under which key.
    pub(crate) receipt: &'a Receipt,
    /// The lead's e-mail and phone that are new with this request.
    pub(crate) aliases: AliasDigests,
    /// A note on another lead, which has no deliveries.
    pub(crate) beside: Option<Event>,
    /// Other aliases of the lead: kind and digest.
    pub(crate) other_aliases: Vec<(&'static str, Digest)>,
    /// Aliases that another lead owns. This lead is found under them too.
    pub(crate) shared_aliases: Vec<(&'static str, Digest)>,
    /// The lead's e-mail and phone after this request, by which deliveries find revocations.
    pub(crate) person: AliasDigests,
    /// The request in quarantine that this is, if a person releases it.
    pub(crate) released: Option<QuarantineName>,
}

impl<'a> Incoming<'a> {
    /// An event of a lead that exists. It changes nothing on the lead, and says nothing about consent.
    pub(crate) fn new(function: &'static str, event: Event, receipt: &'a Receipt) -> Self {
        Self {
            function,
            event,
            lead: LeadWrite::Known,
            changes: LeadChanges::default(),
            consent: ConsentChanges::default(),
            explicit_consent: None,
            evidence: ConsentEvidence { form: function.to_owned(), ..Default::default() },
            receipt,
            aliases: AliasDigests::default(),
            beside: None,
            other_aliases: Vec::new(),
            shared_aliases: Vec::new(),
            person: AliasDigests::default(),
            released: None,
        }
    }
}

/// What a request about calls or payments changes beside its own event.
#[derive(Default)]
struct Effects<'a> {
    /// On the lead's bookings.
    bookings: &'a [BookingChange],
    /// The messages that are not to be sent any more, and why.
    withdrawn: Vec<(DeliveryKey, Reason)>,
    /// The booking that the event wants messages for, where its end was received first.
    ended: Option<BookingId>,
    /// On the lead's payments.
    payment: Option<&'a PaymentChange>,
}

impl App {
    /// Keeps what came in, with its deliveries.
    pub(crate) async fn accept(
        &self,
        incoming: &Incoming<'_>,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        self.keep(incoming, &Effects::default(), now).await
    }

    /// Keeps what came in about a payment, with what it changes on that. [`Accepted::Overtaken`] means that
    /// the payment or its lead was changed since it was read; nothing is kept then.
    pub(crate) async fn accept_payment(
        &self,
        incoming: &Incoming<'_>,
        payment: &PaymentChange,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        self.keep(incoming, &Effects { payment: Some(payment), ..Effects::default() }, now).await
    }

    /// Keeps what came in about calls, with its deliveries, and withdraws the messages that end with
    /// it: nobody is sent a message about a booking that is known not to stand. `bookings` is what it
    /// changes on the lead's bookings. A function of its own, because forms link none of this.
    ///
    /// [`Accepted::Overtaken`] means that a worker held one of those messages at each look; nothing
    /// is kept then, and the caller is to come again.
    pub(crate) async fn accept_calls(
        &self,
        incoming: &Incoming<'_>,
        bookings: &[BookingChange],
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        let event = &incoming.event;
        for _ in 0..WITHDRAWAL_TRIES {
            let (withdrawn, ended) = futures::try_join!(
                self.messages_that_end(event.lead_id, bookings),
                self.ended_booking(event)
            )?;
            let effects = Effects { bookings, withdrawn, ended, payment: None };
            let accepted = self.keep(incoming, &effects, now).await?;
            if accepted != Accepted::Overtaken {
                return Ok(accepted);
            }
        }
        Ok(Accepted::Overtaken)
    }

    async fn keep(
        &self,
        incoming: &Incoming<'_>,
        effects: &Effects<'_>,
        now: Timestamp,
    ) -> Result<Accepted, StoreError> {
        let event = &incoming.event;
        let enabled = &self.config.destinations;
        let queue = self.config.queue_of(event.lead_id);
        let mut deliveries =
            plan(event, enabled, incoming.explicit_consent, &incoming.person, queue);
        deliveries.retain(|delivery| effects.ended.is_none() || delivery.booking != effects.ended);
        let acceptance = Acceptance {
            receipt: incoming.receipt,
            event,
            lead: incoming.lead,
            changes: &incoming.changes,
            consent: &incoming.consent,
            evidence: &incoming.evidence,
            aliases: &incoming.aliases,
            other_aliases: &incoming.other_aliases,
            shared_aliases: &incoming.shared_aliases,
            bookings: effects.bookings,
            payment: effects.payment,
            beside: incoming.beside.as_ref(),
            deliveries: &deliveries,
            withdrawn: &effects.withdrawn,
            released: incoming.released.as_ref(),
        };
        let accepted = self.store.accept(&acceptance, now, &*self.platform.entropy).await?;
        if accepted == Accepted::Kept {
            tracing::info!(
                target: TOTALS_TARGET,
                function = incoming.function,
                lead = %event.lead_id,
                event = %event.id,
                deliveries = deliveries.len(),
                withdrawn = effects.withdrawn.len(),
                Accepted = 1,
                at_ms = now.as_millisecond(),
                "accepted {} of lead {}", event.id, event.lead_id
            );
            self.ring(&deliveries).await;
        }
        Ok(accepted)
    }

    /// The pending messages about the bookings that the request ends.
    async fn messages_that_end(
        &self,
        lead: LeadId,
        bookings: &[BookingChange],
    ) -> Result<Vec<(DeliveryKey, Reason)>, StoreError> {
        let ends: Vec<(&BookingId, BookingStatus)> =
            bookings.iter().filter_map(|change| Some((&change.id, change.status.end()?))).collect();
        if ends.is_empty() {
            return Ok(Vec::new());
        }
        let followers = destination::ALL.iter().filter(|one| one.follows_bookings);
        let messages = futures::future::try_join_all(
            followers.map(|one| self.store.deliveries_of(lead, one.name)),
        );
        let messages = messages.await?.concat();
        let pending = messages.iter().filter(|message| message.state.kind() == StateKind::Pending);
        Ok(pending
            .filter_map(|message| {
                let about = message.booking.as_ref()?;
                let (_, status) = ends.iter().find(|(id, _)| *id == about)?;
                Some((DeliveryKey::from(message), Reason::Withdrawn(*status)))
            })
            .collect())
    }

    /// The booking that the event wants messages for, where its end was received first.
    async fn ended_booking(&self, event: &Event) -> Result<Option<BookingId>, StoreError> {
        let Some(call) = event.data.call() else { return Ok(None) };
        let known = self.store.booking(event.lead_id, &call.booking).await?;
        Ok(known.filter(|booking| !booking.status.stands()).map(|booking| booking.id))
    }
}
