//! `lead-submit`: the landing page's form.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::forms::lead_submit::function)
}
