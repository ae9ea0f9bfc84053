//! The whole system in one process, from a request to a function to what the providers received.
//!
//! One file per subject, most of which use a [`world`]. `binaries` runs the real processes, and `tidy`
//! checks the rules for the code itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use funil_tests::{calendly, mailerlite, proxy, samples, statuses, stripe, world};

mod accept;
mod binaries;
mod bookings;
mod c2s;
mod deals;
mod deliver;
mod faults;
mod funil_js;
mod golden;
mod gtm;
mod operate;
mod payments;
mod scenarios;
mod simulation;
mod subscribers;
mod template;
mod tidy;
mod visits;
