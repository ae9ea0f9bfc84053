//! What every function shares between the platform and its own work: triggers, guards, problem
//! answers, telemetry, and the endpoints themselves.
//!
//! A function is a [`Function`]: one event value in, one value out. Its binary, the local stage and
//! the tests all call it the same way. This crate is the shell: clock, randomness and environment
//! are read here and nowhere below. It must not know any provider's API, nor how a delivery is sent.

mod booking;
pub mod doorbell;
mod endpoint;
mod function;
mod guard;
pub mod http_answer;
pub mod http_call;
mod problem;
pub mod replay;
mod report;
mod run;
mod site;
mod system;
mod telemetry;
pub mod totals;
pub mod trigger;
mod webhook;

pub use endpoint::calendar_webhook::function as calendar_webhook;
pub use endpoint::deliver::function as delivery_function;
pub use endpoint::dispatch::function as dispatch;
pub use endpoint::health::function as health;
pub use endpoint::lead_submit::function as lead_submit;
pub use endpoint::metrics::function as metrics;
pub use endpoint::questionnaire_submit::function as questionnaire_submit;
pub use endpoint::whatsapp_webhook::function as whatsapp_webhook;
pub use function::Function;
pub use run::run;
pub use system::{process_environment, shell};
pub use telemetry::start as start_telemetry;
