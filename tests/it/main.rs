//! The whole system, from a call at its front door to what the providers hold, in one process.
//!
//! One file per subject; [`world`] is what most of them stand in. Nothing is mocked: the functions,
//! the SDK, the table's engine and the HTTP client are the real ones, and only the providers, the
//! clock and the randomness are ours. `binaries` has the real processes, `tidy` the code's own rules.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its scaffolding too")]

mod alerts;
mod attacks;
mod binaries;
mod breaker;
mod capacity;
mod crm;
mod delivery;
mod dispatch;
mod dynamodb_errors;
mod faults;
mod health;
mod idempotency;
mod intake;
mod lead;
mod limiter;
mod proxy;
mod replay;
mod shapes;
mod simulation;
mod tidy;
mod world;
