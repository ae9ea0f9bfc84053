//! `ga4-events`: delivers to GA4 what is due.

use std::process::ExitCode;

use funil_delivery::Worker;

fn main() -> ExitCode {
    funil_lambda::run(|env, platform| {
        let worker = Worker::connect("ga4", env, platform);
        funil_lambda::delivery_function("ga4", env, platform, worker.map(Worker::into_work))
    })
}
