//! What the outside lends to everything inside: time, randomness and one HTTP client.
//!
//! The real ones are made in `funil-lambda`, manual ones in the tests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use funil_core::clock::{Clock, Entropy};

/// How long the table may take to answer. The call to a provider or the browser's patience is the
/// budget: it fails in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePatience {
    /// One try of the SDK.
    pub attempt: Duration,
    /// All tries of one call together.
    pub call: Duration,
}

impl Default for TablePatience {
    fn default() -> Self {
        Self { attempt: Duration::from_secs(3), call: Duration::from_secs(5) }
    }
}

/// Time, randomness and the HTTP client that DynamoDB and the providers share. Cheap to clone.
#[derive(Clone)]
pub struct Platform {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The client.
    pub http: reqwest::Client,
    /// How long the table may take.
    pub table_patience: TablePatience,
}

impl Platform {
    /// A shell with a client of its own.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            clock,
            entropy,
            http: crate::table::http::client(),
            table_patience: TablePatience::default(),
        }
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[shell]")
    }
}
