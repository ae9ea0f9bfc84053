//! Payments: what Stripe reports, whose it is, and what it adds up to.

mod stripe;
