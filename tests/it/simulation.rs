//! A short run of the simulation; the long one is a command (`tests/examples/simulate.rs`).

use funil_tests::simulation::simulate;

#[test]
fn whatever_is_drawn_everybody_arrives_and_once() {
    for seed in 1..=4 {
        let lived = simulate(seed, &|runtime| {
            runtime.start_paused(true);
        });
        assert_eq!(lived.problems, [""; 0], "seed {seed}");
        if seed == 1 {
            let again = simulate(seed, &|runtime| {
                runtime.start_paused(true);
            });
            assert_eq!(lived.history, again.history, "seed {seed} did not replay");
        }
    }
}
