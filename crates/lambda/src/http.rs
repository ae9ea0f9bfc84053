//! What all HTTP endpoints share: their frame, the guards before the work, and problems as
//! responses, and the page that says them to a visitor.

pub(crate) mod check;
pub(crate) mod endpoint;
pub(crate) mod guard;
pub(crate) mod page;
pub(crate) mod problem;
