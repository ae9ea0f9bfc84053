//! `consultation-booking`: the site's form for a consultation.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::forms::consultation_booking::function)
}
