//! Consent records: the proof of each decision, and revocations through a channel.
//!
//! See `docs/design.md` ("Consent").

use std::collections::BTreeMap;

use funil_core::clock::{Entropy, after};
use funil_core::contact::consent::{ConsentChanges, Decision, Grant, How, Purpose, Revocations};
use funil_core::event::{ConsentEffect, EmailStatus, Event};
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::lead::alias::Alias;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::Item;
use crate::table::transaction::{Transacted, Write};
use crate::table::{item, key};

/// Where a person agreed, and from which device (LGPD art. 8 §2). The digests can be compared within
/// one month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentEvidence {
    /// The function that received the decision.
    pub form: String,
    /// Digest of the client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Digest>,
    /// Digest of the client's user agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Digest>,
}

/// The attributes of a consent record.
#[derive(Serialize, Deserialize)]
pub(crate) struct ConsentItem {
    pub(crate) at: Timestamp,
    /// Decisions by the name of their purpose.
    pub(crate) decisions: BTreeMap<String, Grant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy_version: Option<String>,
    #[serde(flatten)]
    pub(crate) evidence: ConsentEvidence,
}

/// The proof of what the person decided with an event.
pub(crate) fn proof(
    event: &Event,
    consent: &ConsentChanges,
    evidence: &ConsentEvidence,
) -> Result<Item, StoreError> {
    let decisions = consent.decisions();
    let record = ConsentItem {
        at: event.accepted_at,
        decisions: decisions.map(|(purpose, grant)| (purpose.name().to_owned(), grant)).collect(),
        policy_version: consent.policy_version.clone(),
        evidence: evidence.clone(),
    };
    let keys = (key::lead(event.lead_id), key::consent(event.accepted_at, &event.id));
    item::item(keys, "consent", &record)
}

/// For how long the tool that sends e-mails may send the same report again, in seconds: `docs/providers.md`
/// ("MailerLite").
const REPEATED_S: i64 = 60 * 60;

/// What a report about an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// It says something new, or something that not every lead has yet.
    News {
        /// Since when it holds.
        since: Timestamp,
    },
    /// It says what is known, and every lead has it.
    Known,
    /// It was sent before, and another one came after it.
    Repeated,
}

impl Store {
    /// What the person behind an alias revoked, and when.
    pub async fn revocations_of(
        &self,
        (kind, digest): Alias<'_>,
    ) -> Result<Revocations, StoreError> {
        let found = self.get(item::keys(key::alias(kind, digest), key::CONSENT)).await?;
        Ok(found.as_ref().map(item::to_revocations).unwrap_or_default())
    }

    /// Notes that the person behind an alias revoked a purpose. An older revocation never replaces a
    /// newer one.
    pub async fn revoke(
        &self,
        alias_kind: &str,
        digest: &Digest,
        purpose: Purpose,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let revoked = item::revoked(purpose);
        let revocation = Expression::of_type("revocation")
            .name("#revoked", &revoked)
            .set_as(&revoked, ":at", item::s(key::time(at)))
            .condition("attribute_not_exists(#revoked) OR #revoked < :at");
        let keys = item::keys(key::alias(alias_kind, digest), key::CONSENT);
        self.update(keys, revocation).await?;
        Ok(())
    }

    /// Stores what the tool that sends e-mails reports of an address, and what that does to the consent. A report of
    /// the status that is already stored changes nothing. `digest` identifies the report: the tool repeats reports
    /// for a while and states no time, so the same report that an address is active counts once within `REPEATED_S`.
    pub async fn report_email(
        &self,
        email: &Digest,
        status: EmailStatus,
        digest: &str,
        at: Timestamp,
    ) -> Result<Reported, StoreError> {
        let time = item::s(key::time(at));
        let mut condition = "(attribute_not_exists(#status) OR #status <> :status)".to_owned();
        let mut update = Expression::of_type("revocation")
            .set_as(item::EMAIL_STATUS, ":status", item::s(status.name()))
            .set_as(item::EMAIL_STATUS_SINCE, ":at", time.clone())
            .name("#status", item::EMAIL_STATUS);
        let (revoked, restored) =
            (item::revoked(Purpose::MarketingEmail), item::restored(Purpose::MarketingEmail));
        match status.consent() {
            // Only the last report counts, also of two within a second.
            ConsentEffect::Revokes => update = update.set(&revoked, time).remove(&restored),
            ConsentEffect::Restores => {
                let repeated = item::s(key::time(after(at, -REPEATED_S)));
                condition.push_str(
                    " AND (attribute_not_exists(#active_digest) OR #active_digest <> :digest \
                     OR #active_at < :repeated)",
                );
                update = update
                    .set(&restored, time.clone())
                    .remove_all(&[&revoked, item::EMAIL_BOUNCES_SINCE])
                    .name("#active_digest", item::EMAIL_ACTIVE_DIGEST)
                    .name("#active_at", item::EMAIL_ACTIVE_AT)
                    .set_as(item::EMAIL_ACTIVE_DIGEST, ":digest", item::s(digest))
                    .set(item::EMAIL_ACTIVE_AT, time)
                    .value(":repeated", repeated);
            }
            ConsentEffect::Nothing if status == EmailStatus::Bounced => {
                update = update.set(item::EMAIL_BOUNCES_SINCE, time);
            }
            ConsentEffect::Nothing => {}
        }
        let keys = item::keys(key::alias("email", email), key::CONSENT);
        let Some(known) = self.update_or_get(keys, update.condition(&condition)).await? else {
            return Ok(Reported::News { since: at });
        };
        let text = |name| item::text(&known, name);
        if text(item::EMAIL_STATUS) != Some(status.name()) {
            return Ok(Reported::Repeated);
        }
        if text(item::EMAIL_STATUS_TOLD) == text(item::EMAIL_STATUS_SINCE) {
            return Ok(Reported::Known);
        }
        let since = text(item::EMAIL_STATUS_SINCE).and_then(|since| since.parse().ok());
        Ok(Reported::News { since: since.unwrap_or(at) })
    }

    /// Notes that what is reported of an address since `since` was written to its leads.
    pub async fn email_report_told(
        &self,
        email: &Digest,
        since: Timestamp,
    ) -> Result<(), StoreError> {
        let told = Expression::default()
            .set_as(item::EMAIL_STATUS_TOLD, ":since", item::s(key::time(since)))
            .name("#since", item::EMAIL_STATUS_SINCE)
            .condition("#since = :since");
        let keys = item::keys(key::alias("email", email), key::CONSENT);
        self.update(keys, told).await?;
        Ok(())
    }

    /// Notes that the person behind an alias took a revocation back.
    pub async fn restore(
        &self,
        alias_kind: &str,
        digest: &Digest,
        purpose: Purpose,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let restored = item::restored(purpose);
        let restoration = Expression::of_type("revocation")
            .name("#restored", &restored)
            .set_as(&restored, ":at", item::s(key::time(at)))
            .condition("attribute_not_exists(#restored) OR #restored < :at");
        let keys = item::keys(key::alias(alias_kind, digest), key::CONSENT);
        self.update(keys, restoration).await?;
        Ok(())
    }

    /// Notes on a lead that the person took a revocation back, with the proof. Does nothing if the lead has no
    /// revocation that is older than `at`. Returns whether something was written.
    pub async fn restore_of_lead(
        &self,
        lead: LeadId,
        purpose: Purpose,
        at: Timestamp,
        form: &str,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let grant = Grant { decision: Decision::Granted, at, how: How::Restored };
        let is_revoked = Expression::default()
            .condition("#consent.#how = :revoked AND #consent.#at < :at")
            .value(":revoked", item::s("revoked"));
        self.decide_of_lead(lead, purpose, grant, form, is_revoked, entropy).await
    }

    /// Notes on a lead that the person revoked a purpose, with the proof of it. Returns whether that
    /// is news; an older revocation than what the lead has, or the same, changes nothing. `at` is a whole second,
    /// as WhatsApp's clock has no parts of one, and within that second the revocation counts: a time
    /// without parts sorts behind those with parts.
    pub async fn revoke_of_lead(
        &self,
        lead: LeadId,
        purpose: Purpose,
        at: Timestamp,
        form: &str,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let grant = Grant { decision: Decision::Denied, at, how: How::Revoked };
        let is_news = Expression::default()
            .condition(
                "attribute_exists(pk) AND (attribute_not_exists(#consent) OR #consent.#at < :at \
                 OR (#consent.#at = :at AND #consent.#how <> :revoked))",
            )
            .value(":revoked", item::s("revoked"));
        self.decide_of_lead(lead, purpose, grant, form, is_news, entropy).await
    }

    async fn decide_of_lead(
        &self,
        lead: LeadId,
        purpose: Purpose,
        grant: Grant,
        form: &str,
        condition: Expression,
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let at = grant.at;
        let record = ConsentItem {
            at,
            decisions: [(purpose.name().to_owned(), grant)].into(),
            policy_version: None,
            evidence: ConsentEvidence { form: form.to_owned(), ..ConsentEvidence::default() },
        };
        let consent = format!("consent_{}", purpose.name());
        let decision = condition
            .name("#consent", &consent)
            .set_as(&consent, ":grant", item::attribute(&grant, "consent")?)
            .add("version", 1)
            .value(":at", item::timestamp(at));
        let proof_keys = (key::lead(lead), key::revocation(at, purpose, form));
        let mut transaction = self.transaction();
        transaction.update(Write::Lead, item::keys(key::lead(lead), key::LEAD), decision)?;
        transaction.put(Write::Consent, item::item(proof_keys, "consent", &record)?)?;
        match transaction.send(entropy).await? {
            Transacted::Done => Ok(true),
            Transacted::Conflict { .. } => Ok(false),
        }
    }
}
