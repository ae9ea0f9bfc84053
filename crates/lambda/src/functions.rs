//! The registry of functions: what is known of each without starting it.
//!
//! Tests, the dev server and the metrics read it, so that a function added later is covered by
//! itself. The delivery functions are not listed here: they come from
//! [`funil_core::destination::ALL`]. Must not know what any function does.

use funil_core::settings::{ConfigError, Env, Secret};
use funil_store::Platform;
use jiff::Timestamp;

use crate::Function;
use crate::intake::{forms, tags, webhooks};
use crate::operate::{health, metrics};

/// Makes a function from its environment, without touching the network. The error names every variable that is missing
/// or wrong.
pub type Make = fn(&Env, &Platform) -> Result<Function, ConfigError>;

/// What is known, without starting it, of a function that accepts requests from outside.
#[derive(Debug)]
pub struct Registration {
    /// The function's name: of its binary, its folder and its path.
    pub name: &'static str,
    /// The source under which it keeps requests in quarantine, if it does: its own name, or its provider's.
    pub quarantine_source: Option<&'static str>,
    /// The variables that it needs beside those of all functions, with the values that the dev
    /// server gives them.
    pub variables: &'static [(&'static str, &'static str)],
    /// How its requests are signed, where they are.
    pub signature: Option<Signature>,
}

/// How a provider signs its requests.
#[derive(Debug)]
pub struct Signature {
    /// The variable that holds the key.
    pub key_variable: &'static str,
    /// Who makes up the key.
    pub issued_by: KeyIssuer,
    /// The header that carries the signature.
    pub header: &'static str,
    /// Makes the header's value for a body, at a moment.
    pub sign: fn(&[u8], &Secret, Timestamp) -> String,
}

/// Who makes up the key of a provider's signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyIssuer {
    /// The site's owner, whose key must not be short.
    Owner,
    /// The provider, so that nobody here chooses how long it is.
    Provider,
}

/// Every function that accepts requests from outside.
pub fn intake() -> impl Iterator<Item = &'static Registration> {
    forms::FORMS.iter().chain(webhooks::WEBHOOKS).chain(tags::TAGS).copied()
}

/// What makes each function that neither delivers nor rings, with its name: forms, webhooks, what pages report
/// to, and what monitors read.
pub fn make() -> impl Iterator<Item = (&'static str, Make)> {
    let monitors: [(&str, Make); 2] =
        [("health", health::function), ("metrics", metrics::function)];
    let makes = forms::MAKE.iter().chain(webhooks::MAKE).chain(tags::MAKE).copied();
    intake().map(|registration| registration.name).zip(makes).chain(monitors)
}

/// Under which sources requests are kept in quarantine.
pub(crate) fn quarantine_sources() -> impl Iterator<Item = &'static str> {
    intake().filter_map(|registration| registration.quarantine_source)
}
