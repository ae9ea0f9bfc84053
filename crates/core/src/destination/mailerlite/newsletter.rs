//! Who gets the newsletter, and whom MailerLite asks first.
//!
//! Anybody can type another person's e-mail into the form. So the form never subscribes somebody who left. Where it is
//! configured, MailerLite asks them by e-mail, and only their reply to that e-mail ends a revocation. This module must
//! not know what a request looks like.

use super::super::Context;
use crate::contact::consent::{Decision, Purpose};
use crate::delivery::Reason;
use crate::settings::Settings;

/// Whom MailerLite asks, by an e-mail of its own, whether they want the newsletter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// Nobody: who signs up is subscribed at once.
    Nobody,
    /// Who is new to the account.
    New,
    /// Also who unsubscribed before they signed up, and who gets e-mails without having agreed to marketing.
    Everybody,
}

impl Confirmation {
    pub(super) fn read(settings: &mut Settings<'_>) -> Option<Self> {
        match settings.optional("MAILERLITE_CONFIRMATION").unwrap_or("new") {
            "nobody" => Some(Self::Nobody),
            "new" => Some(Self::New),
            "everybody" => Some(Self::Everybody),
            _ => settings.problem("MAILERLITE_CONFIRMATION must be nobody, new or everybody."),
        }
    }
}

/// What MailerLite says of a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It does not know the address.
    Unknown,
    /// They get e-mails, or nothing is said against it.
    Active,
    /// It asked them, and they have not answered.
    Unconfirmed,
    /// They unsubscribed.
    Unsubscribed,
    /// Mail to the address fails, or they complained.
    Unreachable,
}

impl Status {
    /// The status of a subscriber, by MailerLite's name of it.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "unconfirmed" => Self::Unconfirmed,
            "unsubscribed" => Self::Unsubscribed,
            "bounced" | "junk" => Self::Unreachable,
            _ => Self::Active,
        }
    }

    /// Whether the person must be left alone.
    pub(super) const fn has_left(self) -> bool {
        matches!(self, Self::Unsubscribed | Self::Unreachable)
    }
}

/// Whether the sign-up still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// The person agreed, and nothing revokes it.
    Stands,
    /// It is not known whether the owner of the e-mail asked for it: nothing that they decided agrees to it.
    Unproven,
    /// The person had revoked e-mails before it, and anybody can have typed it.
    AfterRevocation,
    /// They refused or revoked e-mails since.
    Withdrawn,
}

impl Wish {
    fn of(context: &Context<'_>) -> Self {
        const EMAIL: Purpose = Purpose::MarketingEmail;

        let signed_up = context.event.accepted_at;
        let known = context.revocations.iter();
        let revoked = known.filter_map(|known| known.purposes.get(&EMAIL)).max();
        let decided = context.lead.consents.get(EMAIL);
        let denied_since =
            decided.is_some_and(|grant| grant.decision == Decision::Denied && grant.at > signed_up);
        match revoked {
            Some(at) if *at >= signed_up => Self::Withdrawn,
            _ if denied_since => Self::Withdrawn,
            Some(_) => Self::AfterRevocation,
            None => {
                // What the oldest lead of an e-mail agreed to counts as its owner's decision. Anybody can create
                // another lead with the same e-mail.
                let owners = context.elder.map_or(&context.lead.consents, |elder| &elder.consents);
                let agreed =
                    owners.get(EMAIL).is_some_and(|known| known.decision == Decision::Granted);
                if agreed { Self::Stands } else { Self::Unproven }
            }
        }
    }
}

/// How the subscriber is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    /// With the status that they have; who is new is subscribed.
    AsTheyAre,
    /// As unconfirmed, so that MailerLite asks them.
    Unconfirmed,
}

/// How a sign-up is written, or why it is not.
pub(super) fn writing(
    context: &Context<'_>,
    status: Status,
    confirmation: Confirmation,
) -> Result<Writing, Reason> {
    let no_consent = Reason::NoConsent(Purpose::MarketingEmail);
    let asks =
        |whether: bool, otherwise| if whether { Ok(Writing::Unconfirmed) } else { otherwise };
    let everybody = confirmation == Confirmation::Everybody;
    let anybody = confirmation != Confirmation::Nobody;
    match (Wish::of(context), status) {
        (Wish::Withdrawn, _) | (Wish::AfterRevocation, Status::Active) => Err(no_consent),
        (_, Status::Unreachable) => Err(Reason::Unsubscribed),
        (_, Status::Unsubscribed) => asks(everybody, Err(Reason::Unsubscribed)),
        (Wish::AfterRevocation, Status::Unconfirmed) if !everybody => Err(no_consent),
        (Wish::Stands, Status::Active) | (_, Status::Unconfirmed) => Ok(Writing::AsTheyAre),
        (Wish::Stands, Status::Unknown) => asks(anybody, Ok(Writing::AsTheyAre)),
        (Wish::Unproven, Status::Unknown) => asks(anybody, Err(no_consent)),
        // Who gets e-mails already may get them for another reason than that they agreed to marketing.
        (Wish::Unproven, Status::Active) | (Wish::AfterRevocation, Status::Unknown) => {
            asks(everybody, Err(no_consent))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Known;
    use super::super::super::samples::{lead, newsletter};
    use super::super::NEWSLETTER;
    use super::*;
    use crate::clock::after;
    use crate::contact::consent::{Grant, How, Revocations};
    use crate::delivery::Delivery;

    /// What is known of the e-mail beside the sign-up.
    #[derive(Clone, Copy, Debug)]
    enum Before {
        Nothing,
        /// It was revoked so many seconds after it.
        Revoked(i64),
        /// Its oldest lead is another one, which did not agree.
        Disagreed,
        /// Its oldest lead is another one, which agreed.
        Agreed,
    }

    fn decided(
        before: Before,
        status: Status,
        confirmation: Confirmation,
    ) -> Result<Writing, Reason> {
        let (event, lead) = (newsletter(), lead());
        let mut elder = lead.clone();
        let revoked_after_s = match before {
            Before::Revoked(seconds) => Some(seconds),
            Before::Nothing | Before::Disagreed | Before::Agreed => None,
        };
        if let Before::Disagreed = before {
            elder.consents.marketing_email = None;
        }
        let elder = matches!(before, Before::Disagreed | Before::Agreed).then_some(&elder);
        let at = revoked_after_s.map(|seconds| after(event.accepted_at, seconds));
        let revocations = at.map(|at| Revocations {
            purposes: [(Purpose::MarketingEmail, at)].into(),
            ..Revocations::default()
        });
        let delivery = Delivery::planned(&event, "mailerlite", NEWSLETTER.name);
        let context = Context {
            lead: &lead,
            revocations: revocations.as_slice(),
            event: &event,
            bookings: &[],
            delivery: &delivery,
            slot: &NEWSLETTER,
            oldest: None,
            elder,
            known: Known::NotLately,
            kept: &[],
        };
        writing(&context, status, confirmation)
    }

    #[test]
    fn who_signs_up_is_asked_as_configured_and_nobody_who_left_is_subscribed() {
        use Confirmation::{Everybody, New, Nobody};
        use Status::{Active, Unconfirmed, Unknown, Unreachable, Unsubscribed};

        let (as_is, ask) = (Ok(Writing::AsTheyAre), Ok(Writing::Unconfirmed));
        let left = Err(Reason::Unsubscribed);
        let denied = Err(Reason::NoConsent(Purpose::MarketingEmail));
        for (before, status, nobody, new, everybody) in [
            (Before::Nothing, Unknown, as_is, ask, ask),
            (Before::Nothing, Active, as_is, as_is, as_is),
            (Before::Nothing, Unconfirmed, as_is, as_is, as_is),
            (Before::Nothing, Unsubscribed, left, left, ask),
            (Before::Nothing, Unreachable, left, left, left),
            (Before::Revoked(-60), Unknown, denied, denied, ask),
            (Before::Revoked(-60), Active, denied, denied, denied),
            (Before::Revoked(-60), Unconfirmed, denied, denied, as_is),
            (Before::Revoked(-60), Unsubscribed, left, left, ask),
            (Before::Revoked(-60), Unreachable, left, left, left),
            (Before::Revoked(0), Unsubscribed, denied, denied, denied),
            (Before::Revoked(60), Unknown, denied, denied, denied),
            (Before::Revoked(60), Active, denied, denied, denied),
            (Before::Disagreed, Unknown, denied, ask, ask),
            (Before::Disagreed, Active, denied, denied, ask),
            (Before::Disagreed, Unconfirmed, as_is, as_is, as_is),
            (Before::Disagreed, Unsubscribed, left, left, ask),
            (Before::Agreed, Active, as_is, as_is, as_is),
        ] {
            let found = [Nobody, New, Everybody].map(|asked| decided(before, status, asked));
            assert_eq!(found, [nobody, new, everybody], "{before:?} {status:?}");
        }
    }

    #[test]
    fn a_box_that_was_left_unticked_since_withdraws_the_wish() {
        let event = newsletter();
        let mut lead = lead();
        let at = after(event.accepted_at, 1);
        let denied = Grant { decision: Decision::Denied, at, how: How::Explicit };
        lead.consents.set(Purpose::MarketingEmail, denied);
        let delivery = Delivery::planned(&event, "mailerlite", NEWSLETTER.name);
        let context = Context {
            lead: &lead,
            revocations: &[],
            event: &event,
            bookings: &[],
            delivery: &delivery,
            slot: &NEWSLETTER,
            oldest: None,
            elder: None,
            known: Known::NotLately,
            kept: &[],
        };
        assert_eq!(Wish::of(&context), Wish::Withdrawn);
    }
}
