//! What every function shares between the platform and its own work: triggers, guards, problem
//! answers, telemetry, and the endpoints themselves.
//!
//! A function is a [`Function`]: one event value in, one value out. Its binary, the local stage and
//! the tests all call it the same way. This crate is the shell: clock, randomness and environment
//! are read here and nowhere below. It must not know any provider's API, nor how a delivery is sent.

mod app;
pub mod functions;
mod http;
pub mod intake;
pub mod operate;
pub mod platform;

pub use intake::{forms, webhooks};
pub use operate::deliver::function as delivery_function;
pub use operate::dispatch::function as dispatch;
pub use operate::health::function as health;
pub use operate::metrics::function as metrics;
pub use platform::function::Function;
pub use platform::run::run;
pub use platform::system::{platform, process_environment};
pub use platform::telemetry::start as start_telemetry;
