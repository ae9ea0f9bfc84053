//! Booked calls and the messages about them.

mod calendar;
mod funnel;
mod whatsapp;
mod whatsapp_webhook;
