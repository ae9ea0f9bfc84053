//! The life of a function's process: read the environment, start, serve invocations.

use std::process::ExitCode;

use funil_core::config::{ConfigError, Env};
use funil_store::Shell;
use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

use crate::{Function, process_environment, shell, start_telemetry};

/// Runs a function until its platform ends it. A configuration that is incomplete ends it at once,
/// with everything that is missing in one message.
pub fn run(make: impl FnOnce(&Env, &Shell) -> Result<Function, ConfigError>) -> ExitCode {
    let env = process_environment();
    start_telemetry(&env);
    let function = match make(&env, &shell()) {
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
            tracing::error!(error = %error, "the operating system gave no event loop");
            return ExitCode::FAILURE;
        }
    };
    let served =
        runtime.block_on(lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
            let function = function.clone();
            async move {
                let stop_at = i64::try_from(event.context.deadline)
                    .ok()
                    .and_then(|millis| Timestamp::from_millisecond(millis).ok())
                    .unwrap_or(Timestamp::MAX);
                let answer = function.invoke(event.payload, stop_at).await;
                Ok::<Value, std::convert::Infallible>(answer)
            }
        })));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error, "the Lambda runtime ended");
            ExitCode::FAILURE
        }
    }
}
