//! The one HTTP client of a function, which the AWS SDK uses too.
//!
//! It is `reqwest` on rustls with ring and the webpki roots, which needs no system certificates at
//! start (`docs/platforms.md`, "TLS and the HTTP client"). The SDK keeps its types, signing and
//! retries; only its transport is replaced. Must not know any request.

use std::error::Error;
use std::time::Duration;

use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);

/// Creates the client for DynamoDB and the providers. It follows no redirects and opens no connection
/// before its first request.
pub(crate) fn client() -> reqwest::Client {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT)
        // A function that was frozen finds its connections closed: a short idle time keeps few.
        .pool_idle_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("funil")
        .build()
        .expect("a client with a given TLS configuration needs nothing else")
}

/// The transport of the AWS SDK over that client.
#[derive(Clone, Debug)]
pub(crate) struct SdkClient(pub(crate) reqwest::Client);

impl HttpClient for SdkClient {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for SdkClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(user)?;
            let (parts, body) = request.into_parts();
            let body = body.bytes().map(bytes::Bytes::copy_from_slice).unwrap_or_default();
            let request = http::Request::from_parts(parts, body);
            let request = reqwest::Request::try_from(request).map_err(user)?;
            let response = client.execute(request).await.map_err(transport)?;
            let mut received = http::Response::builder().status(response.status());
            if let Some(headers) = received.headers_mut() {
                headers.clone_from(response.headers());
            }
            let body = response.bytes().await.map_err(transport)?;
            let received = received.body(SdkBody::from(body)).map_err(user)?;
            HttpResponse::try_from(received).map_err(user)
        })
    }
}

fn user(error: impl Into<Box<dyn Error + Send + Sync>>) -> ConnectorError {
    ConnectorError::user(error.into())
}

fn transport(error: reqwest::Error) -> ConnectorError {
    // An error never carries an address, not even the table's.
    let error = error.without_url();
    if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else {
        ConnectorError::io(error.into())
    }
}
