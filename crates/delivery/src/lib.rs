//! Delivering (design §6): the loop that claims, builds, sends, judges and settles, written once for
//! every destination; and the client that calls providers, which is nowhere else.
//!
//! Destinations themselves are pure and live in `funil-core`. This crate must not know what any of
//! them says.

mod alerts;
mod attempt;
mod client;
mod gate;
mod worker;

pub use alerts::Alerts;
pub use client::REQUEST_TIMEOUT;
pub use worker::{Drained, Patience, Worker};
