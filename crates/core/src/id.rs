//! Identifiers: one type for each, parsed once and written in lower case.
//!
//! Owns how each one is generated or derived; see `docs/design.md` ("Identifiers"). It must not
//! know how the table's keys are formatted.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::clock::Entropy;
use crate::hash::sha256_parts;

/// The text is not an identifier of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid identifier")]
pub struct InvalidId;

/// The id of a lead: the browser's UUID, or a UUIDv8 derived from the e-mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LeadId(Uuid);

impl LeadId {
    /// Parses a UUID in any of its usual notations. The nil and the max UUID are refused.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let id = Uuid::try_parse(text.trim()).map_err(|_| InvalidId)?;
        if id.is_nil() || id.is_max() {
            return Err(InvalidId);
        }
        Ok(Self(id))
    }

    /// A new random id.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy.uuid_v4())
    }

    /// Whether it is a version 8 UUID, as derived ids are. Browsers do not generate that version.
    pub fn is_derived(self) -> bool {
        self.0.get_version_num() == 8
    }

    /// Makes a derived id (a UUIDv8) of these bytes.
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

/// The id of an event, prefixed with its source: `form:lead-submit:<UUIDv7>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId(String);

impl EventId {
    /// A new id for the submission of a form to `function`.
    pub fn form(function: &str, now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self(format!("form:{function}:{}", entropy.uuid_v7(now)))
    }

    /// The id of an event that a provider reports. `name` identifies it among the provider's
    /// events.
    pub fn of_provider(provider: &str, name: &str) -> Self {
        Self(format!("{provider}:{name}"))
    }

    /// A new id for a sync that was requested.
    pub fn sync(now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self(format!("sync:{}", entropy.uuid_v7(now)))
    }

    /// A new id for a person's decision about a delivery: a replay or a settlement by hand.
    pub fn decision(now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self(format!("decision:{}", entropy.uuid_v7(now)))
    }

    /// The id as text, as used in keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a delivery. It is also the idempotency key for destinations that accept one.
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

    /// Parses a UUID.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text.trim()).map(Self).map_err(|_| InvalidId)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// The name of a delivery in logs, in responses and on the command line: `<lead>/<delivery>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryName {
    /// The lead that the delivery is about.
    pub lead_id: LeadId,
    /// The delivery.
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

/// The id of a request in quarantine: a UUIDv7, which holds the time at which it was put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuarantineId(Uuid);

impl QuarantineId {
    /// A new id of the time `now`.
    pub fn new(now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self(entropy.uuid_v7(now))
    }

    /// Parses a UUIDv7.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let id = Uuid::try_parse(text.trim()).map_err(|_| InvalidId)?;
        if id.get_version_num() == 7 { Ok(Self(id)) } else { Err(InvalidId) }
    }

    /// When the request was put into quarantine, to the millisecond.
    pub fn at(self) -> Timestamp {
        let unix = self.0.get_timestamp().map(|time| time.to_unix()).unwrap_or_default();
        let (seconds, nanos) = unix;
        let second = Timestamp::from_second(i64::try_from(seconds).unwrap_or_default());
        let second = second.unwrap_or(Timestamp::UNIX_EPOCH);
        second.checked_add(SignedDuration::from_nanos(nanos.into())).unwrap_or(second)
    }
}

impl fmt::Display for QuarantineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// The name of a request in quarantine: `<source>/<id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineName {
    /// The function or provider that it came to or from.
    pub source: String,
    /// The request.
    pub id: QuarantineId,
}

impl FromStr for QuarantineName {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (source, id) = text.split_once('/').ok_or(InvalidId)?;
        Ok(Self { source: source.to_owned(), id: QuarantineId::parse(id)? })
    }
}

impl fmt::Display for QuarantineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.id)
    }
}

/// Identifies one claim of a delivery. Only the worker that holds it may settle the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseId(Uuid);

impl LeaseId {
    /// A new random lease id.
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

    #[test]
    fn a_request_in_quarantine_is_named_by_source_and_id_and_its_id_has_its_time() {
        struct Zero;
        impl Entropy for Zero {
            fn bytes(&self) -> [u8; 16] {
                [0; 16]
            }
        }
        let now: Timestamp = "2026-11-29T12:00:00.123Z".parse().unwrap();
        let name =
            QuarantineName { source: "calendly".to_owned(), id: QuarantineId::new(now, &Zero) };
        assert_eq!(name.to_string().parse(), Ok(name.clone()));
        assert_eq!(name.id.at(), now);
        for refused in
            ["", "calendly", "calendly/x", "calendly/6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11"]
        {
            assert_eq!(refused.parse::<QuarantineName>(), Err(InvalidId), "{refused}");
        }
    }

    /// The first 16 bytes of the digest, with the version and the variant of a UUIDv8 set here.
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
