//! `metrics`: the backlog as gauges, for Prometheus.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::metrics)
}
