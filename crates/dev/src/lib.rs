//! What runs the system on one machine: the table's engine and simulated providers.

pub mod engine;
pub mod front_door;
pub mod functions;
mod invocation;
pub mod providers;
pub mod runtime_api;

pub use invocation::{InvokeError, binary, invoke};
