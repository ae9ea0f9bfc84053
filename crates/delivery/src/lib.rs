//! Delivering: claims a delivery, builds its requests, sends them, judges the responses and settles,
//! for every destination alike (`docs/design.md`, "Delivering"). No other crate contacts providers.
//!
//! Destinations themselves are pure and in `funil-core`. This crate must not know what any of them
//! sends.

mod alerts;
mod attempt;
mod backlog;
mod bounds;
mod check;
mod client;
mod drain;
mod gate;
mod number;
mod pressure;
mod rate;
mod sentry;
mod siblings;
mod sweep;
mod worker;

pub use alerts::Alerts;
pub use client::{NoResponse, REQUEST_TIMEOUT, outgoing, receive};
pub use drain::Drained;
pub use worker::{Patience, Worker};
