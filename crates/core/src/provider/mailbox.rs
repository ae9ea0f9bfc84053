//! What the tools that send e-mails report of addresses, whichever of them does.
//!
//! Must not know any of them, nor whose address it is.

use crate::contact::Email;
use crate::event::{EmailStatus, SubscriberNoted};

/// Something that a tool reported of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The address.
    pub email: Email,
    /// What happened to the address.
    pub what: What,
    /// A digest of what the tool said, by which a duplicate is recognised.
    pub digest: String,
}

/// What happened to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It gets e-mails from now on, or gets none any more.
    Changed(EmailStatus),
    /// Something that changes nothing here.
    Noted(SubscriberNoted),
}

/// The content of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// What happened to addresses, in the tool's order.
    pub reports: Vec<Report>,
    /// Names of event types that are not handled, cut and stripped so that they can be logged.
    pub others: Vec<String>,
    /// How many parts could not be read.
    pub unreadable: usize,
}
