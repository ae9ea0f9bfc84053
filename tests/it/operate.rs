//! Operating: dispatch, syncs, alerts, health and replays.

mod alerts;
mod configuration;
mod dispatch;
mod health;
mod openapi;
mod quarantine;
mod replay;
mod retention;
mod signatures;
mod sync;
