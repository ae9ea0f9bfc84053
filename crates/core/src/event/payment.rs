//! Payments. There is no such event yet; destinations already say what they do with the group.

use super::group::event_group;

event_group! {
    /// A payment provider reported something about a payment.
    PaymentEvent in EventData::Payment {}
}
