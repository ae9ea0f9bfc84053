//! `segment-sync`: delivers to Segment what is due.

use std::process::ExitCode;

use funil_delivery::Worker;

fn main() -> ExitCode {
    funil_lambda::run(|env, platform| {
        let worker = Worker::connect("segment", env, platform);
        funil_lambda::delivery_function("segment", env, platform, worker.map(Worker::into_work))
    })
}
