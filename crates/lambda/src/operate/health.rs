//! `health`: whether Funil can do its job, for monitors; how each destination stands, for those who
//! know the service token.
//!
//! It reads the table and calls no provider. Its path does not matter: `/api/health/webhooks` is the
//! same.

use funil_core::delivery::breaker::Condition;
use funil_core::settings::{ConfigError, Env};
use funil_store::{Counted, Platform, StoreError};
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Function;
use crate::app::Site;
use crate::http::guard;
use crate::http::problem::{Problem, json_response};
use crate::operate::status::{self, Report};
use crate::platform::function::Response;
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;
use crate::platform::trigger::Trigger;

const NAME: &str = "health";

#[derive(Clone)]
struct Health {
    site: Site,
}

/// Configures the function.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let endpoint = Site::read(&mut settings, platform).map(|site| Health { site });
    let endpoint = settings.finish(endpoint)?;
    Ok(Function::new(NAME, move |trigger, _| {
        let endpoint = endpoint.clone();
        async move { endpoint.handle(trigger).await }
    }))
}

impl Health {
    async fn handle(&self, trigger: Trigger) -> Response {
        match trigger {
            Trigger::Http(request) => {
                let responded = self.request(&request).await;
                let mut response =
                    responded.unwrap_or_else(|problem| problem.response(guard::locale(&request)));
                if request.method == Method::HEAD {
                    response.body.clear();
                }
                Response::Http(response)
            }
            Trigger::Stream(_) | Trigger::Schedule | Trigger::Direct(_) => {
                Response::http_only(NAME)
            }
        }
    }

    async fn request(&self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        guard::read_method(request)?;
        // Who shows a token wants the detail: a wrong one is told, not passed over.
        let told = if request.headers.contains_key(AUTHORIZATION) {
            guard::authorised(request, &self.site.config.service_tokens)?;
            self.detail().await
        } else {
            self.site.store.answers(&self.site.config.hash_key).await.map(|()| json!({}))
        };
        Ok(response(told, request.headers.contains_key(AUTHORIZATION)))
    }

    async fn detail(&self) -> Result<Value, StoreError> {
        let now = self.site.platform.clock.now();
        let ((), reports) = futures::try_join!(
            self.site.store.answers(&self.site.config.hash_key),
            status::destinations(&self.site, now),
        )?;
        let shown: Vec<Value> = reports.iter().map(|report| shown(report, now)).collect();
        Ok(json!({"table": {"ok": true}, "destinations": shown}))
    }
}

/// The answer; what is wrong with the table is told to nobody but those who know the token.
fn response(told: Result<Value, StoreError>, authorised: bool) -> HttpResponse {
    match told {
        Ok(mut body) => {
            body["status"] = json!("ok");
            json_response(StatusCode::OK, &body)
        }
        Err(error) => {
            tracing::error!(error = %error, "the table failed; health answers 503");
            let mut body = json!({"status": "unavailable"});
            if authorised {
                body["table"] = json!({"ok": false, "error": error.to_string()});
            }
            json_response(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    }
}

fn shown(report: &Report, now: Timestamp) -> Value {
    let mut breaker = json!({"state": report.breaker.condition(now).name()});
    if let Some(open) = &report.breaker.open {
        breaker["reason"] = json!(open.reason);
        breaker["since"] = json!(open.since);
        if report.breaker.condition(now) == Condition::Open {
            breaker["probeAt"] = json!(open.probe_at);
        }
    }
    json!({
        "name": report.destination.name,
        "enabled": report.enabled,
        "breaker": breaker,
        "lastSuccess": report.breaker.last_success,
        "lastFailure": report.breaker.last_failure,
        "oldestDueAgeSeconds": report.oldest_due_age_s,
        "pending": counted(report.pending),
        "dead": counted(report.dead),
    })
}

fn counted(counted: Counted) -> Value {
    json!({"count": counted.count, "orMore": counted.capped})
}
