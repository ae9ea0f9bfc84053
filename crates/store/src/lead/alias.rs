//! Aliases: the leads behind an e-mail, a phone or a provider's id.

use std::collections::HashSet;

use funil_core::clock::Entropy;
use funil_core::contact::consent::{Purpose, Revocations};
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use funil_core::lead::Lead;
use jiff::Timestamp;
use serde::Serialize;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::transaction::{Transacted, Transaction, Write};
use crate::table::{item, key};

/// An alias of a person: kind (`email`, `phone`, `bsuid`, `calendly_invitee`) and digest.
pub type Alias<'a> = (&'static str, &'a Digest);

/// The kind of a business-scoped id.
const BSUID: &str = "bsuid";
/// How many numbers are looked up for one business-scoped id: at most so many share an opt-out by it.
const PHONES_OF_ID_MAX: i32 = 10;

/// The attributes of an alias.
#[derive(Serialize)]
struct AliasRecord {
    /// When the lead was linked.
    at: Timestamp,
}

/// The item that says that a lead is behind an alias.
pub(crate) fn of_alias(
    (kind, digest): Alias<'_>,
    lead: LeadId,
    at: Timestamp,
) -> Result<Item, StoreError> {
    item::item((key::alias(kind, digest), key::lead(lead)), "alias", &AliasRecord { at })
}

/// The attributes of an alias's owner.
#[derive(Serialize)]
struct OwnerRecord {
    lead_id: LeadId,
}

/// Adds the claim that an object's alias belongs to this lead and to no other. Two requests about
/// one booking may look for its lead at the same time and find different ones, if a form creates a
/// newer lead between the two; only one of them may be kept.
pub(crate) fn own(
    transaction: &mut Transaction<'_>,
    (kind, digest): Alias<'_>,
    lead: LeadId,
) -> Result<(), StoreError> {
    let keys = (key::alias(kind, digest), key::OWNER.to_owned());
    let is_ours = Expression::default()
        .condition("attribute_not_exists(pk) OR #lead_id = :lead")
        .value(":lead", item::s(lead.to_string()));
    let record = OwnerRecord { lead_id: lead };
    transaction.put_if(Write::AliasOwner, item::item(keys, "owner", &record)?, is_ours)
}

impl Store {
    /// At most `most` of the leads behind an alias, those that were linked last first. If there are more, which of them
    /// are left out is arbitrary.
    pub async fn leads_of(
        &self,
        (kind, digest): Alias<'_>,
        most: usize,
    ) -> Result<Vec<LeadId>, StoreError> {
        let query = self.query_prefix(key::alias(kind, digest), key::LEAD_PREFIX);
        let mut found: Vec<(Option<Timestamp>, LeadId)> = self
            .first_items(query, most)
            .await?
            .iter()
            .filter_map(|found| {
                // Parsed, because the text leaves out trailing zeros and so does not sort.
                let at = item::text(found, "at").and_then(|at| at.parse().ok());
                Some((at, key::lead_of_alias(item::text(found, "sk")?)?))
            })
            .collect();
        found.sort_by(|one, other| other.cmp(one));
        Ok(found.into_iter().map(|(_, lead)| lead).collect())
    }

    /// The leads that exist under `ids`, in the order of `ids`.
    pub async fn known_leads(&self, ids: &[LeadId]) -> Result<Vec<Lead>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut wanted: Vec<LeadId> = ids.to_vec();
        wanted.sort();
        wanted.dedup();
        let keys = wanted.iter().map(|id| item::keys(key::lead(*id), key::LEAD)).collect();
        let found = self.batch_get(keys).await?;
        let mut leads = Vec::new();
        for found in found {
            leads.push(item::to_lead(found)?);
        }
        leads.sort_by_key(|lead| ids.iter().position(|id| *id == lead.id));
        Ok(leads)
    }

    /// The numbers that were seen with a business-scoped id, as digests.
    pub async fn phones_of(&self, bsuid: &Digest) -> Result<Vec<Digest>, StoreError> {
        let query = self.query_prefix(key::alias(BSUID, bsuid), key::PHONE_PREFIX);
        let found = self.first_page(query.limit(PHONES_OF_ID_MAX)).await?;
        let digests = found.iter().filter_map(|found| {
            let digest = item::text(found, "sk")?.strip_prefix(key::PHONE_PREFIX)?;
            Digest::stored(digest)
        });
        Ok(digests.collect())
    }

    /// Which of these pairs of a business-scoped id and a number are noted as one person's.
    pub async fn linked_phones(
        &self,
        pairs: &[(Digest, Digest)],
    ) -> Result<HashSet<(Digest, Digest)>, StoreError> {
        let keys = |(bsuid, phone): &(Digest, Digest)| {
            item::keys(key::alias(BSUID, bsuid), key::phone(phone))
        };
        let found = self.batch_get(pairs.iter().map(keys).collect()).await?;
        let digest = |found: &Item, attribute, prefix: &str| {
            Digest::stored(item::text(found, attribute)?.strip_prefix(prefix)?)
        };
        let pair = |found: &Item| {
            let bsuid = digest(found, "pk", &key::alias_prefix(BSUID))?;
            Some((bsuid, digest(found, "sk", key::PHONE_PREFIX)?))
        };
        Ok(found.iter().filter_map(pair).collect())
    }

    /// Notes that a business-scoped id and a number belong to one person, if nothing newer was revoked under the id than
    /// what `known` says of WhatsApp, and nothing restored. Returns whether that holds; otherwise nothing is written.
    pub async fn link_phone(
        &self,
        bsuid: &Digest,
        phone: &Digest,
        known: &Revocations,
        at: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let stands = Expression::default()
            .name("#revoked", &item::revoked(Purpose::Whatsapp))
            .name("#restored", &item::restored(Purpose::Whatsapp));
        let stands = match known.purposes.get(&Purpose::Whatsapp) {
            Some(at) => stands
                .condition(
                    "#revoked <= :known AND (attribute_not_exists(#restored) OR #restored <= #revoked)",
                )
                .value(":known", item::s(key::time(*at))),
            None => stands.condition("attribute_not_exists(#revoked) OR #restored > #revoked"),
        };
        let pk = key::alias(BSUID, bsuid);
        let link = item::item((pk.clone(), key::phone(phone)), "alias", &AliasRecord { at })?;
        let mut transaction = self.transaction();
        transaction.check(Write::Revocation, item::keys(pk, key::CONSENT), stands)?;
        transaction.put(Write::Alias, link)?;
        Ok(matches!(transaction.send(entropy).await?, Transacted::Done))
    }
}
