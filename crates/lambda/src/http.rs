//! What all HTTP endpoints share: their frame, the guards before the work, and problems as
//! responses.

pub(crate) mod check;
pub(crate) mod endpoint;
pub(crate) mod guard;
pub(crate) mod problem;
