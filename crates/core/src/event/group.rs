//! How a group of events is declared, and how an event is stored.
//!
//! Stored, an event is `{"event": <name>, "data": {…}}` whatever its group, so an event could
//! change its group without a change of what is stored. Knows no event.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::{
    CallEvent, ConsentEvent, DealEvent, EventData, FormEvent, OperationEvent, PaymentEvent,
    VisitEvent,
};

/// Declares a group: its enum, and for each event the name under which it is stored, its variant
/// and its payload. Payloads are boxed, so that an event is small to move.
macro_rules! event_group {
    (
        $(#[$group_doc:meta])*
        $group:ident in EventData::$in:ident {
            $($(#[$doc:meta])* $name:literal => $variant:ident($payload:ident),)*
        }
    ) => {
        $(#[$group_doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        #[serde(tag = "event", content = "data")]
        pub enum $group {
            $($(#[$doc])* #[serde(rename = $name)] $variant(Box<$payload>),)*
        }

        impl $group {
            /// Every name of the group.
            #[cfg(test)]
            pub(super) const NAMES: &[&str] = &[$($name),*];

            /// The name in the table, in logs and in the journey.
            pub const fn name(&self) -> &'static str {
                match *self {
                    $(Self::$variant(_) => $name,)*
                }
            }

            /// Reads an event of this group; `None` if the name is not one of the group.
            pub(super) fn read(
                stored: &$crate::event::group::Stored,
            ) -> Option<serde_json::Result<$crate::event::EventData>> {
                match stored.event.as_str() {
                    $($name => Some(stored.data::<$payload>().map(Into::into)),)*
                    _ => None,
                }
            }
        }

        impl From<$group> for $crate::event::EventData {
            fn from(event: $group) -> Self {
                Self::$in(event)
            }
        }

        $(impl From<$payload> for $crate::event::EventData {
            fn from(data: $payload) -> Self {
                Self::$in($group::$variant(Box::new(data)))
            }
        })*
    };
}
pub(super) use event_group;

/// An event whose group is not known yet.
#[derive(Deserialize)]
pub(super) struct Stored {
    pub(super) event: String,
    data: Value,
}

impl Stored {
    pub(super) fn data<'de, T: Deserialize<'de>>(&'de self) -> serde_json::Result<T> {
        T::deserialize(&self.data)
    }
}

/// The name picks the group. It may come after the data, so the data is read as JSON first. A name
/// of no group is an error, as is data that does not fit its name: newer code wrote it.
impl<'de> Deserialize<'de> for EventData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        FormEvent::read(&stored)
            .or_else(|| CallEvent::read(&stored))
            .or_else(|| PaymentEvent::read(&stored))
            .or_else(|| DealEvent::read(&stored))
            .or_else(|| ConsentEvent::read(&stored))
            .or_else(|| OperationEvent::read(&stored))
            .or_else(|| VisitEvent::read(&stored))
            .ok_or_else(|| de::Error::custom(format_args!("unknown event `{}`", stored.event)))?
            .map_err(de::Error::custom)
    }
}
