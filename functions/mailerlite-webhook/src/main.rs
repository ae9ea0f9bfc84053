//! `mailerlite-webhook`: unsubscribes, bounces and complaints, from MailerLite.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::webhooks::mailerlite::function)
}
