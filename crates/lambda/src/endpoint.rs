//! The endpoints: what each function does with its trigger.

pub(crate) mod calendar_webhook;
pub(crate) mod deliver;
pub(crate) mod dispatch;
mod form;
pub(crate) mod health;
pub(crate) mod lead_submit;
pub(crate) mod metrics;
pub(crate) mod questionnaire_submit;
mod sequence;
mod watch;
pub(crate) mod whatsapp_webhook;
