//! Requests to DynamoDB: written and read by the SDK's types, signed, sent, and tried again.
//!
//! The SDK's own client is not used: for each request it builds its components, resolves an address and
//! an identity, and calls its interceptors, which was a fifth of the CPU of a form (`docs/platforms.md`,
//! "Sizes and starts"). Each operation of the SDK publishes its serializer and its deserializer as a
//! runtime plugin, and these are used. Must not know any item, nor what an error code means.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsInputBuilder;
use aws_sdk_dynamodb::operation::{
    batch_get_item, create_table, delete_item, describe_continuous_backups, describe_table,
    describe_time_to_live, get_item, put_item, query, scan, transact_write_items, update_item,
    update_time_to_live,
};
use aws_smithy_runtime_api::client::interceptors::context::{Error, Input, Output};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use aws_smithy_runtime_api::client::ser_de::{
    DeserializeResponse as _, SerializeRequest as _, SharedRequestSerializer,
    SharedResponseDeserializer,
};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::config_bag::{ConfigBag, FrozenLayer};
use bytes::Bytes;
use funil_core::clock::{Clock, Entropy};
use futures::FutureExt as _;
use http::{HeaderName, HeaderValue, Request, Response, Uri};

use crate::platform::{Platform, TablePatience};
use crate::table::connect::AwsConfig;
use crate::table::error::BUSY;

/// How often a request is tried.
const TRIES: u32 = 3;
/// The longest pause before the second try; it doubles with each further one.
const PAUSE_MS: u64 = 50;
/// One id for all tries of a request, by which AWS finds them in its logs.
const INVOCATION_ID: HeaderName = HeaderName::from_static("amz-sdk-invocation-id");

/// Why a request has no output. It holds no item except in `Service`.
#[derive(Debug)]
pub(crate) enum RequestError<E> {
    /// The request could not be built: a mistake in the code.
    Unbuilt,
    /// The table did not respond in time. The request may have taken effect.
    Timeout,
    /// There was no connection, or it broke. The request may have taken effect.
    NoConnection,
    /// Something responded that is not DynamoDB.
    Unreadable,
    /// DynamoDB refused the request.
    Service(E),
}

impl<E> RequestError<E> {
    /// What DynamoDB responded, if it did.
    pub(crate) const fn service(&self) -> Option<&E> {
        match self {
            Self::Service(error) => Some(error),
            Self::Unbuilt | Self::Timeout | Self::NoConnection | Self::Unreadable => None,
        }
    }
}

impl<E: ProvideErrorMetadata> RequestError<E> {
    /// DynamoDB's code, if it responded with one.
    pub(crate) fn code(&self) -> Option<&str> {
        self.service().and_then(ProvideErrorMetadata::code)
    }
}

/// An operation of DynamoDB, as the builder of its input.
pub(crate) trait Operation: Send {
    /// What DynamoDB responds.
    type Output: fmt::Debug + Send + Sync + 'static;
    /// The errors of this operation.
    type Error: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static;

    /// The input, and how it is written and its response read.
    fn into_parts(self) -> Option<(Input, &'static FrozenLayer)>;

    /// The code of an error that came as `Error`.
    fn code(error: &Error) -> Option<&str> {
        error.downcast_ref::<Self::Error>().and_then(ProvideErrorMetadata::code)
    }
}

macro_rules! operations {
    ($($module:ident: $operation:ident, $builder:ident, $output:ident, $error:ident;)*) => {$(
        impl Operation for $module::builders::$builder {
            type Output = $module::$output;
            type Error = $module::$error;

            fn into_parts(self) -> Option<(Input, &'static FrozenLayer)> {
                static CODEC: OnceLock<Option<FrozenLayer>> = OnceLock::new();
                let codec = CODEC.get_or_init(|| $module::$operation::new().config());
                Some((Input::erase(self.build().ok()?), codec.as_ref()?))
            }
        }
    )*};
}

operations! {
    batch_get_item: BatchGetItem, BatchGetItemInputBuilder, BatchGetItemOutput, BatchGetItemError;
    create_table: CreateTable, CreateTableInputBuilder, CreateTableOutput, CreateTableError;
    delete_item: DeleteItem, DeleteItemInputBuilder, DeleteItemOutput, DeleteItemError;
    describe_continuous_backups: DescribeContinuousBackups, DescribeContinuousBackupsInputBuilder,
        DescribeContinuousBackupsOutput, DescribeContinuousBackupsError;
    describe_table: DescribeTable, DescribeTableInputBuilder, DescribeTableOutput, DescribeTableError;
    describe_time_to_live: DescribeTimeToLive, DescribeTimeToLiveInputBuilder,
        DescribeTimeToLiveOutput, DescribeTimeToLiveError;
    get_item: GetItem, GetItemInputBuilder, GetItemOutput, GetItemError;
    put_item: PutItem, PutItemInputBuilder, PutItemOutput, PutItemError;
    query: Query, QueryInputBuilder, QueryOutput, QueryError;
    scan: Scan, ScanInputBuilder, ScanOutput, ScanError;
    transact_write_items: TransactWriteItems, TransactWriteItemsInputBuilder,
        TransactWriteItemsOutput, TransactWriteItemsError;
    update_item: UpdateItem, UpdateItemInputBuilder, UpdateItemOutput, UpdateItemError;
    update_time_to_live: UpdateTimeToLive, UpdateTimeToLiveInputBuilder, UpdateTimeToLiveOutput,
        UpdateTimeToLiveError;
}

/// A client of DynamoDB. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client(Arc<Connection>);

struct Connection {
    aws: AwsConfig,
    /// The address of DynamoDB.
    uri: Uri,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    patience: TablePatience,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[client]")
    }
}

impl Client {
    /// A client with these credentials. Opens no connection yet.
    pub(crate) fn new(aws: AwsConfig, platform: &Platform) -> Self {
        // The configuration has refused what is no URI. "/" has no host, so nothing is signed for it.
        let uri = aws.dynamodb.as_str().parse().unwrap_or_default();
        Self(Arc::new(Connection {
            aws,
            uri,
            http: platform.http.clone(),
            clock: Arc::clone(&platform.clock),
            entropy: Arc::clone(&platform.entropy),
            patience: platform.table_patience,
        }))
    }

    /// Serialises a request, which can then be sent more than once.
    pub(crate) fn prepare<O: Operation>(
        &self,
        operation: O,
    ) -> Result<Prepared<O>, RequestError<O::Error>> {
        let (input, codec) = operation.into_parts().ok_or(RequestError::Unbuilt)?;
        let request = self.0.serialize(input, codec).ok_or(RequestError::Unbuilt)?;
        Ok(Prepared { serialized: Serialized { request, codec, code: O::code }, of: PhantomData })
    }

    /// Serialises a request and sends it ([`Client::send_prepared`]).
    pub(crate) async fn send<O: Operation>(
        &self,
        operation: O,
    ) -> Result<O::Output, RequestError<O::Error>> {
        let prepared = self.prepare(operation)?;
        self.send_prepared(&prepared).await
    }

    /// Sends a request, in three tries at most while the table is out of reach or overloaded. All tries
    /// together take no longer than the Platform's patience for one operation.
    pub(crate) async fn send_prepared<O: Operation>(
        &self,
        prepared: &Prepared<O>,
    ) -> Result<O::Output, RequestError<O::Error>> {
        match self.0.send(&prepared.serialized).await {
            Ok(output) => output.downcast().map_err(|_| RequestError::Unreadable),
            Err(RequestError::Service(error)) => {
                Err(error.downcast().map_or(RequestError::Unreadable, RequestError::Service))
            }
            Err(RequestError::Unbuilt) => Err(RequestError::Unbuilt),
            Err(RequestError::Timeout) => Err(RequestError::Timeout),
            Err(RequestError::NoConnection) => Err(RequestError::NoConnection),
            Err(RequestError::Unreadable) => Err(RequestError::Unreadable),
        }
    }
}

/// A request of an operation, serialised.
pub(crate) struct Prepared<O> {
    serialized: Serialized,
    of: PhantomData<fn(O)>,
}

impl Prepared<TransactWriteItemsInputBuilder> {
    /// Puts another token in the place of `token`. The body, which holds all writes of the transaction, is not
    /// serialised again.
    pub(crate) fn replace_token(&mut self, token: &str, new: &str) {
        let body = String::from_utf8_lossy(self.serialized.request.body());
        let body = Bytes::from(body.replacen(token, new, 1));
        *self.serialized.request.body_mut() = body;
    }
}

/// What is the same whenever a request is sent.
struct Serialized {
    request: Request<Bytes>,
    codec: &'static FrozenLayer,
    /// The code of an error, whose type only the operation knows.
    code: fn(&Error) -> Option<&str>,
}

/// Why a try failed.
struct Failed {
    error: RequestError<Error>,
    /// Whether the next try may succeed.
    is_transient: bool,
}

impl Failed {
    const fn transient(error: RequestError<Error>) -> Self {
        Self { error, is_transient: true }
    }
}

impl Connection {
    async fn send(&self, serialized: &Serialized) -> Result<Output, RequestError<Error>> {
        let id = self.entropy.uuid_v4().to_string();
        let id = HeaderValue::try_from(id).map_err(|_| RequestError::Unbuilt)?;
        let tries = Box::pin(self.tries(serialized, &id));
        let in_time = tokio::time::timeout(self.patience.operation, tries).await;
        in_time.unwrap_or(Err(RequestError::Timeout))
    }

    async fn tries(
        &self,
        serialized: &Serialized,
        id: &HeaderValue,
    ) -> Result<Output, RequestError<Error>> {
        let mut tried = 1;
        loop {
            let one = self.attempt(serialized, id);
            let timeout = Failed::transient(RequestError::Timeout);
            let in_time = tokio::time::timeout(self.patience.attempt, one).await;
            match in_time.unwrap_or(Err(timeout)) {
                Ok(output) => return Ok(output),
                Err(failed) if failed.is_transient && tried < TRIES => {
                    let wait_ms = self.entropy.number() % (PAUSE_MS << (tried - 1));
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                    tried += 1;
                }
                Err(failed) => return Err(failed.error),
            }
        }
    }

    async fn attempt(&self, serialized: &Serialized, id: &HeaderValue) -> Result<Output, Failed> {
        let Serialized { request, codec, code } = serialized;
        let mut request = request.clone();
        request.headers_mut().insert(INVOCATION_ID, id.clone());
        let unbuilt = || Failed { error: RequestError::Unbuilt, is_transient: false };
        self.aws.sign("dynamodb", &mut request, &*self.clock).ok_or_else(unbuilt)?;
        let (parts, body) = request.into_parts();
        // Not converted as a whole, which would parse the address for each request.
        let mut request = reqwest::Request::new(parts.method, self.aws.dynamodb.clone());
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(body.into());
        let lost = |error: reqwest::Error| {
            Failed::transient(if error.is_timeout() {
                RequestError::Timeout
            } else {
                RequestError::NoConnection
            })
        };
        let mut response = self.http.execute(request).await.map_err(lost)?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let body = response.bytes().await.map_err(lost)?;
        let unreadable = || Failed::transient(RequestError::Unreadable);
        let mut received = Response::new(SdkBody::from(body));
        *received.status_mut() = status;
        *received.headers_mut() = headers;
        let received = HttpResponse::try_from(received).map_err(|_| unreadable())?;
        let deserializer = codec.load::<SharedResponseDeserializer>().ok_or_else(unbuilt)?;
        let read = deserializer.deserialize_nonstreaming_with_config(&received, &ConfigBag::base());
        read.map_err(|failure| {
            let mut refused = None;
            // The only way to own the error: the SDK hands it out to be mapped.
            let _kind = failure.map_operation_error(|error| refused = Some(error));
            let Some(error) = refused else { return unreadable() };
            let is_transient = matches!(status.as_u16(), 500 | 502 | 503 | 504)
                || code(&error).is_some_and(|code| BUSY.contains(&code));
            Failed { error: RequestError::Service(error), is_transient }
        })
    }

    /// The request as the SDK writes it, without a signature.
    fn serialize(&self, input: Input, codec: &FrozenLayer) -> Option<Request<Bytes>> {
        let serializer = codec.load::<SharedRequestSerializer>()?;
        let written = serializer.serialize_input(input, &mut ConfigBag::base()).ok()?;
        let (mut parts, body) = written.try_into_http1x().ok()?.into_parts();
        parts.uri = self.uri.clone();
        // The body is in memory, so it is there at once, and is not copied.
        let body = ByteStream::new(body).collect().now_or_never()?.ok()?.into_bytes();
        Some(Request::from_parts(parts, body))
    }
}
