//! Requests to our functions: signed as their senders sign them, and repeated until they are accepted.
//!
//! It must not know what any of them says.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use funil_dev::server::front_door;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::Life;
use crate::samples;
use crate::simulation::system::{Process, System};
use crate::simulation::watch::{Kept, Promise};
use crate::world::SERVICE_TOKEN;

/// How often a sender tries before it gives up until the end of the run.
const TRIES_MAX: u32 = 4;

/// Who sends a request, which decides how it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// A browser.
    Page,
    /// A browser that reports what happens on a page.
    Visitor,
    /// The provider of the function, which signs each try anew.
    Provider,
    /// Somebody who knows the service token.
    Operator,
}

/// A request to one of our functions.
#[derive(Clone, Debug)]
pub(in crate::simulation) struct Sent {
    pub(super) what: String,
    pub(super) function: &'static str,
    pub(super) method: Method,
    pub(super) sender: Sender,
    pub(super) body: Value,
    pub(super) promise: Promise,
    /// Whether it got a 2xx response.
    pub(in crate::simulation) accepted: bool,
}

impl Sent {
    /// A POST request that was not accepted yet.
    pub(super) const fn post(
        what: String,
        function: &'static str,
        sender: Sender,
        body: Value,
        promise: Promise,
    ) -> Self {
        Self { what, function, method: Method::POST, sender, body, promise, accepted: false }
    }

    /// What it is, as the history describes it.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    fn headers(&self, bytes: &[u8], system: &System) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let (name, value) = match self.sender {
            Sender::Page => return headers,
            Sender::Visitor => {
                let agent =
                    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";
                ("user-agent", agent.to_owned())
            }
            Sender::Provider => {
                let key = |name: &str| system.env.settings().list(name)[0].to_owned();
                samples::signature(self.function, bytes, system.now(), key).unwrap()
            }
            Sender::Operator => ("authorization", format!("Bearer {SERVICE_TOKEN}")),
        };
        headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        headers
    }
}

impl Life {
    /// Puts a request into the outbox and sends it this many times, after a delay; returns its place in
    /// the outbox.
    pub(super) fn send(&mut self, sent: Sent, times: usize, after_ms: u64) -> usize {
        let mut outbox = self.system.outbox.lock().unwrap();
        let number = outbox.len();
        outbox.push(sent);
        drop(outbox);
        for _ in 0..times {
            self.send_again(number, after_ms);
        }
        number
    }

    /// Sends a request of the outbox after a delay, and again until it is accepted or its sender gives
    /// up.
    pub(super) fn send_again(&mut self, number: usize, after_ms: u64) {
        let system = Arc::clone(&self.system);
        let intake = Arc::clone(&system.intakes[system.chance.index(system.intakes.len())]);
        self.tasks.spawn(async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            for _ in 0..TRIES_MAX {
                if attempt(&system, &intake, number).await {
                    return;
                }
                let pause = 1 + system.chance.below(20_000);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        });
    }

    /// Draws a delay as networks and queues have it: mostly none, sometimes long.
    pub(super) fn delay_ms(&self) -> u64 {
        let chance = &self.system.chance;
        match chance.below(8) {
            0..=4 => chance.below(50),
            5 | 6 => chance.below(20_000),
            _ => chance.below(1_800_000),
        }
    }
}

/// Sends a request of the outbox once; returns whether it was accepted.
pub(super) async fn attempt(system: &System, process: &Process, number: usize) -> bool {
    let sent = system.outbox.lock().unwrap()[number].clone();
    let caller: IpAddr = format!("198.51.100.{}", system.chance.below(250)).parse().unwrap();
    let bytes = sent.body.to_string();
    let headers = sent.headers(bytes.as_bytes(), system);
    let path = format!("/{}", sent.function);
    let event = front_door::event(&sent.method, &path, "", &headers, bytes.as_bytes(), caller);
    let what = format!("request {number}, {}", sent.what);
    let began = {
        let mut watch = system.watch.lock().unwrap();
        watch.note(&format!("{what}, is sent: {} {path} {bytes}", sent.method));
        watch.now()
    };
    let function = process.function(sent.function);
    let response = process.run(function.invoke(event, process.stop_at())).await;
    let mut watch = system.watch.lock().unwrap();
    let Some(response) = response else {
        watch.note(&format!("{what}, gets no response"));
        return false;
    };
    let (status, _, body) = front_door::response(&response);
    watch.note(&format!("{what}, gets {status}"));
    if !status.is_success() {
        // A process whose clock is wrong by more than signatures are valid rejects them all.
        let wrong = system.clocks_are_wrong;
        let expected = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
            StatusCode::UNAUTHORIZED => wrong && sent.function == "calendar-webhook",
            StatusCode::BAD_REQUEST => wrong && sent.function == "stripe-webhook",
            _ => false,
        };
        if !expected {
            let body = String::from_utf8_lossy(&body);
            watch.problem(format!("{what}, was rejected with {status}: {body}"));
        }
        return false;
    }
    watch.accepted(&sent.promise, began);
    if let Promise::Form(Kept::Submission(submission)) = sent.promise {
        let body: Value = serde_json::from_slice(&body).unwrap();
        // The site's forms name no lead.
        let Some(lead) = body["leadId"].as_str().map(str::to_owned) else {
            if body["submission_id"].as_str().is_none() {
                watch.problem(format!("{what}, was accepted without an id"));
            }
            drop(watch);
            system.outbox.lock().unwrap()[number].accepted = true;
            return true;
        };
        if !watch.leads.contains_key(&lead) {
            watch.problem(format!("{what}, was accepted, and {lead} was not kept"));
        }
        let before = watch.submissions[submission].lead.replace(lead.clone());
        if before.is_some_and(|before| before != lead) {
            watch.problem(format!("{what}, got another lead than before"));
        }
    }
    drop(watch);
    system.outbox.lock().unwrap()[number].accepted = true;
    true
}
