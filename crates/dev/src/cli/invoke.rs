//! One event, one function, one answer: what `funil invoke` does.
//!
//! Owns where the functions' binaries are found. It must not know the command line, nor how an
//! answer is shown.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::runtime_api::{FunctionProcess, InvocationError, Lines};

/// How long a function may take, in seconds: the limit it is deployed with.
const TIME_S: u64 = 60;

/// Why a function gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// It is not there.
    #[error("there is no {function} in {}: check its name, or run `cargo build --workspace`", folder.display())]
    NotBuilt {
        /// The function asked for.
        function: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// It could not be started.
    #[error("{function} could not be started")]
    Start {
        /// The function asked for.
        function: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ran and gave no answer.
    #[error(transparent)]
    Invocation(#[from] InvocationError),
}

/// Runs a function's real binary with exactly this environment, sends it one event and gives back
/// its answer. What it logs is shown on standard error.
pub async fn invoke(
    function: &str,
    event: Value,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Value, InvokeError> {
    let binary = binary(function)?;
    let mut process =
        FunctionProcess::start(&binary, env, Lines::Shown).await.map_err(not_started(function))?;
    let answer = process.invoke(event, TIME_S).await;
    process.kill().await;
    Ok(answer?)
}

/// The binary of a function: beside the current executable, which Cargo built in the same profile.
pub fn binary(function: &str) -> Result<PathBuf, InvokeError> {
    let executable = std::env::current_exe().map_err(not_started(function))?;
    let folder = executable.parent().unwrap_or(Path::new("."));
    // Tests run one folder below.
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
