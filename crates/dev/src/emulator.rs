//! The emulator of DynamoDB.
//!
//! Owns how the emulator is started and stopped. It runs on a thread with a runtime of its own, so
//! that one emulator can serve all tests of a process and its file is closed when
//! [`Emulator::stop`] returns. No other module uses `dynoxide`; see `docs/platforms.md` ("The
//! emulator"). This module must not know the table, its keys or the store: data is read and written
//! with the real SDK at [`Emulator::endpoint`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dynoxide::{Database, DynoxideError, server};
use futures::FutureExt as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long a stop waits for requests that are still being handled.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A running emulator. It stops gracefully when this is dropped.
#[derive(Debug)]
pub struct Emulator {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    stopped: oneshot::Receiver<Result<(), EmulatorError>>,
}

/// Why the emulator did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The data file could not be created, opened or read.
    #[error("the emulator cannot use the data file {}", path.display())]
    File {
        /// The path of the data file.
        path: PathBuf,
        /// The emulator's error.
        #[source]
        source: DynoxideError,
    },
    /// The folder of the data file could not be created.
    #[error("the folder of the data file {} cannot be created", path.display())]
    Folder {
        /// The path of the data file.
        path: PathBuf,
        /// The error of the file system.
        #[source]
        source: io::Error,
    },
    /// The path of the data file is not UTF-8, which the emulator requires.
    #[error("the path of the data file {} is not UTF-8", path.display())]
    Path {
        /// The path of the data file.
        path: PathBuf,
    },
    /// The emulator could not be started in memory.
    #[error("the emulator cannot start in memory")]
    Memory(#[source] DynoxideError),
    /// The thread, its runtime or the port could not be created.
    #[error("the emulator cannot listen on a loopback port")]
    Serve(#[source] io::Error),
    /// The emulator stopped by itself.
    #[error("the emulator stopped: {0}")]
    Ended(String),
}

/// An emulator in memory without a server. It handles a request in the thread of the caller, so
/// that a simulation decides when each request takes effect.
pub struct Embedded(Database);

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Embedded")
    }
}

impl Embedded {
    /// Creates an empty emulator.
    pub fn memory() -> Result<Self, EmulatorError> {
        Database::memory().map(Self).map_err(EmulatorError::Memory)
    }

    /// Handles one request of DynamoDB's JSON API. Returns the HTTP status and the body of the
    /// response.
    pub fn respond(&self, operation: &str, body: &str) -> (u16, String) {
        match self.operate(operation, body) {
            Ok(response) => (200, response),
            Err(error) => (error.status_code(), error.to_json()),
        }
    }

    fn operate(&self, operation: &str, body: &str) -> Result<String, DynoxideError> {
        let Self(database) = self;
        match operation {
            "CreateTable" => written(&database.create_table(read(body)?)?),
            "DescribeTable" => written(&database.describe_table(read(body)?)?),
            "DescribeTimeToLive" => written(&database.describe_time_to_live(read(body)?)?),
            "UpdateTimeToLive" => written(&database.update_time_to_live(read(body)?)?),
            "GetItem" => written(&database.get_item(read(body)?)?),
            "PutItem" => written(&database.put_item(read(body)?)?),
            "UpdateItem" => written(&database.update_item(read(body)?)?),
            "DeleteItem" => written(&database.delete_item(read(body)?)?),
            "Query" => written(&database.query(read(body)?)?),
            "Scan" => written(&database.scan(read(body)?)?),
            "BatchGetItem" => written(&database.batch_get_item(read(body)?)?),
            "TransactWriteItems" => written(&database.transact_write_items(read(body)?)?),
            other => Err(DynoxideError::ValidationException(format!("{other} is not embedded"))),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, DynoxideError> {
    serde_json::from_str(body)
        .map_err(|error| DynoxideError::SerializationException(error.to_string()))
}

fn written<T: serde::Serialize>(response: &T) -> Result<String, DynoxideError> {
    serde_json::to_string(response)
        .map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

impl Emulator {
    /// Starts an emulator with its data in memory.
    pub async fn memory() -> Result<Self, EmulatorError> {
        Self::serve(Database::memory().map_err(EmulatorError::Memory)?).await
    }

    /// Starts an emulator with its data in this file. The file and its folder are created if they
    /// do not exist.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, EmulatorError> {
        let path = path.as_ref();
        let Some(name) = path.to_str() else {
            return Err(EmulatorError::Path { path: path.to_owned() });
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| EmulatorError::Folder { path: path.to_owned(), source })?;
        }
        let database = Database::new(name)
            .map_err(|source| EmulatorError::File { path: path.to_owned(), source })?;
        Self::serve(database).await
    }

    /// The address of the emulator: `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops the emulator. Returns when its requests are handled and its file is closed.
    pub async fn stop(mut self) -> Result<(), EmulatorError> {
        drop(self.stop.take());
        (&mut self.stopped)
            .await
            .unwrap_or_else(|_| Err(EmulatorError::Ended("its thread panicked".to_owned())))
    }

    async fn serve(database: Database) -> Result<Self, EmulatorError> {
        let (stop, stopping) = oneshot::channel();
        let (bound, binding) = oneshot::channel();
        let (finished, stopped) = oneshot::channel();
        std::thread::Builder::new()
            .name("funil-emulator".to_owned())
            .spawn(move || {
                let served = run(database, bound, stopping);
                // Nobody waits for this if the emulator was dropped.
                drop(finished.send(served));
            })
            .map_err(EmulatorError::Serve)?;
        let Ok(address) = binding.await else {
            // The thread ended before it listened, and reports the reason.
            return Err(match stopped.await {
                Ok(Err(error)) => error,
                Ok(Ok(())) | Err(_) => EmulatorError::Ended("it did not start".to_owned()),
            });
        };
        Ok(Self { address, stop: Some(stop), stopped })
    }
}

/// Runs the emulator on its thread. The runtime is dropped on return, and with it every connection
/// that still held the database.
fn run(
    database: Database,
    bound: oneshot::Sender<SocketAddr>,
    stopping: oneshot::Receiver<()>,
) -> Result<(), EmulatorError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(EmulatorError::Serve)?;
    runtime.block_on(async move {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(EmulatorError::Serve)?;
        let address = listener.local_addr().map_err(EmulatorError::Serve)?;
        // Dropping the sender stops the emulator too.
        let stop = stopping.map(drop).shared();
        let mut serving = std::pin::pin!(
            server::serve_with_shutdown(listener, database, stop.clone())
                .map(|served| served.map_err(EmulatorError::Ended))
        );
        if bound.send(address).is_err() {
            return Ok(());
        }
        tokio::select! {
            served = &mut serving => served,
            // Without the timeout a client that sent half a request would block the stop for ever.
            () = stop => tokio::time::timeout(STOP_GRACE, serving).await.unwrap_or(Ok(())),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn request(emulator: &Emulator, operation: &str, body: Value) -> Value {
        let response = funil_lambda::platform()
            .http
            .post(emulator.endpoint())
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-date", "20260102T030405Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=a/20260102/us-east-1/dynamodb/aws4_request, \
                 SignedHeaders=host, Signature=0",
            )
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{operation}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn create_table(emulator: &Emulator) {
        let table = json!({
            "TableName": "funil",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        });
        request(emulator, "CreateTable", table).await;
    }

    #[tokio::test]
    async fn data_in_a_file_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/for/it/funil.db");
        let item = json!({"pk": {"S": "LEAD#1"}, "name": {"S": "x"}});

        let emulator = Emulator::open(&path).await.unwrap();
        assert!(emulator.endpoint().starts_with("http://127.0.0.1:"));
        create_table(&emulator).await;
        request(&emulator, "PutItem", json!({"TableName": "funil", "Item": item})).await;
        emulator.stop().await.unwrap();

        let emulator = Emulator::open(&path).await.unwrap();
        let key = json!({"TableName": "funil", "Key": {"pk": {"S": "LEAD#1"}}});
        assert_eq!(request(&emulator, "GetItem", key).await["Item"], item);
        emulator.stop().await.unwrap();
    }

    #[tokio::test]
    async fn two_emulators_in_memory_share_no_data() {
        let (one, other) = (Emulator::memory().await.unwrap(), Emulator::memory().await.unwrap());
        create_table(&one).await;
        let tables = request(&other, "ListTables", json!({})).await;
        assert_eq!(tables["TableNames"], json!([]));
    }

    #[tokio::test]
    async fn a_dropped_emulator_stops() {
        let emulator = Emulator::memory().await.unwrap();
        let address = emulator.address;
        let Emulator { stop, stopped, .. } = emulator;
        drop(stop);
        stopped.await.unwrap().unwrap();
        tokio::net::TcpStream::connect(address).await.unwrap_err();
    }

    #[test]
    fn an_emulator_outlives_the_runtime_that_started_it() {
        let runtime = || tokio::runtime::Runtime::new().unwrap();
        let emulator = runtime().block_on(Emulator::memory()).unwrap();
        runtime().block_on(async {
            create_table(&emulator).await;
            emulator.stop().await.unwrap();
        });
    }

    #[tokio::test]
    async fn a_file_that_is_not_a_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "not a database, and long enough to be looked at as one ".repeat(40))
            .unwrap();
        let error = Emulator::open(&path).await.unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("the emulator cannot use the data file /"), "{message}");
        assert!(std::error::Error::source(&error).is_some());
    }
}
