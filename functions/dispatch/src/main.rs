//! `dispatch`: rings the delivery functions that have something due, and notifies a person of
//! what is wrong.

use std::process::ExitCode;

use funil_delivery::Alerts;

fn main() -> ExitCode {
    funil_lambda::run(|env, platform| {
        let alerts = Alerts::connect(env, platform);
        funil_lambda::dispatch(env, platform, alerts.map(Alerts::into_work))
    })
}
