//! `funil stats`: the totals of the metrics in a log file.
//!
//! `CloudWatch` computes the same totals from these lines. Only lines in the embedded metric format
//! with Funil's namespace are counted. There may be other text, such as a time or a request id,
//! before the JSON object.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use funil_lambda::platform::totals::{ACCEPTED, DUPLICATES, DURATION_MS, NAMESPACE, SETTLED};
use serde_json::Value;

/// The totals of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Accepted events and duplicate requests, by function.
    pub intake: BTreeMap<String, Intake>,
    /// Settlements, by destination and outcome.
    pub settled: BTreeMap<(String, String), u64>,
    /// How long each settled claim took, in milliseconds, by destination.
    pub durations_ms: BTreeMap<String, Vec<u64>>,
}

/// The totals of an intake function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// Events that were accepted.
    pub accepted: u64,
    /// Requests whose response was that of their receipt.
    pub duplicates: u64,
}

impl Stats {
    /// Sums a whole log. Lines that are not metrics of Funil are skipped.
    pub fn read(mut log: impl BufRead) -> io::Result<Self> {
        let mut stats = Self::default();
        let mut line = Vec::new();
        while log.read_until(b'\n', &mut line)? > 0 {
            stats.add(&String::from_utf8_lossy(&line));
            line.clear();
        }
        Ok(stats)
    }

    /// Adds one line of a log.
    pub fn add(&mut self, line: &str) {
        let Some(line) = object(line) else { return };
        if line.pointer("/_aws/CloudWatchMetrics/0/Namespace") != Some(&Value::from(NAMESPACE)) {
            return;
        }
        let name = |member: &str| line[member].as_str().unwrap_or("unknown").to_owned();
        let number = |metric: &str| line[metric].as_u64();
        if let Some(accepted) = number(ACCEPTED) {
            self.intake.entry(name("function")).or_default().accepted += accepted;
        }
        if let Some(duplicates) = number(DUPLICATES) {
            self.intake.entry(name("function")).or_default().duplicates += duplicates;
        }
        if let Some(settled) = number(SETTLED) {
            *self.settled.entry((name("destination"), name("outcome"))).or_default() += settled;
        }
        if let Some(duration) = number(DURATION_MS) {
            self.durations_ms.entry(name("destination")).or_default().push(duration);
        }
    }

    /// The totals as tables for the terminal.
    pub fn to_text(&self) -> String {
        if *self == Self::default() {
            return "Nothing was counted: the log has no line in the embedded metric format.\n"
                .to_owned();
        }
        let row = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
        let mut intake = vec![row(&["function", "accepted", "duplicates"])];
        for (function, Intake { accepted, duplicates }) in &self.intake {
            intake.push(row(&[function, &accepted.to_string(), &duplicates.to_string()]));
        }
        let mut settled = vec![row(&["destination", "outcome", "settled"])];
        for ((destination, outcome), count) in &self.settled {
            settled.push(row(&[destination, outcome, &count.to_string()]));
        }
        let mut durations = vec![row(&["destination", "median ms", "p95 ms", "max ms"])];
        for (destination, all) in &self.durations_ms {
            let mut all = all.clone();
            all.sort_unstable();
            let [median, p95, max] =
                [50, 95, 100].map(|percent| percentile(&all, percent).to_string());
            durations.push(row(&[destination, &median, &p95, &max]));
        }
        let tables = [intake, settled, durations];
        let shown: Vec<String> =
            tables.iter().filter(|rows| rows.len() > 1).map(|rows| table(rows)).collect();
        shown.join("\n")
    }
}

/// The JSON object at the end of a line.
fn object(line: &str) -> Option<Value> {
    let line = line.trim_end();
    serde_json::from_str(&line[line.find('{')?..]).ok()
}

/// The percentile by nearest rank: the smallest value that at least this many percent of the values
/// do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// Aligns rows in columns, text to the left and numbers to the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let formats: Vec<(usize, bool)> = (0..columns)
        .map(|column| {
            let width = cells(column).map(String::len).max().unwrap_or(0);
            let number = cells(column).skip(1).all(|cell| cell.parse::<u64>().is_ok());
            (width, number)
        })
        .collect();
    let lines = rows.iter().map(|row| {
        let cells: Vec<String> = row
            .iter()
            .zip(&formats)
            .map(
                |(cell, &(width, number))| {
                    if number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                },
            )
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(members: &str) -> String {
        let aws = r#""_aws":{"Timestamp":1,"CloudWatchMetrics":[{"Namespace":"Funil"}]}"#;
        format!("{{\"level\":\"INFO\",{members},{aws}}}\n")
    }

    fn settled(destination: &str, outcome: &str, duration: u64) -> String {
        line(&format!(
            r#""destination":"{destination}","outcome":"{outcome}","Settled":1,"DurationMs":{duration}"#
        ))
    }

    #[test]
    fn the_metrics_of_a_log_are_summed_and_other_lines_are_skipped() {
        let mut log = Vec::new();
        for text in [
            "START RequestId: 8f5 Version: $LATEST\n".to_owned(),
            line(r#""function":"lead-submit","Accepted":1"#),
            format!(
                "2026-01-15T12:00:00Z\t8f5\t{}",
                line(r#""function":"lead-submit","Accepted":1"#)
            ),
            line(r#""function":"lead-submit","Duplicates":1"#),
            settled("crm", "delivered", 120),
            settled("crm", "retry", 10_000),
            settled("segment", "delivered", 40),
            r#"{"Settled":1,"destination":"crm","outcome":"delivered"}"#.to_owned() + "\n",
            line(r#""Settled":1"#).replace("Funil", "Other"),
            "{\"torn\": \n".to_owned(),
            "\n".to_owned(),
        ] {
            log.extend_from_slice(text.as_bytes());
        }
        log.extend_from_slice(b"\xff\xfe not text {\n");
        // The last line of a truncated log has no newline.
        log.extend_from_slice(settled("crm", "delivered", 80).trim_end().as_bytes());
        let stats = Stats::read(log.as_slice()).unwrap();
        assert_eq!(
            stats.to_text(),
            "function     accepted  duplicates\n\
             lead-submit         2           1\n\
             \n\
             destination  outcome    settled\n\
             crm          delivered        2\n\
             crm          retry            1\n\
             segment      delivered        1\n\
             \n\
             destination  median ms  p95 ms  max ms\n\
             crm                120   10000   10000\n\
             segment             40      40      40\n"
        );
    }

    #[test]
    fn percentiles_are_computed_by_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!([50, 95, 100].map(|percent| percentile(&hundred, percent)), [50, 95, 100]);
        assert_eq!([50, 95, 100].map(|percent| percentile(&[7], percent)), [7, 7, 7]);
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn an_empty_log_gives_a_message() {
        let stats = Stats::read(io::empty()).unwrap();
        assert!(stats.to_text().starts_with("Nothing was counted"));
    }
}
