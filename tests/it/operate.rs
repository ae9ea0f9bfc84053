//! Operating: dispatch, alerts, health, replay.

mod alerts;
mod dispatch;
mod health;
mod replay;
mod sync;
