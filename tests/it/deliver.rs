//! Delivering: the loop, its gate, and what destinations get.

mod breaker;
mod conditions;
mod crm;
mod delivery;
mod limiter;
