//! `deal-webhook`: the status of deals, from a CRM.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::webhooks::deals::function)
}
