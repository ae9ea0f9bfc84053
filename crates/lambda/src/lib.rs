//! What every function shares between the platform and its own work: the trigger that started it,
//! the HTTP call and its answer. It owns what a platform's event looks like; it must not know what
//! a lead, a destination or a provider is.

pub mod http_answer;
pub mod http_call;
pub mod trigger;
