//! What the benchmark came to, in the words in which it is published.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use funil_tests::proxy::Bill;
use funil_tests::verdict::{Latency, Settled, Verdict, shown};

use crate::crowd::Crowd;
use crate::functions::Totals;
use crate::{DESTINATIONS, DOWN, Options, TAIL, outside};

/// List prices of on-demand DynamoDB in us-east-1, in US dollars for a million units, as they were in
/// July 2025 (<https://aws.amazon.com/dynamodb/pricing/on-demand/>).
const WRITE_UNITS_USD: f64 = 0.625;
const READ_UNITS_USD: f64 = 0.125;

pub(crate) struct Report<'o> {
    pub(crate) options: &'o Options,
    pub(crate) crowd: Crowd,
    pub(crate) verdict: Verdict,
    pub(crate) bill: Bill,
    pub(crate) refused_by_key: HashMap<String, u32>,
    pub(crate) totals: BTreeMap<&'static str, Totals>,
    pub(crate) took: Duration,
}

impl Report<'_> {
    /// How many deliveries were settled.
    fn settled(&self) -> usize {
        self.verdict.settled.values().map(Settled::count).sum()
    }
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { leads, rate, key_units, .. } = self.options;
        writeln!(
            f,
            "{leads} leads at {rate} a second, {} destinations, {key_units} write units a second for each key; \
             {DOWN} down from 20 % to 50 % of the time, one request to {TAIL} in {} takes {:?}, all others {:?}",
            DESTINATIONS.len(),
            outside::SLOW_ONE_IN,
            outside::SLOW,
            outside::USUAL,
        )?;
        let (forms, bookings) = self.crowd.statuses();
        let accepted = self.crowd.accepted().len();
        writeln!(
            f,
            "accepted {accepted} of {leads}; lost {}, doubled {}",
            self.verdict.lost, self.verdict.doubled
        )?;
        writeln!(
            f,
            "statuses (0: killed before its response): forms {forms:?}, bookings {bookings:?}"
        )?;
        let Latency { p50, p99, longest } = self.crowd.acceptance();
        writeln!(
            f,
            "acceptance, with further tries: p50 {}, p99 {}, longest {}",
            shown(p50),
            shown(p99),
            shown(longest)
        )?;
        for (name, settled) in &self.verdict.settled {
            let Settled { delivered, open, otherwise, latency, recovery } = settled;
            writeln!(
                f,
                "  {name}: {delivered} delivered, {open} open, otherwise {otherwise:?}; settled after p50 {}, p99 {}, longest {}; \
                 the last {} after the last form",
                shown(latency.p50),
                shown(latency.p99),
                shown(latency.longest),
                shown(*recovery)
            )?;
        }
        let mut of_deliveries = Duration::ZERO;
        for (name, totals) in &self.totals {
            let Totals { invocations, processes, kills, cpu, peak_kb } = totals;
            if !matches!(*name, "lead-submit" | "calendar-webhook" | "dispatch") {
                of_deliveries += *cpu;
            }
            writeln!(
                f,
                "  {name}: {invocations} invocations in {processes} processes, killed {kills} times, {:.1} s on the CPU, {:.1} MB at most",
                cpu.as_secs_f64(),
                float(usize::try_from(*peak_kb).unwrap_or(0)) / 1024.0
            )?;
        }
        let settled = self.settled();
        let all: Duration = self.totals.values().map(|totals| totals.cpu).sum();
        writeln!(
            f,
            "{settled} deliveries in {}: {:.0} a second of a core by the delivery functions, {:.0} with intake and dispatch",
            shown(self.took),
            float(settled) / of_deliveries.as_secs_f64(),
            float(settled) / all.as_secs_f64()
        )?;
        let million = 1_000_000.0 / float(settled.max(1));
        let (written, read) = (self.bill.write_units * million, self.bill.read_units * million);
        writeln!(
            f,
            "a million deliveries, with the acceptance of their leads: {:.1} million units written, {:.1} million read; \
             {:.1} × ${WRITE_UNITS_USD} + {:.1} × ${READ_UNITS_USD} = ${:.2} (us-east-1, July 2025)",
            written / 1e6,
            read / 1e6,
            written / 1e6,
            read / 1e6,
            written / 1e6 * WRITE_UNITS_USD + read / 1e6 * READ_UNITS_USD
        )?;
        let mut refused: Vec<_> = self.refused_by_key.iter().collect();
        refused.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        refused.truncate(3);
        write!(
            f,
            "refused for a key's units: {refused:?}; other writes refused by a condition: {}",
            self.bill.refused
        )
    }
}
