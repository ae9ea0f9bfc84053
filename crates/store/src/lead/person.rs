//! The person behind an e-mail: which of their leads is the oldest, and how many were made today.
//!
//! Anybody can make leads of an e-mail, so neither is counted by reading them.

use funil_core::contact::NEW_LEADS_A_DAY;
use funil_core::hash::Digest;
use funil_core::id::LeadId;
use jiff::Timestamp;

use crate::Store;
use crate::table::error::StoreError;
use crate::table::expression::Expression;
use crate::table::item::{self, Item};
use crate::table::key;
use crate::table::transaction::{Transaction, Write};

/// What became of the count of a day's new leads.
pub(crate) enum Count {
    /// The day's leads are used up.
    Full,
    /// The record is of this day, and the count begins again.
    OfAnotherDay(String),
}

fn day(now: Timestamp) -> String {
    now.strftime("%Y-%m-%d").to_string()
}

/// The key of the person behind an e-mail.
pub(crate) fn keys(email: &Digest) -> Item {
    item::keys(key::alias("email", email), key::PERSON)
}

/// Notes a lead that may be the first of its e-mail.
pub(crate) fn note(
    transaction: &mut Transaction<'_>,
    email: &Digest,
    lead: LeadId,
) -> Result<(), StoreError> {
    let mut update = Expression::of_type("person")
        .set_once("oldest", item::s(lead.to_string()))
        .set_once("newest", item::s(lead.to_string()));
    if lead.is_derived() {
        update = update.set_once("derived", item::s(lead.to_string()));
    }
    transaction.update(Write::Person, keys(email), update)
}

/// Notes and counts a new lead. `seen` is the day of the record, if it is known not to be today.
pub(crate) fn count(
    transaction: &mut Transaction<'_>,
    email: &Digest,
    lead: LeadId,
    now: Timestamp,
    seen: Option<&str>,
) -> Result<(), StoreError> {
    let update = Expression::of_type("person")
        .set_once("oldest", item::s(lead.to_string()))
        .set("newest", item::s(lead.to_string()))
        .set("day", item::s(day(now)));
    let update = match seen {
        Some(seen) => update
            .set("new_leads", item::n(1))
            .condition("#day = :seen")
            .value(":seen", item::s(seen)),
        None => update
            .add("new_leads", 1)
            .condition("attribute_not_exists(#day) OR (#day = :day AND #new_leads < :most)")
            .value(":most", item::n(NEW_LEADS_A_DAY)),
    };
    transaction.update_or_get(Write::Person, keys(email), update)
}

/// Why a new lead could not be counted; `old` is the record.
pub(crate) fn not_counted(old: Option<&Item>, now: Timestamp) -> Count {
    match old.and_then(|old| item::text(old, "day")) {
        Some(found) if found != day(now) => Count::OfAnotherDay(found.to_owned()),
        Some(_) | None => Count::Full,
    }
}

impl Store {
    /// The lead of an e-mail that was made first, where that was noted.
    pub async fn oldest_lead(&self, email: &Digest) -> Result<Option<LeadId>, StoreError> {
        let person = self.get(keys(email)).await?;
        Ok(person.as_ref().and_then(oldest))
    }

    /// The lead of an e-mail that was made last, where that was noted.
    pub async fn newest_lead(&self, email: &Digest) -> Result<Option<LeadId>, StoreError> {
        let person = self.get(keys(email)).await?;
        Ok(person.as_ref().and_then(newest))
    }
}

/// The oldest lead of a person.
pub(crate) fn oldest(person: &Item) -> Option<LeadId> {
    LeadId::parse(item::text(person, "oldest")?).ok()
}

/// The newest lead of a person.
pub(crate) fn newest(person: &Item) -> Option<LeadId> {
    LeadId::parse(item::text(person, "newest")?).ok()
}

/// The lead of a person whose id is derived from the e-mail, if there is one.
pub(crate) fn derived(person: &Item) -> Option<LeadId> {
    LeadId::parse(item::text(person, "derived")?).ok()
}
