//! What tools that send e-mails report of addresses, kept: bounces, complaints, and who wants no more.
//!
//! Who unsubscribed or complained revokes e-mails, at their address and on their leads, and what is queued for
//! them is withdrawn. A report that they are active again ends that. The CRM is sent the new status.
//! Everything else stands in the journey. Must not know any of the tools.

use std::collections::BTreeMap;
use std::fmt;

use funil_core::clock::after;
use funil_core::contact::consent::{ConsentChanges, Consents, Decision, Grant, How, Purpose};
use funil_core::delivery::{Reason, StateKind};
use funil_core::destination::{self, AliasDigests};
use funil_core::event::{
    ConsentEffect, EmailChanged, EmailStatus, Event, EventData, SubscriberNoted,
};
use funil_core::hash::{Digest, sha256_hex};
use funil_core::id::{EventId, LeadId};
use funil_core::lead::{Lead, LeadChanges, LeadLatest};
use funil_core::provider::NotUnderstood;
use funil_core::provider::mailbox::{Parsed, Report, What};
use funil_store::{Accepted, Count, DeliveryKey, Reported, StoreError, TOTALS_TARGET};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};

use crate::app::App;
use crate::intake::accept::Incoming;
use crate::intake::webhook::{self, Arrival, Kept, Webhook};

/// How many leads of an e-mail a report touches, beside the oldest. Sending skips the rest, because it looks at
/// the address.
const LEADS_TOUCHED: usize = 25;
/// How many reports of one request are worked on at once.
const SIDE_BY_SIDE: usize = 16;
/// For how long new reports of one request are started. MailerLite waits 3 s for the response and then sends the whole
/// request again; other providers wait longer.
const BEGINS_FOR: SignedDuration = SignedDuration::from_millis(1_500);
/// No report is begun with less time left than this, in seconds.
const PART_S: i64 = 4;

/// Takes every report of a request by itself, so that one that cannot be kept now holds up no other. Reports of one
/// address are taken in their order.
pub(crate) async fn take<W: Webhook>(app: &App, parsed: &Parsed, arrival: &Arrival) -> Kept {
    let mailboxes = Mailboxes { app, function: W::NAME, provider: W::PROVIDER };
    for event in &parsed.others {
        tracing::info!(
            function = W::NAME,
            event,
            "{} ignored the event type {event}, which is not handled",
            W::NAME
        );
    }
    let mut of_addresses: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, report) in parsed.reports.iter().enumerate() {
        of_addresses.entry(report.email.as_str()).or_default().push(place);
    }
    let taken = futures::stream::iter(of_addresses.into_values())
        .map(|places| mailboxes.take_in_order(parsed, places, arrival));
    let taken: Vec<Taken> = taken.buffer_unordered(SIDE_BY_SIDE).collect().await;
    let left = taken.iter().filter(|one| **one == Taken::NotAll).count();
    if left > 0 {
        tracing::warn!(
            left,
            "{} has to send its request to {} again, because of {left} addresses",
            W::PROVIDER,
            W::NAME
        );
    }
    let quarantine = (parsed.unreadable > 0).then_some(NotUnderstood("unreadable_parts"));
    Kept::Parts { incomplete: left > 0, quarantine }
}

/// The addresses of a site, as one tool reports of them.
struct Mailboxes<'a> {
    app: &'a App,
    function: &'static str,
    provider: &'static str,
}

/// Whether the reports of an address were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    All,
    /// No time was left for them, or one could not be kept.
    NotAll,
}

impl Mailboxes<'_> {
    /// Takes the reports of one address, by their places.
    async fn take_in_order(&self, parsed: &Parsed, places: Vec<usize>, arrival: &Arrival) -> Taken {
        let now = self.app.platform.clock.now();
        let begins_until = arrival.now.saturating_add(BEGINS_FOR).unwrap_or(arrival.now);
        if now > begins_until || after(now, PART_S) > arrival.stop_at {
            return Taken::NotAll;
        }
        for place in places {
            let Some(report) = parsed.reports.get(place) else { continue };
            if let Err(error) = self.take(report, place, arrival.now).await {
                tracing::warn!(
                    function = self.function,
                    "the report {} of {} could not be kept, and has to come again: {error}",
                    report.digest,
                    self.provider
                );
                return Taken::NotAll;
            }
        }
        Taken::All
    }

    async fn take(&self, report: &Report, place: usize, now: Timestamp) -> Result<(), StoreError> {
        let email = self.app.config.hash_key.digest("email", report.email.as_str());
        match &report.what {
            What::Changed(status) => {
                // A millisecond apart, so that two reports about one address have two times.
                let apart = SignedDuration::from_millis(i64::try_from(place).unwrap_or(0));
                let at = now.saturating_add(apart).unwrap_or(now);
                self.change(*status, report, &email, (at, now)).await
            }
            What::Noted(noted) => self.note(report, noted, &email, now).await,
        }
    }

    /// Writes the new status at the address first, and then on its leads. If the same report arrives again, only what
    /// is still missing is written.
    async fn change(
        &self,
        status: EmailStatus,
        report: &Report,
        email: &Digest,
        (at, now): (Timestamp, Timestamp),
    ) -> Result<(), StoreError> {
        let store = &self.app.store;
        let since = match store.report_email(email, status, &report.digest, at).await? {
            Reported::News { since } => since,
            Reported::Known => {
                self.count_duplicate(&report.digest, now);
                return Ok(());
            }
            Reported::Repeated => {
                tracing::warn!(
                    function = self.function,
                    status = status.name(),
                    "ignored the report {} of {}, which it sent before: another one came after it",
                    report.digest,
                    self.provider
                );
                self.count_duplicate(&report.digest, now);
                return Ok(());
            }
        };
        let oldest = store.oldest_lead(email).await?;
        let mut leads = store.leads_of(("email", email), LEADS_TOUCHED).await?;
        // The leads that are read are not the newest ones, and strangers can make any number of them.
        leads.extend(oldest.filter(|oldest| !leads.contains(oldest)));
        let leads = store.known_leads(&leads).await?;
        for lead in &leads {
            self.keep_change(lead, status, (email, since), now).await?;
            if status.consent() == ConsentEffect::Revokes {
                self.withdraw(lead.id, now).await?;
            }
        }
        store.email_report_told(email, since).await?;
        tracing::info!(
            function = self.function,
            status = status.name(),
            leads = leads.len(),
            "the report {} of {} gave the address of {} the status {}",
            report.digest,
            self.provider,
            webhook::leads_in_words(&leads.iter().map(|lead| lead.id).collect::<Vec<_>>()),
            status.name()
        );
        Ok(())
    }

    async fn keep_change(
        &self,
        lead: &Lead,
        status: EmailStatus,
        (email, since): (&Digest, Timestamp),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let grant = |decision, how| Some(Grant { decision, at: since, how });
        let known = lead.consents.get(Purpose::MarketingEmail);
        // A consent that the lead never granted is not stored as revoked. Otherwise it would count as granted when the
        // address becomes active again.
        let was_granted = known.is_some_and(|known| known.decision == Decision::Granted);
        let was_revoked = known.is_some_and(|known| known.how == How::Revoked);
        let marketing_email = match status.consent() {
            ConsentEffect::Revokes if was_granted => grant(Decision::Denied, How::Revoked),
            ConsentEffect::Restores if was_revoked => grant(Decision::Granted, How::Restored),
            ConsentEffect::Revokes | ConsentEffect::Restores | ConsentEffect::Nothing => None,
        };
        let name = format!("{}:{}:{since}:{}", status.name(), email.as_str(), lead.id);
        let changes = LeadChanges {
            latest: LeadLatest { email_status: Some(status), ..LeadLatest::default() },
            ..LeadChanges::default()
        };
        let consent = ConsentChanges {
            explicit: Consents { marketing_email, ..Consents::default() },
            ..ConsentChanges::default()
        };
        self.accept(lead, &name, EmailChanged { status }.into(), (changes, consent), now).await
    }

    /// Ends what waits for somebody who wants no e-mails. A worker that took one meanwhile reads the consent
    /// before it sends.
    async fn withdraw(&self, lead: LeadId, now: Timestamp) -> Result<(), StoreError> {
        let purpose = Purpose::MarketingEmail;
        let (store, entropy) = (&self.app.store, &*self.app.platform.entropy);
        let concerned = destination::ALL
            .iter()
            .filter(|one| one.slots.iter().any(|slot| slot.ends_with(purpose)));
        for destination in concerned {
            for delivery in store.deliveries_of(lead, destination.name).await? {
                let ends =
                    destination.slot(&delivery.slot).is_some_and(|slot| slot.ends_with(purpose));
                if ends && delivery.state.kind() == StateKind::Pending {
                    let (key, reason) = (DeliveryKey::from(&delivery), Reason::NoConsent(purpose));
                    store.withdraw(&key, reason, now, entropy).await?;
                }
            }
        }
        Ok(())
    }

    /// Keeps something that changes nothing, in the journey of the lead that the subscriber is: the
    /// oldest of the e-mail. One of several equal bodies is kept in a day, because senders repeat them without a time.
    async fn note(
        &self,
        report: &Report,
        noted: &SubscriberNoted,
        email: &Digest,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let store = &self.app.store;
        let oldest = match store.oldest_lead(email).await? {
            Some(oldest) => vec![oldest],
            // Leads that were kept before the oldest was noted are found by their alias.
            None => store.leads_of(("email", email), 1).await?,
        };
        let leads = store.known_leads(&oldest).await?;
        let Some(lead) = leads.first() else { return Ok(()) };
        let name = format!("{}:{}", report.digest, now.strftime("%Y-%m-%d"));
        let nothing = (LeadChanges::default(), ConsentChanges::default());
        self.accept(lead, &name, noted.clone().into(), nothing, now).await
    }

    /// Counts a report or an event that was kept before, with its digest or id.
    fn count_duplicate(&self, what: &dyn fmt::Display, now: Timestamp) {
        self.app.platform.totals.count(Count::Duplicate(self.function));
        tracing::info!(
            target: TOTALS_TARGET,
            function = self.function,
            Duplicates = 1,
            at_ms = now.as_millisecond(),
            "found the report {what} of {} kept already", self.provider
        );
    }

    /// Keeps an event on a lead. An event of the same name is kept once.
    async fn accept(
        &self,
        lead: &Lead,
        name: &str,
        data: EventData,
        (changes, consent): (LeadChanges, ConsentChanges),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = EventId::of_provider(self.provider, &sha256_hex(name.as_bytes()));
        let receipt = webhook::receipt(self.provider, &[id.as_str()]);
        // It happens now: MailerLite gives no time, and the clocks of the other tools may differ from ours.
        let event = Event::new(id, lead.id, data, now);
        let incoming = Incoming {
            changes,
            consent,
            person: AliasDigests::of(&lead.latest, &self.app.config.hash_key),
            ..Incoming::new(self.function, event, &receipt)
        };
        match self.app.accept(&incoming, now).await? {
            Accepted::Kept | Accepted::NoSuchLead => Ok(()),
            Accepted::Duplicate(_) => {
                self.count_duplicate(&incoming.event.id, now);
                Ok(())
            }
            Accepted::KeyReused
            | Accepted::KeyOfAnother
            | Accepted::OtherEmail
            | Accepted::Exists(_)
            | Accepted::NotInQuarantine
            | Accepted::TooManyNewLeads
            | Accepted::Overtaken => Err(StoreError::Conflict { what: "lead" }),
        }
    }
}
