//! `brevo-email`: delivers by Brevo what is due.

use std::process::ExitCode;

use funil_delivery::Worker;

fn main() -> ExitCode {
    funil_lambda::run(|env, platform| {
        let worker = Worker::connect("brevo", env, platform);
        funil_lambda::delivery_function("brevo", env, platform, worker.map(Worker::into_work))
    })
}
