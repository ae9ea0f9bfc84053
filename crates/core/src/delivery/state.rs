//! The states of a delivery, each with the data that only it has.

use jiff::Timestamp;

use crate::delivery::reason::{Reason, StoredReason};
use crate::id::LeaseId;

/// The state of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for its due time.
    Pending {
        /// When it is due.
        due_at: Timestamp,
        /// Why the last try ended without success; absent before the first one.
        reason: Option<StoredReason>,
        /// Whether it may have been sent. Only a delivery that older code could not read and gave
        /// back keeps this while it is pending.
        sending: Sending,
    },
    /// A worker holds it.
    Leased {
        /// The claim of that worker.
        lease: LeaseId,
        /// When the claim ends and the delivery is due again.
        until: Timestamp,
        /// Why the try before this one ended without success.
        reason: Option<StoredReason>,
        /// Whether it may have been sent.
        sending: Sending,
    },
    /// It may have been sent, and for a while the provider may still report whether it was.
    Unconfirmed {
        /// Since when it may have been sent.
        since: Timestamp,
        /// When a person has to decide, if no status update came.
        due_at: Timestamp,
        /// Why nobody knows whether it was sent.
        reason: StoredReason,
    },
    /// It may have been sent, and nobody needs to decide.
    Unknown {
        /// When it was settled.
        at: Timestamp,
        /// Why nobody knows whether it was sent.
        reason: StoredReason,
    },
    /// The destination has it.
    Delivered {
        /// When it was settled.
        at: Timestamp,
        /// Present where a person said so.
        reason: Option<StoredReason>,
    },
    /// It was rightly not sent.
    Skipped {
        /// When it was settled.
        at: Timestamp,
        /// Why it was not to be sent.
        reason: StoredReason,
    },
    /// It was not sent, or nobody knows whether it was; it waits for a person.
    Dead {
        /// When it died.
        at: Timestamp,
        /// Why it died.
        reason: StoredReason,
    },
}

/// Whether a harmful request, one that must not be repeated, may have been sent before this claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sending {
    /// None was begun since the last settlement.
    #[default]
    NotBegun,
    /// The holder of this lease was about to send one, and has not settled since.
    Begun(LeaseId),
    /// One may have been sent, and since this time a status update is awaited.
    Unconfirmed(Timestamp),
}

impl Sending {
    /// Whether a harmful request may have been sent.
    pub const fn may_have_been_sent(self) -> bool {
        match self {
            Self::NotBegun => false,
            Self::Begun(_) | Self::Unconfirmed(_) => true,
        }
    }
}

/// A state without its data, for comparing and counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateKind {
    /// [`State::Pending`]
    Pending,
    /// [`State::Leased`]
    Leased,
    /// [`State::Unknown`] and [`State::Unconfirmed`]
    Unknown,
    /// [`State::Delivered`]
    Delivered,
    /// [`State::Skipped`]
    Skipped,
    /// [`State::Dead`]
    Dead,
}

impl StateKind {
    /// Every kind, for reading one by its name in the table.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Leased, Self::Unknown, Self::Delivered, Self::Skipped, Self::Dead];

    /// The name in the table and in the journey.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Leased => "leased",
            Self::Unknown => "unknown",
            Self::Delivered => "delivered",
            Self::Skipped => "skipped",
            Self::Dead => "dead",
        }
    }

    /// Reads a name of [`StateKind::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the delivery is still to be sent.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Pending | Self::Leased => true,
            Self::Unknown | Self::Delivered | Self::Skipped | Self::Dead => false,
        }
    }
}

impl State {
    /// Waiting for a first try.
    pub const fn due(due_at: Timestamp) -> Self {
        Self::Pending { due_at, reason: None, sending: Sending::NotBegun }
    }

    /// The state without its data.
    pub const fn kind(&self) -> StateKind {
        match self {
            Self::Pending { .. } => StateKind::Pending,
            Self::Leased { .. } => StateKind::Leased,
            Self::Unconfirmed { .. } | Self::Unknown { .. } => StateKind::Unknown,
            Self::Delivered { .. } => StateKind::Delivered,
            Self::Skipped { .. } => StateKind::Skipped,
            Self::Dead { .. } => StateKind::Dead,
        }
    }

    /// The name in the table and in the journey.
    pub const fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// Whether the delivery is still to be sent.
    pub const fn is_open(&self) -> bool {
        self.kind().is_open()
    }

    /// When it is due, or when its lease ends; `None` once it is settled for good.
    pub const fn due_at(&self) -> Option<Timestamp> {
        match self {
            Self::Pending { due_at, .. } | Self::Unconfirmed { due_at, .. } => Some(*due_at),
            Self::Leased { until, .. } => Some(*until),
            Self::Unknown { .. }
            | Self::Delivered { .. }
            | Self::Skipped { .. }
            | Self::Dead { .. } => None,
        }
    }

    /// When it was settled for good.
    pub const fn settled_at(&self) -> Option<Timestamp> {
        match self {
            Self::Unknown { at, .. }
            | Self::Delivered { at, .. }
            | Self::Skipped { at, .. }
            | Self::Dead { at, .. } => Some(*at),
            Self::Pending { .. } | Self::Leased { .. } | Self::Unconfirmed { .. } => None,
        }
    }

    /// Why it is in this state.
    pub const fn reason(&self) -> Option<&StoredReason> {
        match self {
            Self::Pending { reason, .. }
            | Self::Leased { reason, .. }
            | Self::Delivered { reason, .. } => reason.as_ref(),
            Self::Unconfirmed { reason, .. }
            | Self::Unknown { reason, .. }
            | Self::Skipped { reason, .. }
            | Self::Dead { reason, .. } => Some(reason),
        }
    }

    /// Whether it is in this state for this reason.
    pub fn is_because_of(&self, reason: Reason) -> bool {
        self.reason().and_then(StoredReason::known) == Some(reason)
    }

    /// The claim that holds it.
    pub const fn lease(&self) -> Option<LeaseId> {
        match self {
            Self::Leased { lease, .. } => Some(*lease),
            Self::Pending { .. }
            | Self::Unconfirmed { .. }
            | Self::Unknown { .. }
            | Self::Delivered { .. }
            | Self::Skipped { .. }
            | Self::Dead { .. } => None,
        }
    }

    /// Whether a harmful request may have been sent that no settlement followed.
    pub const fn sending(&self) -> Sending {
        match self {
            Self::Pending { sending, .. } | Self::Leased { sending, .. } => *sending,
            Self::Unconfirmed { since, .. } => Sending::Unconfirmed(*since),
            Self::Unknown { .. }
            | Self::Delivered { .. }
            | Self::Skipped { .. }
            | Self::Dead { .. } => Sending::NotBegun,
        }
    }

    /// Since when a status update is awaited that says whether it was sent.
    pub const fn unknown_since(&self) -> Option<Timestamp> {
        match self.sending() {
            Sending::Unconfirmed(since) => Some(since),
            Sending::NotBegun | Sending::Begun(_) => None,
        }
    }
}
