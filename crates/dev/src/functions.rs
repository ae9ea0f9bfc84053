//! All functions in one process, for the dev server and the tests.
//!
//! It must not know what any function does.

use std::time::Duration;

use funil_core::destination;
use funil_core::settings::{ConfigError, Env};
use funil_delivery::{Alerts, REQUEST_TIMEOUT, Worker};
use funil_lambda::{Function, functions as registry};
use funil_store::Platform;

/// Builds all functions from one environment. The error names everything that is missing or invalid
/// for any of them.
pub fn all(env: &Env, platform: &Platform) -> Result<Vec<Function>, ConfigError> {
    all_with_request_timeout(env, platform, REQUEST_TIMEOUT)
}

fn dispatch(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let alerts = Alerts::connect(env, platform);
    funil_lambda::dispatch(env, platform, alerts.map(Alerts::into_work))
}

/// Makes one function of an environment.
pub type Make = Box<dyn Fn(&Env, &Platform) -> Result<Function, ConfigError>>;

/// What makes each function, with its name. `timeout` is for requests to providers.
pub fn makes(timeout: Duration) -> Vec<(&'static str, Make)> {
    let mut makes: Vec<(&str, Make)> = vec![("dispatch", Box::new(dispatch))];
    for (name, make) in registry::make() {
        makes.push((name, Box::new(make)));
    }
    for connector in destination::CONNECTORS {
        let destination = connector.destination;
        let make = move |env: &Env, platform: &Platform| {
            let worker = Worker::connect(connector, env, platform);
            let work = worker.map(|worker| worker.with_request_timeout(timeout).into_work());
            funil_lambda::delivery_function(destination, env, platform, work)
        };
        makes.push((destination.function, Box::new(make)));
    }
    makes
}

/// Like [`all`], with another timeout for requests to providers.
pub fn all_with_request_timeout(
    env: &Env,
    platform: &Platform,
    timeout: Duration,
) -> Result<Vec<Function>, ConfigError> {
    let mut functions = Vec::new();
    let mut problems = std::collections::BTreeSet::new();
    for (_, make) in makes(timeout) {
        match make(env, platform) {
            Ok(function) => functions.push(function),
            Err(error) => problems.extend(error.0),
        }
    }
    if problems.is_empty() {
        Ok(functions)
    } else {
        Err(ConfigError(problems.into_iter().collect()))
    }
}
