//! `funil invoke`: sends one event to the binary of one function.
//!
//! Owns where the functions' binaries are. It must not know how the response is printed.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::runtime_api::{FunctionProcess, InvocationError, Lines};

/// How long a function may take, in seconds. It is the limit with which functions are deployed.
const TIME_S: u64 = 60;

/// Why there is no response from a function.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// There is no binary of this name.
    #[error("there is no {function} in {}: check its name, or run `cargo build --workspace`", folder.display())]
    NotBuilt {
        /// The name of the function.
        function: String,
        /// The folder in which the binary was looked for.
        folder: PathBuf,
    },
    /// The process could not be started.
    #[error("{function} could not be started")]
    Start {
        /// The name of the function.
        function: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The function was started and sent no response.
    #[error(transparent)]
    Invocation(#[from] InvocationError),
}

/// Runs a function's binary with exactly these environment variables, sends it one event and
/// returns its response. The lines that the function logs are printed on standard error.
pub async fn invoke(
    function: &str,
    event: Value,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Value, InvokeError> {
    let binary = binary(function)?;
    let mut process =
        FunctionProcess::start(&binary, env, Lines::Shown).await.map_err(not_started(function))?;
    let response = process.invoke(event, TIME_S).await;
    process.kill().await;
    Ok(response?)
}

/// The path of a function's binary. It is in the folder of the current executable, because Cargo
/// built both with the same profile.
pub fn binary(function: &str) -> Result<PathBuf, InvokeError> {
    let executable = std::env::current_exe().map_err(not_started(function))?;
    let folder = executable.parent().unwrap_or(Path::new("."));
    // The executable of a test is one folder below, in `deps`.
    let folder = match (folder.file_name(), folder.parent()) {
        (Some(name), Some(above)) if name == "deps" => above,
        _ => folder,
    };
    let path = folder.join(format!("{function}{}", std::env::consts::EXE_SUFFIX));
    let is_name = function.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_name && path.is_file() {
        Ok(path)
    } else {
        let folder = folder.to_owned();
        Err(InvokeError::NotBuilt { function: function.to_owned(), folder })
    }
}

fn not_started(function: &str) -> impl FnOnce(io::Error) -> InvokeError {
    |source| InvokeError::Start { function: function.to_owned(), source }
}
