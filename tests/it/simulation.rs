//! A few seeds of the simulation. A command runs many (`tests/examples/simulate.rs`).

use funil_tests::simulation::{Run, simulate};

fn run(seed: u64) -> Run {
    simulate(seed, &|runtime| {
        runtime.start_paused(true);
    })
}

#[test]
fn whatever_is_drawn_every_lead_arrives_and_only_once() {
    for seed in 1..=4 {
        let found = run(seed);
        assert_eq!(found.problems, [""; 0], "seed {seed}");
        if seed == 1 {
            assert_eq!(found.history, run(seed).history, "seed {seed} did not replay");
        }
    }
}
