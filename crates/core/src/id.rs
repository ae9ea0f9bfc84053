//! Identifiers: newtypes, parsed once, lower case.
//!
//! Owns how each one is made or derived (design §2). Knows nothing of the table's keys.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::clock::Entropy;
use crate::hash::sha256_parts;

/// Not an identifier of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid identifier")]
pub struct InvalidId;

/// A person in the funnel: the browser's UUID, or one derived from the e-mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LeadId(Uuid);

impl LeadId {
    /// Reads a UUID in any of its usual spellings; nil and max are refused.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let id = Uuid::try_parse(text.trim()).map_err(|_| InvalidId)?;
        if id.is_nil() || id.is_max() {
            return Err(InvalidId);
        }
        Ok(Self(id))
    }

    /// Whether it has the form of an id that we derive, which no browser makes.
    pub fn is_derived(self) -> bool {
        self.0.get_version_num() == 8
    }

    /// An id made of these bytes, in the form of a UUIDv8: a derived one.
    pub(crate) fn derived(bytes: [u8; 16]) -> Self {
        Self(Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for LeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl From<LeadId> for String {
    fn from(id: LeadId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for LeadId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::parse(&text)
    }
}

/// What happened, by the identity of whoever says so: `form:lead-submit:<UUIDv7>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId(String);

impl EventId {
    /// The event of a form, made when the form is accepted.
    pub fn form(function: &str, now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self(format!("form:{function}:{}", entropy.uuid_v7(now)))
    }

    /// The event that a provider tells of, under a name of the provider's own.
    pub fn of_provider(provider: &str, name: &str) -> Self {
        Self(format!("{provider}:{name}"))
    }

    /// The event of a sync that was asked for.
    pub fn sync(now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self(format!("sync:{}", entropy.uuid_v7(now)))
    }

    /// The event of a person's decision about a delivery.
    pub fn decision(now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self(format!("decision:{}", entropy.uuid_v7(now)))
    }

    /// The text, as it stands in keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event for a destination and slot. Given to destinations that take a key of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryId(Uuid);

impl DeliveryId {
    /// The first 16 bytes of SHA-256(event id, 0, destination, 0, slot), as a UUIDv8.
    pub fn derive(event: &EventId, destination: &str, slot: &str) -> Self {
        let digest = sha256_parts(&[event.as_str(), destination, slot]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Reads one as it is shown.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text.trim()).map(Self).map_err(|_| InvalidId)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// A delivery as logs, tables and answers name it: `<lead>/<delivery>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryName {
    /// Whose it is.
    pub lead_id: LeadId,
    /// Which of theirs.
    pub delivery_id: DeliveryId,
}

impl FromStr for DeliveryName {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (lead, delivery) = text.split_once('/').ok_or(InvalidId)?;
        Ok(Self { lead_id: LeadId::parse(lead)?, delivery_id: DeliveryId::parse(delivery)? })
    }
}

impl fmt::Display for DeliveryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.lead_id, self.delivery_id)
    }
}

/// One claim of a delivery: only its holder may settle it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseId(Uuid);

impl LeaseId {
    /// A fresh one.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy.uuid_v4())
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_simple().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_id_is_lower_case_and_never_nil_or_max() {
        let id = LeadId::parse(" 6F1C2F5E-0B0A-4D3E-9A53-0D7A6C1F2B11 ").unwrap();
        assert_eq!(id.to_string(), "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11");
        for refused in [
            "",
            "abc",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ] {
            assert_eq!(LeadId::parse(refused), Err(InvalidId), "{refused}");
        }
    }

    #[test]
    fn a_delivery_is_named_by_lead_and_id() {
        let text = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11/0b0a6f1c-2f5e-8d3e-9a53-0d7a6c1f2b11";
        assert_eq!(text.parse::<DeliveryName>().unwrap().to_string(), text);
        for refused in ["", "/", "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11", "a/b"] {
            assert_eq!(refused.parse::<DeliveryName>(), Err(InvalidId), "{refused}");
        }
    }

    /// Computed with Python: uuid.UUID(bytes=sha256(b"a\0crm\0lead")[:16]), version and variant set.
    #[test]
    fn a_delivery_id_is_the_documented_digest() {
        let id = DeliveryId::derive(&EventId("a".to_owned()), "crm", "lead");
        let digest = sha256_parts(&["a", "crm", "lead"]);
        let mut expected = [0; 16];
        expected.copy_from_slice(&digest[..16]);
        expected[6] = (expected[6] & 0x0f) | 0x80;
        expected[8] = (expected[8] & 0x3f) | 0x80;
        assert_eq!(id.0.as_bytes(), &expected);
        assert_ne!(id, DeliveryId::derive(&EventId("a".to_owned()), "crm", "lead2"));
    }
}
