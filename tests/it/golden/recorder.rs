//! A recorder before the simulated providers: it keeps every request as it came, byte for byte, and
//! passes it on. It must not know what any request means.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, Uri};
use tokio::net::TcpListener;

use crate::world::client;

/// What nobody is rung for in an order: rings of one step go out side by side.
pub(super) const DOORBELL: &str = "doorbell";

/// What was received: by provider, in order, with the number and the title of the step.
type Calls = BTreeMap<String, Vec<(usize, String, String)>>;

/// The recorder; clones are the same one.
#[derive(Clone)]
pub(super) struct Recorder {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    calls: Mutex<Calls>,
    step: Mutex<(usize, String)>,
    target: OnceLock<SocketAddr>,
    http: reqwest::Client,
}

impl Recorder {
    /// Listens; what comes is passed on once [`Recorder::pass_on_to`] was called.
    pub(super) async fn start() -> Self {
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            step: Mutex::default(),
            target: OnceLock::new(),
            http: client(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, address }
    }

    /// The base URL of a provider.
    pub(super) fn base_url(&self, provider: &str) -> String {
        format!("http://{}/{provider}", self.address)
    }

    /// Where the providers are.
    pub(super) fn pass_on_to(&self, target: SocketAddr) {
        self.shared.target.set(target).unwrap();
    }

    /// What comes from now on belongs to this step.
    pub(super) fn step(&self, title: &str) {
        let mut step = self.shared.step.lock().unwrap();
        *step = (step.0 + 1, title.to_owned());
    }

    /// Everything received, provider by provider.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (provider, calls) in &*self.shared.calls.lock().unwrap() {
            let mut calls = calls.clone();
            if provider == DOORBELL {
                calls.sort();
            }
            for (_, step, call) in calls {
                writeln!(text, "=== {provider}, {step}\n{call}").unwrap();
            }
        }
        text
    }
}

/// Keeps a request and passes it on; where the provider does not answer, the connection breaks.
async fn take(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path_and_query().unwrap().as_str();
    let provider = path.split(['/', '?']).nth(1).unwrap_or_default().to_owned();
    // The host is a port of this run.
    let mut kept: Vec<String> = headers
        .iter()
        .filter(|(name, _)| *name != "host")
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    kept.sort();
    let text = std::str::from_utf8(&body).unwrap();
    let call = format!("{method} {path}\n{}\n{text}\n", kept.concat());
    let (number, title) = shared.step.lock().unwrap().clone();
    shared.calls.lock().unwrap().entry(provider).or_default().push((number, title, call));

    let url = format!("http://{}{path}", shared.target.get().unwrap());
    let passed_on = shared.http.request(method, url).headers(headers).body(body).send().await;
    let Ok(response) = passed_on else { return broken() };
    let (status, mut headers) = (response.status(), response.headers().clone());
    headers.remove("transfer-encoding");
    match response.bytes().await {
        Ok(body) => (status, headers, body).into_response(),
        Err(_) => broken(),
    }
}

/// An answer that breaks off before its first byte.
fn broken() -> Response {
    let failing =
        futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("no answer")) });
    Body::from_stream(failing).into_response()
}
