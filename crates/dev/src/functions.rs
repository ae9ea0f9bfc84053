//! Every function of Funil in one process, for the local stage and the tests.

use std::time::Duration;

use funil_core::destination;
use funil_core::settings::{ConfigError, Env};
use funil_delivery::{Alerts, REQUEST_TIMEOUT, Worker};
use funil_lambda::{Function, functions as registry};
use funil_store::Platform;

/// All functions, configured by one environment. What is wrong for any of them is in the error.
pub fn all(env: &Env, platform: &Platform) -> Result<Vec<Function>, ConfigError> {
    all_with_request_timeout(env, platform, REQUEST_TIMEOUT)
}

fn dispatch(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    funil_lambda::dispatch(env, platform, Alerts::connect(env, platform)?.into_work())
}

/// The same, with another limit on how long a provider may take to answer.
pub fn all_with_request_timeout(
    env: &Env,
    platform: &Platform,
    timeout: Duration,
) -> Result<Vec<Function>, ConfigError> {
    let mut made: Vec<Result<Function, ConfigError>> =
        registry::make().map(|make| make(env, platform)).collect();
    made.push(dispatch(env, platform));
    for destination in destination::ALL {
        made.push(Worker::connect(destination.name, env, platform).and_then(|worker| {
            let work = worker.with_request_timeout(timeout).into_work();
            funil_lambda::delivery_function(destination, env, platform, work)
        }));
    }
    let mut functions = Vec::new();
    let mut problems = std::collections::BTreeSet::new();
    for function in made {
        match function {
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
