//! What a response of ours promises: whoever was told yes was kept, with all that follows from it.

use funil_core::contact::consent::Purpose;

use super::{Kept, Watch};

/// What waits so long undisturbed was there to be withdrawn, in milliseconds: no request, with its
/// table calls that take effect late, takes longer.
const SETTLES_IN_MS: u128 = 75_000;

/// What a request told us, as far as something is promised for it.
#[derive(Clone, Debug)]
pub(in super::super) enum Told {
    /// A form.
    Form(Kept),
    /// A booking update, by the id of its event, with the bookings that it ends.
    Calendar { event: String, ends: Vec<String> },
    /// Somebody wrote, known by a number, by a business-scoped id, or by both.
    Wrote { phone: Option<String>, bsuid: Option<String>, opts_out: bool },
    /// Messages about a call were withdrawn.
    Withdrawn { booking: String },
    /// Nothing is promised at once.
    Nothing,
}

impl Watch {
    /// A request that was begun at `began` was answered with success.
    pub(in super::super) fn taken(&mut self, told: &Told, began: u128) {
        match told {
            Told::Form(kept) => {
                if !self.kept.contains_key(kept) {
                    self.problem(format!("{kept:?} got a yes and was not kept"));
                }
            }
            Told::Calendar { event, ends } => {
                let kept = self.kept.get(&Kept::Event(event.clone())).map(|at| at[0]);
                match kept {
                    Some(at) => ends.iter().for_each(|booking| self.is_withdrawn(booking, at)),
                    None => self.problem(format!("{event} got a yes and was not kept")),
                }
            }
            Told::Withdrawn { booking } => {
                if self.bookings.get(booking).is_none_or(|booking| booking.status.stands()) {
                    self.problem(format!("{booking} was withdrawn and stands"));
                }
                self.is_withdrawn(booking, began);
            }
            Told::Wrote { phone, bsuid, opts_out } => {
                let phone = phone.as_ref().map(|text| self.hash.digest("phone", text));
                let phone = phone.map(|digest| digest.as_str().to_owned());
                let bsuid = bsuid.as_ref().map(|text| self.hash.digest("bsuid", text));
                let bsuid = bsuid.map(|digest| digest.as_str().to_owned());
                self.wrote((phone, bsuid), *opts_out, began);
            }
            Told::Nothing => {}
        }
    }

    /// No message about an ended booking waits that waited when its end was kept.
    fn is_withdrawn(&mut self, booking: &str, at: u128) {
        let about = |held: &&super::Held| held.booking.as_deref() == Some(booking);
        let waited = |since: u128| since + SETTLES_IN_MS < at;
        let waits = self.deliveries.values().filter(about);
        let waits = waits.filter(|held| held.pending_since.is_some_and(waited)).count();
        if waits > 0 {
            self.problem(format!("{waits} messages about {booking} wait on after its end"));
        }
    }

    fn wrote(
        &mut self,
        (phone, bsuid): (Option<String>, Option<String>),
        stops: bool,
        began: u128,
    ) {
        let known_by = |phone: &String| -> Vec<String> {
            let leads = self.leads.iter().filter(|(_, known)| known.phones.contains(phone));
            leads.map(|(lead, _)| lead.clone()).collect()
        };
        let linked = bsuid.as_ref().and_then(|bsuid| self.linked.get(bsuid));
        let linked: Vec<String> = linked
            .into_iter()
            .flatten()
            .filter(|(_, at)| **at < began)
            .map(|(lead, _)| lead.clone())
            .collect();
        let taken_back = |of: &Option<String>| {
            of.as_ref().is_some_and(|of| self.revoked(Purpose::Whatsapp, [of]).is_some())
        };
        let mut problems = Vec::new();
        // A number and an id in one request are one person's, from then on.
        if let (Some(number), Some(_)) = (&phone, &bsuid)
            && !known_by(number).is_empty()
            && taken_back(&bsuid)
            && !taken_back(&phone)
        {
            problems.push("an id that opted out got a number that did not".to_owned());
        }
        if stops {
            for of in [&phone, &bsuid] {
                if of.is_some() && !taken_back(of) {
                    problems.push(format!("an opt-out got a yes and is not kept at {of:?}"));
                }
            }
            let mut theirs: Vec<String> = phone.iter().flat_map(known_by).collect();
            theirs.extend(linked);
            for lead in theirs {
                let known = &self.leads[&lead];
                let digests: Vec<&String> = known.phones.iter().chain(&bsuid).collect();
                if !self.refused(known, Purpose::Whatsapp, &digests) {
                    continue;
                }
                let waited = |since: u128| since + SETTLES_IN_MS < began;
                let mut queued = self.deliveries.values().filter(|held| {
                    let messages = held.lead == lead && held.destination == "whatsapp";
                    messages && held.pending_since.is_some_and(waited)
                });
                if let Some(held) = queued.next() {
                    problems.push(format!("{} waits for {lead} after an opt-out", held.slot));
                }
            }
        }
        for problem in problems {
            self.problem(problem);
        }
    }
}
