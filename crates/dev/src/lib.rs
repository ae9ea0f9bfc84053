//! What runs the system on one machine: the local stage, the table's engine, simulated providers, and
//! a function's real binary alone.

pub mod backfill;
pub mod dead;
pub mod engine;
pub mod front_door;
pub mod functions;
mod invocation;
pub mod journey;
mod progress;
pub mod providers;
pub mod replay;
pub mod runtime_api;
pub mod stage;
pub mod stats;

pub use invocation::{InvokeError, binary, invoke};
