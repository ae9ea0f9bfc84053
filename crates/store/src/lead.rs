//! Leads with their aliases, their consent, their bookings and their journeys.

pub(crate) mod alias;
pub(crate) mod booking;
pub(crate) mod consent;
pub(crate) mod journey;
pub(crate) mod payment;
pub(crate) mod person;
