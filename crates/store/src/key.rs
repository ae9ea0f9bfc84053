//! Every key string of the table, formatted in this file and nowhere else (design §5).
//!
//! Times in keys are UTC RFC 3339 with exactly three decimals and `Z`, so that they sort as text.

use funil_core::booking::BookingId;
use funil_core::consent::Purpose;
use funil_core::hash::Digest;
use funil_core::id::{DeliveryId, EventId, LeadId};
use funil_core::idempotency::ReceiptKey;
use jiff::Timestamp;

/// The sort key of a lead.
pub(crate) const LEAD: &str = "LEAD";
/// Partition and sort key of the table's own record.
pub(crate) const META: &str = "META";
/// The sort key of a receipt.
pub(crate) const RECEIPT: &str = "RECEIPT";
/// The sort key of a breaker.
pub(crate) const BREAKER: &str = "BREAKER";
/// The sort key of a rate.
pub(crate) const RATE: &str = "RATE";
/// The sort key of an alias's revocations.
pub(crate) const CONSENT: &str = "CONSENT";
/// The sort key of the one lead behind an alias that can only be one lead's.
pub(crate) const OWNER: &str = "OWNER";
/// Where the sort keys of events begin.
pub(crate) const EVENT_PREFIX: &str = "EVENT#";
/// Where the sort keys of deliveries begin; also what `dispatch` looks for in the stream.
pub const DELIVERY_PREFIX: &str = "DELIVERY#";
/// Where the sort keys of bookings begin.
pub(crate) const BOOKING_PREFIX: &str = "BOOKING#";
/// Where the sort keys of consent records begin.
pub(crate) const CONSENT_PREFIX: &str = "CONSENT#";

/// A moment as it stands in keys.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

pub(crate) fn lead(id: LeadId) -> String {
    format!("LEAD#{id}")
}

pub(crate) fn event(accepted_at: Timestamp, id: &EventId) -> String {
    format!("{EVENT_PREFIX}{}#{id}", time(accepted_at))
}

pub(crate) fn delivery(destination: &str, accepted_at: Timestamp, id: DeliveryId) -> String {
    format!("{}{}#{id}", deliveries_of(destination), time(accepted_at))
}

pub(crate) fn deliveries_of(destination: &str) -> String {
    format!("{DELIVERY_PREFIX}{destination}#")
}

pub(crate) fn booking(id: &BookingId) -> String {
    format!("{BOOKING_PREFIX}{id}")
}

/// The lead in the sort key of an alias.
pub(crate) fn lead_of_alias(sk: &str) -> Option<LeadId> {
    LeadId::parse(sk.strip_prefix("LEAD#")?).ok()
}

/// The destination in a delivery's sort key.
pub fn destination_of(delivery_sk: &str) -> Option<&str> {
    delivery_sk.strip_prefix(DELIVERY_PREFIX)?.split('#').next()
}

/// The event's id follows the time: two calls of one millisecond must not replace each other's proof.
pub(crate) fn consent(accepted_at: Timestamp, event: &EventId) -> String {
    format!("{CONSENT_PREFIX}{}#{event}", time(accepted_at))
}

/// The sort key of the proof that a purpose was taken back: the same word twice is one.
pub(crate) fn revocation(at: Timestamp, purpose: Purpose, form: &str) -> String {
    format!("{CONSENT_PREFIX}{}#{form}#{}", time(at), purpose.name())
}

pub(crate) fn receipt(key: &ReceiptKey) -> String {
    format!("RECEIPT#{}#{}", key.scope, key.key)
}

pub(crate) fn alias(kind: &str, digest: &Digest) -> String {
    format!("ALIAS#{kind}#{}", digest.as_str())
}

pub(crate) fn rate(scope: &str, digest: &Digest) -> String {
    format!("RATE#{scope}#{}", digest.as_str())
}

pub(crate) fn quarantine(source: &str) -> String {
    format!("QUARANTINE#{source}")
}

pub(crate) fn quarantined(at: Timestamp, id: &str) -> String {
    format!("{}#{id}", time(at))
}

pub(crate) fn destination(name: &str) -> String {
    format!("DESTINATION#{name}")
}

/// The sort key of a limiter's minute.
pub(crate) fn limit(minute: Timestamp) -> String {
    format!("LIMIT#{}", time(minute))
}

pub(crate) fn alert(destination: &str, kind: &str) -> String {
    format!("ALERT#{destination}#{kind}")
}

pub(crate) fn due(destination: &str) -> String {
    format!("DUE#{destination}#0")
}

pub(crate) fn dead(destination: &str) -> String {
    format!("DEAD#{destination}")
}

/// Where one delivery stands in the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryKey {
    /// Whose it is.
    pub lead_id: LeadId,
    /// Its sort key.
    pub sk: String,
}

impl DeliveryKey {
    pub(crate) fn pk(&self) -> String {
        lead(self.lead_id)
    }

    pub(crate) fn parse(pk: &str, sk: &str) -> Option<Self> {
        let lead_id = LeadId::parse(pk.strip_prefix("LEAD#")?).ok()?;
        sk.starts_with(DELIVERY_PREFIX).then(|| Self { lead_id, sk: sk.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_exactly_three_decimals() {
        for (at, expected) in [
            ("2026-11-21T12:00:00Z", "2026-11-21T12:00:00.000Z"),
            ("2026-11-21T12:00:00.5Z", "2026-11-21T12:00:00.500Z"),
            ("2026-11-21T12:00:00.123456Z", "2026-11-21T12:00:00.123Z"),
            ("2026-11-21T09:00:00-03:00", "2026-11-21T12:00:00.000Z"),
        ] {
            assert_eq!(time(at.parse().unwrap()), expected);
        }
    }

    #[test]
    fn a_delivery_key_tells_its_destination() {
        assert_eq!(destination_of("DELIVERY#crm#2026-11-21T12:00:00.000Z#x"), Some("crm"));
        assert_eq!(destination_of("EVENT#crm"), None);
    }
}
