//! A few seeds of the simulation. A command runs many (`tests/examples/simulate.rs`).

use std::collections::BTreeSet;

use funil_tests::simulation::{Counts, Run, simulate};

/// How many seeds run at least.
const SEEDS_MIN: u64 = 4;
/// In how many seeds everything that can be drawn has to happen at least once.
const SEEDS_MAX: u64 = 20;

fn run(seed: u64) -> Run {
    simulate(seed, &|runtime| {
        runtime.start_paused(true);
    })
}

/// What did not happen in these runs.
fn missing(runs: &[Run]) -> BTreeSet<&'static str> {
    let mut counts = Counts::default();
    let mut missing = runs[0].not_invoked.clone();
    for found in runs {
        counts += &found.counts;
        missing.retain(|function| found.not_invoked.contains(function));
    }
    let drawn = [
        ("a fault of the table", counts.table_faults),
        ("a crash", counts.crashes),
        ("an outage", counts.outages),
        ("a booking", counts.bookings),
        ("a payment", counts.payments),
        ("a message", counts.messages),
        ("a delivered delivery", counts.delivered),
        ("a skipped delivery", counts.skipped),
    ];
    missing.extend(drawn.iter().filter(|(_, count)| *count == 0).map(|(what, _)| *what));
    missing
}

#[test]
fn whatever_is_drawn_every_lead_arrives_and_only_once() {
    let mut runs = Vec::new();
    for seed in 1..=SEEDS_MAX {
        let found = run(seed);
        assert_eq!(found.problems, [""; 0], "seed {seed}");
        runs.push(found);
        if seed >= SEEDS_MIN && missing(&runs).is_empty() {
            break;
        }
    }
    assert_eq!(missing(&runs), [].into(), "none of {SEEDS_MAX} seeds has these: see life/");
    assert_eq!(runs[0].history, run(1).history, "seed 1 had another history the second time");
}
