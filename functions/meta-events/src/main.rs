//! `meta-events`: delivers to Meta what is due.

use std::process::ExitCode;

use funil_delivery::Worker;

fn main() -> ExitCode {
    funil_lambda::run(|env, shell| {
        let worker = Worker::connect("meta", env, shell)?;
        funil_lambda::delivery_function(worker.destination(), env, shell, worker.into_work())
    })
}
