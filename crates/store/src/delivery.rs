//! Deliveries: finding, claiming and settling them, what providers and people say of them afterwards,
//! and planning those that are missing.

pub(crate) mod backfill;
pub(crate) mod claim;
pub(crate) mod due;
pub(crate) mod message;
pub(crate) mod replay;
