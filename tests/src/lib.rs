//! What the end-to-end tests and the long simulation run in: a whole Funil in one process.
//!
//! Nothing is mocked: the functions, the client of the table and the HTTP client are the real ones, and an emulator has
//! the table. Only the providers, the clock and the randomness are made for the tests. It must not
//! know what any test is about.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]
#![expect(clippy::missing_panics_doc, reason = "everything here panics when a test fails")]

pub mod aws_signature;
pub mod calendly;
pub mod contract;
pub mod mailerlite;
pub mod permissions;
pub mod proxy;
pub mod samples;
pub mod simulation;
pub mod statuses;
pub mod stripe;
pub mod table_limits;
pub mod template;
pub mod verdict;
pub mod world;
