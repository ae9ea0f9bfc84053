//! Operating what was accepted: delivering, ringing, sequences, replays, health and metrics.

pub(crate) mod deliver;
pub(crate) mod dispatch;
pub(crate) mod health;
mod housekeeping;
pub(crate) mod metrics;
pub mod replay;
pub(crate) mod sequence;
mod status;
