//! `health`: whether Funil can do its job, for monitors; and how each destination stands, for those
//! who show the service token.
//!
//! It reads the table and contacts no provider. Its path does not matter.

use std::collections::BTreeMap;

use funil_core::delivery::breaker::Condition;
use funil_core::settings::{ConfigError, Env};
use funil_store::{Counted, Platform, StoreError};
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Function;
use crate::api::{
    Caller, Operation, Returned, count, flag, list, object, text, text_or_null, time_or_null, with,
};
use crate::app::App;
use crate::http::endpoint::{self, Access, HttpEndpoint};
use crate::http::guard;
use crate::http::problem::{Problem, json_response};
use crate::operate::status::{self, Report};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

struct Health {
    app: App,
}

/// Makes `health`, which reads nothing beside the variables of every function.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let endpoint = App::read(&mut settings, platform).map(|app| Health { app });
    settings.finish(endpoint).map(endpoint::function)
}

pub(crate) fn operations() -> Vec<Operation> {
    let counted = object([("count", count()), ("orMore", flag())]);
    let destination = object([
        ("name", text()),
        ("enabled", flag()),
        (
            "breaker",
            with(
                object([("state", json!({"enum": ["closed", "open", "probing"]}))]),
                [
                    ("reason", text_or_null()),
                    ("since", time_or_null()),
                    ("probeAt", time_or_null()),
                ],
            ),
        ),
        ("lastSuccess", time_or_null()),
        ("lastFailure", time_or_null()),
        ("oldestDueAgeSeconds", json!({"type": ["integer", "null"], "minimum": 0})),
        ("pending", counted.clone()),
        ("dead", counted.clone()),
    ]);
    let webhook = object([
        ("provider", text()),
        ("lastSigned", time_or_null()),
        ("lastRefused", time_or_null()),
        ("refusedSince", count()),
    ]);
    let external = json!({"type": "object", "additionalProperties": text()});
    let works = with(
        object([("status", json!({"enum": ["ok", "unavailable"]}))]),
        [
            ("table", with(object([("ok", flag())]), [("error", text())])),
            ("checks", object([("external_apis", external)])),
            ("destinations", list(&destination)),
            ("quarantine", list(&with(counted, [("source", text())]))),
            ("webhooks", list(&webhook)),
        ],
    );
    let summary =
        "Says whether Funil can do its job and, with a service token, how each destination stands.";
    [Method::GET, Method::HEAD]
        .into_iter()
        .flat_map(|method| {
            ["", "webhooks"].map(|below| {
                let mut operation = Operation::post("health", summary);
                operation.refusals = Vec::new();
                let mut operation =
                    operation.refuses([Problem::Unauthorised]).returns("It works.", works.clone());
                (operation.method, operation.below) = (method.clone(), below);
                operation.caller = Caller::AnybodyOrServiceToken;
                let content = Some(("application/json", works.clone()));
                let when = "The table does not respond, or is not the one of HASH_KEY.";
                operation.returns.push(Returned { status: 503, when, content, headers: &[] });
                operation
            })
        })
        .collect()
}

impl HttpEndpoint for Health {
    fn function(&self) -> &'static str {
        "health"
    }

    fn app(&self) -> &App {
        &self.app
    }

    fn methods(&self, _request: &HttpRequest) -> &'static [Method] {
        &[Method::GET, Method::HEAD]
    }

    /// It counts and writes nothing, because anybody may ask whether Funil works.
    fn may_write(&self) -> bool {
        false
    }

    fn access(&self) -> Access {
        Access::Public
    }

    async fn respond(
        &self,
        request: &HttpRequest,
        _stop_at: Timestamp,
    ) -> Result<HttpResponse, Problem> {
        // Who shows a token wants the detail, so a wrong token is refused and not passed over.
        let authorised = request.headers.contains_key(AUTHORIZATION);
        let found = if authorised {
            guard::authorised(request, &self.app.config.service_tokens)?;
            self.detail().await
        } else {
            self.app.store.verify_identity(&self.app.config.hash_key).await.map(|()| json!({}))
        };
        Ok(response(found, authorised))
    }
}

impl Health {
    async fn detail(&self) -> Result<Value, StoreError> {
        let now = self.app.platform.clock.now();
        let ((), reports, quarantine, webhooks) = futures::try_join!(
            self.app.store.verify_identity(&self.app.config.hash_key),
            status::destinations(&self.app, now),
            status::quarantine(&self.app),
            status::webhooks(&self.app),
        )?;
        // What monitors of older systems look for, at `/api/health/webhooks`.
        let external_apis: BTreeMap<&str, &str> = reports
            .iter()
            .filter(|report| report.enabled)
            .map(|report| (report.destination.name, report.breaker.condition(now).name()))
            .collect();
        let shown: Vec<Value> = reports.iter().map(|report| shown(report, now)).collect();
        let quarantine = quarantine.iter().map(|(source, count)| {
            let mut shown = counted(*count);
            shown["source"] = json!(source);
            shown
        });
        let webhooks = webhooks.iter().map(|(provider, signatures)| {
            json!({
                "provider": provider,
                "lastSigned": signatures.last_good,
                "lastRefused": signatures.last_refused,
                "refusedSince": signatures.refused,
            })
        });
        Ok(json!({
            "table": {"ok": true},
            "checks": {"external_apis": external_apis},
            "destinations": shown,
            "quarantine": quarantine.collect::<Vec<_>>(),
            "webhooks": webhooks.collect::<Vec<_>>(),
        }))
    }
}

/// The response. Only who shows the token learns what is wrong with the table.
fn response(found: Result<Value, StoreError>, authorised: bool) -> HttpResponse {
    match found {
        Ok(mut body) => {
            body["status"] = json!("ok");
            json_response(StatusCode::OK, &body)
        }
        Err(error) => {
            tracing::error!("the table failed, so the response of health is 503: {error}");
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
