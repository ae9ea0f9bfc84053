//! `meta-events`: delivers to Meta what is due.

use std::process::ExitCode;

use funil_delivery::Worker;

fn main() -> ExitCode {
    funil_lambda::run(|env, platform| {
        let worker = Worker::connect("meta", env, platform);
        funil_lambda::delivery_function("meta", env, platform, worker.map(Worker::into_work))
    })
}
