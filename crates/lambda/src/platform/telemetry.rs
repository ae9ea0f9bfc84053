//! Logs: JSON lines on standard output, without times, because `CloudWatch` adds them. Lines that
//! count something become metrics there (see [`crate::platform::totals`]).
//!
//! `LOG_LEVEL` sets the level of our own crates, but for lines that count something. Everything else is capped at warnings, because the
//! SDK and the HTTP client print whole requests below that, and requests hold personal data. An optimised
//! build has no lines below `info` at all (`release_max_level_info` in `Cargo.toml`).

use funil_core::settings::Env;
use funil_core::site::DEFAULT_TABLE;
use funil_store::TOTALS_TARGET;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::Layer;
use tracing_subscriber::fmt::format::{Format, Json, JsonFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::platform::totals::Embedded;

/// Starts logging. Does nothing if it was started before.
pub fn start(env: &Env) {
    // A second start in one process (the dev server, a test) leaves the first as it is.
    let table = env.get("TABLE_NAME").unwrap_or(DEFAULT_TABLE).to_owned();
    drop(tracing_subscriber::registry().with(lines(table)).with(targets(env)).try_init());
}

/// Which lines are written.
fn targets(env: &Env) -> Targets {
    let level = match env.get("LOG_LEVEL").map(str::to_ascii_lowercase).as_deref() {
        Some("trace") => LevelFilter::TRACE,
        Some("debug") => LevelFilter::DEBUG,
        Some("warn") => LevelFilter::WARN,
        Some("error") => LevelFilter::ERROR,
        Some(_) | None => LevelFilter::INFO,
    };
    let ours = ["funil_core", "funil_delivery", "funil_dev", "funil_lambda", "funil_store"];
    let targets =
        ours.into_iter().fold(Targets::new().with_default(LevelFilter::WARN), |targets, name| {
            targets.with_target(name, level)
        });
    targets.with_target(TOTALS_TARGET, LevelFilter::INFO)
}

/// The layer that writes the lines of the functions on a table.
pub(crate) fn lines<S>(table: String) -> Layer<S, JsonFields, Embedded<Format<Json, ()>>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .without_time()
        .map_event_format(|format| Embedded { format, table })
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn lines_that_count_are_written_whatever_the_level_is() {
        for level in ["error", "warn", "info"] {
            let env: Env = [("LOG_LEVEL", level)].into_iter().collect();
            let targets = targets(&env);
            assert!(targets.would_enable(TOTALS_TARGET, &Level::INFO), "{level}");
            let others = targets.would_enable("funil_lambda", &Level::INFO);
            assert_eq!(others, level == "info", "{level}");
        }
    }
}
