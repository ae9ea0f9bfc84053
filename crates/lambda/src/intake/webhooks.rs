//! The webhooks of providers, one file each.

pub mod brevo;
pub mod c2s;
pub mod calendar;
pub mod deals;
pub mod mailerlite;
pub mod stripe;
pub mod whatsapp;

use crate::api::Operation;
use crate::functions::{Make, Registration};

/// What is known of every webhook.
pub static WEBHOOKS: &[&Registration] = &[
    &calendar::REGISTRATION,
    &whatsapp::REGISTRATION,
    &stripe::REGISTRATION,
    &mailerlite::REGISTRATION,
    &deals::REGISTRATION,
    &c2s::REGISTRATION,
    &brevo::REGISTRATION,
];

/// What each webhook takes and returns, in the order of [`WEBHOOKS`].
pub(crate) static OPERATIONS: &[fn() -> Vec<Operation>] = &[
    calendar::operations,
    whatsapp::operations,
    stripe::operations,
    mailerlite::operations,
    deals::operations,
    c2s::operations,
    brevo::operations,
];

/// Makes every webhook, in the order of [`WEBHOOKS`].
pub(crate) static MAKE: &[Make] = &[
    calendar::function,
    whatsapp::function,
    stripe::function,
    mailerlite::function,
    deals::function,
    c2s::function,
    brevo::function,
];
