//! The frame of every HTTP endpoint: which methods it takes, who may use it, how large a body may
//! be, and how a problem becomes a response.
//!
//! An [`HttpEndpoint`] says what is its own; [`function`] makes a function of it. Must not know
//! what any endpoint does.

use std::future::Future;
use std::sync::Arc;

use funil_core::check::Finding;
use funil_store::Count;
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Function;
use crate::app::App;
use crate::http::check;
use crate::http::guard;
use crate::http::problem::Problem;
use crate::platform::function::Response;
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;
use crate::platform::trigger::Trigger;

/// The largest body of a form or of an authorised request, in bytes.
pub(crate) const FORM_BYTES_MAX: usize = 64 * 1024;
/// The largest body of a webhook, in bytes.
pub(crate) const WEBHOOK_BYTES_MAX: usize = 256 * 1024;

/// Who may send requests to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody; what the request says decides.
    Public,
    /// Only who shows one of the site's service tokens.
    ServiceToken,
}

/// What is an endpoint's own.
pub(crate) trait HttpEndpoint: Send + Sync + 'static {
    /// The function's name: of its binary, its folder and its path.
    fn function(&self) -> &'static str;

    /// What the endpoint works with.
    fn app(&self) -> &App;

    /// The methods that the request's path takes, in the order in which the `Allow` header lists them.
    fn methods(&self, request: &HttpRequest) -> &'static [Method];

    /// Who may send requests.
    fn access(&self) -> Access;

    /// The largest body it reads, in bytes.
    fn body_bytes_max(&self) -> usize {
        FORM_BYTES_MAX
    }

    /// Whether it writes to the table at all. One that only reads counts nothing either.
    fn may_write(&self) -> bool {
        true
    }

    /// Handles a request whose method, token and size are right. `stop_at` is when the platform
    /// ends the invocation.
    fn respond(
        &self,
        request: &HttpRequest,
        stop_at: Timestamp,
    ) -> impl Future<Output = Result<HttpResponse, Problem>> + Send;

    /// What it finds of its own configuration and of its provider, beside that the table is there.
    fn check(&self) -> impl Future<Output = Vec<Finding>> + Send {
        async { Vec::new() }
    }

    /// Adds what every response of the endpoint carries, those with a problem too.
    fn finish(&self, _request: &HttpRequest, _response: &mut HttpResponse) {}

    /// Handles whatever is no HTTP request: a stream's batch, a schedule, a direct invocation.
    fn run(&self, _trigger: Trigger, _stop_at: Timestamp) -> impl Future<Output = Value> + Send {
        let name = self.function();
        async move {
            tracing::warn!("{name} takes HTTP requests only; check what triggers it");
            json!({"error": format!("{name} takes HTTP calls only")})
        }
    }
}

/// Makes the function of an endpoint.
pub(crate) fn function<E: HttpEndpoint>(endpoint: E) -> Function {
    let endpoint = Arc::new(endpoint);
    Function::new(endpoint.function(), move |trigger, stop_at| {
        let endpoint = Arc::clone(&endpoint);
        async move {
            match trigger {
                // A browser that only asks whether it may send is not counted, and waits for nothing.
                Trigger::Http(request) if request.method == Method::OPTIONS => {
                    Response::Http(response(&*endpoint, &request, stop_at).await)
                }
                Trigger::Http(request) => {
                    count(&*endpoint, Count::Received(endpoint.function()));
                    let responding = response(&*endpoint, &request, stop_at);
                    let response = match endpoint.access() {
                        // Beside the request, because a visitor or a provider waits.
                        Access::Public => futures::join!(responding, write_totals(&*endpoint)).0,
                        Access::ServiceToken => {
                            let response = responding.await;
                            write_totals(&*endpoint).await;
                            response
                        }
                    };
                    Response::Http(response)
                }
                // Who may invoke it directly may also see how it stands.
                Trigger::Direct(body) if check::is_asked(&body) => {
                    Response::Value(json!(check::report(&*endpoint).await))
                }
                Trigger::Stream(_) | Trigger::Schedule | Trigger::Direct(_) => {
                    let value = endpoint.run(trigger, stop_at).await;
                    write_totals(&*endpoint).await;
                    Response::Value(value)
                }
            }
        }
    })
}

fn count<E: HttpEndpoint>(endpoint: &E, counted: Count) {
    if endpoint.may_write() {
        endpoint.app().platform.totals.count(counted);
    }
}

async fn write_totals<E: HttpEndpoint>(endpoint: &E) {
    if endpoint.may_write() {
        endpoint.app().write_totals(endpoint.function()).await;
    }
}

async fn response<E: HttpEndpoint>(
    endpoint: &E,
    request: &HttpRequest,
    stop_at: Timestamp,
) -> HttpResponse {
    let admitted = admit(endpoint, request);
    let result = match admitted.and_then(|()| check::asks(request, endpoint.app())) {
        Ok(true) => Ok(check::response(&check::report(endpoint).await)),
        Ok(false) => endpoint.respond(request, stop_at).await,
        Err(problem) => Err(problem),
    };
    if result.is_err() && request.method != Method::OPTIONS {
        count(endpoint, Count::Refused(endpoint.function()));
    }
    if let Err(Problem::Table(error)) = &result {
        let name = endpoint.function();
        tracing::error!("{name} responds 503, because the table failed: {error}");
    }
    let mut response = result.unwrap_or_else(|problem| problem.response(guard::locale(request)));
    endpoint.finish(request, &mut response);
    if request.method == Method::HEAD && endpoint.methods(request).contains(&Method::HEAD) {
        response.body.clear();
    }
    response
}

/// The checks that every request passes before its endpoint sees it. The token comes before the
/// size, so that a stranger learns nothing but that a token is needed.
fn admit<E: HttpEndpoint>(endpoint: &E, request: &HttpRequest) -> Result<(), Problem> {
    let methods = endpoint.methods(request);
    if !methods.contains(&request.method) {
        return Err(Problem::Method(methods));
    }
    match endpoint.access() {
        Access::Public => {}
        Access::ServiceToken => {
            guard::authorised(request, &endpoint.app().config.service_tokens)?;
        }
    }
    let bytes_max = endpoint.body_bytes_max();
    let reads_body = matches!(request.method, Method::POST | Method::PUT | Method::DELETE);
    if reads_body && request.body.len() > bytes_max {
        tracing::warn!(
            function = endpoint.function(),
            "{} refused a body of {} bytes; it takes at most {bytes_max}",
            endpoint.function(),
            request.body.len()
        );
        return Err(Problem::TooLarge(bytes_max));
    }
    Ok(())
}
