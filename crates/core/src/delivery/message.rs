//! How far a message has come, as its provider reports.

use serde::{Deserialize, Serialize};

/// The status of a message. The order is the order in which a message passes through them; a failure
/// ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// The provider sent it.
    Sent,
    /// It arrived on the person's phone.
    Delivered,
    /// The person opened it.
    Read,
    /// It will not arrive.
    Failed,
}

impl MessageStatus {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Sent, Self::Delivered, Self::Read, Self::Failed];

    /// The name in the table, in the journey and in WhatsApp's webhook.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }

    /// Reads a name of [`MessageStatus::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether a status update changes the `known` status: what arrived can no longer fail, and what
    /// failed stays failed.
    pub fn is_news(self, known: Option<Self>) -> bool {
        match (known, self) {
            (None, _) => true,
            (Some(Self::Failed), _) => false,
            (Some(known), Self::Failed) => known < Self::Delivered,
            (Some(known), update) => known < update,
        }
    }

    /// Whether the provider confirms that the message was sent.
    pub const fn was_sent(self) -> bool {
        match self {
            Self::Sent | Self::Delivered | Self::Read => true,
            Self::Failed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_message_only_moves_forward() {
        use MessageStatus::{Delivered, Failed, Read, Sent};
        for (known, update, news) in [
            (None, Sent, true),
            (None, Read, true),
            (Some(Sent), Sent, false),
            (Some(Sent), Delivered, true),
            (Some(Read), Delivered, false),
            (Some(Sent), Failed, true),
            (Some(Delivered), Failed, false),
            (Some(Failed), Read, false),
        ] {
            assert_eq!(update.is_news(known), news, "{update:?} after {known:?}");
        }
    }
}
