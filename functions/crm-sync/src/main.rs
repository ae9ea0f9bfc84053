//! `crm-sync`: delivers to the CRM what is due.

use std::process::ExitCode;

use funil_delivery::Worker;

fn main() -> ExitCode {
    funil_lambda::run(|env, platform| {
        let worker = Worker::connect("crm", env, platform);
        funil_lambda::delivery_function("crm", env, platform, worker.map(Worker::into_work))
    })
}
