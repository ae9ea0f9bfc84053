//! `dispatch`: rings the delivery functions that have something due, and tells a person what is wrong.

use std::process::ExitCode;

use funil_delivery::Alerts;

fn main() -> ExitCode {
    funil_lambda::run(|env, shell| {
        let alerts = Alerts::connect(env, shell)?;
        funil_lambda::dispatch(env, shell, alerts.into_work())
    })
}
