//! Requests without their provider's signature or token leave a trace: they are counted, and a person is
//! notified when several came in a row. Nothing of their bodies is kept.
//!
//! Anybody can send such requests, so a process keeps the counts, writes them at most once a minute,
//! and notifies at most once a day. A failure here changes no response.

use std::sync::Mutex;

use funil_core::clock::after;
use funil_store::{AlertKind, StoreError, TOTALS_TARGET};
use jiff::Timestamp;

use crate::app::App;

/// After so many refused requests since the last good one a person is notified.
const REFUSED_TO_ALERT: i64 = 3;
/// How long a process waits before it writes again, in seconds.
const WRITES_APART_S: i64 = 60;
/// How long a process notifies nobody after it did, in seconds.
const ALERTS_APART_S: i64 = 24 * 60 * 60;

/// How the requests of one provider to this process were signed.
#[derive(Debug, Default)]
pub(crate) struct Signatures(Mutex<Seen>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Refused since the last good one, as the table had them at the last write.
    written: i64,
    /// Refused since that write.
    unwritten: i64,
    refused_written_at: Option<Timestamp>,
    good_written_at: Option<Timestamp>,
    alerted_at: Option<Timestamp>,
}

fn is_over(since: Option<Timestamp>, apart_s: i64, now: Timestamp) -> bool {
    since.is_none_or(|since| after(since, apart_s) <= now)
}

impl Signatures {
    fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Notes a correctly signed request.
    pub(crate) async fn signed(&self, app: &App, provider: &str, now: Timestamp) {
        let writes = self.change(|seen| {
            // Refusals that came before this good request must not stay in the table's count. Counts are written
            // at most once a minute, so resetting them writes at most once more in that time.
            let writes = seen.written > 0 || is_over(seen.good_written_at, WRITES_APART_S, now);
            (seen.written, seen.unwritten) = (0, 0);
            if writes {
                seen.good_written_at = Some(now);
            }
            writes
        });
        if writes && let Err(error) = app.store.note_signed(provider, now).await {
            tracing::warn!(
                provider,
                "could not note that a request of {provider} had the right signature or token: {error}"
            );
        }
    }

    /// Counts a request that was refused, and notifies a person of several.
    pub(crate) async fn refused(
        &self,
        app: &App,
        (function, provider): (&'static str, &'static str),
        now: Timestamp,
    ) {
        tracing::warn!(
            target: TOTALS_TARGET,
            function,
            provider,
            Refused = 1,
            at_ms = now.as_millisecond(),
            "refused a request to {function} without the right signature or token of {provider}"
        );
        let unwritten = self.change(|seen| {
            seen.unwritten += 1;
            let writes = is_over(seen.refused_written_at, WRITES_APART_S, now);
            if writes {
                seen.refused_written_at = Some(now);
            }
            writes.then(|| std::mem::take(&mut seen.unwritten))
        });
        if let Err(error) = self.write_and_notify(app, provider, unwritten, now).await {
            // What could not be written counts with the next one.
            self.change(|seen| seen.unwritten += unwritten.unwrap_or(0));
            tracing::warn!(
                provider,
                "could not count that a request of {provider} was refused: {error}"
            );
        }
    }

    async fn write_and_notify(
        &self,
        app: &App,
        provider: &str,
        unwritten: Option<i64>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if let Some(unwritten) = unwritten {
            let known = app.store.count_refused(provider, unwritten, now).await?;
            self.change(|seen| seen.written = known.refused);
        }
        let notifies = self.change(|seen| {
            let many = seen.written + seen.unwritten >= REFUSED_TO_ALERT;
            many && is_over(seen.alerted_at, ALERTS_APART_S, now)
        });
        if notifies {
            app.store.alert_once_a_day(provider, AlertKind::Unsigned, None, now).await?;
            self.change(|seen| seen.alerted_at = Some(now));
        }
        Ok(())
    }
}
