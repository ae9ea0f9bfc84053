//! `newsletter-signup`: the site's newsletter form.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::forms::newsletter_signup::function)
}
