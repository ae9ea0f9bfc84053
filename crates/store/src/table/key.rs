//! Every key string of the table is formatted in this file and nowhere else.
//!
//! Times in keys are UTC RFC 3339 with exactly three decimals and `Z`, so that they sort as text. The
//! items with their keys are in ARCHITECTURE.md ("The table").

use funil_core::booking::BookingId;
use funil_core::contact::consent::Purpose;
use funil_core::delivery::{Delivery, Shard};
use funil_core::destination::{Whose, whose};
use funil_core::event::TransactionId;
use funil_core::hash::Digest;
use funil_core::id::{DeliveryId, EventId, LeadId, QuarantineId, QuarantineName};
use funil_core::receipt::ReceiptKey;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use crate::totals::TotalOf;

/// The sort key of a lead.
pub(crate) const LEAD: &str = "LEAD";
/// Partition key and sort key of the table's identity.
pub(crate) const TABLE_IDENTITY: &str = "META";
/// The sort key of a receipt.
pub(crate) const RECEIPT: &str = "RECEIPT";
/// The sort key of a limiter.
pub(crate) const LIMIT: &str = "LIMIT";
/// The sort key of a breaker.
pub(crate) const BREAKER: &str = "BREAKER";
/// The sort key of a caller's rate.
pub(crate) const RATE: &str = "RATE";
/// The sort key of how a provider signs.
pub(crate) const SIGNATURES: &str = "SIGNATURES";
/// The sort key of an alias's revocations.
pub(crate) const CONSENT: &str = "CONSENT";
/// The sort key of the person behind an e-mail.
pub(crate) const PERSON: &str = "PERSON";
/// The sort key of the one lead that owns an alias of an object, such as a booking.
pub(crate) const OWNER: &str = "OWNER";
/// The prefix of partition keys of leads, and of sort keys of an alias's leads.
pub(crate) const LEAD_PREFIX: &str = "LEAD#";
/// The prefix of partition keys of visitors.
const VISITOR_PREFIX: &str = "VISITOR#";
/// The prefix of sort keys of the numbers that belong to a business-scoped id.
pub(crate) const PHONE_PREFIX: &str = "PHONE#";
/// The prefix of sort keys of events.
pub(crate) const EVENT_PREFIX: &str = "EVENT#";
/// The prefix of sort keys of deliveries.
pub(crate) const DELIVERY_PREFIX: &str = "DELIVERY#";
/// The prefix of sort keys of payments.
pub(crate) const TRANSACTION_PREFIX: &str = "TRANSACTION#";
/// The prefix of sort keys of bookings.
pub(crate) const BOOKING_PREFIX: &str = "BOOKING#";
/// The prefix of sort keys of what destinations found out about a lead.
pub(crate) const REPLY_PREFIX: &str = "REPLY#";
/// The prefix of sort keys of consent records.
pub(crate) const CONSENT_PREFIX: &str = "CONSENT#";

/// The partition of totals.
pub(crate) const TOTALS: &str = "TOTALS";
/// The sort key of the totals of the events of pages.
pub(crate) const PAGE_EVENTS: &str = "PAGES";
const FUNCTION_PREFIX: &str = "FUNCTION#";
const DESTINATION_PREFIX: &str = "DESTINATION#";

/// A time as it is written in keys: `2026-11-21T12:00:00.000Z`.
pub fn time(at: Timestamp) -> String {
    DateTimePrinter::new().precision(Some(3)).timestamp_to_string(&at)
}

pub(crate) fn lead(id: LeadId) -> String {
    format!("{LEAD_PREFIX}{id}")
}

pub(crate) fn event(accepted_at: Timestamp, id: &EventId) -> String {
    format!("{EVENT_PREFIX}{}#{id}", time(accepted_at))
}

fn delivery(destination: &str, accepted_at: Timestamp, id: DeliveryId) -> String {
    format!("{}{}#{id}", deliveries_of(destination), time(accepted_at))
}

pub(crate) fn deliveries_of(destination: &str) -> String {
    format!("{DELIVERY_PREFIX}{destination}#")
}

pub(crate) fn replies_of(destination: &str) -> String {
    format!("{REPLY_PREFIX}{destination}#")
}

pub(crate) fn reply(destination: &str, step: &str) -> String {
    format!("{}{step}", replies_of(destination))
}

pub(crate) fn booking(id: &BookingId) -> String {
    format!("{BOOKING_PREFIX}{id}")
}

pub(crate) fn transaction(id: &TransactionId) -> String {
    format!("{TRANSACTION_PREFIX}{}", id.as_str())
}

/// The lead that the sort key of an alias names.
pub(crate) fn lead_of_alias(sk: &str) -> Option<LeadId> {
    LeadId::parse(sk.strip_prefix(LEAD_PREFIX)?).ok()
}

/// The destination that the sort key of a delivery names.
pub fn destination_of(delivery_sk: &str) -> Option<&str> {
    delivery_sk.strip_prefix(DELIVERY_PREFIX)?.split('#').next()
}

/// The event's id follows the time, so that two requests of one millisecond do not replace each
/// other's proof.
pub(crate) fn consent(accepted_at: Timestamp, event: &EventId) -> String {
    format!("{CONSENT_PREFIX}{}#{event}", time(accepted_at))
}

/// The sort key of the proof that a purpose was revoked. The same revocation has the same key each
/// time.
pub(crate) fn revocation(at: Timestamp, purpose: Purpose, form: &str) -> String {
    format!("{CONSENT_PREFIX}{}#{form}#{}", time(at), purpose.name())
}

pub(crate) fn receipt(key: &ReceiptKey) -> String {
    format!("RECEIPT#{}#{}", key.scope, key.key)
}

pub(crate) fn alias(kind: &str, digest: &Digest) -> String {
    format!("{}{}", alias_prefix(kind), digest.as_str())
}

/// What the partition keys of the aliases of one kind begin with.
pub(crate) fn alias_prefix(kind: &str) -> String {
    format!("ALIAS#{kind}#")
}

/// The sort key of a number that belongs to a business-scoped id.
pub(crate) fn phone(digest: &Digest) -> String {
    format!("{PHONE_PREFIX}{}", digest.as_str())
}

pub(crate) fn rate(scope: &str, digest: &Digest) -> String {
    format!("RATE#{scope}#{}", digest.as_str())
}

/// The partition of the messages of a destination to one number.
pub(crate) fn messages(destination: &str, number: &Digest) -> String {
    format!("MESSAGES#{destination}#{}", number.as_str())
}

/// The sort key of one day.
pub(crate) fn day(day: &str) -> String {
    format!("DAY#{day}")
}

pub(crate) fn quarantine(source: &str) -> String {
    format!("QUARANTINE#{source}")
}

/// The sort key of a request in quarantine.
pub(crate) fn quarantined(id: QuarantineId) -> String {
    format!("{}#{id}", time(id.at()))
}

/// The id that the sort key of a request in quarantine names.
pub(crate) fn quarantined_id(sk: &str) -> Option<QuarantineId> {
    QuarantineId::parse(sk.rsplit('#').next()?).ok()
}

/// The partition of the further parts of a large request in quarantine.
pub(crate) fn quarantine_parts(name: &QuarantineName) -> String {
    format!("{}#{}", quarantine(&name.source), name.id)
}

/// The sort key of one of those parts.
pub(crate) fn part(number: usize) -> String {
    format!("PART#{number:03}")
}

/// The partition of the counts of requests that a source put into quarantine in a day.
pub(crate) fn quarantined_a_day(source: &str) -> String {
    format!("QUARANTINED#{source}")
}

/// The partition of how a provider signs.
pub(crate) fn provider(name: &str) -> String {
    format!("PROVIDER#{name}")
}

pub(crate) fn destination(name: &str) -> String {
    format!("{DESTINATION_PREFIX}{name}")
}

/// The sort key of a function's totals.
pub(crate) fn function(name: &str) -> String {
    format!("{FUNCTION_PREFIX}{name}")
}

/// Whose totals the sort key of an item names.
pub(crate) fn total_of(sk: &str) -> Option<TotalOf> {
    let function = sk.strip_prefix(FUNCTION_PREFIX).map(str::to_owned).map(TotalOf::Function);
    let destination = || sk.strip_prefix(DESTINATION_PREFIX).map(str::to_owned);
    let page_events = || (sk == PAGE_EVENTS).then_some(TotalOf::PageEvents);
    function.or_else(|| destination().map(TotalOf::Destination)).or_else(page_events)
}

pub(crate) fn alert(destination: &str, kind: &str) -> String {
    format!("ALERT#{destination}#{kind}")
}

/// The partition of the `due` index that holds the open deliveries of a destination in a shard.
pub(crate) fn due(destination: &str, shard: Shard) -> String {
    format!("DUE#{destination}#{}", shard.number())
}

/// The shard that a partition of the `due` index names.
pub(crate) fn shard_of(due_pk: &str) -> Option<Shard> {
    Shard::numbered(due_pk.rsplit('#').next()?.parse().ok()?)
}

/// The partition of the `dead` index that holds the dead deliveries of a destination in a shard.
pub(crate) fn dead(destination: &str, shard: Shard) -> String {
    // The first one has the name that it had while it was the only one.
    match shard {
        Shard::FIRST => format!("DEAD#{destination}"),
        shard => format!("DEAD#{destination}#{}", shard.number()),
    }
}

/// The sort key of the lease of a shard's sweep.
pub(crate) fn sweep(shard: Shard) -> String {
    format!("SWEEP#{}", shard.number())
}

/// The key of one delivery in the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryKey {
    /// The lead, which is the partition; of a destination of visitors, the visitor.
    pub lead_id: LeadId,
    /// The sort key.
    pub sk: String,
}

/// What the partition keys begin with of those whose delivery has this sort key.
fn owner_prefix(delivery_sk: &str) -> &'static str {
    match whose(destination_of(delivery_sk).unwrap_or_default()) {
        Whose::Leads => LEAD_PREFIX,
        Whose::Visitors => VISITOR_PREFIX,
    }
}

impl DeliveryKey {
    pub(crate) fn pk(&self) -> String {
        format!("{}{}", owner_prefix(&self.sk), self.lead_id)
    }

    /// Whether the delivery is a lead's or a visitor's, which its destination decides.
    pub fn whose(&self) -> Whose {
        whose(destination_of(&self.sk).unwrap_or_default())
    }

    /// The key of an item, if it is a delivery.
    pub fn parse(pk: &str, sk: &str) -> Option<Self> {
        if !sk.starts_with(DELIVERY_PREFIX) {
            return None;
        }
        let lead_id = LeadId::parse(pk.strip_prefix(owner_prefix(sk))?).ok()?;
        Some(Self { lead_id, sk: sk.to_owned() })
    }

    /// When its event was first accepted, as the sort key says.
    pub fn accepted_at(&self) -> Option<Timestamp> {
        self.sk.rsplit('#').nth(1)?.parse().ok()
    }

    /// The key as a ring carries it: `<lead>/<sort key>`.
    pub fn to_text(&self) -> String {
        format!("{}/{}", self.lead_id, self.sk)
    }

    /// Reads a key of [`to_text`](Self::to_text).
    pub fn from_text(text: &str) -> Option<Self> {
        let (lead, sk) = text.split_once('/')?;
        let key = Self::parse(&format!("{}{lead}", owner_prefix(sk)), sk)?;
        key.accepted_at().map(|_| key)
    }

    /// The delivery's id as text, which is the last part of the sort key.
    pub fn delivery_id(&self) -> Option<&str> {
        self.sk.rsplit('#').next()
    }

    /// Whether this is the key of the delivery with this id.
    pub fn is(&self, id: DeliveryId) -> bool {
        self.delivery_id() == Some(id.to_string().as_str())
    }
}

impl From<&Delivery> for DeliveryKey {
    fn from(of: &Delivery) -> Self {
        let sk = delivery(&of.destination, of.accepted_at, of.id);
        Self { lead_id: of.lead_id, sk }
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
    fn a_key_is_read_as_a_ring_carries_it() {
        let sk = "DELIVERY#crm#2026-11-21T12:00:00.000Z#0b0a6f1c-2f5e-8d3e-9a53-0d7a6c1f2b11";
        let lead = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";
        let key = DeliveryKey::from_text(&format!("{lead}/{sk}")).unwrap();
        assert_eq!(key.to_text(), format!("{lead}/{sk}"));
        assert_eq!(key.accepted_at(), Some("2026-11-21T12:00:00Z".parse().unwrap()));
        for wrong in ["", "crm", &format!("{lead}/EVENT#x"), &format!("{lead}/DELIVERY#crm#now#x")]
        {
            assert_eq!(DeliveryKey::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_visitors_delivery_stands_in_their_partition() {
        let id = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";
        let sk = |to: &str| format!("DELIVERY#{to}#2026-11-21T12:00:00.000Z#x");
        for (to, pk) in [("ga4", format!("LEAD#{id}")), ("ga4_visits", format!("VISITOR#{id}"))] {
            let key = DeliveryKey::parse(&pk, &sk(to)).unwrap();
            assert_eq!(key.pk(), pk);
            assert_eq!(DeliveryKey::from_text(&key.to_text()), Some(key));
        }
        assert_eq!(DeliveryKey::parse(&format!("VISITOR#{id}"), &sk("ga4")), None);
    }

    #[test]
    fn the_sort_key_of_a_delivery_names_its_destination() {
        assert_eq!(destination_of("DELIVERY#crm#2026-11-21T12:00:00.000Z#x"), Some("crm"));
        assert_eq!(destination_of("EVENT#crm"), None);
    }
}
