//! `whatsapp-automation`: delivers to WhatsApp what is due, and plans or withdraws messages about a
//! call.

use std::process::ExitCode;

use funil_core::destination::whatsapp::{CONNECTOR, DESTINATION};
use funil_delivery::Worker;

fn main() -> ExitCode {
    funil_lambda::run(|env, platform| {
        let worker = Worker::connect(&CONNECTOR, env, platform);
        funil_lambda::delivery_function(&DESTINATION, env, platform, worker.map(Worker::into_work))
    })
}
