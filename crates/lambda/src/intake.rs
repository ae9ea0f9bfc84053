//! Accepting: everything that turns a request from outside into kept events.

pub(crate) mod booking;
pub mod doorbell;
pub(crate) mod form;
pub(crate) mod forms;
pub(crate) mod webhook;
pub(crate) mod webhooks;
