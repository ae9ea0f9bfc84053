//! A few seeds of the simulation. A command runs many (`tests/examples/simulate.rs`).

use funil_tests::simulation::{Counts, Run, simulate};

fn run(seed: u64) -> Run {
    simulate(seed, &|runtime| {
        runtime.start_paused(true);
    })
}

#[test]
fn whatever_is_drawn_every_lead_arrives_and_only_once() {
    // Of the first seeds, those in which together everything happens.
    let runs: Vec<Run> = [1, 4, 7, 10].into_iter().map(run).collect();
    let mut counts = Counts::default();
    let mut never_invoked = runs[0].not_invoked.clone();
    for found in &runs {
        assert_eq!(found.problems, [""; 0], "seed {}", found.seed);
        counts += &found.counts;
        never_invoked.retain(|function| found.not_invoked.contains(function));
    }
    assert_eq!(runs[0].history, run(1).history, "seed 1 had another history the second time");
    let drawn = [
        counts.table_faults,
        counts.crashes,
        counts.outages,
        counts.bookings,
        counts.payments,
        counts.messages,
        counts.delivered,
        counts.skipped,
    ];
    assert!(!drawn.contains(&0), "something never happens: {counts:?}");
    assert_eq!(never_invoked, [].into(), "nothing sends requests to these: add them to life/");
}
