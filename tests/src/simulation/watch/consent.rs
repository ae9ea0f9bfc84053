//! What people agreed to and revoked, as the table has it, and what a process had read of it when it
//! sent something.

use std::collections::{BTreeMap, BTreeSet};

use funil_core::contact::consent::Purpose;
use funil_core::destination::Slot;
use serde_json::Value;

use super::history::text;
use super::{Known, Watch};

/// A request reads its inputs at most this long before it is sent, in milliseconds.
const INPUTS_LIVE_MS: u128 = 60_000;

/// The revocation of a purpose at an e-mail, a number or a business-scoped id.
#[derive(Clone, Debug)]
pub(super) struct Revoked {
    pub(super) at: String,
    /// The number of the request with which it took effect.
    pub(super) number: u64,
    /// When it took effect, in the milliseconds of the run; a repetition changes nothing.
    since: u128,
}

/// What a process knew of a lead's consent when it read the lead.
pub(super) struct Read {
    at: u128,
    process: usize,
    email: String,
    lead: String,
    permitted: BTreeSet<Purpose>,
}

impl Read {
    /// Whether a slot may be sent, where the form of its own event decides about `boxes`.
    fn permits(&self, slot: &Slot, boxes: &BTreeMap<Purpose, bool>) -> bool {
        let own = boxes.get(&slot.purpose).copied();
        own.unwrap_or_else(|| self.permitted.contains(&slot.purpose))
    }
}

/// Whose consent a request needs.
pub(super) enum Of<'a> {
    Lead(&'a str),
    Email(&'a str),
}

impl Watch {
    /// The latest revocation under any of these digests.
    pub(super) fn revoked<'d>(
        &self,
        purpose: Purpose,
        digests: impl IntoIterator<Item = &'d String>,
    ) -> Option<&Revoked> {
        let found = digests.into_iter().filter_map(|of| self.revoked.get(&(of.clone(), purpose)));
        found.max_by(|one, other| one.at.cmp(&other.at))
    }

    fn permits(&self, known: &Known, purpose: Purpose, digests: &[&String]) -> bool {
        known.choices.get(&purpose) == Some(&true)
            && self.revoked(purpose, digests.iter().copied()).is_none()
    }

    /// Whether the owner of a number, or of a business-scoped id, opted out.
    pub(in super::super) fn opted_out(&self, digest: &str) -> bool {
        self.revoked(Purpose::Whatsapp, [&digest.to_owned()]).is_some()
    }

    /// Whether they had opted out before a request began.
    pub(super) fn opted_out_before(&self, digest: &str, began: u128) -> bool {
        let revoked = self.revoked(Purpose::Whatsapp, [&digest.to_owned()]);
        revoked.is_some_and(|revoked| revoked.since < began)
    }

    /// Remembers which purposes are denied at this moment, because a process may read this now and act
    /// on it later.
    pub(super) fn note_denials(&mut self) {
        let mut denied = Vec::new();
        for (lead, known) in &self.leads {
            let present = known.digests();
            for purpose in Purpose::ALL {
                if !self.permits(known, purpose, &present) {
                    denied.push((lead.clone(), purpose));
                }
            }
        }
        for (lead, purpose) in denied {
            self.leads.get_mut(&lead).unwrap().ever_denied.insert(purpose);
        }
    }

    /// A purpose is revoked at an alias.
    pub(super) fn alias_revoked(&mut self, request: &Value) {
        let pk = text(request, "/Key/pk/S");
        let digest = pk.rsplit('#').next().unwrap_or_default().to_owned();
        let names = request["ExpressionAttributeNames"].as_object().unwrap().values();
        let revoked = names.filter_map(|name| name.as_str()?.strip_prefix("revoked_"));
        let at = text(request, "/ExpressionAttributeValues/:at/S").to_owned();
        for purpose in revoked.filter_map(Purpose::parse) {
            let key = (digest.clone(), purpose);
            let since = self.revoked.get(&key).map_or_else(|| self.now(), |known| known.since);
            let revoked = Revoked { at: at.clone(), number: self.number, since };
            self.revoked.insert(key, revoked);
        }
        self.note_denials();
    }

    /// A purpose is shown as revoked on a lead, for people: sending looks at the number.
    pub(super) fn lead_revoked(&mut self, update: &Value) {
        let lead = text(update, "/Key/pk/S").trim_start_matches("LEAD#").to_owned();
        let name = text(update, "/ExpressionAttributeNames/#consent");
        let purpose = Purpose::ALL.into_iter().find(|purpose| name.ends_with(purpose.name()));
        if let Some(known) = self.leads.get_mut(&lead) {
            known.choices.insert(purpose.unwrap(), false);
        }
        self.note_denials();
    }

    /// A process reads leads, and so their consent.
    pub(super) fn read(&mut self, process: usize, request: &Value) {
        let tables = request["RequestItems"].as_object().unwrap();
        let keys = tables.values().filter_map(|table| table["Keys"].as_array()).flatten();
        for key in keys.filter(|key| text(key, "/sk/S") == "LEAD") {
            let lead = text(key, "/pk/S").trim_start_matches("LEAD#").to_owned();
            let Some(known) = self.leads.get(&lead) else { continue };
            let digests = known.digests();
            let all = || Purpose::ALL.into_iter();
            let permitted = all().filter(|purpose| self.permits(known, *purpose, &digests));
            let permitted = permitted.collect();
            let (at, email) = (self.now(), known.email.clone());
            self.reads.push(Read { at, process, email, lead, permitted });
        }
    }

    /// Whether the process has just read a consent under which one of these slots may be sent to this
    /// person.
    pub(super) fn may(
        &self,
        process: usize,
        whose: &Of<'_>,
        slots: &[Slot],
        boxes: &BTreeMap<Purpose, bool>,
    ) -> bool {
        let from = self.now().saturating_sub(INPUTS_LIVE_MS);
        let recent = self.reads.iter().rev().take_while(|read| read.at >= from);
        let its = recent.filter(|read| {
            read.process == process
                && match whose {
                    Of::Lead(lead) => read.lead == *lead,
                    Of::Email(email) => read.email == *email,
                }
        });
        its.into_iter().any(|read| slots.iter().any(|slot| read.permits(slot, boxes)))
    }
}
