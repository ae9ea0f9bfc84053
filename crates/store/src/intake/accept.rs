//! Accepting: the one transaction that keeps a request (`docs/design.md`, "Accepting").
//!
//! Receipt, lead, event, consent, aliases, bookings and deliveries are written together or not at
//! all, so the receipt exists if and only if its effects do. Of two equal requests at once one wins;
//! the other one fails on the receipt's condition, which returns the stored response. No provider is
//! contacted here.

use std::collections::BTreeSet;

use funil_core::booking::BookingChange;
use funil_core::clock::Entropy;
use funil_core::contact::consent::ConsentChanges;
use funil_core::delivery::{Delivery, Reason};
use funil_core::destination::AliasDigests;
use funil_core::event::{Event, SiteForm};
use funil_core::hash::Digest;
use funil_core::id::QuarantineName;
use funil_core::lead::{Lead, LeadChanges};
use jiff::Timestamp;

use crate::Store;
use crate::delivery::claim::keys;
use crate::intake::quarantine;
use crate::intake::receipt::{self, Accepted, Receipt};
use crate::lead::alias::{self, of_alias};
use crate::lead::booking::booking_update;
use crate::lead::consent::{self, ConsentEvidence};
use crate::lead::payment::PaymentChange;
use crate::lead::person::{self, Count};
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::key::DeliveryKey;
use crate::table::transaction::{Transacted, Write};
use crate::table::{item, key};

/// Everything that is written when a request is accepted.
#[derive(Clone, Copy, Debug)]
pub struct Acceptance<'a> {
    /// The response to keep, and the key under which a duplicate finds it.
    pub receipt: &'a Receipt,
    /// What happened.
    pub event: &'a Event,
    /// Which lead the request may change.
    pub lead: LeadWrite,
    /// What it changes on the lead.
    pub changes: &'a LeadChanges,
    /// What the person decided about consent.
    pub consent: &'a ConsentChanges,
    /// The proof of that decision.
    pub evidence: &'a ConsentEvidence,
    /// The lead's aliases by e-mail and phone, where the request states them.
    pub aliases: &'a AliasDigests,
    /// What the request changes on the lead's bookings.
    pub bookings: &'a [BookingChange],
    /// What the request changes on the lead's payments.
    pub payment: Option<&'a PaymentChange>,
    /// Other aliases of the lead: kind and digest.
    pub other_aliases: &'a [(&'static str, Digest)],
    /// Aliases under which the lead is found although another one owns them.
    pub shared_aliases: &'a [(&'static str, Digest)],
    /// A note on another lead, which has no deliveries.
    pub beside: Option<&'a Event>,
    /// The deliveries that the event wants.
    pub deliveries: &'a [Delivery],
    /// Pending deliveries that are not to be sent any more, and why.
    pub withdrawn: &'a [(DeliveryKey, Reason)],
    /// The request in quarantine that this is, which ends there.
    pub released: Option<&'a QuarantineName>,
}

/// Which lead a request may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeadWrite {
    /// A lead that must not exist yet. It counts among the new leads of its e-mail.
    New,
    /// The lead of the request's e-mail, created where there is none, that had no form yet of those that
    /// make leads.
    FirstForm,
    /// The lead of the request's e-mail, which must exist without such a fact.
    FirstOfKnown(Fact),
    /// The lead of the request's e-mail, which is created where there is none.
    OfEmail,
    /// The lead of the request's e-mail, which must exist.
    KnownOfEmail,
    /// Any lead that exists, whatever its e-mail.
    Known,
}

/// A fact of a lead that a form states once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The landing page's form was submitted.
    Submitted,
    /// The questionnaire was completed.
    Questionnaire,
    /// One of the site's forms was submitted.
    Site(SiteForm),
}

impl Fact {
    /// Those of forms that make leads.
    fn of_leads() -> impl Iterator<Item = Self> {
        [Self::Submitted].into_iter().chain(SiteForm::ALL.map(Self::Site))
    }

    /// Whether a lead has it.
    pub fn is_of(self, lead: &Lead) -> bool {
        let facts = &lead.facts;
        let at = match self {
            Self::Submitted => facts.submitted_at,
            Self::Questionnaire => facts.questionnaire_at,
            Self::Site(form) => lead.first_forms.of(form),
        };
        at.is_some()
    }

    /// The attribute of a lead with its time.
    const fn attribute(self) -> &'static str {
        match self {
            Self::Submitted => "submitted_at",
            Self::Questionnaire => "questionnaire_at",
            Self::Site(form) => form.attribute(),
        }
    }
}

/// How one try to accept a request ended.
enum Ended {
    As(Accepted),
    /// The count of new leads is of this day, which is not today.
    InAnotherDay(String),
    /// What the event says about a booking is older than what is known.
    Stale,
}

/// How many times accepting is tried. A try may find that the count of new leads is from another day, or that a newer
/// booking update is stored; each happens at most once, unless another request writes at the same time.
const TRIES: usize = 3;

impl Store {
    /// Keeps a request and everything that follows from it, in one transaction.
    pub async fn accept(
        &self,
        acceptance: &Acceptance<'_>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Accepted, StoreError> {
        let mut day = None;
        let mut acceptance = *acceptance;
        for _ in 0..TRIES {
            match self.accept_in(&acceptance, now, entropy, day.as_deref()).await? {
                Ended::As(accepted) => return Ok(accepted),
                Ended::InAnotherDay(seen) => day = Some(seen),
                // The event stands in the journey, and changes and withdraws nothing.
                Ended::Stale => (acceptance.bookings, acceptance.withdrawn) = (&[], &[]),
            }
        }
        Err(Write::Person.conflict())
    }

    /// Like [`accept`](Self::accept), where the count of new leads is of the day `seen`.
    async fn accept_in(
        &self,
        acceptance: &Acceptance<'_>,
        now: Timestamp,
        entropy: &dyn Entropy,
        seen: Option<&str>,
    ) -> Result<Ended, StoreError> {
        let event = acceptance.event;
        let mut transaction = self.transaction();
        let last = acceptance.deliveries.iter().map(|delivery| delivery.deadline).max();
        let kept_until = self.receipt_goes_at(last.unwrap_or(now).max(now));
        receipt::add(&mut transaction, acceptance.receipt, kept_until, now)?;
        let lead_keys = item::keys(key::lead(event.lead_id), key::LEAD);
        transaction.update_or_get(Write::Lead, lead_keys, lead_update(acceptance)?)?;
        transaction.create(Write::Event, item::of_event(event)?)?;
        if let Some(beside) = acceptance.beside {
            transaction.create(Write::Event, item::of_event(beside)?)?;
        }
        if acceptance.consent.decisions().next().is_some() {
            let proof = consent::proof(event, acceptance.consent, acceptance.evidence)?;
            transaction.put(Write::Consent, proof)?;
        }
        let aliases = acceptance.aliases;
        // A lead that is known by its e-mail has that alias. One that had none may get one.
        let email = match acceptance.lead {
            LeadWrite::New | LeadWrite::FirstForm | LeadWrite::OfEmail | LeadWrite::Known => {
                &aliases.email
            }
            LeadWrite::FirstOfKnown(_) | LeadWrite::KnownOfEmail => &None,
        };
        let own = [("email", email), ("phone", &aliases.phone)];
        let own = own.into_iter().filter_map(|(kind, digest)| Some((kind, digest.as_ref()?)));
        let others = acceptance.other_aliases.iter().chain(acceptance.shared_aliases);
        let others = others.map(|(kind, digest)| (*kind, digest));
        for alias in own.chain(others) {
            transaction.put(Write::Alias, of_alias(alias, event.lead_id, now)?)?;
        }
        for change in acceptance.bookings {
            let booking_keys = item::keys(key::lead(event.lead_id), key::booking(&change.id));
            transaction.update(
                Write::Booking,
                booking_keys,
                booking_update(change, event.occurred_at)?,
            )?;
        }
        if let Some(change) = acceptance.payment {
            change.add(&mut transaction, event.lead_id)?;
        }
        for delivery in acceptance.deliveries {
            transaction.create(Write::Delivery, item::of_delivery(delivery)?)?;
        }
        for (delivery, reason) in acceptance.withdrawn {
            transaction.update(Write::Withdrawal, keys(delivery), self.withdrawal(*reason, now))?;
        }
        if let Some(released) = acceptance.released {
            transaction.delete(Write::Release, quarantine::keys(released))?;
        }
        for (kind, digest) in acceptance.other_aliases {
            alias::own(&mut transaction, (*kind, digest), event.lead_id)?;
        }
        if let Some(email) = &aliases.email {
            match acceptance.lead {
                LeadWrite::New => {
                    person::count(&mut transaction, email, event.lead_id, now, seen)?;
                }
                LeadWrite::FirstForm | LeadWrite::OfEmail => {
                    person::note(&mut transaction, email, event.lead_id)?;
                }
                LeadWrite::FirstOfKnown(_) | LeadWrite::KnownOfEmail | LeadWrite::Known => {}
            }
        }
        match transaction.send(entropy).await? {
            Transacted::Done => Ok(Ended::As(Accepted::Kept)),
            Transacted::Conflict { write: Write::Person, old } => {
                Ok(match person::not_counted(old.as_ref(), now) {
                    Count::Full => Ended::As(Accepted::TooManyNewLeads),
                    Count::OfAnotherDay(seen) => Ended::InAnotherDay(seen),
                })
            }
            Transacted::Conflict { write: Write::Booking, .. } => Ok(Ended::Stale),
            Transacted::Conflict { write, old } => conflict(write, old, acceptance).map(Ended::As),
        }
    }

    /// Keeps an event that changes nothing on its lead, with its deliveries, of which there is at least
    /// one. Returns whether the lead exists; nothing is kept otherwise.
    pub async fn accept_event(
        &self,
        event: &Event,
        deliveries: &[Delivery],
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.transaction();
        let lead_keys = item::keys(key::lead(event.lead_id), key::LEAD);
        let mark = planned_for(Expression::default(), deliveries);
        transaction.update(Write::Lead, lead_keys, mark.condition("attribute_exists(pk)"))?;
        transaction.create(Write::Event, item::of_event(event)?)?;
        for delivery in deliveries {
            transaction.create(Write::Delivery, item::of_delivery(delivery)?)?;
        }
        match transaction.send(entropy).await? {
            Transacted::Done => Ok(true),
            Transacted::Conflict { write: Write::Lead, .. } => Ok(false),
            Transacted::Conflict { write, .. } => Err(write.conflict()),
        }
    }
}

/// What it means that a write of an acceptance met a conflict.
fn conflict(
    write: Write,
    old: Option<Item>,
    acceptance: &Acceptance<'_>,
) -> Result<Accepted, StoreError> {
    match write {
        Write::Receipt => receipt::duplicate(old, acceptance.receipt),
        Write::Lead => {
            let is_overtaken =
                |old: &Item| acceptance.payment.is_some_and(|change| change.is_overtaken(old));
            if old.as_ref().is_some_and(is_overtaken) {
                return Ok(Accepted::Overtaken);
            }
            let email = acceptance.aliases.email.as_ref().map(Digest::as_str);
            let same = old.as_ref().map(|old| item::text(old, "email_digest") == email);
            match (acceptance.lead, same, old) {
                (
                    LeadWrite::New | LeadWrite::FirstForm | LeadWrite::FirstOfKnown(_),
                    Some(true),
                    Some(old),
                ) => Ok(Accepted::Exists(Box::new(item::to_lead(old)?))),
                (LeadWrite::New | LeadWrite::FirstForm | LeadWrite::OfEmail, ..) => {
                    Ok(Accepted::OtherEmail)
                }
                (LeadWrite::FirstOfKnown(_) | LeadWrite::KnownOfEmail | LeadWrite::Known, ..) => {
                    Ok(Accepted::NoSuchLead)
                }
            }
        }
        Write::Withdrawal | Write::AliasOwner | Write::Payment => Ok(Accepted::Overtaken),
        Write::Release => Ok(Accepted::NotInQuarantine),
        Write::Event
        | Write::Consent
        | Write::Alias
        | Write::Person
        | Write::Booking
        | Write::Delivery
        | Write::Revocation
        | Write::Quarantine => Err(write.conflict()),
    }
}

/// Marks on a lead for which destinations something was planned. The mark stays when the deliveries are
/// gone, so that an erasure knows whom to ask.
pub(crate) fn planned_for(update: Expression, deliveries: &[Delivery]) -> Expression {
    let names: BTreeSet<&str> =
        deliveries.iter().map(|delivery| delivery.destination.as_str()).collect();
    if names.is_empty() { update } else { update.insert_all("planned_for", names) }
}

/// One update that needs no read: the latest values are set; facts and assumed consent only where
/// there are none.
fn lead_update(acceptance: &Acceptance<'_>) -> Result<Expression, StoreError> {
    let Acceptance { event, changes, consent, aliases, .. } = acceptance;
    let mut update = Expression::of_type("lead").set("lead_id", item::s(event.lead_id.to_string()));
    for (name, value) in item::attributes(&changes.latest, "lead")? {
        update = update.set(&name, value);
    }
    for (name, value) in item::attributes(&consent.explicit, "lead")? {
        update = update.set(&name, value);
    }
    let once = [
        item::attributes(&changes.if_absent, "lead")?,
        item::attributes(&changes.facts, "lead")?,
        item::attributes(&changes.first_forms, "lead")?,
        item::attributes(&consent.if_absent, "lead")?,
    ];
    for (name, value) in once.into_iter().flatten() {
        update = update.set_once(&name, value);
    }
    for name in &changes.removed {
        update = update.remove(name);
    }
    if let Some(change) = acceptance.payment {
        update = change.change(update)?;
    }
    update = planned_for(update.add("version", 1), acceptance.deliveries);
    let update = match (acceptance.lead, &aliases.email) {
        (LeadWrite::Known, _) => update.condition("attribute_exists(pk)"),
        (LeadWrite::OfEmail, None) => update.condition("attribute_not_exists(pk)"),
        (
            LeadWrite::New
            | LeadWrite::FirstForm
            | LeadWrite::FirstOfKnown(_)
            | LeadWrite::KnownOfEmail,
            None,
        ) => {
            return Err(StoreError::InvalidRequest { what: "lead without its e-mail" });
        }
        (LeadWrite::New, Some(digest)) => update
            .set("email_digest", item::s(digest.as_str()))
            .condition("attribute_not_exists(pk)"),
        (LeadWrite::FirstForm, Some(digest)) => {
            // The names of facts hold no reserved word, so they need no placeholder.
            let no_form: Vec<String> = Fact::of_leads()
                .map(|fact| format!("attribute_not_exists({})", fact.attribute()))
                .collect();
            let no_form = no_form.join(" AND ");
            update.set("email_digest", item::s(digest.as_str())).condition(&format!(
                "{no_form} AND (attribute_not_exists(#email_digest) \
                 OR #email_digest = :email_digest)"
            ))
        }
        (LeadWrite::FirstOfKnown(fact), Some(digest)) => update
            .set("email_digest", item::s(digest.as_str()))
            .name("#fact", fact.attribute())
            .condition("attribute_not_exists(#fact) AND #email_digest = :email_digest"),
        (LeadWrite::KnownOfEmail, Some(digest)) => update
            .set("email_digest", item::s(digest.as_str()))
            .condition("#email_digest = :email_digest"),
        // A new lead has no digest yet.
        (LeadWrite::OfEmail, Some(digest)) => update
            .set("email_digest", item::s(digest.as_str()))
            .condition("attribute_not_exists(#email_digest) OR #email_digest = :email_digest"),
    };
    Ok(match acceptance.payment.and_then(|change| change.latest.as_ref()) {
        Some(latest) => latest.unchanged(update),
        None => update,
    })
}
