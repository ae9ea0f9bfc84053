//! The doctor from outside: every function is asked where it is deployed, with the service token.

use funil_core::check::{Finding, Report};
use funil_core::settings::Env;
use funil_delivery::REQUEST_TIMEOUT;
use funil_store::Platform;
use http::StatusCode;
use serde_json::{Value, json};
use url::Url;

use super::{Addresses, Section};
use crate::cli::dead::Failure;
use crate::functions;
use crate::server::DEV_SERVICE_TOKEN;

/// How long a function may take to check itself: it waits for its providers.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(29);
/// The functions that are read and take no POST.
const READ: [&str; 2] = ["health", "metrics"];
/// How far two clocks may be apart, in seconds.
const CLOCKS_DIFFER_S: i64 = 60;

const CHECK: &str = "check";

/// What each function finds of itself. The error is that nothing of Funil is there.
pub(super) async fn sections(
    addresses: &Addresses,
    env: &Env,
    platform: &Platform,
) -> Result<Vec<Section>, Failure> {
    let settings = env.settings();
    let token = settings.list("SERVICE_TOKEN").first().copied().unwrap_or(DEV_SERVICE_TOKEN);
    let names = functions::makes(REQUEST_TIMEOUT).into_iter().map(|(name, _)| name);
    let asked = names.map(|name| async move {
        let findings = match addresses.of(name) {
            Some(url) => ask(name, &url, token, platform).await,
            None => Asked::NotThere,
        };
        (name, findings)
    });
    let asked = futures::future::join_all(asked).await;
    if asked.iter().all(|(_, asked)| matches!(asked, Asked::NotThere)) {
        return Err(
            "No function of Funil is at this address. Give the base address of the functions, \
                    as https://api.example.com/api."
                .into(),
        );
    }
    let sections = asked.into_iter().map(|(name, asked)| {
        let findings = match asked {
            Asked::Found(findings) => findings,
            Asked::NotThere => {
                let says =
                    "it is not deployed at this address. That is right where it is not used.";
                vec![Finding::unchecked(CHECK, says)]
            }
        };
        Section { name: name.to_owned(), findings }
    });
    Ok(sections.collect())
}

/// What became of a request to a function.
enum Asked {
    /// It, or what stands before it, responded, or nothing did.
    Found(Vec<Finding>),
    /// There is no such function.
    NotThere,
}

async fn ask(name: &str, url: &Url, token: &str, platform: &Platform) -> Asked {
    let failed = |says: String| Asked::Found(vec![Finding::failed(CHECK, says)]);
    let is_read = READ.contains(&name);
    let request = if is_read {
        platform.http.get(url.clone())
    } else {
        let body = json!({"check": true}).to_string();
        platform.http.post(url.clone()).header("content-type", "application/json").body(body)
    };
    let Ok(response) = request.bearer_auth(token).timeout(PATIENCE).send().await else {
        return failed(format!("{url} does not respond. See that its address is right."));
    };
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match status {
        StatusCode::NOT_FOUND => Asked::NotThere,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => failed(format!(
            "responds {status}: it does not take the first SERVICE_TOKEN of your environment. Set the one \
             that is deployed."
        )),
        StatusCode::OK if name == "health" => Asked::Found(of_health(&body)),
        StatusCode::OK if is_read => {
            Asked::Found(vec![Finding::ok(CHECK, "it responds to the service token")])
        }
        StatusCode::SERVICE_UNAVAILABLE if name == "health" => {
            let error = body.pointer("/table/error").and_then(Value::as_str);
            failed(format!("{}.", error.unwrap_or("the table does not respond")))
        }
        StatusCode::OK => match serde_json::from_value::<Report>(body) {
            Ok(report) => {
                let mut findings = report.findings;
                findings.extend(clocks(&report.at, platform));
                Asked::Found(findings)
            }
            Err(_) => {
                failed("knows no check: it is of an older version. Deploy it again.".to_owned())
            }
        },
        _ => failed(format!(
            "responds {status}: it does not start, or ends too early. Its log says why, in one line, if \
             its configuration is incomplete."
        )),
    }
}

fn clocks(theirs: &jiff::Timestamp, platform: &Platform) -> Option<Finding> {
    let apart_s = (platform.clock.now().as_second() - theirs.as_second()).abs();
    (apart_s > CLOCKS_DIFFER_S).then(|| {
        let says = format!("its clock and this machine's are {apart_s} s apart. Set yours by NTP.");
        Finding::failed("clock", says)
    })
}

/// What health tells that waits for a person.
fn of_health(body: &Value) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("table", "it responds, and is the one of HASH_KEY")];
    let waits = |counted: &Value| counted["count"].as_u64().unwrap_or_default();
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
        let dead = waits(&one["dead"]);
        if dead > 0 {
            let says =
                format!("{dead} deliveries to {name} are dead. `funil dead list` shows why.");
            findings.push(Finding::warning("dead", says));
        }
    }
    for one in body["quarantine"].as_array().into_iter().flatten() {
        let (source, count) = (one["source"].as_str().unwrap_or_default(), waits(one));
        if count > 0 {
            let says =
                format!("{count} requests of {source} wait for a person. `funil quarantine list`.");
            findings.push(Finding::warning("quarantine", says));
        }
    }
    findings
}
