//! `brevo-webhook`: bounces and complaints, from Brevo.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::webhooks::brevo::function)
}
