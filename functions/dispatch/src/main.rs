//! `dispatch`: rings the delivery functions that have something due.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::dispatch)
}
