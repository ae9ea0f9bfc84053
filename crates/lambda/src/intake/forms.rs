//! The public forms, one file each.

pub mod consultation_booking;
pub mod contact_submit;
pub mod lead_submit;
pub mod newsletter_signup;
pub mod questionnaire_submit;
mod site;

use crate::api::Operation;
use crate::functions::{Make, Registration};

/// What is known of every form.
pub static FORMS: &[&Registration] = &[
    &lead_submit::REGISTRATION,
    &questionnaire_submit::REGISTRATION,
    &contact_submit::REGISTRATION,
    &newsletter_signup::REGISTRATION,
    &consultation_booking::REGISTRATION,
];

/// What each form takes and returns, in the order of [`FORMS`].
pub(crate) static OPERATIONS: &[fn() -> Operation] = &[
    lead_submit::operation,
    questionnaire_submit::operation,
    contact_submit::operation,
    newsletter_signup::operation,
    consultation_booking::operation,
];

/// Makes every form, in the order of [`FORMS`].
pub(crate) static MAKE: &[Make] = &[
    lead_submit::function,
    questionnaire_submit::function,
    contact_submit::function,
    newsletter_signup::function,
    consultation_booking::function,
];
