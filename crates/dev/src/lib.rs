//! What runs the system on one machine: the local stage, the table's engine, simulated providers, and
//! a function's real binary alone.

pub mod cli;
pub mod emulator;
pub mod functions;
pub mod runtime_api;
pub mod server;
pub mod simulated;
