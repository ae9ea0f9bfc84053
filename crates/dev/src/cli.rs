//! The commands of `funil`, one file for each. They must not parse the command line themselves:
//! that is in `main.rs`.

pub mod backfill;
mod calendly;
pub mod copy;
pub mod dead;
pub mod doctor;
mod invoke;
pub mod journey;
pub mod package;
mod progress;
pub mod quarantine;
pub mod send;
pub mod setup;
pub mod stats;

pub use invoke::{InvokeError, binary, invoke};
