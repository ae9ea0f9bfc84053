//! The public forms, one file each.

pub mod lead_submit;
pub mod questionnaire_submit;

use crate::functions::{Make, Registration};

/// What is known of every form.
pub static FORMS: &[&Registration] =
    &[&lead_submit::REGISTRATION, &questionnaire_submit::REGISTRATION];

/// Makes every form, in the order of [`FORMS`].
pub(crate) static MAKE: &[Make] = &[lead_submit::function, questionnaire_submit::function];
