//! Reasons: why a try, a settlement or a breaker ended as it did.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::booking::{BookingStatus, NoNumber};
use crate::contact::consent::Purpose;

/// Why something ended as it did. No variant can hold personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The HTTP status of the response.
    Status(u16),
    /// No connection could be opened, so the provider has seen nothing.
    Connect,
    /// No response came in time.
    Timeout,
    /// The connection broke before the response was complete.
    Transport,
    /// The status is a success, but the body is not what the API promises, or says otherwise.
    UnexpectedResponse(&'static str),
    /// The request would break one of the provider's limits.
    Limit(&'static str),
    /// The person did not agree to this purpose, or revoked it.
    NoConsent(Purpose),
    /// The person gave no phone number.
    NoPhone,
    /// No number is known to be the person's, for this reason.
    NoNumber(NoNumber),
    /// The number is no mobile number.
    NotMobile,
    /// The number got as many messages today as it may.
    DailyLimit,
    /// The provider says that the person unsubscribed.
    Unsubscribed,
    /// Mail to the address fails.
    Bounced,
    /// This deployment is not production.
    OutsideProduction,
    /// The destination is not listed in `DESTINATIONS`.
    Off,
    /// The time by which it had to be delivered has passed.
    DeadlinePassed,
    /// A worker was interrupted, or no response came, after a harmful request was begun.
    MayHaveBeenSent,
    /// Claimed [`CLAIMS_MAX`](super::CLAIMS_MAX) times without any settlement.
    KillsItsWorker,
    /// The booking that it is about is not in force, with this status.
    Withdrawn(BookingStatus),
    /// The provider reports, with this code, that the message will not arrive.
    Failed(u32),
    /// The provider says, with this code, that it takes nothing at the moment, whatever is sent.
    Outage(u32),
    /// Another message to the same number was sent a moment ago.
    TooSoon,
    /// Another delivery of the same lead is under way.
    SiblingLeased,
    /// Written by newer code: this code does not know the slot, the event or the item's version.
    NotUnderstood,
    /// The lead, the event or a field that the destination needs does not exist.
    Missing(&'static str),
    /// A newer delivery of the same lead and slot brought the lead's state, which is all that this one
    /// has.
    Superseded,
    /// A newer delivery of the same lead and slot is sent first.
    NewerFirst,
    /// The destination confirmed the same state of the lead a short time ago.
    Unchanged,
    /// What it would send is sent with another delivery of the same lead, or was.
    OfAnother,
    /// Not enough time was left for another request.
    NoTimeLeft,
    /// The adapter wanted more requests than a delivery may make.
    TooManyRequests,
    /// The destination's rate is used up for this minute.
    OutOfTokens,
    /// Blocked [`BLOCKED_ALONE`](super::BLOCKED_ALONE) times while other deliveries went through.
    BlockedAlone,
    /// A person settled the delivery by hand.
    ByPerson,
}

impl Reason {
    /// Whether it says that the number itself gets no messages, whatever they say: WhatsApp's 131026
    /// (`docs/providers.md`, "WhatsApp").
    pub const fn is_about_number(self) -> bool {
        matches!(self, Self::Failed(131_026))
    }

    /// Reads the text of a reason. `None` for [`UnexpectedResponse`](Self::UnexpectedResponse), [`Limit`](Self::Limit) and
    /// [`Missing`](Self::Missing), whose details are known to their destinations alone, and for texts
    /// of newer code.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = [
            Self::Connect,
            Self::Timeout,
            Self::Transport,
            Self::NoPhone,
            Self::NotMobile,
            Self::DailyLimit,
            Self::Unsubscribed,
            Self::Bounced,
            Self::OutsideProduction,
            Self::Off,
            Self::DeadlinePassed,
            Self::MayHaveBeenSent,
            Self::KillsItsWorker,
            Self::TooSoon,
            Self::SiblingLeased,
            Self::Superseded,
            Self::NewerFirst,
            Self::Unchanged,
            Self::OfAnother,
            Self::NotUnderstood,
            Self::NoTimeLeft,
            Self::TooManyRequests,
            Self::OutOfTokens,
            Self::BlockedAlone,
            Self::ByPerson,
        ];
        let statuses = [
            BookingStatus::Booked,
            BookingStatus::Canceled,
            BookingStatus::Rescheduled,
            BookingStatus::NoShow,
        ];
        let detailed = |prefix: &str| text.strip_prefix(prefix);
        let parsed = plain.into_iter().find(|reason| reason.to_string() == text);
        let parsed = parsed
            .or_else(|| detailed("http_")?.parse().ok().map(Self::Status))
            .or_else(|| detailed("failed_")?.parse().ok().map(Self::Failed))
            .or_else(|| detailed("outage_")?.parse().ok().map(Self::Outage))
            .or_else(|| {
                let name = detailed("no_number_")?;
                NoNumber::ALL.into_iter().find(|why| why.name() == name).map(Self::NoNumber)
            })
            .or_else(|| detailed("no_consent_").and_then(Purpose::parse).map(Self::NoConsent))
            .or_else(|| {
                let name = detailed("booking_")?;
                statuses.into_iter().find(|status| status.name() == name).map(Self::Withdrawn)
            })?;
        // Numbers have more than one spelling, and the stored text must not change.
        (parsed.to_string() == text).then_some(parsed)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "http_{status}"),
            Self::Outage(code) => write!(f, "outage_{code}"),
            Self::Connect => f.write_str("connect"),
            Self::Timeout => f.write_str("timeout"),
            Self::Transport => f.write_str("transport"),
            Self::UnexpectedResponse(what) => write!(f, "answer_{what}"),
            Self::Limit(what) => write!(f, "limit_{what}"),
            Self::NoConsent(purpose) => write!(f, "no_consent_{}", purpose.name()),
            Self::NoPhone => f.write_str("no_phone"),
            Self::NotMobile => f.write_str("not_mobile"),
            Self::DailyLimit => f.write_str("daily_limit"),
            Self::NoNumber(why) => write!(f, "no_number_{}", why.name()),
            Self::Unsubscribed => f.write_str("unsubscribed"),
            Self::Bounced => f.write_str("bounced"),
            Self::OutsideProduction => f.write_str("outside_production"),
            Self::Off => f.write_str("off"),
            Self::DeadlinePassed => f.write_str("deadline_passed"),
            Self::MayHaveBeenSent => f.write_str("may_have_been_sent"),
            Self::KillsItsWorker => f.write_str("kills_its_worker"),
            Self::Withdrawn(status) => write!(f, "booking_{}", status.name()),
            Self::Failed(code) => write!(f, "failed_{code}"),
            Self::TooSoon => f.write_str("too_soon"),
            Self::SiblingLeased => f.write_str("sibling_leased"),
            Self::Superseded => f.write_str("superseded"),
            Self::NewerFirst => f.write_str("newer_first"),
            Self::Unchanged => f.write_str("unchanged"),
            Self::OfAnother => f.write_str("message_of_another"),
            Self::NotUnderstood => f.write_str("not_understood"),
            Self::Missing(what) => write!(f, "missing_{what}"),
            Self::NoTimeLeft => f.write_str("no_time_left"),
            Self::TooManyRequests => f.write_str("too_many_requests"),
            Self::OutOfTokens => f.write_str("out_of_tokens"),
            Self::BlockedAlone => f.write_str("blocked_alone"),
            Self::ByPerson => f.write_str("by_person"),
        }
    }
}

/// A reason as the table keeps it: one that this code can compare, or a text that it only shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct StoredReason(Kept);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    Known(Reason),
    /// A text that [`Reason::parse`] does not read. One that it does read is always `Known`, so
    /// that equal texts are equal.
    Other(String),
}

impl StoredReason {
    /// The reason, if it is one that this code can compare.
    pub const fn known(&self) -> Option<Reason> {
        match &self.0 {
            Kept::Known(reason) => Some(*reason),
            Kept::Other(_) => None,
        }
    }
}

impl From<String> for StoredReason {
    fn from(text: String) -> Self {
        Self(Reason::parse(&text).map_or(Kept::Other(text), Kept::Known))
    }
}

impl From<Reason> for StoredReason {
    fn from(reason: Reason) -> Self {
        Self::from(reason.to_string())
    }
}

impl From<StoredReason> for String {
    fn from(reason: StoredReason) -> Self {
        reason.to_string()
    }
}

impl fmt::Display for StoredReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Known(reason) => reason.fmt(f),
            Kept::Other(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_reason_keeps_its_text_and_is_recognised_where_it_can_be() {
        for (text, expected) in [
            ("http_503", Some(Reason::Status(503))),
            ("outage_131016", Some(Reason::Outage(131_016))),
            ("failed_131026", Some(Reason::Failed(131_026))),
            ("no_consent_whatsapp", Some(Reason::NoConsent(Purpose::Whatsapp))),
            ("booking_no_show", Some(Reason::Withdrawn(BookingStatus::NoShow))),
            ("may_have_been_sent", Some(Reason::MayHaveBeenSent)),
            ("by_person", Some(Reason::ByPerson)),
            ("http_0503", None),
            ("failed_+1", None),
            ("answer_is_a_page", None),
            ("missing_lead", None),
            ("a_reason_of_newer_code", None),
            ("", None),
        ] {
            let stored = StoredReason::from(text.to_owned());
            assert_eq!(stored.known(), expected, "{text}");
            assert_eq!(stored.to_string(), text);
        }
        let response = StoredReason::from(Reason::UnexpectedResponse("is_a_page"));
        assert_eq!(response, StoredReason::from("answer_is_a_page".to_owned()));
    }
}
