//! The clock of the dev server, which a person can move ahead to see what is due later.
//!
//! It can only be moved ahead, and only code in the process of the dev server uses it. How far it
//! was moved is stored in a file beside the table, because the times in the table are those of this
//! clock.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use funil_core::clock::{Clock, after};
use funil_core::delivery::SWEPT_AFTER_S;
use funil_core::destination;
use funil_store::StoreError;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, functions_route};

/// By how much the clock can be moved at once, in seconds: 60 days.
const MOVE_S_MAX: i64 = 60 * 24 * 60 * 60;

/// The real clock, moved ahead.
pub(super) struct MovedClock {
    real: Arc<dyn Clock>,
    ahead_s: AtomicI64,
    file: PathBuf,
}

impl MovedClock {
    /// A clock that is as far ahead as the file says. It is not moved if there is no file. A file
    /// that cannot be read is an error: a clock that went back would leave the times in the table
    /// in the future.
    pub(super) fn open(real: Arc<dyn Clock>, file: PathBuf) -> io::Result<Self> {
        let ahead_s = match std::fs::read_to_string(&file) {
            Ok(text) => text
                .trim()
                .parse()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(Self { real, ahead_s: AtomicI64::new(ahead_s), file })
    }

    fn move_ahead(&self, seconds: i64) -> io::Result<()> {
        let ahead_s = self.ahead_s.fetch_add(seconds, Ordering::Relaxed) + seconds;
        // A rename replaces the file at once, so that a stop never leaves half of a number.
        let written = self.file.with_extension("new");
        std::fs::write(&written, format!("{ahead_s}\n"))?;
        std::fs::rename(written, &self.file)
    }

    fn ahead_s(&self) -> i64 {
        self.ahead_s.load(Ordering::Relaxed)
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        after(self.real.now(), self.ahead_s())
    }
}

/// The body of the request that moves the clock.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Move {
    /// Move it ahead by this many seconds.
    AheadS(i64),
    /// Move it to the next time at which a delivery is due.
    ToNextDue {},
}

/// Responds with the state of the clock.
pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Response {
    match state(&shared).await {
        Ok(state) => Json(state).into_response(),
        Err(error) => table_failed(&error),
    }
}

/// Moves the clock, and runs `dispatch` for what is due then.
pub(super) async fn shift(State(shared): State<Arc<Shared>>, Json(wanted): Json<Move>) -> Response {
    if shared.functions_at.is_some() {
        let why = "The functions run in processes of their own, whose clock is the real one.\n";
        return (StatusCode::CONFLICT, why).into_response();
    }
    let seconds = match wanted {
        Move::AheadS(seconds) => seconds,
        Move::ToNextDue {} => match next_due(&shared).await {
            // Due times have milliseconds, which are cut off here. One more second is past them.
            Ok(Some(at)) => {
                let swept_at = after(at, swept_after_s(&shared));
                swept_at.as_second() - shared.clock.now().as_second() + 1
            }
            Ok(None) => return (StatusCode::CONFLICT, "Nothing is due later.\n").into_response(),
            Err(error) => return table_failed(&error),
        },
    };
    if !(1..=MOVE_S_MAX).contains(&seconds) {
        let why = "The clock moves ahead by 1 second to 60 days.\n";
        return (StatusCode::UNPROCESSABLE_ENTITY, why).into_response();
    }
    if let Err(error) = shared.clock.move_ahead(seconds) {
        tracing::error!("a move of the clock by {seconds} s was not written to its file: {error}");
    }
    functions_route::dispatch_once(&shared).await;
    show(State(shared)).await
}

async fn state(shared: &Shared) -> Result<Value, StoreError> {
    Ok(json!({
        "now": shared.clock.now(),
        "aheadS": shared.clock.ahead_s(),
        "movable": shared.functions_at.is_none(),
        "nextDue": next_due(shared).await?,
    }))
}

/// For how long a delivery is due before `dispatch` finds it, in seconds.
fn swept_after_s(shared: &Shared) -> i64 {
    if shared.environment.variable("RINGS") == "none" { 0 } else { SWEPT_AFTER_S }
}

/// When the next delivery is due that `dispatch` does not find yet. One that is passed over would run out
/// of time when the clock moves on.
async fn next_due(shared: &Shared) -> Result<Option<Timestamp>, StoreError> {
    let found_until = after(shared.clock.now(), -swept_after_s(shared));
    let mut next: Option<Timestamp> = None;
    for destination in destination::ALL {
        for due in shared.store.due(destination.name, Timestamp::MAX, DUE_LOOKED_AT).await? {
            if due.due_at > found_until {
                next = Some(next.map_or(due.due_at, |next| next.min(due.due_at)));
                break;
            }
        }
    }
    Ok(next)
}

/// How many deliveries of a destination are read to find the next one that is not due yet.
const DUE_LOOKED_AT: i32 = 100;

fn table_failed(error: &StoreError) -> Response {
    tracing::error!("the next due delivery could not be read from the table: {error}");
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_from_its_file_and_does_not_start_over_from_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clock-ahead-s");
        let open = || MovedClock::open(funil_lambda::platform().clock, file.clone());
        let clock = open().unwrap();
        assert_eq!(clock.ahead_s(), 0);
        clock.move_ahead(3_600).unwrap();
        clock.move_ahead(60).unwrap();
        assert_eq!(open().unwrap().ahead_s(), 3_660);
        for damaged in ["", "36x"] {
            std::fs::write(&file, damaged).unwrap();
            let error = open().map(drop).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{damaged}");
        }
    }
}
