//! Accepting: the one transaction that keeps a call (design §1).
//!
//! Receipt, lead, event, consent, aliases and deliveries are written together or not at all, so the
//! receipt exists if and only if its effects do. Two equal calls at once: one wins, the loser answers
//! from the receipt that the failed condition returns. No provider is called here.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Put, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use funil_core::clock::Entropy;
use funil_core::consent::{ConsentChanges, Grant};
use funil_core::delivery::{Delivery, Reason};
use funil_core::destination::AliasDigests;
use funil_core::event::Event;
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use funil_core::idempotency::ReceiptKey;
use funil_core::lead::LeadChanges;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::item::Item;
use crate::key::DeliveryKey;
use crate::{Store, item, key};

/// How often a transaction that met another one is tried again.
const CONFLICT_RETRIES: u32 = 3;

/// What a call brings, all of it.
#[derive(Debug)]
pub struct Acceptance<'a> {
    /// The answer to keep, and under which key.
    pub receipt: &'a Receipt,
    /// What happened.
    pub event: &'a Event,
    /// Which lead it may change.
    pub lead: LeadWrite,
    /// What it changes on the lead.
    pub changes: &'a LeadChanges,
    /// What the person agreed to.
    pub consent: &'a ConsentChanges,
    /// The proof of it.
    pub evidence: &'a ConsentEvidence,
    /// The lead's aliases by e-mail and phone, where the call says something about them.
    pub aliases: &'a AliasDigests,
    /// Other aliases of the lead, and of no other: kind and digest.
    pub other_aliases: &'a [(&'static str, Digest)],
    /// What is to be sent.
    pub deliveries: &'a [Delivery],
    /// What is not to be sent any more, and why: deliveries that nobody holds.
    pub withdrawn: &'a [(DeliveryKey, Reason)],
}

/// Which lead a call may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeadWrite {
    /// The one of its e-mail, which it makes if there is none.
    OfEmail,
    /// The one of its e-mail, which has to exist.
    KnownOfEmail,
    /// Any that exists: the call's e-mail says nothing.
    Known,
}

/// The answer to a call, kept so that the same call gets the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which call.
    pub key: ReceiptKey,
    /// What it said.
    pub fingerprint: String,
    /// What we answered.
    pub answer: StoredAnswer,
}

/// Status, headers and body of an answer. A form's body may hold the person's own data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl std::fmt::Debug for StoredAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [answer]", self.status)
    }
}

/// Who agreed where (LGPD art. 8 §2): digests that can be compared within a month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentEvidence {
    /// The form or provider.
    pub form: String,
    /// Digest of the caller's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Digest>,
    /// Digest of the caller's user agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Digest>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is kept, with everything it causes.
    Kept,
    /// It was kept before: this is its answer.
    Replayed(StoredAnswer),
    /// Its key was used before, for another content.
    KeyReused,
    /// Its lead id belongs to another e-mail. Nothing is kept.
    OtherEmail,
    /// There is no such lead. Nothing is kept.
    NoSuchLead,
    /// Somebody took a delivery that was to be withdrawn, or one of `other_aliases` is another lead's
    /// since. Nothing is kept: look again.
    Overtaken,
}

/// A consent record's attributes.
#[derive(Serialize, Deserialize)]
pub(crate) struct ConsentItem {
    pub(crate) at: Timestamp,
    pub(crate) decisions: std::collections::BTreeMap<String, Grant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy_version: Option<String>,
    #[serde(flatten)]
    pub(crate) evidence: ConsentEvidence,
}

/// A receipt's attributes.
#[derive(Serialize, Deserialize)]
struct ReceiptItem {
    fingerprint: String,
    #[serde(flatten)]
    answer: StoredAnswer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
}

impl Store {
    /// Keeps a call and everything it causes, in one transaction.
    pub async fn accept(
        &self,
        acceptance: &Acceptance<'_>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Accepted, StoreError> {
        let event = acceptance.event;
        let mut writes = vec![
            self.receipt(acceptance.receipt, now)?,
            self.lead_update(acceptance)?,
            self.new_item(item::of_event(event)?),
        ];
        if acceptance.consent.decisions().next().is_some() {
            writes.push(self.put(Self::consent(acceptance)?));
        }
        let aliases = acceptance.aliases;
        let own = [("email", &aliases.email), ("phone", &aliases.phone)];
        let own = own.into_iter().filter_map(|(kind, digest)| Some((kind, digest.as_ref()?)));
        let others = acceptance.other_aliases.iter().map(|(kind, digest)| (*kind, digest));
        for (kind, digest) in own.chain(others) {
            let keys = (key::alias(kind, digest), key::lead(event.lead_id));
            writes.push(self.put(item::item(keys, "alias", &AliasItem { at: now })?));
        }
        for change in event.data.bookings() {
            writes.push(self.booking_update(event.lead_id, &change)?);
        }
        for delivery in acceptance.deliveries {
            writes.push(self.new_item(item::of_delivery(delivery)?));
        }
        let first_withdrawn = writes.len();
        for (delivery, reason) in acceptance.withdrawn {
            writes.push(self.withdrawal(delivery, *reason, now)?);
        }
        for (kind, digest) in acceptance.other_aliases {
            writes.push(self.owner(kind, digest, event.lead_id)?);
        }
        match self.transact(writes, entropy).await? {
            Transacted::Done => Ok(Accepted::Kept),
            Transacted::Failed { index: 0, old } => replay(old, acceptance.receipt),
            Transacted::Failed { index: 1, .. } => Ok(match acceptance.lead {
                LeadWrite::OfEmail => Accepted::OtherEmail,
                LeadWrite::KnownOfEmail | LeadWrite::Known => Accepted::NoSuchLead,
            }),
            Transacted::Failed { index, .. } if index >= first_withdrawn => Ok(Accepted::Overtaken),
            Transacted::Failed { .. } => Err(StoreError::Unreadable { what: "event of its own" }),
        }
    }

    /// Keeps an event that changes nothing on its lead, which has to exist, with its deliveries.
    /// Answers whether the lead exists.
    pub async fn accept_event(
        &self,
        event: &Event,
        deliveries: &[Delivery],
        entropy: &dyn Entropy,
    ) -> Result<bool, StoreError> {
        let check = ConditionCheck::builder()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::lead(event.lead_id), key::LEAD)))
            .condition_expression("attribute_exists(pk)")
            .build()
            .map_err(|_| StoreError::Unreadable { what: "condition" })?;
        let mut writes = vec![
            TransactWriteItem::builder().condition_check(check).build(),
            self.new_item(item::of_event(event)?),
        ];
        for delivery in deliveries {
            writes.push(self.new_item(item::of_delivery(delivery)?));
        }
        match self.transact(writes, entropy).await? {
            Transacted::Done => Ok(true),
            Transacted::Failed { index: 0, .. } => Ok(false),
            Transacted::Failed { .. } => Err(StoreError::Unreadable { what: "event of its own" }),
        }
    }

    /// Keeps a receipt together with something that is no lead: a quarantined call.
    pub(crate) async fn accept_aside(
        &self,
        receipt: &Receipt,
        aside: Item,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Accepted, StoreError> {
        let writes = vec![self.receipt(receipt, now)?, self.new_item(aside)];
        match self.transact(writes, entropy).await? {
            Transacted::Done => Ok(Accepted::Kept),
            Transacted::Failed { index: 0, old } => replay(old, receipt),
            Transacted::Failed { .. } => Err(StoreError::Unreadable { what: "item of its own" }),
        }
    }

    /// Says whose an alias is that can only be one lead's: two updates about one booking may look for
    /// its lead at once, and find two where a form comes between them.
    fn owner(
        &self,
        kind: &str,
        digest: &Digest,
        lead: LeadId,
    ) -> Result<TransactWriteItem, StoreError> {
        let keys = (key::alias(kind, digest), key::OWNER.to_owned());
        let put = self
            .put_builder(item::item(keys, "owner", &Owner { lead_id: lead })?)
            .condition_expression("attribute_not_exists(pk) OR lead_id = :lead")
            .expression_attribute_values(":lead", item::s(lead.to_string()));
        Ok(TransactWriteItem::builder().put(put.build().expect("table and item are given")).build())
    }

    fn receipt(&self, receipt: &Receipt, now: Timestamp) -> Result<TransactWriteItem, StoreError> {
        let record = ReceiptItem {
            fingerprint: receipt.fingerprint.clone(),
            answer: receipt.answer.clone(),
            expires_at: receipt.key.lives_s.map(|lives_s| now.as_second() + lives_s),
        };
        let keys = (key::receipt(&receipt.key), key::RECEIPT.to_owned());
        let put = self
            .put_builder(item::item(keys, "receipt", &record)?)
            .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
            .expression_attribute_values(":now", item::n(now.as_second()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(TransactWriteItem::builder().put(put.build().expect("table and item are given")).build())
    }

    /// One update that needs no read: latest values are set, facts and assumed consent only where
    /// there are none.
    fn lead_update(&self, acceptance: &Acceptance<'_>) -> Result<TransactWriteItem, StoreError> {
        let lead_id = acceptance.event.lead_id;
        let mut set = SetExpression::default();
        set.always("lead_id", item::s(lead_id.to_string()));
        set.always("v", item::n(1));
        set.always("type", item::s("lead"));
        for (name, value) in item::attributes(&acceptance.changes.latest, "lead")? {
            set.always(&name, value);
        }
        for (name, value) in item::attributes(&acceptance.changes.if_absent, "lead")? {
            set.once(&name, value);
        }
        for (name, value) in item::attributes(&acceptance.changes.facts, "lead")? {
            set.once(&name, value);
        }
        for (name, value) in item::attributes(&acceptance.consent.explicit, "lead")? {
            set.always(&name, value);
        }
        for (name, value) in item::attributes(&acceptance.consent.if_absent, "lead")? {
            set.once(&name, value);
        }
        let condition = match (acceptance.lead, &acceptance.aliases.email) {
            (LeadWrite::Known, _) => "attribute_exists(pk)",
            (LeadWrite::OfEmail, None) => "attribute_not_exists(pk)",
            (LeadWrite::KnownOfEmail, None) => {
                return Err(StoreError::Unreadable { what: "lead without its e-mail" });
            }
            (LeadWrite::OfEmail | LeadWrite::KnownOfEmail, Some(digest)) => {
                set.always("email_digest", item::s(digest.as_str()));
                set.values.insert(":email".to_owned(), item::s(digest.as_str()));
                match acceptance.lead {
                    LeadWrite::KnownOfEmail => "email_digest = :email",
                    // A new lead has no digest yet.
                    LeadWrite::OfEmail | LeadWrite::Known => {
                        "attribute_not_exists(email_digest) OR email_digest = :email"
                    }
                }
            }
        };
        let (expression, mut names, values) = set.finish();
        let mut removed = Vec::new();
        for (index, name) in acceptance.changes.removed.iter().enumerate() {
            names.insert(format!("#r{index}"), (*name).to_owned());
            removed.push(format!("#r{index}"));
        }
        let remove = if removed.is_empty() {
            String::new()
        } else {
            format!(" REMOVE {}", removed.join(", "))
        };
        let update = Update::builder()
            .table_name(&*self.table)
            .set_key(Some(item::keys(key::lead(lead_id), key::LEAD)))
            .update_expression(format!("{expression}{remove} ADD version :one"))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .expression_attribute_values(":one", item::n(1))
            .build()
            .map_err(|_| StoreError::Unreadable { what: "lead" })?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn consent(acceptance: &Acceptance<'_>) -> Result<Item, StoreError> {
        let event = acceptance.event;
        let record = ConsentItem {
            at: event.accepted_at,
            decisions: acceptance
                .consent
                .decisions()
                .map(|(purpose, grant)| (purpose.name().to_owned(), grant))
                .collect(),
            policy_version: acceptance.consent.policy_version.clone(),
            evidence: acceptance.evidence.clone(),
        };
        let keys = (key::lead(event.lead_id), key::consent(event.accepted_at, &event.id));
        item::item(keys, "consent", &record)
    }

    fn put_builder(&self, item: Item) -> aws_sdk_dynamodb::types::builders::PutBuilder {
        Put::builder().table_name(&*self.table).set_item(Some(item))
    }

    pub(crate) fn put(&self, item: Item) -> TransactWriteItem {
        let put = self.put_builder(item).build().expect("table and item are given");
        TransactWriteItem::builder().put(put).build()
    }

    pub(crate) fn new_item(&self, item: Item) -> TransactWriteItem {
        let put = self.put_builder(item).condition_expression("attribute_not_exists(pk)");
        TransactWriteItem::builder().put(put.build().expect("table and item are given")).build()
    }

    /// Writes all or nothing. A transaction that merely met another one is tried again, with jitter;
    /// each try has a token of its own, by which the SDK's retries stay one write.
    pub(crate) async fn transact(
        &self,
        writes: Vec<TransactWriteItem>,
        entropy: &dyn Entropy,
    ) -> Result<Transacted, StoreError> {
        let mut tries = 0;
        loop {
            let result = self
                .client
                .transact_write_items()
                .set_transact_items(Some(writes.clone()))
                .send()
                .await;
            let reasons = match &result {
                Ok(_) => return Ok(Transacted::Done),
                Err(error) => match cancelled(error) {
                    Some(reasons) => reasons,
                    None => return Err(StoreError::of("TransactWriteItems", error)),
                },
            };
            // The first failed condition, in the order of the writes, is what happened: the receipt's
            // comes before everything else.
            let failed = reasons.iter().position(|r| r.code() == Some("ConditionalCheckFailed"));
            if let Some(index) = failed {
                let old = reasons.get(index).and_then(|reason| reason.item.clone());
                return Ok(Transacted::Failed { index, old });
            }
            let code = reasons.iter().filter_map(CancellationReason::code).find(|c| *c != "None");
            let code = code.unwrap_or("TransactionCanceledException").to_owned();
            let operation = "TransactWriteItems";
            match code.as_str() {
                "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded"
                    if tries < CONFLICT_RETRIES => {}
                "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded" => {
                    return Err(StoreError::Unavailable { operation, code });
                }
                _ => return Err(StoreError::Refused { operation, code }),
            }
            tries += 1;
            let wait_ms = u64::from(tries) * 20 + entropy.number() % 60;
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }
}

/// An alias's attributes.
#[derive(Serialize)]
pub(crate) struct AliasItem {
    pub(crate) at: Timestamp,
}

/// The one lead behind an alias that can only be one lead's.
#[derive(Serialize)]
struct Owner {
    lead_id: LeadId,
}

/// How a transaction ended.
pub(crate) enum Transacted {
    Done,
    Failed { index: usize, old: Option<Item> },
}

fn cancelled(error: &SdkError<TransactWriteItemsError>) -> Option<&[CancellationReason]> {
    match error.as_service_error()? {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            Some(cancelled.cancellation_reasons())
        }
        _ => None,
    }
}

/// The answer of the call that was faster, read from its receipt.
fn replay(old: Option<Item>, ours: &Receipt) -> Result<Accepted, StoreError> {
    let unreadable = StoreError::Unreadable { what: "receipt" };
    let record: ReceiptItem =
        serde_dynamo::from_item(old.ok_or(unreadable.clone())?).map_err(|_| unreadable)?;
    if record.fingerprint == ours.fingerprint {
        Ok(Accepted::Replayed(record.answer))
    } else {
        Ok(Accepted::KeyReused)
    }
}

/// A `SET` expression under construction: every name and value goes through a placeholder.
#[derive(Default)]
pub(crate) struct SetExpression {
    parts: Vec<String>,
    names: HashMap<String, String>,
    pub(crate) values: HashMap<String, AttributeValue>,
}

impl SetExpression {
    fn placeholder(&mut self, name: &str, value: AttributeValue) -> usize {
        let index = self.parts.len();
        self.names.insert(format!("#n{index}"), name.to_owned());
        self.values.insert(format!(":v{index}"), value);
        index
    }

    pub(crate) fn always(&mut self, name: &str, value: AttributeValue) {
        let index = self.placeholder(name, value);
        self.parts.push(format!("#n{index} = :v{index}"));
    }

    pub(crate) fn once(&mut self, name: &str, value: AttributeValue) {
        let index = self.placeholder(name, value);
        self.parts.push(format!("#n{index} = if_not_exists(#n{index}, :v{index})"));
    }

    pub(crate) fn finish(
        self,
    ) -> (String, HashMap<String, String>, HashMap<String, AttributeValue>) {
        (format!("SET {}", self.parts.join(", ")), self.names, self.values)
    }
}
