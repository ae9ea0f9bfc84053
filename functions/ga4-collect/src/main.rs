//! `ga4-collect`: events of pages for GA4.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::tags::ga4_collect::function)
}
