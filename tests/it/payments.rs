//! Payments: what Stripe reports, whose it is, what it adds up to, and what each destination gets.

mod cost;
mod destinations;
mod stripe;
