//! The providers that call us: how their webhooks are verified and read.
//!
//! A provider is pure, like a destination: `verify(raw bytes, header, keys, now)`, then
//! `parse(verified)` into our own types. Must not know how anything is kept or answered.

pub mod signature;

pub mod calendly;
pub mod whatsapp;

/// The signature is missing, wrong, or of another time. It never says which, so that nobody learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call is not signed by its provider")]
pub struct NotSigned;

/// The raw bytes of a call that its provider did sign.
#[derive(Clone, Copy)]
pub struct Verified<'b>(&'b [u8]);

impl std::fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verified([pii])")
    }
}

/// An authentic call that is not what its provider promises: what is wrong, in our words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call is not understood: {0}")]
pub struct NotUnderstood(pub &'static str);
