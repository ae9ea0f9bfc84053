//! Every sample event at every function: whatever a platform sends, the answer has its shape.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::world::{World, lead};

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

/// What a sample is, by its own fields.
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

/// What the platform of an HTTP event needs of an answer.
fn is_an_http_answer(event: &Value, answer: &Value) -> bool {
    let of_v1 = event.get("version").is_none();
    answer["statusCode"].as_u64().is_some_and(|status| (200..600).contains(&status))
        && answer["body"].is_string()
        && answer["isBase64Encoded"].is_boolean()
        && answer["headers"].as_object().unwrap().values().all(Value::is_string)
        && answer.get("multiValueHeaders").is_some() == of_v1
}

#[tokio::test]
async fn a_lead_form_is_accepted_in_every_shape_of_http() {
    let mut accepted = 0;
    for (name, event) in samples() {
        if kind(&name, &event) != Kind::Http || event["body"].is_null() {
            continue;
        }
        let world = World::plan().with("DESTINATIONS", "none").start().await;
        let answer = world.invoke("lead-submit", event.clone()).await;
        assert_eq!(answer["statusCode"], 200, "{name}: {answer}");
        assert!(is_an_http_answer(&event, &answer), "{name}: {answer}");
        let allowed = &answer["headers"]["access-control-allow-origin"];
        assert_eq!(allowed, "https://www.example.com", "{name}");
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["leadId"], lead().to_string(), "{name}");
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
            bodies.push(world.invoke("lead-submit", event).await["body"].clone());
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    // By content, by key, and as a plain form, whose working hours are a text.
    let journey = world.journey(lead()).await;
    assert_eq!(journey.events.len(), 3, "{:?}", journey.events);
    world.finish().await;
}

#[tokio::test]
async fn every_shape_at_every_function_gets_a_sane_answer() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let samples = samples();
    let mut invocations = Vec::new();
    for function in world.functions() {
        for (name, event) in &samples {
            let world = &world;
            invocations.push(async move {
                let answer = world.invoke(function.name, event.clone()).await;
                (function.name, name, event, answer)
            });
        }
    }
    // All at once, because a drain that finds nothing looks again for 2 s.
    for (function, name, event, answer) in futures::future::join_all(invocations).await {
        let told = format!("{function}, {name}: {answer}");
        match (function, kind(name, event)) {
            (_, Kind::Http) => {
                assert!(is_an_http_answer(event, &answer), "{told}");
                let expected = match (function, &**name) {
                    ("lead-submit" | "questionnaire-submit", "get-v2") => 405,
                    ("lead-submit" | "questionnaire-submit", "options-preflight-v2") => 204,
                    ("lead-submit", _) | ("health", "get-v2") => 200,
                    // The samples are of the other form.
                    ("questionnaire-submit", _) => 422,
                    ("metrics", "get-v2") => 401,
                    ("whatsapp-webhook", "get-v2") => 403,
                    ("health" | "metrics", _) | (_, "get-v2" | "options-preflight-v2") => 405,
                    _ => 401,
                };
                assert_eq!(answer["statusCode"], expected, "{told}");
            }
            (
                "lead-submit"
                | "questionnaire-submit"
                | "calendar-webhook"
                | "whatsapp-webhook"
                | "health"
                | "metrics",
                Kind::Stream | Kind::Schedule | Kind::Direct,
            ) => {
                let error = format!("{function} takes HTTP calls only");
                assert_eq!(answer, json!({"error": error}), "{told}");
            }
            (_, Kind::Stream) => assert_eq!(answer, json!({"batchItemFailures": []}), "{told}"),
            ("dispatch", Kind::Schedule | Kind::Direct) => {
                assert_eq!(answer, json!({"rung": []}), "{told}");
            }
            (_, Kind::Schedule | Kind::Direct) => {
                assert_eq!(answer, json!({"settled": 0}), "{told}");
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
        let world = World::new().await;
        world.expect_one_lead();
        world.submit(&crate::world::lead_body()).await;
        for (function, settled) in
            [("crm-sync", 1), ("mailerlite-sync", 2), ("ga4-events", 1), ("segment-sync", 1)]
        {
            let answer = world.invoke(function, event.clone()).await;
            assert_eq!(answer, json!({"settled": settled}), "{name} at {function}");
        }
        world.finish().await;
    }
}

#[tokio::test]
async fn an_http_event_that_cannot_be_read_is_refused_in_its_shape() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    for (event, v1) in [
        (json!({"version": "2.0"}), false),
        (json!({"requestContext": {"http": {"method": "POST"}}, "body": {"a": 1}}), false),
        (json!({"httpMethod": "NOT A METHOD"}), true),
        (json!({"httpMethod": "POST", "body": "%%%", "isBase64Encoded": true}), true),
    ] {
        for function in world.functions() {
            let answer = world.invoke(function.name, event.clone()).await;
            assert_eq!(answer["statusCode"], 400, "{event}");
            assert_eq!(answer.get("multiValueHeaders").is_some(), v1, "{event}");
            let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
            assert_eq!(body["code"], "unreadable_request");
        }
    }
    world.finish().await;
}
