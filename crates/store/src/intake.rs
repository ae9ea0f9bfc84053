//! Accepting requests: the one transaction with its receipt, the rate limit before it, the
//! quarantine, and how providers sign.

pub(crate) mod accept;
pub(crate) mod quarantine;
pub(crate) mod rate;
pub(crate) mod receipt;
pub(crate) mod signatures;
