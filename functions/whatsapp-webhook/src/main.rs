//! `whatsapp-webhook`: the status of our messages, and what people wrote back.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::webhooks::whatsapp::function)
}
