//! Totals: log lines that count something carry `CloudWatch`'s embedded metric format.
//!
//! A line counts if it has a field with the name of a metric (`Settled = 1`) and `at_ms`, the time
//! of what happened. `Embedded` then adds the `_aws` object that tells `CloudWatch` which of the
//! line's members are metrics and which are dimensions
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//! Beside it only `table` is added, the site's table, which tells the metrics of several sites in one
//! account apart. `funil stats` sums them.

use std::fmt;

use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

/// The namespace of Funil's metrics.
pub const NAMESPACE: &str = "Funil";
/// Events that were accepted, by function.
pub const ACCEPTED: &str = "Accepted";
/// Requests that got the response of their receipt, by function.
pub const DUPLICATES: &str = "Duplicates";
/// Webhook requests that were refused because their provider did not sign them, by function.
pub const REFUSED: &str = "Refused";
/// Claims that were settled, by destination and outcome.
pub const SETTLED: &str = "Settled";
/// How long a settled claim took, in milliseconds.
pub const DURATION_MS: &str = "DurationMs";

/// What a person was notified of, by kind of alert.
pub const ALERTS: &str = "Alerts";
/// For how long the oldest due delivery of a destination has been due, in seconds; each minute.
pub const OLDEST_DUE_SECONDS: &str = "OldestDueSeconds";

/// The field with the time of what happened, in milliseconds since 1970.
const AT_MS: &str = "at_ms";

/// What one kind of line counts.
struct Counting {
    /// The field that marks such a line; it is its first metric.
    mark: &'static str,
    unit: &'static str,
    /// The sets of dimensions by which it is counted, beside the table.
    dimensions: &'static [&'static [&'static str]],
    /// Further metrics, with their units.
    measures: &'static [(&'static str, &'static str)],
}

impl Counting {
    /// A line that counts one thing.
    const fn of_one(
        mark: &'static str,
        unit: &'static str,
        dimensions: &'static [&'static [&'static str]],
    ) -> Self {
        Self { mark, unit, dimensions, measures: &[] }
    }
}

const COUNTING: [Counting; 6] = [
    Counting::of_one(ACCEPTED, "Count", &[&["function"]]),
    Counting::of_one(DUPLICATES, "Count", &[&["function"]]),
    Counting::of_one(REFUSED, "Count", &[&["function"]]),
    Counting::of_one(ALERTS, "Count", &[&["kind"]]),
    // Also without the dimension, so that one alarm covers all destinations.
    Counting::of_one(OLDEST_DUE_SECONDS, "Seconds", &[&["destination"], &[]]),
    Counting {
        measures: &[(DURATION_MS, "Milliseconds")],
        ..Counting::of_one(SETTLED, "Count", &[&["destination", "outcome"]])
    },
];

impl Counting {
    fn of(line: &Metadata<'_>) -> Option<&'static Self> {
        COUNTING.iter().find(|counting| line.fields().field(counting.mark).is_some())
    }

    /// The `_aws` object.
    fn metadata(&self, at_ms: i64) -> Value {
        let by_table = |set: &&[&'static str]| [&["table"], *set].concat();
        let dimensions: Vec<Vec<&str>> = self.dimensions.iter().map(by_table).collect();
        let metrics = [(self.mark, self.unit)].into_iter().chain(self.measures.iter().copied());
        let metrics: Vec<Value> =
            metrics.map(|(name, unit)| json!({"Name": name, "Unit": unit})).collect();
        json!({
            "Timestamp": at_ms,
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": dimensions,
                "Metrics": metrics,
            }],
        })
    }
}

/// Writes lines as `F` does, which writes JSON objects, and adds `table` and `_aws` to those that count.
pub(crate) struct Embedded<F> {
    pub(crate) format: F,
    /// The name of the site's table.
    pub(crate) table: String,
}

impl<S, F> FormatEvent<S, JsonFields> for Embedded<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    F: FormatEvent<S, JsonFields>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut at = Moment(None);
        let counting = Counting::of(event.metadata());
        if counting.is_some() {
            event.record(&mut at);
        }
        let Some((counting, at_ms)) = counting.zip(at.0) else {
            return self.format.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        match line.trim_end().strip_suffix('}') {
            Some(members) => {
                let (table, aws) = (Value::from(&*self.table), counting.metadata(at_ms));
                writeln!(writer, "{members},\"table\":{table},\"_aws\":{aws}}}")
            }
            None => writer.write_str(&line),
        }
    }
}

/// Finds the time of a line.
struct Moment(Option<i64>);

impl Visit for Moment {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == AT_MS {
            self.0 = Some(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::platform::telemetry::lines;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `log` writes.
    fn written(log: impl FnOnce()) -> Vec<Value> {
        use tracing_subscriber::layer::SubscriberExt as _;
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = lines("a-table".to_owned()).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_that_counts_is_one_document_of_the_embedded_metric_format() {
        let lines = written(|| {
            let (destination, outcome) = ("crm", "delivered");
            tracing::info!(
                destination,
                outcome,
                reason = "a \"quoted\" }",
                Settled = 1,
                DurationMs = 87_u32,
                at_ms = 1_790_000_000_123_i64,
                "settled"
            );
            tracing::info!(function = "lead-submit", Accepted = 1, at_ms = 1_i64, "accepted");
        });
        let [settled, accepted] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(
            settled["_aws"],
            json!({
                "Timestamp": 1_790_000_000_123_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Funil",
                    "Dimensions": [["table", "destination", "outcome"]],
                    "Metrics": [
                        {"Name": "Settled", "Unit": "Count"},
                        {"Name": "DurationMs", "Unit": "Milliseconds"},
                    ],
                }],
            })
        );
        let members =
            ["table", "destination", "outcome", "reason", "Settled", "DurationMs", "message"];
        assert_eq!(
            members.map(|name| settled[name].clone()),
            [
                json!("a-table"),
                json!("crm"),
                json!("delivered"),
                json!("a \"quoted\" }"),
                json!(1),
                json!(87),
                json!("settled")
            ]
        );
        let directive = &accepted["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Dimensions"], json!([["table", "function"]]));
        assert_eq!(directive["Metrics"], json!([{"Name": "Accepted", "Unit": "Count"}]));
    }

    #[test]
    fn other_lines_are_left_alone() {
        let lines = written(|| {
            tracing::info!(destination = "crm", "settled");
            // A line without its time cannot be counted.
            tracing::info!(Settled = 1, "settled");
        });
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.get("_aws").is_none()), "{lines:?}");
    }
}
