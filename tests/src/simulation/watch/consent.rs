//! What people agreed to and revoked, as the table has it, and what a process had read of it when it
//! sent something.

use std::collections::BTreeSet;

use funil_core::contact::consent::Purpose;
use funil_core::destination::Slot;
use serde_json::Value;

use super::history::{plain, text};
use super::{Known, Watch};

/// A request reads its inputs at most this long before it is sent, in milliseconds.
const INPUTS_LIVE_MS: u128 = 60_000;

/// A lead's decision about a purpose.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) granted: bool,
    pub(super) at: String,
    pub(super) assumed: bool,
    /// The number of the request with which it took effect.
    pub(super) number: u64,
}

/// The revocation of a purpose at an e-mail, a number or a business-scoped id.
#[derive(Clone, Debug)]
pub(super) struct Revoked {
    pub(super) at: String,
    /// The number of the request with which it took effect.
    pub(super) number: u64,
}

/// What a process knew of a lead's consent when it read the lead.
pub(super) struct Read {
    at: u128,
    process: usize,
    email: String,
    lead: String,
    permitted: BTreeSet<Purpose>,
    refused: BTreeSet<Purpose>,
}

impl Read {
    fn permits(&self, slot: &Slot) -> bool {
        self.permitted.contains(&slot.purpose)
            && slot.unless_refused.is_none_or(|purpose| !self.refused.contains(&purpose))
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
        let Some(choice) = known.choices.get(&purpose).filter(|choice| choice.granted) else {
            return false;
        };
        match self.revoked(purpose, digests.iter().copied()) {
            Some(revoked) => !choice.assumed && choice.at > revoked.at,
            None => true,
        }
    }

    /// Whether the person refused, and has not agreed since.
    pub(super) fn refused(&self, known: &Known, purpose: Purpose, digests: &[&String]) -> bool {
        match known.choices.get(&purpose) {
            Some(_) => !self.permits(known, purpose, digests),
            None => self.revoked(purpose, digests.iter().copied()).is_some(),
        }
    }

    /// Remembers which purposes are denied or refused at this moment, because a process may read this
    /// now and act on it later.
    pub(super) fn note_denials(&mut self) {
        let mut denied = Vec::new();
        for (lead, known) in &self.leads {
            let present = known.digests();
            let ever: Vec<&String> = known.phones.iter().chain([&known.email_digest]).collect();
            for purpose in Purpose::ALL {
                if !self.permits(known, purpose, &present) {
                    denied.push((lead.clone(), purpose, false));
                }
                if self.refused(known, purpose, &ever) {
                    denied.push((lead.clone(), purpose, true));
                }
            }
        }
        for (lead, purpose, refused) in denied {
            let known = self.leads.get_mut(&lead).unwrap();
            let ever = if refused { &mut known.ever_refused } else { &mut known.ever_denied };
            ever.insert(purpose);
        }
    }

    /// A purpose is revoked at an alias.
    pub(super) fn alias_revoked(&mut self, request: &Value) {
        let pk = text(request, "/Key/pk/S");
        let digest = pk.rsplit('#').next().unwrap_or_default().to_owned();
        let name = text(request, "/ExpressionAttributeNames/#revoked");
        let purpose = Purpose::ALL.into_iter().find(|purpose| name.ends_with(purpose.name()));
        let at = text(request, "/ExpressionAttributeValues/:at/S").to_owned();
        let revoked = Revoked { at, number: self.number };
        self.revoked.insert((digest, purpose.unwrap()), revoked);
        self.note_denials();
    }

    /// A purpose is revoked on a lead.
    pub(super) fn lead_revoked(&mut self, update: &Value) {
        let lead = text(update, "/Key/pk/S").trim_start_matches("LEAD#").to_owned();
        let name = text(update, "/ExpressionAttributeNames/#consent");
        let purpose = Purpose::ALL.into_iter().find(|purpose| name.ends_with(purpose.name()));
        let at = &plain(&update["ExpressionAttributeValues"])[":grant"]["at"];
        let at = funil_store::key_time(at.as_str().unwrap().parse().unwrap());
        let choice = Choice { granted: false, at, assumed: false, number: self.number };
        if let Some(known) = self.leads.get_mut(&lead) {
            known.choices.insert(purpose.unwrap(), choice);
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
            let refused = all().filter(|purpose| self.refused(known, *purpose, &digests));
            let (permitted, refused) = (permitted.collect(), refused.collect());
            let (at, email) = (self.now(), known.email.clone());
            self.reads.push(Read { at, process, email, lead, permitted, refused });
        }
    }

    /// Whether the process has just read a consent under which one of these slots may be sent to this
    /// person.
    pub(super) fn may(&self, process: usize, whose: &Of<'_>, slots: &[Slot]) -> bool {
        let from = self.now().saturating_sub(INPUTS_LIVE_MS);
        let recent = self.reads.iter().rev().take_while(|read| read.at >= from);
        let its = recent.filter(|read| {
            read.process == process
                && match whose {
                    Of::Lead(lead) => read.lead == *lead,
                    Of::Email(email) => read.email == *email,
                }
        });
        its.into_iter().any(|read| slots.iter().any(|slot| read.permits(slot)))
    }
}
