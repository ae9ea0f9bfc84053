//! Deliveries: finding, claiming and settling them, status updates of their messages, decisions of a
//! person, planning what is missing, and what was found out on the way.

pub(crate) mod backfill;
pub(crate) mod claim;
pub(crate) mod due;
pub(crate) mod inputs;
pub(crate) mod message;
pub(crate) mod replay;
pub(crate) mod reply;
mod settle;
pub(crate) mod siblings;
pub(crate) mod withdraw;
