//! End-to-end tests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod binaries;
mod tidy;
