//! The commands of `funil`, one file each.

pub mod backfill;
pub mod dead;
mod invoke;
pub mod journey;
mod progress;
pub mod send;
pub mod stats;

pub use invoke::{InvokeError, binary, invoke};
