//! The domain of Funil: leads, events, deliveries, consent, destinations.
//!
//! Pure: no async, no I/O, no clock, no randomness and no environment. Everything that happens here
//! is a function of what comes in, so everything here is tested by tables, snapshots and properties.
//! It must not know how anything is stored, sent or served.

pub mod booking;
pub mod check;
pub mod clock;
pub mod contact;
mod defaults;
pub mod delivery;
pub mod destination;
pub mod event;
pub mod form;
pub mod hash;
pub mod id;
pub mod json;
pub mod lead;
pub mod money;
pub mod payment;
pub mod pii;
pub mod provider;
pub mod receipt;
pub mod replay;
pub mod score;
pub mod settings;
pub mod site;
pub mod text;
