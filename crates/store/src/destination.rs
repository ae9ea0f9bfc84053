//! What the table keeps about a destination as a whole: its breaker, its limiter, its alerts, and
//! its messages to each number.

pub(crate) mod alert;
mod breaker;
pub(crate) mod limiter;
mod messages;
pub(crate) mod sweep;
