//! `calendar-webhook`: booked, cancelled, moved and missed calls, from Calendly.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::webhooks::calendar::function)
}
