//! The table itself: how it is reached, created and recognised, how its keys, items and requests are
//! written, and what its errors mean.

pub(crate) mod client;
pub(crate) mod connect;
mod copy;
mod create;
mod describe;
pub(crate) mod error;
pub(crate) mod expression;
pub(crate) mod http;
mod identity;
pub(crate) mod item;
pub(crate) mod key;
pub(crate) mod read;
pub(crate) mod transaction;

pub use copy::{CopiedPage, CopyRun, Part};
pub use create::Stream;
pub(crate) use create::{DEAD_INDEX, DUE_INDEX};
