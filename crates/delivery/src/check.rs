//! Checks a destination's account: sends the harmless requests that the destination names, and says what the
//! responses mean.
//!
//! It claims no delivery, counts towards no breaker and no rate, and writes nothing. Must not know any
//! destination.

use std::time::Duration;

use funil_core::check::{CLOCKS_DIFFER_S, Finding, Probe, Verdict};
use funil_core::destination::Destination;
use funil_store::Platform;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::attempt::{Handler, Mode};
use crate::client::{self, NoResponse};

/// What an account is found to be.
pub(crate) async fn check(handler: &Handler) -> Vec<Finding> {
    let adapter = match &handler.mode {
        Mode::Sends(adapter) => adapter,
        Mode::Off => return vec![off(handler.destination)],
        Mode::OutsideProduction => return vec![outside_production(handler.destination)],
    };
    let probes = adapter.probes();
    let asked = probes.iter().map(|probe| ask(&handler.platform, handler.request_timeout, probe));
    let mut findings = Vec::new();
    let mut clock = None;
    for (found, seen) in futures::future::join_all(asked).await {
        findings.extend(found);
        // A clock that differs from one provider's is reported, whatever the others say.
        clock = clock.filter(|one: &Finding| one.verdict == Verdict::Failed).or(seen);
    }
    findings.extend(clock);
    findings
}

fn off(destination: &Destination) -> Finding {
    let name = destination.name;
    Finding::unchecked(
        "delivery",
        format!("{name} is not in DESTINATIONS, so nothing is sent to it."),
    )
}

fn outside_production(destination: &Destination) -> Finding {
    let variable = destination.base_url_variable;
    let name = destination.name;
    Finding::unchecked(
        "delivery",
        format!(
            "this is not production, so nothing is sent. {variable} or DELIVER_OUTSIDE_PRODUCTION={name} \
             makes it send all the same."
        ),
    )
}

/// What one probe finds, and what its response says of the clocks.
async fn ask(
    platform: &Platform,
    timeout: Duration,
    probe: &Probe<'_>,
) -> (Vec<Finding>, Option<Finding>) {
    let (subject, request, read) = match probe {
        Probe::Known(finding) => return (vec![finding.clone()], None),
        Probe::Ask { subject, request, read } => (*subject, request, read),
    };
    let host = request.url.host_str().unwrap_or_default().to_owned();
    let outgoing = client::outgoing(&platform.http, request, timeout);
    let response = match outgoing.send().await {
        Ok(response) => response,
        Err(error) => {
            let says = unreachable(client::no_response(&error), &host);
            return (vec![Finding::failed(subject, says)], None);
        }
    };
    let now = platform.clock.now();
    let date = response.headers().get("date").and_then(|value| value.to_str().ok());
    let clock = date.and_then(|date| clocks(date, now, &host));
    match client::read(response, now).await {
        Ok(response) => (read(&response), clock),
        Err(error) => (vec![Finding::failed(subject, unreachable(error, &host))], clock),
    }
}

fn unreachable(error: NoResponse, host: &str) -> String {
    match error {
        NoResponse::Connect => format!(
            "no connection to {host}. See that its address is right, and that this network reaches it."
        ),
        NoResponse::Timeout => {
            format!("{host} does not respond in time. Check again in some minutes.")
        }
        NoResponse::Broken => {
            format!("the connection to {host} broke. Check again in some minutes.")
        }
    }
}

/// What a response's `Date` says of our clock. `None` where it is no date.
fn clocks(date: &str, now: Timestamp, host: &str) -> Option<Finding> {
    let theirs = rfc2822::DateTimeParser::new().parse_timestamp(date.trim()).ok()?;
    let apart_s = (now.as_second() - theirs.as_second()).abs();
    Some(if apart_s > CLOCKS_DIFFER_S {
        Finding::failed(
            "clock",
            format!(
                "this function's clock and that of {host} are {apart_s} s apart: one is wrong. Signatures may \
                 be refused, and messages go out at the wrong time."
            ),
        )
    } else {
        Finding::ok("clock", format!("it agrees with that of {host}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_a_minute_off_is_told() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let told = |date: &str| clocks(date, now, "api.example.com");
        for date in ["Sat, 21 Nov 2026 12:01:00 GMT", "Sat, 21 Nov 2026 11:59:00 GMT"] {
            assert_eq!(told(date).map(|found| found.verdict), Some(Verdict::Ok));
        }
        assert_eq!(told("soon"), None);
        for date in ["Sat, 21 Nov 2026 12:01:01 GMT", "Sat, 21 Nov 2026 11:58:59 GMT"] {
            let found = told(date).unwrap();
            assert_eq!(found.verdict, Verdict::Failed);
            assert!(found.says.contains("api.example.com are 61 s apart"), "{}", found.says);
        }
    }
}
