//! The providers that send us webhooks: how their requests are verified and parsed. Also Netlify, which
//! passes visitors' requests on.
//!
//! A provider is pure, like a destination: it has `verify`, which checks the signature over the raw
//! bytes, and `parse`, which converts a verified body to our own types. It must not know how
//! anything is stored, nor which response is sent.

pub mod signature;

pub mod brevo;
pub mod c2s;
pub mod calendly;
pub mod deals;
pub mod mailbox;
pub mod mailerlite;
pub mod netlify;
pub mod stripe;
pub mod whatsapp;

/// The name of an unknown event with only characters that are safe in a log line.
fn event_name(name: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    name.chars().filter(plain).take(60).collect()
}

/// The signature is missing, wrong, or too old. The error does not say which, so that it helps no
/// attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request is not signed by its provider")]
pub struct NotSigned;

/// The raw body of a request whose signature was verified.
#[derive(Clone, Copy)]
pub struct Verified<'b>(&'b [u8]);

impl<'b> Verified<'b> {
    /// The body of a request that was verified when it was put into quarantine, and that a person
    /// releases now.
    pub const fn released(body: &'b [u8]) -> Self {
        Self(body)
    }
}

impl std::fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verified([pii])")
    }
}

/// A verified request that does not have the format that its provider documents. Holds a reason
/// code of ours, such as `without_invitee`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request is not understood: {0}")]
pub struct NotUnderstood(pub &'static str);
