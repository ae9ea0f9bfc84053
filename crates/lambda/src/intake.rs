//! Accepting: everything that turns a request from outside into kept events.

pub(crate) mod accept;
pub mod doorbell;
pub(crate) mod form;
pub mod forms;
mod identify;
mod mailboxes;
pub(crate) mod quarantine;
mod recipient;
mod signatures;
pub mod tags;
mod webhook;
pub mod webhooks;
