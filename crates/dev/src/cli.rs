//! The commands of `funil`, one file for each. They must not parse the command line themselves:
//! that is in `main.rs`.

pub mod addresses;
pub mod backfill;
mod calendly;
pub mod copy;
pub mod dead;
pub mod doctor;
mod invoke;
pub mod journey;
mod mailerlite;
pub mod package;
mod progress;
mod provider;
pub mod quarantine;
pub mod score;
pub mod send;
pub mod setup;
pub mod stats;
mod stripe;

pub use invoke::{InvokeError, binary, invoke};

/// The error of a command, with a message for the terminal.
pub type Failure = Box<dyn std::error::Error>;
