//! Leads with their aliases, their bookings and their journeys.

pub(crate) mod alias;
pub(crate) mod booking;
pub(crate) mod journey;
