//! The whole system, from a call at its front door to what the providers hold, in one process.
//!
//! One file per subject; [`world`] is what most of them stand in. `binaries` has the real processes,
//! `tidy` the code's own rules.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its scaffolding too")]

use funil_tests::{calendly, proxy, world};

mod accept;
mod binaries;
mod bookings;
mod deliver;
mod faults;
mod golden;
mod operate;
mod simulation;
mod tidy;
