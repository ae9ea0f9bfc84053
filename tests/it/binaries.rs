//! The functions' real binaries, run alone as the platform runs them: a lead from the form to the
//! providers, a kill in between, and the promise that nothing personal is ever logged.
//!
//! They speak with the local engine and with the simulated providers over loopback. What the
//! functions do in detail is tested in one process, in the other files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod logs;

use std::collections::{BTreeMap, BTreeSet};
use std::future::IntoFuture as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use funil_core::delivery::State;
use funil_core::hash::HashKey;
use funil_core::id::LeadId;
use funil_core::settings::Env;
use funil_dev::emulator::Emulator;
use funil_dev::runtime_api::{FunctionProcess, InvocationError, Lines};
use funil_dev::simulated::{Behaviour, Providers};
use funil_store::{AwsConfig, DeliveryKey, Platform, Store, Stream};
use futures::future::join_all;
use http::{StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const DELIVERY_FUNCTIONS: [&str; 4] = ["crm-sync", "mailerlite-sync", "ga4-events", "segment-sync"];
const FUNCTIONS_OF_PROVIDERS: [(&str, &str); 4] = [
    ("crm-sync", "crm"),
    ("mailerlite-sync", "mailerlite"),
    ("ga4-events", "ga4"),
    ("segment-sync", "segment"),
];
const TIME_S: u64 = 60;

/// Nobody listens there.
const CLOSED: &str = "http://127.0.0.1:1";

/// The credentials: each a text of its own, to be looked for in the logs.
const SECRETS: [(&str, &str); 13] = [
    ("SERVICE_TOKEN", "qsservicetoken0123456789,qssecondservicetoken0123"),
    ("HASH_KEY", "qshashkey0123456789"),
    ("AWS_ACCESS_KEY_ID", "QSACCESSKEYID01234567"),
    ("AWS_SECRET_ACCESS_KEY", "qssecretaccesskey/0123456789+x"),
    ("AWS_SESSION_TOKEN", "qssessiontoken0123456789"),
    ("CALENDLY_SIGNING_KEY", "qscalendlykey0123456789"),
    ("CRM_API_KEY", "qscrmkey0123456789"),
    ("MAILERLITE_API_KEY", "qsmailerlitekey0123456789"),
    ("GA4_API_SECRET", "qsga4secret0123456789"),
    ("SEGMENT_WRITE_KEY", "qssegmentkey0123456789"),
    ("WHATSAPP_ACCESS_TOKEN", "qswhatsapptoken0123456789"),
    ("WHATSAPP_APP_SECRET", "qswhatsappsecret0123456789"),
    ("WHATSAPP_VERIFY_TOKEN", "qsverifytoken0123456789"),
];

fn binary(function: &str) -> PathBuf {
    funil_dev::cli::binary(function).unwrap_or_else(|_| {
        panic!("{function} is not built: run `cargo test --workspace`, which builds every function")
    })
}

/// A table, the providers, and the environment that all functions of one site share.
struct Place {
    env: BTreeMap<String, String>,
    providers: Providers,
    store: Store,
    platform: Platform,
    _emulator: Arc<Emulator>,
}

impl Place {
    async fn new() -> Self {
        let emulator = Emulator::memory().await.unwrap();
        Self::on(Arc::new(emulator), "funil").await
    }

    /// On a table of its own in an engine that others use too.
    async fn on(emulator: Arc<Emulator>, table: &str) -> Self {
        let providers = Providers::new(Arc::new(|| "2026-01-02T03:04:05.678Z".to_owned()));
        let address = providers.serve().await.unwrap();
        let env = environment(&emulator.endpoint(), table, address);
        let platform = funil_lambda::platform();
        let read: Env = env.clone().into_iter().collect();
        let aws = AwsConfig::read(&mut read.settings()).unwrap();
        let store = Store::connect(&aws, table, &platform);
        store.create_table(&HashKey::new(&env["HASH_KEY"]).unwrap(), Stream::On).await.unwrap();
        Self { env, providers, store, platform, _emulator: emulator }
    }

    async fn start(&self, function: &str) -> FunctionProcess {
        let env = self.env.clone();
        FunctionProcess::start(&binary(function), env, Lines::Kept).await.unwrap()
    }

    /// How many deliveries of a lead stand so.
    async fn delivery_count(&self, lead_id: &str, state: State) -> usize {
        let journey = self.store.journey(LeadId::parse(lead_id).unwrap()).await.unwrap().unwrap();
        journey.deliveries.iter().filter(|delivery| delivery.state == state).count()
    }

    /// Runs every function that was rung, each in a process of its own.
    async fn answer_rings(&self, rung: &Mutex<BTreeSet<String>>) {
        let functions = std::mem::take(&mut *rung.lock().unwrap());
        for function in functions {
            let mut process = self.start(&function).await;
            process.invoke(ring(), TIME_S).await.unwrap();
            process.kill().await;
        }
    }

    /// Lets the minute pass that a lease holds, without anybody waiting: what is open is due.
    async fn end_leases(&self, lead_id: LeadId) {
        let journey = self.store.journey(lead_id).await.unwrap().unwrap();
        for delivery in journey.deliveries.iter().filter(|open| open.state.is_open()) {
            let key = DeliveryKey::from(delivery);
            let update = json!({
                "TableName": "funil",
                "Key": {"pk": {"S": format!("LEAD#{lead_id}")}, "sk": {"S": key.sk}},
                "UpdateExpression": "SET due_sk = :now",
                "ExpressionAttributeValues": {
                    ":now": {"S": funil_store::key_time(self.platform.clock.now())},
                },
            });
            let signature = "AWS4-HMAC-SHA256 Credential=a/20310505/us-east-1/dynamodb/aws4_request, \
                             SignedHeaders=host, Signature=0";
            let request = self.platform.http.post(&self.env["AWS_ENDPOINT_URL_DYNAMODB"]);
            let request = request
                .header("x-amz-target", "DynamoDB_20120810.UpdateItem")
                .header("content-type", "application/x-amz-json-1.0")
                .header("x-amz-date", "20310505T120000Z")
                .header("authorization", signature);
            let response = request.body(update.to_string()).send().await.unwrap();
            assert!(response.status().is_success(), "{response:?}");
        }
    }
}

fn environment(emulator: &str, table: &str, providers: SocketAddr) -> BTreeMap<String, String> {
    let crm = Providers::base_url(providers, "crm");
    let mailerlite = Providers::base_url(providers, "mailerlite");
    let ga4 = Providers::base_url(providers, "ga4");
    let segment = Providers::base_url(providers, "segment");
    let whatsapp = Providers::base_url(providers, "whatsapp");
    let plain = [
        ("TABLE_NAME", table),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL_DYNAMODB", emulator),
        ("SITE_URL", "https://www.example.com"),
        ("CORS_ORIGINS", "https://www.example.com"),
        ("DESTINATIONS", "crm,mailerlite,ga4,segment"),
        ("DOORBELL_URL", CLOSED),
        ("CRM_KIND", "leads"),
        ("CRM_BASE_URL", &crm),
        ("MAILERLITE_BASE_URL", &mailerlite),
        ("MAILERLITE_GROUPS", r#"{"questionnaire":"11","marketing":"22"}"#),
        ("GA4_BASE_URL", &ga4),
        ("WHATSAPP_BASE_URL", &whatsapp),
        ("WHATSAPP_PHONE_NUMBER_ID", "106540352242922"),
        ("GA4_MEASUREMENT_ID", "G-EXAMPLE"),
        ("SEGMENT_BASE_URL", &segment),
        ("LOG_LEVEL", "trace"),
        ("RUST_LOG", "trace"),
    ];
    plain
        .into_iter()
        .chain(SECRETS)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// An event of `events/payload-formats` with another body.
fn shape(name: &str, body: &Value) -> Value {
    let path = format!("{}/../events/payload-formats/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let mut event: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    event["body"] = Value::from(body.to_string());
    event
}

fn answer_body(response: &Value) -> Value {
    serde_json::from_str(response["body"].as_str().unwrap()).unwrap()
}

fn ring() -> Value {
    json!({"ring": true})
}

#[tokio::test]
async fn a_lead_goes_through_the_real_binaries_whatever_platform_hands_it_over() {
    let place = Place::new().await;
    let shapes = ["rest-v1", "http-v2", "function-url", "netlify"];
    let lead = |number: usize| {
        (format!("6f1c2f5e-0b0a-4d3e-9a53-00000000000{number}"), format!("ana{number}@example.com"))
    };
    let mut intake = place.start("lead-submit").await;
    for (number, name) in shapes.into_iter().enumerate() {
        let (id, email) = lead(number);
        let body = json!({
            "leadId": id, "name": "Ana Exemplo", "email": email, "phone": "(11) 98765-4321",
            "businessType": "consultoria", "monthlyRevenue": "10000-30000", "workHoursDaily": 10,
            "mainStruggle": name, "gaClientId": format!("123456789{number}.1680000000"),
            "consent": {"marketing": true, "analytics": true, "policyVersion": "2026-01"},
        });
        let response = intake.invoke(shape(name, &body), TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], 200, "{name}: {response}");
        assert_eq!(answer_body(&response)["leadId"], json!(id), "{name}");
    }

    let drained = join_all(DELIVERY_FUNCTIONS.map(|function| async {
        let mut process = place.start(function).await;
        process.invoke(ring(), TIME_S).await.unwrap()
    }))
    .await;
    // MailerLite has two messages of each lead.
    assert_eq!(drained, [4, 8, 4, 4].map(|settled| json!({"settled": settled})));

    let ga4 = place.providers.ga4_events();
    let segment = place.providers.segment_messages();
    for (number, name) in shapes.into_iter().enumerate() {
        let (id, email) = lead(number);
        let contact = place.providers.crm_contact(&id).unwrap();
        assert_eq!(contact["contact"]["email"], json!(email), "{name}: {contact}");
        let subscriber = place.providers.subscriber(&email).unwrap();
        assert_eq!(subscriber["groups"].as_array().unwrap().len(), 2, "{name}: {subscriber}");
        let event = ga4.iter().find(|event| event.params["lead_id"] == json!(id)).unwrap();
        assert_eq!(event.client_id, format!("123456789{number}.1680000000"), "{name}");
        let types: Vec<_> = segment
            .iter()
            .filter(|message| message.to_string().contains(&id))
            .map(|message| message["type"].clone())
            .collect();
        assert_eq!(types, ["identify", "track"], "{name}");
    }
}

/// Where functions are rung: notes whom, and answers at once.
async fn doorbell() -> (String, Arc<Mutex<BTreeSet<String>>>) {
    let rung = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&rung);
    let note = move |uri: Uri| {
        noted.lock().unwrap().insert(uri.path().trim_start_matches('/').to_owned());
        std::future::ready(StatusCode::ACCEPTED)
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().fallback(note)).into_future());
    (url, rung)
}

#[tokio::test]
async fn functions_killed_in_the_middle_of_their_work_are_swept_after() {
    let mut place = Place::new().await;
    let (url, rung) = doorbell().await;
    place.env.insert("DOORBELL_URL".to_owned(), url);
    let lead_id = LeadId::parse("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11").unwrap();
    let body = json!({
        "leadId": lead_id, "name": "Ana", "email": "ana@example.com", "businessType": "consultoria",
        "consent": {"marketing": true, "analytics": true},
    });
    let mut intake = place.start("lead-submit").await;
    assert_eq!(intake.invoke(shape("http-v2", &body), TIME_S).await.unwrap()["statusCode"], 200);

    // Each is killed while its provider, which may have acted, has not answered yet.
    for (function, provider) in FUNCTIONS_OF_PROVIDERS {
        place.providers.behave(provider, Behaviour::HangAfterEffect);
        let mut process = place.start(function).await;
        tokio::select! {
            _ = process.invoke(ring(), TIME_S) => panic!("{function} ended while {provider} hung"),
            () = place.providers.until_received(provider, 1) => {}
        }
        process.kill().await;
        let ended = process.invoke(ring(), TIME_S).await;
        assert!(matches!(&ended, Err(InvocationError::Ended { .. })), "{function}: {ended:?}");
        place.providers.behave(provider, Behaviour::Normal);
    }
    place.providers.release_hung();

    let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
    let mut dispatch = place.start("dispatch").await;
    // While the leases hold, a sweep finds nobody's work in their hands to do again.
    for _ in 0..4 {
        dispatch.invoke(schedule.clone(), TIME_S).await.unwrap();
        place.answer_rings(&rung).await;
        place.end_leases(lead_id).await;
    }

    for delivery in place.store.journey(lead_id).await.unwrap().unwrap().deliveries {
        let expected = match delivery.destination.as_str() {
            "ga4" => State::Unknown,
            _ => State::Delivered,
        };
        assert_eq!(delivery.state, expected, "{delivery:?}");
    }
    assert_eq!(place.providers.crm_contact_count(), 1);
    assert_eq!(place.providers.crm_triggers(&lead_id.to_string()).values().sum::<u32>(), 1);
    assert_eq!(place.providers.received("ga4").len(), 1, "never called again");
    assert_eq!(place.providers.segment_messages().len(), 2);
    let mut groups: Vec<_> =
        place.providers.group_joins().into_iter().map(|join| join.group).collect();
    groups.sort();
    assert_eq!(groups, ["11", "22"]);
}

#[tokio::test]
async fn a_function_that_takes_longer_than_it_may_is_killed() {
    let place = Place::new().await;
    let mut process = place.start("crm-sync").await;
    let late = process.invoke(ring(), 0).await;
    assert_eq!(late, Err(InvocationError::TimedOut { time_s: 0 }));
    let ended = process.invoke(ring(), TIME_S).await.unwrap_err().to_string();
    assert!(ended.contains("signal: 9"), "{ended}");
}

#[test]
fn a_binary_started_by_hand_says_how_it_is_run() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    for function in
        DELIVERY_FUNCTIONS.into_iter().chain(["lead-submit", "dispatch", "health", "metrics"])
    {
        let mut command = Command::new(binary(function));
        let output =
            command.env_clear().envs(environment(CLOSED, "funil", nowhere)).output().unwrap();
        let log = String::from_utf8(output.stdout).unwrap();
        assert!(!output.status.success(), "{function}: {log}");
        let sentence = format!("{function} is a Lambda function: run it on Lambda");
        assert!(log.contains(&sentence), "{log}");
        assert!(log.contains(&format!("cargo run -- invoke {function} ")), "{log}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{function}");
    }
}

#[tokio::test]
async fn one_event_gets_its_answer_from_a_process_of_its_own() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut env = environment(CLOSED, "funil", nowhere);
    env.insert("LOG_LEVEL".to_owned(), "error".to_owned());
    let preflight = shape("options-preflight-v2", &Value::Null);
    let response = funil_dev::cli::invoke("lead-submit", preflight, env).await.unwrap();
    assert_eq!(response["statusCode"], 204, "{response}");

    let error = funil_dev::cli::invoke("lead-submit", json!({}), []).await.unwrap_err().to_string();
    assert!(error.starts_with("the function ended before it answered (exit status: 1"), "{error}");
    for name in ["fax-sync", "../lead-submit", ""] {
        let error = funil_dev::cli::invoke(name, json!({}), []).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("there is no {name} in /")), "{error}");
    }
}
