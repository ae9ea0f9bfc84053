//! The Platform: time, randomness and the HTTP client, handed down from outside.
//!
//! `funil-lambda` creates the real one; tests create one whose clock they move.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use funil_core::clock::{Clock, Entropy};

use crate::totals::Totals;

/// How long the table may take to respond. Short, because a browser or a provider waits for the
/// request meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePatience {
    /// For one try of a request.
    pub attempt: Duration,
    /// For all tries of one operation together.
    pub operation: Duration,
    /// For how long a settlement is tried again that the table did not take, while its lease lasts.
    pub settlement: Duration,
    /// For the totals of a process, for which a response may have to wait.
    pub totals: Duration,
}

impl Default for TablePatience {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(3),
            operation: Duration::from_secs(5),
            settlement: Duration::from_secs(50),
            totals: Duration::from_millis(250),
        }
    }
}

/// Time, randomness and the HTTP client that DynamoDB and the providers share. Cheap to clone.
#[derive(Clone)]
pub struct Platform {
    /// What time it is; a test or the dev server moves it.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The HTTP client.
    pub http: reqwest::Client,
    /// How long the table may take to respond.
    pub table_patience: TablePatience,
    /// What the process counted and has not written yet.
    pub totals: Arc<Totals>,
}

impl Platform {
    /// A Platform with an HTTP client of its own.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            clock,
            entropy,
            http: crate::table::http::client(),
            table_patience: TablePatience::default(),
            totals: Arc::default(),
        }
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[platform]")
    }
}
