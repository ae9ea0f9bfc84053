//! Accepting requests: the one transaction with its receipt, the rate limit before it, and the
//! quarantine.

pub(crate) mod accept;
pub(crate) mod quarantine;
pub(crate) mod rate;
pub(crate) mod receipt;
