//! `mailerlite-sync`: delivers to MailerLite what is due.

use std::process::ExitCode;

use funil_delivery::Worker;

fn main() -> ExitCode {
    funil_lambda::run(|env, platform| {
        let worker = Worker::connect("mailerlite", env, platform);
        funil_lambda::delivery_function("mailerlite", env, platform, worker.map(Worker::into_work))
    })
}
