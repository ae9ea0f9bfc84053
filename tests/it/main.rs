//! The whole system, from a call at its front door to what the providers hold, in one process.
//!
//! One file per subject; [`world`] is what most of them stand in. `binaries` has the real processes,
//! `tidy` the code's own rules.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its scaffolding too")]

use funil_tests::{calendly, proxy, world};

mod alerts;
mod attacks;
mod binaries;
mod breaker;
mod calendar;
mod capacity;
mod conditions;
mod crm;
mod delivery;
mod dispatch;
mod dynamodb_errors;
mod faults;
mod funnel;
mod golden;
mod health;
mod idempotency;
mod intake;
mod lead;
mod limiter;
mod questionnaire;
mod replay;
mod shapes;
mod simulation;
mod tidy;
mod whatsapp;
mod whatsapp_webhook;
