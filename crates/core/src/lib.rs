//! The domain of Funil: leads, events, deliveries, consent, destinations.
//!
//! Pure: no async, no I/O, no clock, no randomness and no environment. Everything that happens here
//! is a function of what comes in, so everything here is tested by tables, snapshots and properties.
//! It must not know how anything is stored, sent or served.

pub mod amanda;
pub mod attribution;
pub mod booking;
pub mod booking_link;
pub mod breaker;
pub mod clock;
pub mod config;
pub mod consent;
pub mod contact;
pub mod delivery;
pub mod destination;
pub mod event;
pub mod exchange;
pub mod form;
pub mod hash;
pub mod id;
pub mod idempotency;
pub mod json;
pub mod lead;
pub mod lead_form;
pub mod pii;
pub mod provider;
pub mod pt_br;
pub mod questionnaire;
pub mod readiness;
pub mod replay;
pub mod scoring;
pub mod signature;
