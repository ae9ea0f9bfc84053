//! What the end-to-end tests and the long simulation stand in: a whole Funil in one process.
//!
//! Nothing is mocked: the functions, the SDK, the table's engine and the HTTP client are the real
//! ones, and only the providers, the clock and the randomness are ours. It must not know what any
//! test is about.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its scaffolding too")]
#![expect(clippy::missing_panics_doc, reason = "everything here panics where a test fails")]

pub mod calendly;
pub mod proxy;
pub mod simulation;
pub mod world;
