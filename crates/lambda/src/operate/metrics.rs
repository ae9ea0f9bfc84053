//! `metrics`: the backlog as gauges and the totals as counters, in Prometheus' text format 0.0.4.
//!
//! Both are read from the table, to which each process adds what it counted once a minute. Contacts no
//! provider.

use funil_core::settings::{ConfigError, Env};
use funil_store::{Counted, Platform, Total, TotalOf};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Function;
use crate::api::{Operation, Returned};
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

/// Makes `metrics`, which reads nothing beside the variables of every function.
pub fn function(env: &Env, platform: &Platform) -> Result<Function, ConfigError> {
    let mut settings = env.settings();
    let endpoint = App::read(&mut settings, platform).map(|app| Metrics { app });
    settings.finish(endpoint).map(endpoint::function)
}

pub(crate) fn operations() -> [Operation; 2] {
    [Method::GET, Method::HEAD].map(operation)
}

fn operation(method: Method) -> Operation {
    let summary = "The backlog and the totals, for Prometheus.";
    let mut operation = Operation::post("metrics", summary).authorised();
    operation.method = method;
    operation.returns = vec![Returned {
        status: 200,
        when: "The gauges and counters.",
        content: Some((FORMAT, json!({"type": "string"}))),
        headers: &[],
    }];
    operation
}

impl HttpEndpoint for Metrics {
    fn function(&self) -> &'static str {
        "metrics"
    }

    fn app(&self) -> &App {
        &self.app
    }

    fn methods(&self, _request: &HttpRequest) -> &'static [Method] {
        &[Method::GET, Method::HEAD]
    }

    fn may_write(&self) -> bool {
        false
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
        let ((), totals, reports, quarantined) = futures::try_join!(
            store.verify_identity(&self.app.config.hash_key),
            store.totals(),
            status::destinations(&self.app, now),
            status::quarantine(&self.app),
        )?;
        let mut response = json_response(StatusCode::OK, &Value::Null);
        put(&mut response.headers, CONTENT_TYPE, FORMAT);
        response.body = text(&totals, &reports, &quarantined).into();
        Ok(response)
    }
}

fn text(totals: &[Total], reports: &[Report], quarantined: &[(&str, Counted)]) -> String {
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
    .into_iter()
    .chain(counters(totals))
    .collect()
}

/// The counters of functions, of destinations and of the events of pages.
fn counters(totals: &[Total]) -> [String; 3] {
    let (mut requests, mut settled, mut page_events) = (Vec::new(), Vec::new(), Vec::new());
    for total in totals {
        for (what, number) in &total.counts {
            let (samples, labels) = match &total.of {
                TotalOf::Function(name) => {
                    (&mut requests, format!("function=\"{name}\",counted=\"{what}\""))
                }
                TotalOf::PageEvents => (&mut page_events, format!("became=\"{what}\"")),
                TotalOf::Destination(name) => {
                    (&mut settled, format!("destination=\"{name}\",outcome=\"{what}\""))
                }
            };
            samples.push((labels, *number));
        }
    }
    [
        counter(
            "funil_requests_total",
            "HTTP requests received, and of these the duplicates and those refused with a problem.",
            &requests,
        ),
        counter(
            "funil_settled_deliveries_total",
            "Deliveries that a try or the housekeeping settled, by outcome.",
            &settled,
        ),
        counter(
            "funil_page_events_total",
            "Events that pages reported: kept, dropped for a reason, and values left out as personal.",
            &page_events,
        ),
    ]
}

fn counter(name: &str, help: &str, samples: &[(String, i64)]) -> String {
    let samples = samples.iter().map(|(labels, value)| format!("{name}{{{labels}}} {value}\n"));
    let head = format!(
        "# HELP {name} {help} Each process adds its own once a minute.\n# TYPE {name} counter\n"
    );
    std::iter::once(head).chain(samples).collect()
}

/// One gauge with a sample for each value of its label. Names and labels are ours: nothing in them
/// has to be escaped.
fn gauge(name: &str, help: &str, label: &str, samples: &[(&str, i64)]) -> String {
    let head = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
    let samples = samples.iter().map(|(of, value)| format!("{name}{{{label}=\"{of}\"}} {value}\n"));
    std::iter::once(head).chain(samples).collect()
}
