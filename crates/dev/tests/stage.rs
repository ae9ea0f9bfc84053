//! The local stage as a newcomer uses it: submit the form, see the lead arrive, stop, start again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use funil_core::config::Env;
use funil_dev::replay::replay;
use funil_dev::stage::{Stage, StageOptions};
use serde_json::{Value, json};

const LEAD: &str = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";

async fn start(data: &Path) -> Stage {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = StageOptions { listen, data: data.to_owned(), functions_at: None };
    Stage::start(&options, &Env::default()).await.unwrap()
}

async fn get(stage: &Stage, path: &str) -> Value {
    let url = format!("http://{}{path}", stage.address());
    let answer = funil_lambda::shell().http.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

/// The journey once nothing is pending any more.
async fn settled_journey(stage: &Stage) -> Value {
    for _ in 0..5_000 {
        let journey = get(stage, &format!("/stage/journey/{LEAD}")).await;
        let open = |entry: &Value| ["pending", "leased"].iter().any(|s| entry["state"] == *s);
        if !journey["entries"].as_array().unwrap().iter().any(open) {
            return journey;
        }
    }
    panic!("the deliveries did not settle");
}

fn delivered(journey: &Value) -> Vec<String> {
    let entries = journey["entries"].as_array().unwrap();
    entries
        .iter()
        .filter(|entry| entry["state"] == "delivered")
        .map(|entry| format!("{}/{}", entry["destination"], entry["slot"]).replace('"', ""))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submitted_form_arrives_everywhere_and_is_still_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let stage = start(data.path()).await;
    let form = json!({
        "leadId": LEAD, "name": "Ana Exemplo", "email": "ana@example.com",
        "phone": "(11) 98765-4321", "businessType": "consultoria",
        "consent": {"marketing": true, "analytics": true, "policyVersion": "2026-01"}
    });
    let http = funil_lambda::shell().http;
    let url = format!("http://{}/api/lead-submit", stage.address());
    let request = http.post(url).header("content-type", "application/json");
    let answer = request.body(form.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200);

    let expected = [
        "crm/lead",
        "ga4/event",
        "mailerlite/marketing",
        "mailerlite/questionnaire",
        "segment/event",
    ];
    let mut found = delivered(&settled_journey(&stage).await);
    found.sort();
    assert_eq!(found, expected);
    for provider in get(&stage, "/stage/providers").await["providers"].as_array().unwrap() {
        let name = provider["name"].as_str().unwrap();
        let called = !provider["received"].as_array().unwrap().is_empty();
        assert_eq!(called, expected.iter().any(|slot| slot.starts_with(name)), "{name}");
    }
    for path in ["api/dispatch/replay", ".netlify/functions/dispatch/replay"] {
        let url = format!("http://{}/{path}", stage.address());
        assert_eq!(http.post(&url).send().await.unwrap().status(), 401, "{path}");
        let token = "local-stage-service-token";
        let answer = http.post(url).bearer_auth(token).send().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(answer, json!({"deliveries": [], "dryRun": true, "more": false}));
    }
    stage.stop().await.unwrap();

    let stage = start(data.path()).await;
    assert_eq!(delivered(&settled_journey(&stage).await).len(), expected.len());
    assert_eq!(get(&stage, "/stage/leads").await["leads"][0]["leadId"], LEAD);
    stage.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_of_calendly_are_signed_as_they_are_replayed() {
    let data = tempfile::tempdir().unwrap();
    let stage = start(data.path()).await;
    let to = format!("http://{}/api", stage.address()).parse().unwrap();
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let shell = funil_lambda::shell();
    for (sample, status) in [
        ("lead-submit/high-score.json", 200),
        ("calendar-webhook/created.json", 200),
        ("calendar-webhook/rescheduled-2-new.json", 200),
        ("calendar-webhook/rescheduled-1-old.json", 200),
        ("calendar-webhook/canceled.json", 200),
        ("calendar-webhook/no-show.json", 200),
        ("calendar-webhook/other-event.json", 200),
    ] {
        let replayed = replay(&events.join(sample), &to, &Env::default(), &shell).await.unwrap();
        assert_eq!(replayed.status, status, "{sample}: {}", replayed.body);
    }
    let another: Env = [("CALENDLY_SIGNING_KEY", "another key")].into_iter().collect();
    let sample = events.join("calendar-webhook/created.json");
    assert_eq!(replay(&sample, &to, &another, &shell).await.unwrap().status, 401);
    let journey = get(&stage, "/stage/journey/3a6f0c52-7d0e-4f0b-9f57-0c9b6a1d2e01").await;
    let shown = journey.to_string();
    for event in ["call_booked", "call_canceled", "call_missed"] {
        assert!(shown.contains(event), "{event} in {shown}");
    }
    stage.stop().await.unwrap();
}
