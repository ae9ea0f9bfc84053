//! A recorder in front of the simulated providers: it keeps every request byte for byte and passes it
//! on. It must not know what any request means.

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

/// The provider that gets the rings. Rings of one step go out side by side, so their order is not
/// recorded.
pub(super) const DOORBELL: &str = "doorbell";

/// The requests to each provider, in order, with the number and the title of their step.
type Requests = BTreeMap<String, Vec<(usize, String, String)>>;

/// The recorder. Clones share what they record.
#[derive(Clone)]
pub(super) struct Recorder {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    requests: Mutex<Requests>,
    step: Mutex<(usize, String)>,
    target: OnceLock<SocketAddr>,
    http: reqwest::Client,
}

impl Recorder {
    /// Starts a recorder, which passes requests on after [`Recorder::pass_on_to`] was called.
    pub(super) async fn start() -> Self {
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
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

    /// The base URL at which the recorder stands for a provider.
    pub(super) fn base_url(&self, provider: &str) -> String {
        format!("http://{}/{provider}", self.address)
    }

    /// Sets the address of the simulated providers.
    pub(super) fn pass_on_to(&self, target: SocketAddr) {
        self.shared.target.set(target).unwrap();
    }

    /// Begins a step, to which all requests from now on belong.
    pub(super) fn step(&self, title: &str) {
        let mut step = self.shared.step.lock().unwrap();
        *step = (step.0 + 1, title.to_owned());
    }

    /// Every request so far, provider by provider.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (provider, requests) in &*self.shared.requests.lock().unwrap() {
            let mut requests = requests.clone();
            if provider == DOORBELL {
                requests.sort();
            }
            for (_, step, request) in requests {
                writeln!(text, "=== {provider}, {step}\n{request}").unwrap();
            }
        }
        text
    }
}

/// Keeps a request and passes it on; where the provider does not respond, the connection breaks.
async fn take(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path_and_query().unwrap().as_str();
    let provider = path.split(['/', '?']).nth(1).unwrap_or_default().to_owned();
    // The host is left out, because its port differs from run to run.
    let mut kept: Vec<String> = headers
        .iter()
        .filter(|(name, _)| *name != "host")
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    kept.sort();
    let text = std::str::from_utf8(&body).unwrap();
    let request = format!("{method} {path}\n{}\n{text}\n", kept.concat());
    let (number, title) = shared.step.lock().unwrap().clone();
    shared.requests.lock().unwrap().entry(provider).or_default().push((number, title, request));

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

/// A response that breaks off before its first byte.
fn broken() -> Response {
    let failing =
        futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("no response")) });
    Body::from_stream(failing).into_response()
}
