//! Consent that a person changes without a form. There is no such event yet; destinations already
//! say what they do with the group.

use super::group::event_group;

event_group! {
    /// A person changed what they consent to.
    ConsentEvent in EventData::Consent {}
}
