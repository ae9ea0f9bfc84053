//! What a destination found out in one step of a delivery, kept on the lead.
//!
//! A step that costs money, or that must happen once, keeps what came of it before the next step begins, so that no
//! later try and no later delivery asks again. Must not know what any step asks.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::id::DeliveryId;
use crate::pii::Pii;

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptReply {
    /// The step, with what it depends on: another input is another step.
    pub step: String,
    /// When it was kept.
    pub at: Timestamp,
    /// The delivery that took the step.
    pub by: DeliveryId,
    /// What was found, by its names. Empty where nothing was.
    pub fields: Pii<BTreeMap<String, String>>,
}

impl KeptReply {
    /// A field of what was found.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.expose().get(name).map(String::as_str)
    }
}
