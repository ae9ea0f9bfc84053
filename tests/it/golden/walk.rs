//! What the steps of the walk share: a world whose providers are recorded, and a record of every
//! response.

use std::fmt::Write as _;

use funil_dev::server::front_door;
use http::{HeaderMap, Method};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::recorder::{DOORBELL, Recorder};
use crate::world::{CALLER, Deployment, Response, SERVICE_TOKEN, World};

/// The providers that are sent something, destinations first.
const RECEIVERS: [&str; 8] =
    ["crm", "mailerlite", "ga4", "segment", "whatsapp", "meta", "monitoring", DOORBELL];
/// The content type of most requests.
pub(super) const JSON: (&str, &str) = ("content-type", "application/json");

/// The walk so far.
pub(super) struct Walk {
    /// The world in which it takes place.
    pub(super) world: World,
    /// The same functions, with a doorbell that is recorded. Nobody listens at the one of
    /// `world`, because a form waits so shortly for its ring that it may not be recorded.
    pub(super) ringing: Deployment,
    recorder: Recorder,
    responses: String,
    steps: u8,
}

impl Walk {
    /// Begins a walk in which every destination is on.
    pub(super) async fn start() -> Self {
        let recorder = Recorder::start().await;
        let mut plan = World::plan()
            .with("DESTINATIONS", "crm,mailerlite,ga4,segment,whatsapp,meta")
            .with("CALENDLY_EVENT_URL", "https://calendly.com/ana/conversa")
            .with("THANK_YOU_URL", "https://www.example.com/obrigado")
            .with("MONITORING_WEBHOOK_URL", &recorder.base_url("monitoring"));
        for destination in &RECEIVERS[..6] {
            let variable = format!("{}_BASE_URL", destination.to_ascii_uppercase());
            plan = plan.with(&variable, &recorder.base_url(destination));
        }
        let world = plan.start().await;
        recorder.pass_on_to(world.providers.serve().await.unwrap());
        for receiver in RECEIVERS {
            world.looks_at(receiver);
        }
        let ringing = world.deployment(&[("DOORBELL_URL", &recorder.base_url(DOORBELL))]);
        Self { world, ringing, recorder, responses: String::new(), steps: 0 }
    }

    /// Begins a step, to which the recorded requests belong.
    fn step(&mut self, title: &str) {
        self.steps += 1;
        self.recorder.step(title);
    }

    /// Ends a step: records its response and lets a second pass, so that no two steps have the same
    /// time.
    pub(super) fn note(&mut self, title: &str, response: &Response) {
        let mut headers: Vec<String> = response
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
            .collect();
        headers.sort();
        let body = std::str::from_utf8(&response.body).unwrap();
        let text = format!("{}\n{}\n{body}", response.status, headers.concat());
        self.note_text(title, &text);
    }

    /// Ends a step that has no HTTP response, and records a text.
    pub(super) fn note_text(&mut self, title: &str, text: &str) {
        writeln!(self.responses, "=== {title}\n{text}\n").unwrap();
        self.world.pass(1);
    }

    /// Sends a function an HTTP request, from an address that was not used before.
    pub(super) async fn send(
        &mut self,
        title: &str,
        (method, function): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.step(title);
        // A key belongs to the address that used it first.
        let step =
            if headers.iter().any(|(name, _)| *name == "idempotency-key") { 1 } else { self.steps };
        let ip = format!("198.51.100.{step}");
        let method: Method = method.parse().unwrap();
        let response = self.world.send_from(&ip, function, method, headers, body).await;
        self.note(title, &response);
        response
    }

    /// Sends a function a POST request with JSON.
    pub(super) async fn post(&mut self, title: &str, function: &str, body: &Value) -> Response {
        self.send(title, ("POST", function), &[JSON], body.to_string().as_bytes()).await
    }

    /// Sends a function a request with JSON and the service token.
    pub(super) async fn authorised(
        &mut self,
        title: &str,
        to: (&str, &str),
        body: &Value,
    ) -> Response {
        let token = format!("Bearer {SERVICE_TOKEN}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(title, to, &[JSON, ("authorization", &token)], body.as_bytes()).await
    }

    /// Sends a function a GET request with a query.
    pub(super) async fn get(&mut self, title: &str, function: &str, query: &str) {
        self.step(title);
        let response = self.world.get(function, query).await;
        self.note(title, &response);
    }

    /// Sends `dispatch` a request to replay deliveries.
    pub(super) async fn replay(&mut self, title: &str, body: &Value) -> Value {
        self.step(title);
        let response = replay(&self.ringing, body).await;
        self.note_text(title, &format!("{response:#}"));
        serde_json::from_str(response["body"].as_str().unwrap()).unwrap()
    }

    /// Invokes a function by the schedule.
    pub(super) async fn schedule(&mut self, title: &str, function: &str) {
        self.step(title);
        let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
        let response = self.ringing.invoke(function, schedule).await;
        self.note_text(title, &response.to_string());
    }

    /// Runs every worker.
    pub(super) async fn work(&mut self) {
        work(&self.world).await;
    }

    /// Lets time pass, then runs every worker.
    pub(super) async fn work_after(&mut self, seconds: i64) {
        self.world.pass(seconds);
        let title = format!("work at {}", self.world.now());
        self.step(&title);
        self.work().await;
    }

    /// Every response so far.
    pub(super) fn responses(&self) -> &str {
        &self.responses
    }

    /// Every request to a provider so far.
    pub(super) fn requests(&self) -> String {
        self.recorder.text()
    }

    /// Lets every open delivery end, and ends the world.
    pub(super) async fn end(self) {
        self.world.providers.release_hung();
        self.world.advance(SignedDuration::from_hours(24 * 15)).await;
        self.world.finish().await;
    }
}

/// Sends `dispatch` a request to replay deliveries; returns its response, as the platform gets it.
pub(super) async fn replay(functions: &Deployment, body: &Value) -> Value {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("authorization", format!("Bearer {SERVICE_TOKEN}").parse().unwrap());
    let (body, caller) = (body.to_string(), CALLER.parse().unwrap());
    let path = "/.netlify/functions/dispatch/replay";
    let event = front_door::event(&Method::POST, path, "", &headers, body.as_bytes(), caller);
    functions.invoke("dispatch", event).await
}

/// Runs every worker, `MailerLite`'s first. Deliveries that are due at the same time are sent in the
/// order of their random ids, so `MailerLite`'s, of which two can be due at once, are sent by slot.
pub(super) async fn work(world: &World) {
    let mut due = Vec::new();
    for one in world.store.due("mailerlite", world.now(), 100).await.unwrap() {
        let found = world.store.ended(std::slice::from_ref(&one.key)).await.unwrap();
        due.push((one.due_at, found[0].delivery.slot.clone(), one.key));
    }
    due.sort();
    let worker = world.worker("mailerlite");
    for (_, _, key) in due {
        worker.deliver_now(std::slice::from_ref(&key), world.stop_at()).await.unwrap();
    }
    world.drain().await;
}
