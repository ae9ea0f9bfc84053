//! What the table keeps about a destination as a whole: its breaker, its limiter and its alerts.

pub(crate) mod alert;
mod breaker;
pub(crate) mod limiter;
