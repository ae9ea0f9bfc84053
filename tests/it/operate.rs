//! Operating: dispatch, syncs, alerts, health and replays.

mod alerts;
mod check;
mod configuration;
mod dispatch;
mod health;
mod openapi;
mod quarantine;
mod replay;
mod restore;
mod retention;
mod signatures;
mod sync;
