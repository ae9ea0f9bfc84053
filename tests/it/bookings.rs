//! Booked calls and the messages about them.

mod calendar;
mod calendar_requests;
mod funnel;
pub(crate) mod whatsapp;
mod whatsapp_delivery;
mod whatsapp_webhook;
