//! What stands between the platform and an endpoint: the process, its environment, and how each
//! event value becomes a request, and a response a value.

pub(crate) mod function;
pub mod request;
pub mod response;
pub(crate) mod run;
pub(crate) mod system;
pub(crate) mod telemetry;
pub mod totals;
pub mod trigger;
