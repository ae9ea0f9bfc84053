//! What the outside lends to everything inside: time, randomness and one HTTP client.
//!
//! The real ones are made in `funil-lambda`, manual ones in the tests.

use std::fmt;
use std::sync::Arc;

use funil_core::clock::{Clock, Entropy};

/// Time, randomness and the HTTP client that DynamoDB and the providers share. Cheap to clone.
#[derive(Clone)]
pub struct Shell {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The client.
    pub http: reqwest::Client,
}

impl Shell {
    /// A shell with a client of its own.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, http: crate::http::client() }
    }
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[shell]")
    }
}
