//! Deals in the CRM. There is no such event yet; destinations already say what they do with the
//! group.

use super::group::event_group;

event_group! {
    /// The CRM reported something about a deal.
    DealEvent in EventData::Deal {}
}
