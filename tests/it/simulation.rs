//! A short run of the simulation; the long one is a command (`tests/examples/simulate.rs`).

use funil_tests::simulation::{Lived, simulate};

fn live(seed: u64) -> Lived {
    simulate(seed, &|runtime| {
        runtime.start_paused(true);
    })
}

#[test]
fn whatever_is_drawn_everybody_arrives_and_once() {
    for seed in 1..=4 {
        let lived = live(seed);
        assert_eq!(lived.problems, [""; 0], "seed {seed}");
        if seed == 1 {
            assert_eq!(lived.history, live(seed).history, "seed {seed} did not replay");
        }
    }
}
