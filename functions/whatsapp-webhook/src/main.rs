//! `whatsapp-webhook`: how far messages came, and what people wrote back.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::webhooks::whatsapp::function)
}
