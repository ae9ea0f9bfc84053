//! What a CRM reports: the status that a deal came to, whose it is, and what became of a lead of its own.
//!
//! Knows no CRM: what a status is called there is read where its webhook is parsed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::group::event_group;
use crate::contact::{Cpf, Email, Phone};
use crate::money::Money;
use crate::pii::{self, Pii, Text};

event_group! {
    /// A CRM reported something about a deal, about whose it is, or about a lead of its own.
    DealEvent in EventData::Deal {
        /// A deal came to a status.
        "deal_changed" => Changed(DealChanged),
        /// A CRM said who a contact of its deals is.
        "deal_contact" => Contact(DealContact),
        /// A CRM made, changed or closed a lead of its own.
        "crm_lead" => Lead(CrmLead),
    }
}

impl DealEvent {
    /// What the CRM reported, in a line, without personal data.
    pub fn note(&self) -> String {
        match self {
            Self::Changed(deal) => {
                let value = deal.value.map(|value| format!(", {value}")).unwrap_or_default();
                format!("{} {}: {}{value}", deal.crm, deal.deal.as_str(), deal.status)
            }
            Self::Contact(contact) => format!("{} says who the contact is", contact.crm),
            Self::Lead(lead) => {
                let status = lead.status.as_ref().map(|status| format!(", {status}"));
                let (crm, id, action) = (&lead.crm, lead.lead.as_str(), lead.action.name());
                format!("{crm} {id}: {action}{}", status.unwrap_or_default())
            }
        }
    }

    /// The names of what came along and was dropped, because it could not be read.
    pub fn dropped(&self) -> &[String] {
        match self {
            Self::Changed(event) => &event.dropped,
            Self::Contact(event) => &event.dropped,
            Self::Lead(event) => &event.dropped,
        }
    }
}

/// A CRM's id of a deal or of a contact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CrmId(String);

impl CrmId {
    /// The longest id, in characters.
    const CHARS_MAX: usize = 100;

    /// Reads an id: letters, digits, and `.`, `_`, `-`, with at least one of the first two.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let valid = (1..=Self::CHARS_MAX).contains(&text.len()) && text.bytes().all(is_plain);
        // `..` would lead out of an address.
        let valid = valid && text.bytes().any(|byte| byte.is_ascii_alphanumeric());
        valid.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a deal's status means to the destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DealStage {
    /// Somebody found that the person may buy.
    Qualified,
    /// The person has decided to buy.
    Committed,
    /// Anything else.
    Other,
}

/// A deal came to a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealChanged {
    /// The CRM, by its name in the endpoint's path.
    pub crm: String,
    /// The CRM's id of the deal.
    pub deal: CrmId,
    /// What the status means.
    pub stage: DealStage,
    /// The CRM's own name of the status.
    pub status: String,
    /// The deal's name.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub name: Option<Text>,
    /// What it is worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Money>,
    /// The day on which it is to be closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closes_on: Option<Date>,
    /// What is sold, as the CRM describes it: at most [`PROPERTY_MAX`] entries.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub property: Option<Pii<BTreeMap<String, String>>>,
    /// The person's data that came as SHA-256 digests.
    #[serde(default, skip_serializing_if = "Digests::is_empty")]
    pub digests: Digests,
    /// The names of what was dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

/// How many entries are kept of what is sold.
pub const PROPERTY_MAX: usize = 40;

/// A CRM said who a contact is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealContact {
    /// The CRM, by its name in the endpoint's path.
    pub crm: String,
    /// The names of what was dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

/// What a CRM did with a lead of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrmLeadAction {
    /// The CRM made the lead.
    Created,
    /// The CRM changed the lead.
    Updated,
    /// The CRM closed the lead: nobody works on it any more.
    Closed,
    /// An action that is none of these.
    Other,
}

impl CrmLeadAction {
    /// Its name in the journey.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Closed => "closed",
            Self::Other => "other",
        }
    }
}

/// A CRM made, changed or closed a lead of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrmLead {
    /// The CRM, by the name of its webhook.
    pub crm: String,
    /// The CRM's id of its lead.
    pub lead: CrmId,
    /// What the CRM did with its lead.
    pub action: CrmLeadAction,
    /// When it did, by its clock.
    pub updated_at: Timestamp,
    /// The CRM's own name of the lead's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The person's name, as the CRM has it. The lead may have another one, which somebody wrote into a form.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub name: Option<Text>,
    /// Their e-mail, as the CRM has it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub email: Option<Email>,
    /// Their phone, as the CRM has it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub phone: Option<Phone>,
    /// The person's CPF, where the CRM sent it along and something needs it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub cpf: Option<Cpf>,
    /// The event is not worked on before this time, because the CRM sent more events about this lead than its rate
    /// allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The names of what was dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

/// Who somebody is, as a CRM says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The CRM's id of them.
    pub id: Option<CrmId>,
    /// Their name, as the CRM has it.
    pub name: Option<Text>,
    /// Their e-mail, if it is a valid address.
    pub email: Option<Email>,
    /// Their phone, if it is a valid number.
    pub phone: Option<Phone>,
    /// What came as digests.
    pub digests: Digests,
}

/// A person's data as SHA-256 digests in lower-case hex, made by whoever sent them by Meta's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// SHA-256 of the e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub email: Option<Text>,
    /// SHA-256 of the phone.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub phone: Option<Text>,
    /// SHA-256 of the first name.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub first_name: Option<Text>,
    /// SHA-256 of the last name.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub last_name: Option<Text>,
}

impl Digests {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
