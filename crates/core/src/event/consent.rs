//! What the tool that sends e-mails reports of an address: whether it gets any, and what else happened.
//!
//! Nothing of it is ever planned for that tool again, or its own report would come back to it.

use serde::{Deserialize, Serialize};

use super::group::event_group;

event_group! {
    /// The tool that sends e-mails reported something about an address.
    ConsentEvent in EventData::Consent {
        /// The address gets e-mails from now on, or gets none any more.
        "email_changed" => EmailChanged(EmailChanged),
        /// Something happened that changes nothing here.
        "subscriber_noted" => SubscriberNoted(SubscriberNoted),
    }
}

/// Whether an address gets e-mails, as the tool that sends them said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmailStatus {
    /// The person gets them.
    Active,
    /// The person unsubscribed.
    Unsubscribed,
    /// The person marked one as spam.
    SpamReported,
    /// Mail to the address fails.
    Bounced,
    /// The tool has the address no more.
    Deleted,
}

/// What a status of an address does to the consent to e-mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentEffect {
    /// The person takes back what they had revoked.
    Restores,
    /// The person revokes it.
    Revokes,
    /// The consent stays as it is.
    Nothing,
}

impl EmailStatus {
    /// The name in the table, in the journey and in the CRM.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Unsubscribed => "unsubscribed",
            Self::SpamReported => "spam_reported",
            Self::Bounced => "bounced",
            Self::Deleted => "deleted",
        }
    }

    /// What it does to the consent to e-mails.
    pub const fn consent(self) -> ConsentEffect {
        match self {
            Self::Active => ConsentEffect::Restores,
            Self::Unsubscribed | Self::SpamReported => ConsentEffect::Revokes,
            Self::Bounced | Self::Deleted => ConsentEffect::Nothing,
        }
    }
}

/// An address gets e-mails from now on, or gets none any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailChanged {
    /// The status that the address has from now on.
    pub status: EmailStatus,
}

/// What else happened to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriberNote {
    /// The tool has the address from now on.
    Created,
    /// Their fields changed.
    Updated,
    /// They joined a group.
    AddedToGroup,
    /// They left a group.
    RemovedFromGroup,
    /// An automation began for them.
    AutomationTriggered,
    /// They came to the end of an automation.
    AutomationCompleted,
    /// An e-mail to them failed for a time.
    SoftBounced,
    /// An e-mail to them was not sent, because earlier ones failed or were unwanted.
    Blocked,
}

impl SubscriberNote {
    /// The name in the journey.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::AddedToGroup => "added_to_group",
            Self::RemovedFromGroup => "removed_from_group",
            Self::AutomationTriggered => "automation_triggered",
            Self::AutomationCompleted => "automation_completed",
            Self::SoftBounced => "soft_bounced",
            Self::Blocked => "blocked",
        }
    }
}

/// Something that happened to a subscriber and changes nothing here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriberNoted {
    /// What happened, by our own name of it.
    pub note: SubscriberNote,
    /// The tool's id of the group or the automation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name that its account gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl ConsentEvent {
    /// What happened, in words of the journey.
    pub fn note(&self) -> String {
        match self {
            Self::EmailChanged(changed) => changed.status.name().to_owned(),
            Self::SubscriberNoted(noted) => {
                let what = noted.note.name().to_owned();
                let which = [noted.name.as_deref(), noted.id.as_deref()];
                let which = which.into_iter().flatten();
                [what.as_str()].into_iter().chain(which).collect::<Vec<_>>().join(" ")
            }
        }
    }
}
