//! Runs a function's binary as a process.
//!
//! Owns the environment variables that Lambda adds, the lines that the process writes, and how it
//! is killed. It must not know which function it runs.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};

use super::{InvocationError, RuntimeApi};

/// What is done with the lines that a function writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// They are kept for [`FunctionProcess::output`].
    Kept,
    /// They are printed on standard error at once.
    Shown,
}

/// A running function. It is killed when this is dropped.
#[derive(Debug)]
pub struct FunctionProcess {
    api: RuntimeApi,
    id: Option<u32>,
    output: watch::Receiver<Vec<String>>,
    /// The exit status in words, once the process has ended.
    ended: watch::Receiver<Option<String>>,
    /// Dropping this kills the process.
    kill: Option<oneshot::Sender<()>>,
}

impl FunctionProcess {
    /// Starts a binary with exactly these environment variables and those that Lambda adds.
    pub async fn start(
        binary: &Path,
        env: impl IntoIterator<Item = (String, String)>,
        lines: Lines,
    ) -> io::Result<Self> {
        let api = RuntimeApi::start().await?;
        let name = binary.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut child = Command::new(binary)
            .env_clear()
            .envs(env)
            .env("AWS_LAMBDA_RUNTIME_API", api.address())
            .env("AWS_LAMBDA_FUNCTION_NAME", &name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "local")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id();
        let (written, output) = watch::channel(Vec::new());
        let written = Arc::new(written);
        let reading = [
            child.stdout.take().map(|pipe| tokio::spawn(read(pipe, Arc::clone(&written), lines))),
            child.stderr.take().map(|pipe| tokio::spawn(read(pipe, written, lines))),
        ];
        let (kill, killed) = oneshot::channel();
        let (notify, ended) = watch::channel(None);
        tokio::spawn(async move {
            let how = end_of(child, killed).await;
            // The last lines may still be in the pipes.
            for reading in reading.into_iter().flatten() {
                drop(reading.await);
            }
            notify.send_replace(Some(how));
        });
        Ok(Self { api, id, output, ended, kill: Some(kill) })
    }

    /// The process id.
    pub const fn id(&self) -> Option<u32> {
        self.id
    }

    /// Invokes the function and waits up to `time_s` seconds for its response. As on Lambda, a
    /// function that takes longer is killed.
    pub async fn invoke(&mut self, event: Value, time_s: u64) -> Result<Value, InvocationError> {
        let mut ended = self.ended.clone();
        let response = tokio::select! {
            biased;
            response = self.api.invoke(event, time_s) => response,
            how = end(&mut ended) => Err(InvocationError::Ended { how }),
        };
        if let Err(InvocationError::TimedOut { .. }) = response {
            self.kill().await;
        }
        response
    }

    /// Kills the process (SIGKILL) and waits until it has ended. Returns its exit status in words.
    pub async fn kill(&mut self) -> String {
        drop(self.kill.take());
        end(&mut self.ended).await
    }

    /// The lines that the process has written, in order of arrival. They are complete once it has
    /// ended.
    pub fn output(&self) -> Vec<String> {
        self.output.borrow().clone()
    }

    /// Watches the lines while the function runs.
    pub fn watch(&self) -> Watch {
        Watch(self.output.clone())
    }
}

/// Watches the lines that a [`FunctionProcess`] writes.
#[derive(Debug)]
pub struct Watch(watch::Receiver<Vec<String>>);

impl Watch {
    /// Waits until this many lines that contain `text` were written. False if the process ended
    /// before that.
    pub async fn until_written(&mut self, text: &str, count: usize) -> bool {
        let enough =
            |lines: &Vec<String>| lines.iter().filter(|line| line.contains(text)).count() >= count;
        self.0.wait_for(enough).await.is_ok()
    }
}

/// Waits until a process ends, and kills it when the sender of `killed` is dropped.
async fn end_of(mut child: Child, killed: oneshot::Receiver<()>) -> String {
    let status = tokio::select! {
        status = child.wait() => status,
        // Nothing is ever sent: dropping the sender is the signal.
        _ = killed => match child.start_kill() {
            Ok(()) => child.wait().await,
            Err(error) => Err(error),
        },
    };
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

async fn end(ended: &mut watch::Receiver<Option<String>>) -> String {
    let how = ended.wait_for(Option::is_some).await;
    how.ok().and_then(|how| how.clone()).unwrap_or_else(|| "the exit status is unknown".to_owned())
}

/// Reads what a process writes, line by line, until it closes the pipe.
async fn read(pipe: impl AsyncRead + Unpin, written: Arc<watch::Sender<Vec<String>>>, to: Lines) {
    let mut lines = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).into_owned();
        match to {
            Lines::Kept => written.send_modify(|lines| lines.push(line)),
            // The function must go on if our standard error is closed.
            Lines::Shown => drop(writeln!(io::stderr(), "{line}")),
        }
    }
}
