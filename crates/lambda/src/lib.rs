//! The functions: what they share with the platform (triggers, payload formats, telemetry), and the
//! endpoints.
//!
//! A function is a [`Function`]: one event value goes in, one value comes out. Its binary, the dev
//! server and the tests all invoke it the same way. Clock, randomness and environment are read in
//! this crate and in none below it. It must not know any provider's API, nor how a delivery is
//! sent.

pub mod api;
mod app;
pub mod functions;
mod http;
pub mod intake;
pub mod operate;
pub mod platform;

pub use intake::{forms, tags, webhooks};
pub use operate::deliver::function as delivery_function;
pub use operate::dispatch::function as dispatch;
pub use operate::health::function as health;
pub use operate::metrics::function as metrics;
pub use platform::function::Function;
pub use platform::run::run;
pub use platform::system::{platform, process_environment};
pub use platform::telemetry::start as start_telemetry;
