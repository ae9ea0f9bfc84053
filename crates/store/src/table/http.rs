//! The one HTTP client of a function, for DynamoDB and for the providers.
//!
//! It is `reqwest` on rustls with ring and the webpki roots, which needs no system certificates at
//! start (`docs/platforms.md`, "TLS and the HTTP client"). Must not know any request.

use std::time::Duration;

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
