//! Every sample event at every function: the response has the payload format of the event.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use funil_core::destination;
use funil_lambda::forms::FORMS;
use funil_lambda::tags::TAGS;
use serde_json::{Value, json};

use crate::world::{World, all_destinations, is_known, lead, lead_body};

fn samples() -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/payload-formats");
    let samples: BTreeMap<String, Value> = fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
        })
        .collect();
    assert!(samples.len() >= 15, "the samples are there");
    samples
}

/// What kind of event a sample is, judged by its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Stream,
    Schedule,
    Direct,
}

fn kind(name: &str, event: &Value) -> Kind {
    if name.contains("schedule") {
        Kind::Schedule
    } else if event.get("Records").is_some() {
        Kind::Stream
    } else if event.get("requestContext").is_some() || event.get("httpMethod").is_some() {
        Kind::Http
    } else {
        Kind::Direct
    }
}

/// Whether a response has all that the platform of this HTTP event needs.
fn is_an_http_response(event: &Value, response: &Value) -> bool {
    let of_v1 = event.get("version").is_none();
    response["statusCode"].as_u64().is_some_and(|status| (200..600).contains(&status))
        && response["body"].is_string()
        && response["isBase64Encoded"].is_boolean()
        && response["headers"].as_object().unwrap().values().all(Value::is_string)
        && response.get("multiValueHeaders").is_some() == of_v1
}

/// Whether it is the page that a browser is shown after a plain HTML form.
fn is_page(response: &Value) -> bool {
    response["headers"]["content-type"] == "text/html; charset=utf-8"
}

#[tokio::test]
async fn a_lead_form_is_accepted_in_every_http_payload_format() {
    let mut accepted = 0;
    for (name, event) in samples() {
        if kind(&name, &event) != Kind::Http || event["body"].is_null() {
            continue;
        }
        let world = World::plan().with("DESTINATIONS", "none").start().await;
        let response = world.invoke("lead-submit", event.clone()).await;
        assert_eq!(response["statusCode"], 200, "{name}: {response}");
        assert!(is_an_http_response(&event, &response), "{name}: {response}");
        let allowed = &response["headers"]["access-control-allow-origin"];
        assert_eq!(allowed, "https://www.example.com", "{name}");
        let body = response["body"].as_str().unwrap();
        if is_page(&response) {
            assert!(body.starts_with("<!doctype html>"), "{name}: {body}");
        } else {
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["leadId"], lead().to_string(), "{name}");
        }
        assert_eq!(world.journey(lead()).await.events.len(), 1, "{name}");
        accepted += 1;
        world.finish().await;
    }
    assert_eq!(accepted, 8);
}

#[tokio::test]
async fn one_lead_through_every_platform_is_one_lead() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let mut bodies = Vec::new();
    for (name, event) in samples() {
        if kind(&name, &event) == Kind::Http && event["body"].is_string() {
            let response = world.invoke("lead-submit", event).await;
            if !is_page(&response) {
                bodies.push(response["body"].clone());
            }
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    // Three receipts: by content, by key, and as a plain form, whose working hours are text.
    let journey = world.journey(lead()).await;
    assert_eq!(journey.events.len(), 3, "{:?}", journey.events);
    world.finish().await;
}

/// What a function returns; Netlify wants an HTTP response to its schedule too.
fn value(name: &str, response: Value) -> Value {
    if name != "netlify-schedule" {
        return response;
    }
    let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    let expected = if body.get("error").is_none() { 200 } else { 500 };
    assert_eq!(response["statusCode"], expected, "{response}");
    body
}

/// Whether a function is rung: `dispatch` and the delivery functions are, all others take requests.
fn is_rung(function: &str) -> bool {
    function == "dispatch" || destination::ALL.iter().any(|one| one.function == function)
}

/// The forms that ask something that none of the samples says.
const LACKS_SOMETHING: [&str; 4] =
    ["questionnaire-submit", "contact-submit", "newsletter-signup", "consultation-booking"];

#[tokio::test]
async fn every_sample_at_every_function_gets_a_proper_response() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let samples = samples();
    let mut invocations = Vec::new();
    for function in world.functions() {
        for (name, event) in &samples {
            let world = &world;
            invocations.push(async move {
                let response = world.invoke(function.name, event.clone()).await;
                (function.name, name, event, response)
            });
        }
    }
    // All at once, because a drain that finds nothing looks again for 2 s.
    for (function, name, event, response) in futures::future::join_all(invocations).await {
        let response = value(name, response);
        let context = format!("{function}, {name}: {response}");
        match (function, kind(name, event)) {
            (_, Kind::Http) => {
                assert!(is_an_http_response(event, &response), "{context}");
                let is_form = FORMS.iter().chain(TAGS).any(|one| one.name == function);
                let expected = match (function, &**name) {
                    (_, "get-v2") if is_form => 405,
                    (_, "options-preflight-v2") if is_form => 204,
                    ("lead-submit", _) | ("health", "get-v2") => 200,
                    // The samples are of the landing page's form, and one of them is an HTML form.
                    ("ga4-collect", "function-url-base64") => 415,
                    _ if LACKS_SOMETHING.contains(&function) => 422,
                    // Some of them have GA4's id of the browser; another form may ask no more than they say.
                    _ if is_form && response["statusCode"] == 200 => 200,
                    _ if is_form => 422,
                    ("metrics", "get-v2") => 401,
                    ("whatsapp-webhook", "get-v2") => 403,
                    ("health" | "metrics", _) | (_, "get-v2" | "options-preflight-v2") => 405,
                    // Stripe calls a wrong signature a bad request.
                    ("stripe-webhook", _) => 400,
                    // The last part of its path names a CRM, and these samples have others'.
                    ("deal-webhook", _) => 404,
                    _ => 401,
                };
                assert_eq!(response["statusCode"], expected, "{context}");
            }
            (_, Kind::Stream | Kind::Schedule | Kind::Direct) if !is_rung(function) => {
                let error = format!("{function} takes HTTP calls only");
                assert_eq!(response, json!({"error": error}), "{context}");
            }
            (_, Kind::Stream) => {
                assert_eq!(response, json!({"batchItemFailures": []}), "{context}");
            }
            ("dispatch", Kind::Schedule | Kind::Direct) => {
                assert_eq!(response, json!({"rung": []}), "{context}");
            }
            (_, Kind::Schedule | Kind::Direct) => {
                assert_eq!(response, json!({"settled": 0}), "{context}");
            }
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn a_schedule_delivers_what_is_due() {
    for (name, event) in samples() {
        if kind(&name, &event) != Kind::Schedule && name != "direct-ring" {
            continue;
        }
        let world = World::plan().with("DESTINATIONS", &all_destinations()).start().await;
        world.expect_one_lead();
        world.submit(&lead_body()).await;
        // At once, because a drain that finds nothing looks again for 2 s.
        let drains = destination::ALL.iter().map(|one| async {
            let planned = world.store.deliveries_of(lead(), one.name).await.unwrap().len();
            let response = value(&name, world.invoke(one.function, event.clone()).await);
            assert_eq!(response, json!({"settled": planned}), "{name} at {}", one.function);
            (one.name, planned)
        });
        let mut settled = futures::future::join_all(drains).await;
        settled.retain(|(_, planned)| *planned > 0);
        for (name, _) in settled.iter().filter(|(name, _)| !is_known(name)) {
            world.looks_at(destination::find(name).unwrap().provider);
        }
        settled.retain(|(name, _)| is_known(name));
        assert_eq!(
            settled,
            [("crm", 1), ("mailerlite", 2), ("ga4", 1), ("segment", 1), ("meta", 1)]
        );
        world.finish().await;
    }
}

#[tokio::test]
async fn an_unreadable_http_event_is_refused_in_its_payload_format() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    for (event, v1) in [
        (json!({"version": "2.0"}), false),
        (json!({"requestContext": {"http": {"method": "POST"}}, "body": {"a": 1}}), false),
        (json!({"httpMethod": "NOT A METHOD"}), true),
        (json!({"httpMethod": "POST", "body": "%%%", "isBase64Encoded": true}), true),
    ] {
        for function in world.functions() {
            let response = world.invoke(function.name, event.clone()).await;
            assert_eq!(response["statusCode"], 400, "{event}");
            assert_eq!(response.get("multiValueHeaders").is_some(), v1, "{event}");
            let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
            assert_eq!(body["code"], "unreadable_request");
        }
    }
    world.finish().await;
}
