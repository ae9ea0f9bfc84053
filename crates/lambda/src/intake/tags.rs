//! What pages and their tag managers report of visits: the functions, and their registry. To add one, see
//! ARCHITECTURE.md.

pub mod ga4_collect;

use crate::api::Operation;
use crate::functions::{Make, Registration};

/// What is known of each.
pub static TAGS: &[&Registration] = &[&ga4_collect::REGISTRATION];

/// What each takes and returns, in the order of [`TAGS`].
pub(crate) static OPERATIONS: &[fn() -> Operation] = &[ga4_collect::operation];

/// Makes each, in the order of [`TAGS`].
pub(crate) static MAKE: &[Make] = &[ga4_collect::function];
