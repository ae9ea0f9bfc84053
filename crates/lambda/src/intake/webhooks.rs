//! The webhooks of providers, one file each.

pub(crate) mod calendar;
pub(crate) mod whatsapp;
