//! What runs the system on one machine: the table's engine and simulated providers.

pub mod engine;
pub mod front_door;
pub mod functions;
pub mod journey;
pub mod providers;
pub mod replay;
pub mod stage;
