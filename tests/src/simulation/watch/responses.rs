//! What a 2xx response of ours promises: the request was kept, with all that follows from it.

use funil_core::contact::consent::Purpose;
use funil_core::destination;

use super::{Kept, Watch};

/// A delivery that was pending for longer than this had to be seen and withdrawn, in milliseconds: no
/// request takes longer, even if its requests to the table take effect late.
const SETTLES_IN_MS: u128 = 75_000;

/// What a 2xx response to a request promises, by what the request was.
#[derive(Clone, Debug)]
pub(in super::super) enum Promise {
    /// A form is kept.
    Form(Kept),
    /// A booking update is kept, by the id of its event, and the messages about the bookings that it
    /// ends are withdrawn.
    BookingUpdate { event: String, ends: Vec<String> },
    /// A message of a person who is known by a number, a business-scoped id or both: if it is an
    /// opt-out, it is kept.
    Message { phone: Option<String>, bsuid: Option<String>, opts_out: bool },
    /// The messages about a booking are withdrawn.
    Withdrawn { booking: String },
    /// Somebody who unsubscribed or complained revokes e-mails, and nothing waits for them.
    Unsubscribed { email: String },
    /// An event of a page is kept.
    Visit(usize),
    /// Events are kept, by the ids that their sender gave them.
    Events(Vec<String>),
    /// Nothing that can be checked at once.
    Nothing,
}

impl Watch {
    /// Checks what the 2xx response to a request promises; the request was sent at `began`.
    pub(in super::super) fn accepted(&mut self, promise: &Promise, began: u128) {
        match promise {
            Promise::Form(kept) => {
                if !self.kept.contains_key(kept) {
                    self.problem(format!("{kept:?} was accepted and not kept"));
                }
            }
            Promise::Events(events) => {
                for event in events {
                    if !self.kept.contains_key(&Kept::Event(event.clone())) {
                        self.problem(format!("{event} was accepted and not kept"));
                    }
                }
            }
            Promise::BookingUpdate { event, ends } => {
                let kept = self.kept.get(&Kept::Event(event.clone())).map(|at| at[0]);
                match kept {
                    Some(at) => ends.iter().for_each(|booking| self.check_withdrawn(booking, at)),
                    None => self.problem(format!("{event} was accepted and not kept")),
                }
            }
            Promise::Visit(number) => {
                if self.visits[*number] == 0 {
                    self.problem(format!("page event {number} was accepted and not kept"));
                }
            }
            Promise::Withdrawn { booking } => {
                if self.bookings.get(booking).is_none_or(|booking| booking.status.stands()) {
                    self.problem(format!(
                        "the messages about {booking} were withdrawn, and it stands"
                    ));
                }
                self.check_withdrawn(booking, began);
            }
            Promise::Message { phone, bsuid, opts_out } => {
                let phone = phone.as_ref().map(|text| self.hash.digest("phone", text));
                let phone = phone.map(|digest| digest.as_str().to_owned());
                let bsuid = bsuid.as_ref().map(|text| self.hash.digest("bsuid", text));
                let bsuid = bsuid.map(|digest| digest.as_str().to_owned());
                self.message_accepted((phone, bsuid), *opts_out, began);
            }
            Promise::Unsubscribed { email } => self.check_unsubscribed(email, began),
            Promise::Nothing => {}
        }
    }

    /// Checks that an unsubscribe is kept at the address, and that nothing waits that waited when it came.
    fn check_unsubscribed(&mut self, email: &str, began: u128) {
        let digest = self.hash.digest("email", email).as_str().to_owned();
        if self.revoked(Purpose::MarketingEmail, [&digest]).is_none() {
            self.problem(format!("{email} unsubscribed, and nothing says so"));
        }
        let waited = |since: u128| since + SETTLES_IN_MS < began;
        let ends = |held: &super::Held| {
            let destination = destination::find(&held.destination);
            let slot = destination.and_then(|one| one.slot(&held.slot));
            slot.is_some_and(|slot| slot.ends_with(Purpose::MarketingEmail))
        };
        let mut waits = self.deliveries.values().filter(|held| {
            ends(held)
                && self.leads[&held.lead].email == email
                && held.pending_since.is_some_and(waited)
        });
        if let Some(held) = waits.next() {
            let problem = format!("{} of {} waits after an unsubscribe", held.slot, held.lead);
            self.problem(problem);
        }
    }

    /// Checks that no message about an ended booking still waits that waited when the end was kept.
    fn check_withdrawn(&mut self, booking: &str, at: u128) {
        let about = |held: &&super::Held| held.booking.as_deref() == Some(booking);
        let waited = |since: u128| since + SETTLES_IN_MS < at;
        let waits = self.deliveries.values().filter(about);
        let waits = waits.filter(|held| held.pending_since.is_some_and(waited)).count();
        if waits > 0 {
            self.problem(format!("{waits} messages about {booking} still wait after its end"));
        }
    }

    /// Checks that an opt-out was kept and its lead's messages were withdrawn, and that an id and a
    /// number in one request share their opt-out.
    fn message_accepted(
        &mut self,
        (phone, bsuid): (Option<String>, Option<String>),
        stops: bool,
        began: u128,
    ) {
        let linked = bsuid.as_ref().and_then(|bsuid| self.linked.get(bsuid));
        let linked = linked.into_iter().flatten().filter(|(_, at)| **at < began);
        let linked: Vec<String> = linked.map(|(phone, _)| phone.clone()).collect();
        let opted_out = |of: &Option<String>| of.as_ref().is_some_and(|of| self.opted_out(of));
        let mut problems = Vec::new();
        // From then on, a number and an id in one request belong to one person. An opt-out that is under way
        // meanwhile has its own response.
        let id_had_opted_out =
            bsuid.as_ref().is_some_and(|bsuid| self.opted_out_before(bsuid, began));
        if phone.is_some() && id_had_opted_out && !opted_out(&phone) {
            problems.push(
                "an id that opted out came with a number, which did not opt out with it".to_owned(),
            );
        }
        if stops {
            for of in [&phone, &bsuid] {
                if of.is_some() && !opted_out(of) {
                    problems.push(format!("an opt-out was accepted and is not kept at {of:?}"));
                }
            }
            let theirs: Vec<String> =
                if phone.is_some() { phone.into_iter().collect() } else { linked };
            for number in theirs {
                if !self.opted_out(&number) {
                    problems.push("the number of an id that opted out did not".to_owned());
                }
                let waited = |since: u128| since + SETTLES_IN_MS < began;
                let mut queued = self.deliveries.values().filter(|held| {
                    let messages = held.destination == "whatsapp";
                    let theirs = held.phone.as_ref() == Some(&number)
                        && self.leads[&held.lead].phones.contains(&number);
                    messages && theirs && held.pending_since.is_some_and(waited)
                });
                if let Some(held) = queued.next() {
                    problems.push(format!("{} of {} waits after an opt-out", held.slot, held.lead));
                }
            }
        }
        for problem in problems {
            self.problem(problem);
        }
    }
}
