//! The doctor from outside: every function is asked where it is deployed, with the service token.

use std::time::Duration;

use funil_core::check::{CLOCKS_DIFFER_S, Finding, Report};
use funil_core::destination;
use funil_core::settings::Env;
use funil_delivery::REQUEST_TIMEOUT;
use funil_store::Platform;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::Section;
use crate::cli::Failure;
use crate::cli::addresses::Addresses;
use crate::functions;
use crate::server::DEV_SERVICE_TOKEN;

/// How long a function may take to check itself: it waits for its providers.
const PATIENCE: Duration = Duration::from_secs(29);
/// For how long something may be due before a person should look, in seconds.
const BACKLOG_S: u64 = 15 * 60;
/// The functions that every deployment has. Those of destinations are needed where health lists them as
/// enabled.
const NEEDED: [&str; 4] = ["lead-submit", "questionnaire-submit", "dispatch", "health"];

const HEALTH: &str = "health";
const METRICS: &str = "metrics";
const CHECK: &str = "check";

/// What each function finds of itself. The error is that nothing of Funil is there.
pub(super) async fn sections(
    addresses: &Addresses,
    env: &Env,
    platform: &Platform,
) -> Result<Vec<Section>, Failure> {
    let caller = Caller::of(env, platform);
    let names = functions::makes(REQUEST_TIMEOUT).into_iter().map(|(name, _)| name);
    let asked = names.map(|name| {
        let caller = &caller;
        async move {
            let asked = match addresses.of(name) {
                Some(url) => caller.ask(name, &url).await,
                None => Asked::NotThere,
            };
            (name, asked)
        }
    });
    let asked = futures::future::join_all(asked).await;
    if asked.iter().all(|(_, asked)| matches!(asked, Asked::NotThere)) {
        return Err(
            "No function of Funil is at this address. Give the base address of the functions, \
                    as https://api.example.com/api."
                .into(),
        );
    }
    let enabled = asked.iter().find_map(|(_, asked)| match asked {
        Asked::Health(body) => Some(enabled(body)),
        Asked::Report(_) | Asked::Findings(_) | Asked::NotThere => None,
    });
    let enabled = enabled.unwrap_or_default();
    let clocks = clocks(asked.iter().filter_map(|(_, asked)| asked.at()), platform);
    let sections = asked.into_iter().map(|(name, asked)| {
        let findings = match asked {
            Asked::Report(report) => report.findings,
            Asked::Findings(findings) => findings,
            Asked::Health(body) => of_health(&body),
            Asked::NotThere if NEEDED.contains(&name) || enabled.contains(&name) => {
                vec![Finding::failed(
                    CHECK,
                    "it is not at this address. Deploy it, or correct the route.",
                )]
            }
            Asked::NotThere => {
                let says = "it is not at this address. That is right where it is not used.";
                vec![Finding::unchecked(CHECK, says)]
            }
        };
        Section { name: name.to_owned(), findings }
    });
    Ok(sections.chain([Section { name: "clocks".to_owned(), findings: clocks }]).collect())
}

/// What became of a request to a function.
enum Asked {
    /// It says what it found.
    Report(Report),
    /// Health says how everything stands.
    Health(Value),
    /// This is known of it by the response, or by the lack of one.
    Findings(Vec<Finding>),
    /// There is no such function.
    NotThere,
}

impl Asked {
    fn failed(says: impl Into<String>) -> Self {
        Self::Findings(vec![Finding::failed(CHECK, says)])
    }

    /// The time by its clock, if it said it.
    const fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Report(report) => Some(report.at),
            Self::Health(_) | Self::Findings(_) | Self::NotThere => None,
        }
    }
}

/// Who asks.
struct Caller<'a> {
    token: &'a str,
    /// Which token that is, for a person.
    which: &'static str,
    platform: &'a Platform,
}

impl<'a> Caller<'a> {
    fn of(env: &'a Env, platform: &'a Platform) -> Self {
        if let Some(token) = env.settings().list("SERVICE_TOKEN").first() {
            let which = "the first SERVICE_TOKEN of your environment";
            return Self { token, which, platform };
        }
        let which = "the dev server's token, because SERVICE_TOKEN is not set here";
        Self { token: DEV_SERVICE_TOKEN, which, platform }
    }

    async fn ask(&self, name: &str, url: &Url) -> Asked {
        let http = &self.platform.http;
        let is_read = [HEALTH, METRICS].contains(&name);
        let request = if is_read {
            http.get(url.clone())
        } else {
            let body = json!({"check": true}).to_string();
            http.post(url.clone()).header("content-type", "application/json").body(body)
        };
        // Only these parts, because an address may hold a password.
        let (host, path) = (url.host_str().unwrap_or_default(), url.path());
        let sent = request.bearer_auth(self.token).timeout(PATIENCE).send().await;
        let Ok(response) = sent else {
            return Asked::failed(format!(
                "{host} does not respond. See that its address is right."
            ));
        };
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        match status {
            StatusCode::OK => Self::read(name, &body),
            StatusCode::NOT_FOUND => Asked::NotThere,
            StatusCode::UNAUTHORIZED => {
                let which = self.which;
                Asked::failed(format!(
                    "does not take {which}. Set the SERVICE_TOKEN that is deployed."
                ))
            }
            StatusCode::FORBIDDEN => Asked::failed(format!(
                "something before it forbids {path} (403): a firewall, a route that is missing, or a \
                 Function URL that asks for IAM."
            )),
            StatusCode::TOO_MANY_REQUESTS => Asked::Findings(vec![Finding::warning(
                CHECK,
                "it is throttled (429): too much runs at once. Check again, and look at its concurrency.",
            )]),
            StatusCode::SERVICE_UNAVAILABLE if name == HEALTH => {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let error = body.pointer("/table/error").and_then(Value::as_str);
                Asked::failed(format!("{}.", error.unwrap_or("the table does not respond")))
            }
            _ if status.is_redirection() => Asked::failed(format!(
                "{host} redirects ({status}). Give the address that it redirects to."
            )),
            _ if status.is_client_error() => Asked::failed(format!(
                "responds {status} to a check: it is of an older version, or something before it refuses. \
                 Deploy it again."
            )),
            _ => Asked::failed(format!(
                "responds {status}: it does not start, or ends too early. Its log says why, in one line, \
                 if its configuration is incomplete."
            )),
        }
    }

    /// What a response says whose status is 200.
    fn read(name: &str, body: &[u8]) -> Asked {
        let not_ours = || {
            Asked::failed("responds 200 with what is not Funil's. See that the address is right.")
        };
        if name == METRICS {
            let is_ours = body.windows(6).any(|part| part == b"funil_");
            return if is_ours {
                Asked::Findings(vec![Finding::ok(CHECK, "it responds to the service token")])
            } else {
                not_ours()
            };
        }
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return not_ours() };
        if name == HEALTH {
            let is_well = value["status"] == "ok" && value["table"]["ok"] == true;
            return if is_well { Asked::Health(value) } else { not_ours() };
        }
        serde_json::from_value(value).map_or_else(|_| not_ours(), Asked::Report)
    }
}

/// The functions of the destinations that health lists as enabled.
fn enabled(health: &Value) -> Vec<&'static str> {
    let listed = health["destinations"].as_array().into_iter().flatten();
    let enabled = listed.filter(|one| one["enabled"] == true);
    let found = enabled.filter_map(|one| destination::find(one["name"].as_str()?));
    found.map(|one| one.function).collect()
}

/// Whether this machine's clock agrees with those of the functions.
fn clocks(theirs: impl Iterator<Item = Timestamp>, platform: &Platform) -> Vec<Finding> {
    let now = platform.clock.now().as_second();
    let apart = theirs.map(|at| (now - at.as_second()).abs()).max();
    apart
        .map(|seconds| {
            if seconds > CLOCKS_DIFFER_S {
                let says =
                    format!("this machine's and a function's are {seconds} s apart: one is wrong.");
                Finding::failed("clock", says)
            } else {
                Finding::ok("clock", "this machine's and the functions' agree")
            }
        })
        .into_iter()
        .collect()
}

/// What waits for a person, as health reports it.
fn of_health(body: &Value) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("table", "it responds, and is the one of HASH_KEY")];
    let waits = |counted: &Value| {
        let more = if counted["orMore"] == true { " or more" } else { "" };
        let count = counted["count"].as_u64().filter(|count| *count > 0)?;
        Some(format!("{count}{more}"))
    };
    for one in body["destinations"].as_array().into_iter().flatten() {
        let name = one["name"].as_str().unwrap_or_default();
        let breaker = &one["breaker"];
        if breaker["state"] != "closed" {
            let reason = breaker["reason"].as_str().unwrap_or("its failures");
            let says = format!(
                "nothing is sent to {name} at the moment, because of {reason}. See docs/operating.md."
            );
            findings.push(Finding::warning("breaker", says));
        }
        if let Some(age_s) = one["oldestDueAgeSeconds"].as_u64().filter(|age_s| *age_s > BACKLOG_S)
        {
            let minutes = age_s / 60;
            let says = format!(
                "a delivery to {name} has been due for {minutes} minutes. Look at dispatch and its schedule."
            );
            findings.push(Finding::warning("backlog", says));
        }
        if let Some(dead) = waits(&one["dead"]) {
            let says =
                format!("{dead} deliveries to {name} are dead. `funil dead list` shows why.");
            findings.push(Finding::warning("dead", says));
        }
    }
    for one in body["quarantine"].as_array().into_iter().flatten() {
        if let Some(count) = waits(one) {
            let source = one["source"].as_str().unwrap_or_default();
            let says =
                format!("{count} requests of {source} wait for a person. `funil quarantine list`.");
            findings.push(Finding::warning("quarantine", says));
        }
    }
    for one in body["webhooks"].as_array().into_iter().flatten() {
        let refused = one["refusedSince"].as_u64().unwrap_or_default();
        if refused > 0 {
            let provider = one["provider"].as_str().unwrap_or_default();
            let says = format!(
                "{refused} webhooks of {provider} came without its signature since the last good one. \
                 Compare its signing key with ours; a stranger can send such too."
            );
            findings.push(Finding::warning("signature", says));
        }
    }
    findings
}
