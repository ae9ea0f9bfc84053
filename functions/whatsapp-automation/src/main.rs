//! `whatsapp-automation`: delivers to WhatsApp what is due, and plans or withdraws messages about a call.

use std::process::ExitCode;

use funil_delivery::Worker;

fn main() -> ExitCode {
    funil_lambda::run(|env, shell| {
        let worker = Worker::connect("whatsapp", env, shell)?;
        funil_lambda::delivery_function(worker.destination(), env, shell, worker.into_work())
    })
}
