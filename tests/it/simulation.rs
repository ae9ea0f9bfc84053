//! A short run of the simulation; the long one is a command (`tests/examples/simulate.rs`).

use funil_tests::simulation::simulate;

#[tokio::test]
async fn whatever_is_drawn_everybody_arrives_and_once() {
    for seed in 1..=12 {
        simulate(seed).await;
    }
}
