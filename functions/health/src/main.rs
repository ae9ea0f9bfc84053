//! `health`: whether Funil can do its job, and how each destination stands.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::health)
}
