//! `ga4-visits`: delivers to GA4 what pages reported.

use std::process::ExitCode;

use funil_delivery::Worker;

fn main() -> ExitCode {
    funil_lambda::run(|env, platform| {
        let worker = Worker::connect("ga4_visits", env, platform);
        funil_lambda::delivery_function("ga4_visits", env, platform, worker.map(Worker::into_work))
    })
}
