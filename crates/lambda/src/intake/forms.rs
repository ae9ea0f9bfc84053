//! The public forms, one file each.

pub(crate) mod lead_submit;
pub(crate) mod questionnaire_submit;
