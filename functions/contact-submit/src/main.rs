//! `contact-submit`: the site's contact form.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::forms::contact_submit::function)
}
