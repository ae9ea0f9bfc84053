//! Who a person is: WhatsApp knows them by a number and by a business-scoped id, and we know leads by
//! their numbers.
//!
//! Owns how the two are linked, and what a revocation changes on the leads of a number. Must not know
//! what brought it about.

use std::collections::BTreeSet;

use funil_core::contact::Phone;
use funil_core::contact::consent::{Purpose, is_revoked};
use funil_core::delivery::Reason;
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use funil_core::lead::Lead;
use funil_core::provider::whatsapp::{self, Number, Person, Updates};
use funil_store::StoreError;
use jiff::Timestamp;

use super::{Taken, WhatsAppWebhook};
use crate::intake::webhook::Webhook as _;

/// How many leads of a number an opt-out touches. Sending skips the rest, because it looks at the number.
pub(super) const LEADS_TOUCHED: usize = 25;
/// How often a number and an id are linked anew, because the id's revocation changed meanwhile, before Meta is
/// asked to send the request again.
const INTRODUCTION_TRIES: u32 = 3;
/// The kinds of alias by which WhatsApp knows people.
pub(super) const PHONE: &str = "phone";
pub(super) const BSUID: &str = "bsuid";

/// A person by the digests of their number and of their business-scoped id.
pub(super) struct Known {
    pub(super) phone: Option<Digest>,
    /// Whether the number is written as we write it.
    pub(super) is_sure: bool,
    pub(super) bsuid: Option<Digest>,
}

impl WhatsAppWebhook {
    pub(super) fn known(&self, person: &Person) -> Known {
        let hash = &self.app.config.hash_key;
        let alias = person.number.as_ref().map(Number::alias_text);
        Known {
            phone: alias.map(|alias| hash.digest(PHONE, &alias)),
            is_sure: matches!(person.number, Some(Number::Valid(_))),
            bsuid: person.bsuid.as_ref().map(|bsuid| hash.digest(BSUID, bsuid.expose())),
        }
    }

    fn phone_digest(&self, phone: Option<&Phone>) -> Option<Digest> {
        Some(self.app.config.hash_key.digest(PHONE, &phone?.alias_text()))
    }

    /// The number of a person, as a digest. Where it is missing or no numbering plan has it, the business-scoped id
    /// stands for every number that was seen with it.
    pub(super) async fn phones(&self, person: &Known) -> Result<BTreeSet<Digest>, StoreError> {
        if person.is_sure {
            return Ok(person.phone.iter().cloned().collect());
        }
        self.all_phones(person).await
    }

    /// Every number that was seen with a person's business-scoped id, and the one that came with it now.
    pub(super) async fn all_phones(&self, person: &Known) -> Result<BTreeSet<Digest>, StoreError> {
        let mut phones: BTreeSet<Digest> = person.phone.iter().cloned().collect();
        if let Some(bsuid) = &person.bsuid {
            phones.extend(self.app.store.phones_of(bsuid).await?);
        }
        Ok(phones)
    }

    /// Whether a lead shows what happens to a number: it has the number now, and nobody can guess its id. Anybody
    /// can add a number to a lead whose id is derived from an e-mail.
    pub(super) fn is_of(&self, lead: &Lead, phone: &Digest) -> bool {
        let own = self.phone_digest(lead.latest.phone.as_ref()).as_ref() == Some(phone);
        own && !lead.id.is_derived()
    }

    /// Leads that were made with this number, at most [`LEADS_TOUCHED`].
    pub(super) async fn leads_with(&self, phone: &Digest) -> Result<Vec<Lead>, StoreError> {
        let ids = self.app.store.leads_of((PHONE, phone), LEADS_TOUCHED).await?;
        self.app.store.known_leads(&ids).await
    }

    /// The pairs of a business-scoped id and a number that came together and are not linked yet.
    pub(super) async fn strangers(
        &self,
        parts: &Updates,
    ) -> Result<Vec<(Digest, Digest)>, StoreError> {
        let senders = parts.inbound.iter().map(|message| &message.person);
        let people = senders.chain(parts.statuses.iter().map(|update| &update.person));
        let pairs: BTreeSet<(Digest, Digest)> = people
            .map(|person| self.known(person))
            .filter_map(|person| person.bsuid.zip(person.phone))
            .collect();
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        let linked = self.app.store.linked_phones(&pairs).await?;
        pairs.retain(|pair| !linked.contains(pair));
        Ok(pairs)
    }

    /// Learns that a number and a business-scoped id belong to one person: what was revoked under the
    /// id counts for the number too. The link is written last, and only while the id's revocation is as read: an opt-out
    /// by the id alone, at the same time, looks for the id's numbers after it has kept its revocation. A request that
    /// breaks off before the link repeats all of this.
    pub(super) async fn introduce(
        &self,
        (bsuid, phone): &(Digest, Digest),
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let store = &self.app.store;
        let entropy = &*self.app.platform.entropy;
        for _ in 0..INTRODUCTION_TRIES {
            let revocations = store.revocations_of((BSUID, bsuid)).await?;
            if let Some(at) = revocations.purposes.get(&Purpose::Whatsapp) {
                store.revoke(PHONE, phone, Purpose::Whatsapp, *at).await?;
                self.stop(phone, *at, now).await?;
            }
            if store.link_phone(bsuid, phone, &revocations, now, entropy).await? {
                return Ok(Taken::All);
            }
        }
        Ok(Taken::NotAll)
    }

    /// Withdraws what is queued for a number, and shows the revocation on the leads that are known to
    /// be of its owner. What is missed here is not sent either: sending reads what was revoked at the
    /// number. Returns the leads that have the number.
    pub(super) async fn stop(
        &self,
        phone: &Digest,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<LeadId>, StoreError> {
        let store = &self.app.store;
        let entropy = &*self.app.platform.entropy;
        if !is_revoked(Purpose::Whatsapp, &[store.revocations_of((PHONE, phone)).await?]) {
            // The person opted in again later.
            return Ok(Vec::new());
        }
        let leads = self.leads_with(phone).await?;
        for lead in &leads {
            if self.is_of(lead, phone) {
                store.revoke_of_lead(lead.id, Purpose::Whatsapp, at, Self::NAME, entropy).await?;
            }
            // A worker that took one meanwhile reads the consent again before it sends.
            let reason = Reason::NoConsent(Purpose::Whatsapp);
            let of = (lead.id, whatsapp::NAME);
            store.withdraw_messages_to(phone, of, reason, now, entropy).await?;
        }
        Ok(leads.iter().map(|lead| lead.id).collect())
    }
}
