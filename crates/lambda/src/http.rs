//! What all HTTP endpoints share: guards before the work, and problems as responses.

pub(crate) mod guard;
pub(crate) mod problem;
