//! The dev server: the whole system on one port.
//!
//! It serves the functions at `/api/<name>` and `/.netlify/functions/<name>`, the demo pages, the
//! console at `/stage`, the simulated providers under `/simulated`, and passes DynamoDB requests to
//! `/` on to the emulator. It is never deployed. It owns only how these parts are connected and
//! must not decide anything that the other crates decide. See `docs/dev-server.md`.

mod calendar;
mod checkout;
mod clock;
mod console;
mod crm;
mod environment;
pub mod front_door;
mod functions_route;
mod leads;
mod messages;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use bytes::Bytes;
use funil_core::destination::mailerlite;
use funil_core::settings::{ConfigError, Secret};
use funil_lambda::Function;
use funil_store::{AwsConfig, Platform, Store, StoreError, Stream};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use crate::emulator::{Emulator, EmulatorError};
use crate::functions;
use crate::simulated::Providers;

pub use environment::{DEV_HASH_KEY, DEV_SERVICE_TOKEN, DevEnvironment, TABLE};

/// How often `dispatch` is run to find what is due. In a deployment it runs each minute.
const DISPATCH_INTERVAL: Duration = Duration::from_secs(10);
/// The maximum size of a request, in bytes.
const REQUEST_BYTES_MAX: usize = 6 * 1024 * 1024;

/// The options of a dev server.
#[derive(Clone, Debug)]
pub struct DevServerOptions {
    /// The address to listen on. Port 0 chooses a free port.
    pub listen: SocketAddr,
    /// The folder for the table and for what the simulated providers received.
    pub data: PathBuf,
    /// The base address of functions that run elsewhere, for example under `cargo lambda watch`.
    pub functions_at: Option<Url>,
    /// The address that alerts are sent to (`MONITORING_WEBHOOK_URL`). Without it they are log
    /// lines.
    pub alerts_to: Option<Url>,
}

/// Why a dev server did not start.
#[derive(Debug, thiserror::Error)]
pub enum DevServerError {
    /// The address cannot be listened on, for example because it is in use.
    #[error("cannot listen on {address}: {source}; choose another port with --port")]
    Listen {
        /// The address and port that was asked for.
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The emulator did not start.
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// The data folder cannot be written.
    #[error("{path} cannot be written: {source}; choose another folder with --data")]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file that says how far the clock was moved cannot be read.
    #[error("{path} cannot be read: {source}; repair it, or delete the whole data folder")]
    Clock {
        /// The file with how far the clock was moved.
        path: PathBuf,
        /// The error of the operating system, or what is not a number in it.
        source: std::io::Error,
    },
    /// A variable of the process's environment is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The table could not be created.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the routes share.
struct Shared {
    store: Store,
    clock: Arc<clock::MovedClock>,
    calendar: calendar::Calendar,
    checkout: checkout::Checkout,
    environment: DevEnvironment,
    platform: Platform,
    providers: Providers,
    leads: leads::Leads,
    functions: Vec<Function>,
    functions_at: Option<Url>,
    emulator: String,
    token: Secret,
}

/// A running dev server. It ends when it is stopped or dropped.
pub struct DevServer {
    address: SocketAddr,
    environment: DevEnvironment,
    serving: JoinHandle<()>,
    scheduling: JoinHandle<()>,
    notifying: JoinHandle<()>,
    emulator: Option<Emulator>,
}

impl Drop for DevServer {
    fn drop(&mut self) {
        self.serving.abort();
        self.scheduling.abort();
        self.notifying.abort();
    }
}

impl DevServer {
    /// Starts everything. `overrides` is the environment of the process, of which only the
    /// variables in `docs/dev-server.md` ("Its environment") are used.
    pub async fn start(
        options: &DevServerOptions,
        overrides: &funil_core::settings::Env,
    ) -> Result<Self, DevServerError> {
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|source| DevServerError::Listen { address: options.listen, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| DevServerError::Listen { address: options.listen, source })?;
        let emulator = Emulator::open(options.data.join("table.sqlite")).await?;
        let environment = DevEnvironment::new(address, options, overrides);
        let platform = funil_lambda::platform();
        let ahead = options.data.join("clock-ahead-s");
        let clock = clock::MovedClock::open(Arc::clone(&platform.clock), ahead.clone());
        let clock =
            Arc::new(clock.map_err(|source| DevServerError::Clock { path: ahead, source })?);
        let moved: Arc<dyn funil_core::clock::Clock> = Arc::<clock::MovedClock>::clone(&clock);
        let platform = Platform { clock: moved, ..platform };
        let env = environment.with_emulator(&emulator.endpoint());
        let store = Self::store(&env, &platform)?;
        store.create_table(&environment.hash_key()?, Stream::Off).await?;

        let providers = Self::providers(&platform, &options.data)?;
        let leads = leads::Leads::open(&options.data.join("leads.jsonl"))
            .map_err(|source| DevServerError::Data { path: options.data.clone(), source })?;
        let functions = match options.functions_at {
            Some(_) => Vec::new(),
            None => functions::all(&env, &platform)?,
        };
        environment
            .write(&options.data)
            .map_err(|source| DevServerError::Data { path: options.data.clone(), source })?;
        let shared = Arc::new(Shared {
            store,
            clock,
            calendar: calendar::Calendar::default(),
            checkout: checkout::Checkout::default(),
            environment: environment.clone(),
            platform,
            providers,
            leads,
            functions,
            functions_at: options.functions_at.clone(),
            emulator: emulator.endpoint(),
            token: environment.token(),
        });
        let routes = routes(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            let service = routes.into_make_service_with_connect_info::<SocketAddr>();
            if let Err(error) = axum::serve(listener, service).await {
                tracing::error!("the dev server on {address} stopped serving: {error}");
            }
        });
        let notifying = tokio::spawn(messages::send_status_updates(Arc::clone(&shared)));
        let scheduling = tokio::spawn(functions_route::schedule(shared, DISPATCH_INTERVAL));
        Ok(Self { address, environment, serving, scheduling, notifying, emulator: Some(emulator) })
    }

    fn store(env: &funil_core::settings::Env, platform: &Platform) -> Result<Store, ConfigError> {
        let mut settings = env.settings();
        let aws = AwsConfig::read(&mut settings);
        let aws = settings.finish(aws)?;
        Ok(Store::connect(&aws, TABLE, platform))
    }

    fn providers(platform: &Platform, data: &Path) -> Result<Providers, DevServerError> {
        let clock = Arc::clone(&platform.clock);
        let path = data.join("providers.jsonl");
        let time = Arc::new(move || funil_store::key_time(clock.now()));
        let providers = Providers::with_log(time, &path)
            .map_err(|source| DevServerError::Data { path, source })?;
        providers.make_fields(mailerlite::FIELDS);
        Ok(providers)
    }

    /// The address of the server.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The environment variables with which a function's binary uses this dev server.
    pub const fn environment(&self) -> &DevEnvironment {
        &self.environment
    }

    /// Stops the server. Returns when the table's file is closed.
    pub async fn stop(mut self) -> Result<(), DevServerError> {
        self.serving.abort();
        self.scheduling.abort();
        self.notifying.abort();
        match self.emulator.take() {
            Some(emulator) => Ok(emulator.stop().await?),
            None => Ok(()),
        }
    }
}

fn routes(shared: Arc<Shared>) -> Router {
    let simulated = shared.providers.router();
    Router::new()
        .route("/", get(async || page(include_str!("../assets/landing.html"))))
        .route("/", post(emulator))
        .route("/questionario", get(async || page(include_str!("../assets/questionnaire.html"))))
        .route(
            "/preparacao-chamada",
            get(async || page(include_str!("../assets/preparation.html"))),
        )
        .route("/contato", get(async || page(include_str!("../assets/contact.html"))))
        .route("/newsletter", get(async || page(include_str!("../assets/newsletter.html"))))
        .route("/consultoria", get(async || page(include_str!("../assets/consultation.html"))))
        .route("/agenda", get(async || page(include_str!("../assets/calendar.html"))))
        .route("/stage/calendar", get(calendar::list).post(calendar::act))
        .route("/pagamento", get(async || page(include_str!("../assets/checkout.html"))))
        .route("/stage/checkout", get(checkout::list).post(checkout::act))
        .route("/crm", get(async || page(include_str!("../assets/crm.html"))))
        .route("/stage/crm", post(crm::act))
        .route("/stage/questions", get(console::questions))
        .route("/stage/whatsapp", post(messages::reply))
        .route("/stage/clock", get(clock::show).post(clock::shift))
        .route("/stage", get(async || asset("text/html", include_str!("../assets/stage.html"))))
        .route("/openapi", get(async || asset("text/html", include_str!("../assets/openapi.html"))))
        .route("/openapi.json", get(async || asset("application/json", crate::openapi::CHECKED_IN)))
        .route("/assets/{file}", get(assets))
        .route("/stage/leads", get(console::leads))
        .route("/stage/journey/{lead_id}", get(console::journey))
        .route("/stage/providers", get(console::providers))
        .route("/stage/providers/{name}", put(console::behave).post(console::behave_by_query))
        .route("/api/{function}", any(functions_route::invoke))
        .route("/api/{function}/{*below}", any(functions_route::invoke))
        .route("/.netlify/functions/{function}", any(functions_route::invoke))
        .route("/.netlify/functions/{function}/{*below}", any(functions_route::invoke))
        .with_state(shared)
        .nest("/simulated", simulated)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
}

async fn assets(axum::extract::Path(file): axum::extract::Path<String>) -> Response {
    match file.as_str() {
        "funil.js" => asset("text/javascript", include_str!("../../../docs/funil.js")),
        "landing.css" => asset("text/css", include_str!("../assets/landing.css")),
        "landing.js" => asset("text/javascript", include_str!("../assets/landing.js")),
        "calendar.js" => asset("text/javascript", include_str!("../assets/calendar.js")),
        "crm.js" => asset("text/javascript", include_str!("../assets/crm.js")),
        "checkout.js" => asset("text/javascript", include_str!("../assets/checkout.js")),
        "questionnaire.js" => asset("text/javascript", include_str!("../assets/questionnaire.js")),
        "openapi.css" => asset("text/css", include_str!("../assets/openapi.css")),
        "openapi.js" => asset("text/javascript", include_str!("../assets/openapi.js")),
        "stage.css" => asset("text/css", include_str!("../assets/stage.css")),
        "stage.js" => asset("text/javascript", include_str!("../assets/stage.js")),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A page that visitors see. Its `{{head}}` is replaced with what the heads of these pages share.
fn page(html: &'static str) -> Response {
    let head = include_str!("../assets/head.html").trim_end();
    asset("text/html", html.replace("{{head}}", head))
}

fn asset(kind: &'static str, text: impl IntoResponse) -> Response {
    let kind = format!("{kind}; charset=utf-8");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache".to_owned())], text)
        .into_response()
}

/// Passes DynamoDB requests on to the emulator, so that a function's binary needs only the address
/// of the dev server.
async fn emulator(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    if !headers.contains_key("x-amz-target") {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let request = shared.platform.http.post(&shared.emulator);
    forward(request, &headers, body).await.unwrap_or(StatusCode::BAD_GATEWAY.into_response())
}

/// Passes a request on with its headers and its body. `None` if no whole response came back.
async fn forward(
    mut request: reqwest::RequestBuilder,
    headers: &HeaderMap,
    body: Bytes,
) -> Option<Response> {
    for (name, value) in headers {
        if ![header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(name) {
            request = request.header(name, value);
        }
    }
    let response = request.body(body).send().await.ok()?;
    let (status, mut headers) = (response.status(), response.headers().clone());
    // The body is whole here, so it is not sent on in chunks.
    headers.remove(header::TRANSFER_ENCODING);
    let body = response.bytes().await.ok()?;
    Some((status, headers, body).into_response())
}
