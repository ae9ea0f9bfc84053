//! `metrics`: the backlog as gauges, in Prometheus' text format 0.0.4.
//!
//! Gauges only, read from the table: totals are counted from log lines, because no function
//! remembers anything. Contacts no provider.

use funil_core::settings::{ConfigError, Env};
use funil_store::{Counted, Platform};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::Function;
use crate::app::App;
use crate::http::endpoint::{self, Access, HttpEndpoint};
use crate::http::problem::{Problem, json_response, put};
use crate::operate::status::{self, DELIVERIES_MAX, QUARANTINED_MAX, Report};
use crate::platform::request::HttpRequest;
use crate::platform::response::HttpResponse;

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

struct Metrics {
    app: App,
}

/// Configures the function.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let endpoint = App::read(&mut settings, platform).map(|app| Metrics { app });
    settings.finish(endpoint).map(endpoint::function)
}

impl HttpEndpoint for Metrics {
    fn function(&self) -> &'static str {
        "metrics"
    }

    fn app(&self) -> &App {
        &self.app
    }

    fn methods(&self) -> &'static [Method] {
        &[Method::GET, Method::HEAD]
    }

    fn access(&self) -> Access {
        Access::ServiceToken
    }

    async fn respond(
        &self,
        _request: &HttpRequest,
        _stop_at: Timestamp,
    ) -> Result<HttpResponse, Problem> {
        let (store, now) = (&self.app.store, self.app.platform.clock.now());
        let ((), reports, quarantined) = futures::try_join!(
            store.verify_identity(&self.app.config.hash_key),
            status::destinations(&self.app, now),
            status::quarantine(&self.app),
        )?;
        let mut response = json_response(StatusCode::OK, &Value::Null);
        put(&mut response.headers, CONTENT_TYPE, FORMAT);
        response.body = text(&reports, &quarantined).into();
        Ok(response)
    }
}

fn text(reports: &[Report], quarantined: &[(&str, Counted)]) -> String {
    let by_destination = |value: fn(&Report) -> i64| {
        reports.iter().map(|report| (report.destination.name, value(report))).collect::<Vec<_>>()
    };
    let by_source: Vec<_> =
        quarantined.iter().map(|(source, counted)| (*source, i64::from(counted.count))).collect();
    [
        gauge(
            "funil_pending_deliveries",
            &format!("Deliveries still to be settled, due or not. Counted up to {DELIVERIES_MAX}."),
            "destination",
            &by_destination(|report| report.pending.count.into()),
        ),
        gauge(
            "funil_dead_deliveries",
            &format!("Deliveries that wait for a person. Counted up to {DELIVERIES_MAX}."),
            "destination",
            &by_destination(|report| report.dead.count.into()),
        ),
        gauge(
            "funil_oldest_due_age_seconds",
            "For how long the oldest due delivery has been due. 0 where nothing is due.",
            "destination",
            &by_destination(|report| report.oldest_due_age_s.unwrap_or(0)),
        ),
        gauge(
            "funil_breaker_open",
            "1 while the breaker is open or probing: at most one delivery is sent, to see.",
            "destination",
            &by_destination(|report| report.breaker.open.is_some().into()),
        ),
        gauge(
            "funil_destination_enabled",
            "1 where the destination is listed in DESTINATIONS.",
            "destination",
            &by_destination(|report| report.enabled.into()),
        ),
        gauge(
            "funil_quarantined_calls",
            &format!("Calls kept aside for a person. Counted up to {QUARANTINED_MAX}."),
            "source",
            &by_source,
        ),
    ]
    .concat()
}

/// One gauge with a sample for each value of its label. Names and labels are ours: nothing in them
/// has to be escaped.
fn gauge(name: &str, help: &str, label: &str, samples: &[(&str, i64)]) -> String {
    let head = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
    let samples = samples.iter().map(|(of, value)| format!("{name}{{{label}=\"{of}\"}} {value}\n"));
    std::iter::once(head).chain(samples).collect()
}
