//! `segment-sync`: delivers to Segment what is due.

use std::process::ExitCode;

use funil_core::destination::segment::CONNECTOR;
use funil_delivery::Worker;

fn main() -> ExitCode {
    funil_lambda::run(|env, platform| {
        let worker = Worker::connect(&CONNECTOR, env, platform);
        funil_lambda::delivery_function(
            CONNECTOR.destination,
            env,
            platform,
            worker.map(Worker::into_work),
        )
    })
}
