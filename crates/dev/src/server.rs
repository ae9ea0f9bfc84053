//! The local stage: the whole system on one port.
//!
//! Functions at `/api/<name>` and `/.netlify/functions/<name>`, the demo page, the console, simulated
//! providers under `/simulated`, and the table's engine for whoever speaks DynamoDB to `/`. Nothing
//! here is deployed, and nothing here decides anything: it wires what the other crates are.

mod calendar;
mod clock;
mod console;
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
use funil_core::hash::HashKey;
use funil_core::settings::{ConfigError, Secret};
use funil_lambda::Function;
use funil_store::{AwsConfig, Platform, Store, StoreError, Stream};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use crate::emulator::{Emulator, EmulatorError};
use crate::functions;
use crate::simulated::Providers;

pub use environment::{
    DEV_CALENDLY_KEY, DEV_HASH_KEY, DEV_WHATSAPP_APP_SECRET, DevEnvironment, TABLE,
};

/// How often the stage looks for what is due; a deployment does so each minute.
const SWEEP: Duration = Duration::from_secs(10);
/// The largest request that the stage reads, in bytes.
const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How a stage is set up.
#[derive(Clone, Debug)]
pub struct DevServerOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder that keeps the table and what the providers received.
    pub data: PathBuf,
    /// Functions that run elsewhere, such as under `cargo lambda watch`: the base of their addresses.
    pub functions_at: Option<Url>,
    /// Where alerts go, as `MONITORING_WEBHOOK_URL`; without it they are log lines.
    pub alerts_to: Option<Url>,
}

/// Why a stage did not start.
#[derive(Debug, thiserror::Error)]
pub enum DevServerError {
    /// Somebody else listens there.
    #[error("nothing can listen on {address}: {source}; choose another with --port")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The engine did not start.
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// The folder cannot be written.
    #[error("{path} cannot be written: {source}; choose another folder with --data")]
    Data {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A variable given on the command line is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The table could not be made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the stage's routes share.
struct Shared {
    store: Store,
    clock: Arc<clock::MovedClock>,
    calendar: calendar::Calendar,
    environment: DevEnvironment,
    platform: Platform,
    providers: Providers,
    leads: leads::Leads,
    functions: Vec<Function>,
    functions_at: Option<Url>,
    emulator: String,
    token: Secret,
}

/// A running stage. Ends when it is stopped or dropped.
pub struct DevServer {
    address: SocketAddr,
    environment: DevEnvironment,
    serving: JoinHandle<()>,
    sweeping: JoinHandle<()>,
    telling: JoinHandle<()>,
    emulator: Option<Emulator>,
}

impl Drop for DevServer {
    fn drop(&mut self) {
        self.serving.abort();
        self.sweeping.abort();
        self.telling.abort();
    }
}

impl DevServer {
    /// Starts everything. `overrides` are variables of the process that the stage honours.
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
        let clock = Arc::new(clock::MovedClock::open(
            Arc::clone(&platform.clock),
            options.data.join("clock-ahead-s"),
        ));
        let told: Arc<dyn funil_core::clock::Clock> = Arc::<clock::MovedClock>::clone(&clock);
        let platform = Platform { clock: told, ..platform };
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
                tracing::error!(error = %error, "the stage stopped serving");
            }
        });
        let telling = tokio::spawn(messages::tell_statuses(Arc::clone(&shared)));
        let sweeping = tokio::spawn(functions_route::sweep(shared, SWEEP));
        Ok(Self { address, environment, serving, sweeping, telling, emulator: Some(emulator) })
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
        providers.make_fields(environment::MAILERLITE_FIELDS);
        Ok(providers)
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The variables with which a function's binary works on this stage.
    pub const fn environment(&self) -> &DevEnvironment {
        &self.environment
    }

    /// Ends it; the table's file is closed on return.
    pub async fn stop(mut self) -> Result<(), DevServerError> {
        self.serving.abort();
        self.sweeping.abort();
        self.telling.abort();
        match self.emulator.take() {
            Some(emulator) => Ok(emulator.stop().await?),
            None => Ok(()),
        }
    }
}

fn routes(shared: Arc<Shared>) -> Router {
    let simulated = shared.providers.router();
    Router::new()
        .route("/", get(async || html(include_str!("../assets/landing.html"))))
        .route("/", post(emulator))
        .route("/questionario", get(async || html(include_str!("../assets/questionnaire.html"))))
        .route(
            "/preparacao-chamada",
            get(async || html(include_str!("../assets/preparation.html"))),
        )
        .route("/agenda", get(async || html(include_str!("../assets/calendar.html"))))
        .route("/stage/calendar", get(calendar::list).post(calendar::act))
        .route("/stage/questions", get(console::questions))
        .route("/stage/whatsapp", post(messages::write))
        .route("/stage/clock", get(clock::show).post(clock::shift))
        .route("/stage", get(async || html(include_str!("../assets/stage.html"))))
        .route("/assets/{file}", get(assets))
        .route("/stage/leads", get(console::leads))
        .route("/stage/journey/{lead_id}", get(console::journey))
        .route("/stage/providers", get(console::providers))
        .route("/stage/providers/{name}", put(console::behave).post(console::behave_by_query))
        .route("/api/{function}", any(functions_route::call))
        .route("/api/{function}/{*below}", any(functions_route::call))
        .route("/.netlify/functions/{function}", any(functions_route::call))
        .route("/.netlify/functions/{function}/{*below}", any(functions_route::call))
        .with_state(shared)
        .nest("/simulated", simulated)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
}

async fn assets(axum::extract::Path(file): axum::extract::Path<String>) -> Response {
    match file.as_str() {
        "landing.css" => asset("text/css", include_str!("../assets/landing.css")),
        "landing.js" => asset("text/javascript", include_str!("../assets/landing.js")),
        "calendar.js" => asset("text/javascript", include_str!("../assets/calendar.js")),
        "questionnaire.js" => asset("text/javascript", include_str!("../assets/questionnaire.js")),
        "stage.css" => asset("text/css", include_str!("../assets/stage.css")),
        "stage.js" => asset("text/javascript", include_str!("../assets/stage.js")),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn html(page: &'static str) -> Response {
    asset("text/html", page)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let kind = format!("{kind}; charset=utf-8");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache".to_owned())], text)
        .into_response()
}

/// Speaks DynamoDB on the stage's own port, so that one address is all a function's binary needs.
async fn emulator(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    if !headers.contains_key("x-amz-target") {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let mut request = shared.platform.http.post(&shared.emulator).body(body);
    for (name, value) in &headers {
        if name != header::HOST && name != header::CONTENT_LENGTH {
            request = request.header(name, value);
        }
    }
    match request.send().await {
        Ok(answer) => {
            let (status, headers) = (answer.status(), answer.headers().clone());
            match answer.bytes().await {
                Ok(body) => (status, headers, body).into_response(),
                Err(_) => StatusCode::BAD_GATEWAY.into_response(),
            }
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// The key as the store takes it.
impl DevEnvironment {
    fn hash_key(&self) -> Result<HashKey, ConfigError> {
        HashKey::new(self.variable("HASH_KEY"))
            .ok_or_else(|| ConfigError(vec!["HASH_KEY is too short.".to_owned()]))
    }
}
