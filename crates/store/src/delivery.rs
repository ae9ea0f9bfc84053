//! Deliveries: finding, claiming and settling them, status updates of their messages, decisions of a
//! person, and planning what is missing.

pub(crate) mod backfill;
pub(crate) mod claim;
pub(crate) mod due;
pub(crate) mod inputs;
pub(crate) mod message;
pub(crate) mod replay;
mod settle;
pub(crate) mod siblings;
pub(crate) mod withdraw;
