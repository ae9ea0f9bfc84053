//! `c2s-webhook`: what Contact2Sale reports of its leads.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::webhooks::c2s::function)
}
