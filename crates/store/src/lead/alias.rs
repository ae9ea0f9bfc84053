//! Aliases: the leads behind an e-mail, a phone or a provider's id, and what the person behind one
//! took back.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use funil_core::clock::Entropy;
use funil_core::contact::consent::{Decision, Grant, How, Purpose, Revocations};
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use funil_core::lead::Lead;
use jiff::Timestamp;

use crate::Store;
use crate::delivery::due;
use crate::intake::accept::{ConsentEvidence, ConsentItem, Transacted};
use crate::table::error::StoreError;
use crate::table::{item, key};

/// An alias of a person: kind (`email`, `phone`, `bsuid`, `calendly_invitee`) and digest.
pub type Alias<'a> = (&'static str, &'a Digest);

impl Store {
    /// The leads behind an alias, the newest first.
    pub async fn leads_of(&self, (kind, digest): Alias<'_>) -> Result<Vec<LeadId>, StoreError> {
        let query = self
            .query(key::alias(kind, digest))
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":prefix", item::s("LEAD#"));
        let mut found: Vec<(String, LeadId)> = due::all_pages(query)
            .await?
            .iter()
            .filter_map(|found| {
                let at = item::text(found, "at").unwrap_or_default().to_owned();
                Some((at, key::lead_of_alias(item::text(found, "sk")?)?))
            })
            .collect();
        found.sort_by(|one, other| other.cmp(one));
        Ok(found.into_iter().map(|(_, lead)| lead).collect())
    }

    /// Those of `ids` that are leads, in their order.
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

    /// Writes that a lead is behind an alias.
    pub async fn link(
        &self,
        (kind, digest): Alias<'_>,
        lead: LeadId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let keys = (key::alias(kind, digest), key::lead(lead));
        let alias = item::item(keys, "alias", &crate::intake::accept::AliasItem { at })?;
        let put = self.client.put_item().table_name(&*self.table).set_item(Some(alias));
        put.send().await.map_err(|error| StoreError::of("PutItem", &error))?;
        Ok(())
    }

    /// What the person behind an alias took back.
    pub async fn revocations_of(
        &self,
        (kind, digest): Alias<'_>,
    ) -> Result<Revocations, StoreError> {
        let found = self
            .client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::alias(kind, digest), key::CONSENT)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::of("GetItem", &error))?;
        Ok(found.item.as_ref().map(item::to_revocations).unwrap_or_default())
    }

    /// Notes that the person behind an alias took back a purpose. An older word never replaces a
    /// newer one.
    pub async fn revoke(
        &self,
        alias_kind: &str,
        digest: &Digest,
        purpose: Purpose,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::alias(alias_kind, digest), key::CONSENT)))
            .update_expression("SET #revoked = :at, v = :v, #type = :type")
            .condition_expression("attribute_not_exists(#revoked) OR #revoked < :at")
            .expression_attribute_names("#revoked", item::revoked(purpose))
            .expression_attribute_names("#type", "type")
            .expression_attribute_values(":at", item::s(key::time(at)))
            .expression_attribute_values(":v", item::n(1))
            .expression_attribute_values(":type", item::s("revocation"))
            .send()
            .await;
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(StoreError::of("UpdateItem", &error)),
            },
        }
    }

    /// Notes on a lead that the person took back a purpose, with the proof of it. Answers whether that
    /// was news: an older word never replaces a newer one.
    pub async fn revoke_of_lead(
        &self,
        lead: LeadId,
        purpose: Purpose,
        at: Timestamp,
        form: &str,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let grant = Grant { decision: Decision::Denied, at, how: How::Revoked };
        let record = ConsentItem {
            at,
            decisions: [(purpose.name().to_owned(), grant)].into(),
            policy_version: None,
            evidence: ConsentEvidence { form: form.to_owned(), ..ConsentEvidence::default() },
        };
        let proof =
            item::item((key::lead(lead), key::revocation(at, purpose, form)), "consent", &record)?;
        let update = aws_sdk_dynamodb::types::Update::builder()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::lead(lead), key::LEAD)))
            .update_expression("SET #consent = :grant ADD version :one")
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(#consent) OR #consent.#at < :at)",
            )
            .expression_attribute_names("#consent", format!("consent_{}", purpose.name()))
            .expression_attribute_names("#at", "at")
            .expression_attribute_values(":grant", item::attribute(&grant, "consent")?)
            .expression_attribute_values(":at", item::attribute(&at, "time")?)
            .expression_attribute_values(":one", item::n(1))
            .build()
            .map_err(|_| StoreError::Unreadable { what: "lead" })?;
        let update = aws_sdk_dynamodb::types::TransactWriteItem::builder().update(update).build();
        match self.transact(vec![update, self.put(proof)], entropy).await? {
            Transacted::Done => Ok(true),
            Transacted::Failed { .. } => Ok(false),
        }
    }
}
