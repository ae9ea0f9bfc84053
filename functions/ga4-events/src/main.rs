//! `ga4-events`: delivers to GA4 what is due.

use std::process::ExitCode;

use funil_core::destination::ga4::{CONNECTOR, DESTINATION};
use funil_delivery::Worker;

fn main() -> ExitCode {
    funil_lambda::run(|env, platform| {
        let worker = Worker::connect(&CONNECTOR, env, platform);
        funil_lambda::delivery_function(&DESTINATION, env, platform, worker.map(Worker::into_work))
    })
}
