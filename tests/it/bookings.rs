//! Booked calls and the messages about them.

mod calendar;
mod funnel;
pub(crate) mod whatsapp;
mod whatsapp_webhook;
