//! Accepting requests: the one transaction with its receipt, the rate limit before it, the
//! quarantine, how providers sign, and what pages report.

pub(crate) mod accept;
pub(crate) mod quarantine;
pub(crate) mod rate;
pub(crate) mod receipt;
pub(crate) mod signatures;
pub(crate) mod visit;
