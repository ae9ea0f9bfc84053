//! The life of a function's process: read the environment, start, serve invocations.

use std::process::ExitCode;
use std::sync::Arc;

use funil_core::clock::after;
use funil_core::settings::{ConfigError, Env};
use funil_store::Platform;
use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

use crate::Function;
use crate::platform;
use crate::process_environment;
use crate::start_telemetry;

/// How long an invocation may take, in seconds, where the platform gives no deadline.
const TIME_S: i64 = 60;

/// Serves invocations until the platform ends the process. With an incomplete configuration it ends
/// at once, with everything that is missing in one message.
pub fn run(make: impl FnOnce(&Env, &Platform) -> Result<Function, ConfigError>) -> ExitCode {
    let env = process_environment();
    start_telemetry(&env);
    let platform = platform();
    let clock = Arc::clone(&platform.clock);
    let function = match make(&env, &platform) {
        Ok(function) => function,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if env.get("AWS_LAMBDA_RUNTIME_API").is_none() {
        tracing::error!(
            "{} is a Lambda function: run it on Lambda, on Netlify, with `cargo lambda watch`, or \
             with `cargo run -- invoke {} EVENT.json`.",
            function.name,
            function.name
        );
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("the event loop could not be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let served =
        runtime.block_on(lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
            let (function, clock) = (function.clone(), Arc::clone(&clock));
            async move {
                let stop_at = stop_at(event.context.deadline, clock.now());
                let response = function.invoke(event.payload, stop_at).await;
                Ok::<Value, std::convert::Infallible>(response)
            }
        })));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the Lambda runtime ended: {error}");
            ExitCode::FAILURE
        }
    }
}

/// When the invocation ends. A deadline that is past before the work begins is ignored: `cargo
/// lambda watch` sends one of 1970.
fn stop_at(deadline_ms: u64, now: Timestamp) -> Timestamp {
    i64::try_from(deadline_ms)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .filter(|deadline| *deadline > now)
        .unwrap_or_else(|| after(now, TIME_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_is_past_is_none() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let deadline_ms = u64::try_from(now.as_millisecond()).unwrap() + 15_000;
        assert_eq!(stop_at(deadline_ms, now), after(now, 15));
        assert_eq!(stop_at(600_000, now), after(now, 60));
        assert_eq!(stop_at(u64::MAX, now), after(now, 60));
    }
}
