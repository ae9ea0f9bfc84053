//! The functions' real binaries, each run as a process of its own as Lambda does: a lead from the form
//! to the providers, a kill in between, and the promise that nothing personal is ever logged.
//!
//! They talk to the emulator and to the simulated providers over loopback. What the functions do in
//! detail is tested in one process, in the other files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

mod logs;
mod netlify;

use std::collections::{BTreeMap, BTreeSet};
use std::future::IntoFuture as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use funil_core::clock::after;
use funil_core::delivery::{StateKind, WhenUnknown};
use funil_core::destination::{self, Destination, Whose};
use funil_core::hash::HashKey;
use funil_core::id::LeadId;
use funil_core::provider::calendly;
use funil_core::settings::{Env, Secret};
use funil_dev::emulator::Emulator;
use funil_dev::runtime_api::{FunctionProcess, InvocationError, Lines};
use funil_dev::simulated::{Behaviour, Person, Providers};
use funil_store::{AwsConfig, DeliveryKey, Platform, Store, Stream};
use futures::future::join_all;
use http::{StatusCode, Uri};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::world::{all_destinations, is_known, list, of_our_own};

const TIME_S: u64 = 60;

/// An address without a server.
const CLOSED: &str = "http://127.0.0.1:1";

/// The site's own credentials. Each is a text of its own, to be looked for in the logs.
const SECRETS_OF_THE_SITE: [(&str, &str); 7] = [
    ("SERVICE_TOKEN", "qsservicetoken0123456789,qssecondservicetoken0123"),
    ("HASH_KEY", "qshashkey0123456789"),
    ("AWS_ACCESS_KEY_ID", "QSACCESSKEYID01234567"),
    ("AWS_SECRET_ACCESS_KEY", "qssecretaccesskey/0123456789+x"),
    ("AWS_SESSION_TOKEN", "qssessiontoken0123456789"),
    ("CALENDLY_API_TOKEN", "qscalendlytoken0123456789"),
    ("NETLIFY_REWRITE_SECRET", "qsrewritesecret0123456789"),
];

/// Addresses without a server that hold a credential, with that credential.
const SECRET_ADDRESSES: [(&str, &str, &str); 2] = [
    ("SENTRY_DSN", "http://qssentrykey0123456789@127.0.0.1:1/1", "qssentrykey0123456789"),
    ("MONITORING_WEBHOOK_URL", "http://127.0.0.1:1/qsmonitor0123456789", "qsmonitor0123456789"),
];

/// Every credential that is a variable's whole value: the site's, those of every destination and those of
/// every webhook. `TURNSTILE_SECRET_KEY` is not among them, because with it a form needs a token.
fn secrets() -> Vec<(String, String)> {
    let of_site = SECRETS_OF_THE_SITE.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let of_destinations = destination::ALL.iter().flat_map(|one| one.local_credentials);
    let of_intake = funil_lambda::functions::intake().flat_map(|one| one.variables);
    let marked = of_destinations.chain(of_intake).map(|(name, _)| {
        (name.to_string(), format!("qs{}0123456789", name.to_lowercase().replace('_', "")))
    });
    of_site.into_iter().chain(marked).collect()
}

/// The names of all functions.
fn functions() -> Vec<&'static str> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let env: Env = environment(CLOSED, "funil", nowhere).into_iter().collect();
    let all = funil_dev::functions::all(&env, &funil_lambda::platform()).unwrap();
    all.iter().map(|function| function.name).collect()
}

fn binary(function: &str) -> PathBuf {
    binary_under(function, function)
}

/// A function's binary: the one that Cargo built with the tests, or the one under the name that its
/// platform gave it, in the folder that `FUNIL_BINARIES` names.
fn binary_under(name: &str, function: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("FUNIL_BINARIES") {
        return PathBuf::from(folder).join(name);
    }
    funil_dev::cli::binary(function).unwrap_or_else(|_| {
        panic!("{function} is not built: run `cargo test --workspace`, which builds every function")
    })
}

/// A table, the simulated providers, and the environment that all functions of one site share.
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

    /// On a table of its own, on an emulator that others use too.
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
        self.start_binary(&binary(function)).await
    }

    async fn start_binary(&self, binary: &Path) -> FunctionProcess {
        FunctionProcess::start(binary, self.env.clone(), Lines::Kept).await.unwrap()
    }

    /// How many deliveries of a lead are in this state.
    async fn delivery_count(&self, lead_id: &str, state: StateKind) -> usize {
        let journey = self.store.journey(LeadId::parse(lead_id).unwrap()).await.unwrap().unwrap();
        journey.deliveries.iter().filter(|delivery| delivery.state.kind() == state).count()
    }

    /// Runs every function that was rung, each in a process of its own.
    async fn run_rung(&self, rung: &Mutex<BTreeSet<String>>) {
        let functions = std::mem::take(&mut *rung.lock().unwrap());
        for function in functions {
            let mut process = self.start(&function).await;
            process.invoke(ring(), TIME_S).await.unwrap();
            process.kill().await;
        }
    }

    /// Makes everything due that would be within an hour, so that nobody waits for leases to end.
    async fn end_leases(&self, lead_id: LeadId) {
        let journey = self.store.journey(lead_id).await.unwrap().unwrap();
        let (soon, a_while_ago) =
            (after(self.platform.clock.now(), 3600), after(self.platform.clock.now(), -60));
        let due_soon = |due_at: Option<Timestamp>| due_at.is_some_and(|due_at| due_at < soon);
        let open = journey.deliveries.iter().filter(|one| one.state.is_open());
        for delivery in open.filter(|one| due_soon(one.due_at())) {
            let key = DeliveryKey::from(delivery);
            let update = json!({
                "TableName": "funil",
                "Key": {"pk": {"S": format!("LEAD#{lead_id}")}, "sk": {"S": key.sk}},
                "UpdateExpression": "SET due_sk = :now, lease_until = :now",
                "ExpressionAttributeValues": {
                    ":now": {"S": funil_store::key_time(a_while_ago)},
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
    let base = |name| Providers::base_url(providers, name);
    let of_destinations = destination::ALL.iter().flat_map(|one| {
        let local = one.local_variables().map(|(name, value)| (name, of_our_own(value)));
        let others = one.other_base_urls.iter();
        let others =
            others.map(move |(name, path)| (*name, format!("{}{path}", base(one.provider))));
        local.chain([(one.base_url_variable, base(one.provider))]).chain(others)
    });
    let of_site = [
        ("TABLE_NAME", table.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", emulator.to_owned()),
        ("SITE_URL", "https://www.example.com".to_owned()),
        ("CORS_ORIGINS", "https://www.example.com".to_owned()),
        ("DESTINATIONS", all_destinations()),
        ("DOORBELL_URL", CLOSED.to_owned()),
        ("CRM_KIND", "leads".to_owned()),
        // A function that was killed takes its tokens with it for a minute.
        ("C2S_REQUESTS_PER_MINUTE", "600".to_owned()),
        ("CALENDLY_BASE_URL", base("calendly")),
        ("LOG_LEVEL", "trace".to_owned()),
        ("RUST_LOG", "trace".to_owned()),
    ];
    let plain = of_destinations.chain(of_site).map(|(name, value)| (name.to_owned(), value));
    let addresses = SECRET_ADDRESSES.map(|(name, value, _)| (name.to_owned(), value.to_owned()));
    // A later value replaces an earlier one: the secrets replace the local credentials.
    plain.chain(secrets()).chain(addresses).collect()
}

/// A sample event of `events/payload-formats` with another body.
fn sample_event(name: &str, body: &Value) -> Value {
    let path = format!("{}/../events/payload-formats/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let mut event: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    event["body"] = Value::from(body.to_string());
    event
}

fn body_of(response: &Value) -> Value {
    serde_json::from_str(response["body"].as_str().unwrap()).unwrap()
}

/// An HTTP event with one more header.
fn with(mut event: Value, header: &str, value: &str) -> Value {
    event["headers"][header] = json!(value);
    event
}

/// A webhook of Calendly's in an HTTP event, signed now.
fn signed_by_calendly(place: &Place, mut event: Value, body: &str) -> Value {
    let key = Secret::new(&*place.env["CALENDLY_SIGNING_KEY"]);
    let signature = calendly::sign(body.as_bytes(), &key, place.platform.clock.now());
    event["body"] = json!(body);
    with(event, calendly::SIGNATURE_HEADER, &signature)
}

fn ring() -> Value {
    json!({"ring": true})
}

#[tokio::test]
async fn a_lead_goes_through_the_real_binaries_in_the_payload_format_of_every_platform() {
    let place = Place::new().await;
    let formats = ["rest-v1", "http-v2", "function-url", "netlify"];
    let lead = |number: usize| {
        (format!("6f1c2f5e-0b0a-4d3e-9a53-00000000000{number}"), format!("ana{number}@example.com"))
    };
    let mut intake = place.start("lead-submit").await;
    for (number, name) in formats.into_iter().enumerate() {
        let (id, email) = lead(number);
        let body = json!({
            "leadId": id, "name": "Ana Exemplo", "email": email, "phone": "(11) 98765-4321",
            "businessType": "consultoria", "monthlyRevenue": "10000-30000", "workHoursDaily": 10,
            "mainStruggle": name, "gaClientId": format!("123456789{number}.1680000000"),
            "consent": {"marketing": true, "analytics": true, "policyVersion": "2026-01"},
        });
        let response = intake.invoke(sample_event(name, &body), TIME_S).await.unwrap();
        assert_eq!(response["statusCode"], 200, "{name}: {response}");
        assert_eq!(body_of(&response)["leadId"], json!(id), "{name}");
    }

    let mut planned = BTreeMap::new();
    for number in 0..formats.len() {
        let id = LeadId::parse(&lead(number).0).unwrap();
        for delivery in place.store.journey(id).await.unwrap().unwrap().deliveries {
            *planned.entry(delivery.destination).or_default() += 1;
        }
    }
    // MailerLite has two messages of each lead. No other of these destinations gets anything of a form.
    let expected = [("crm", 4), ("mailerlite", 8), ("ga4", 4), ("segment", 4), ("meta", 4)];
    let of_known = planned.iter().filter(|(name, _)| is_known(name));
    let of_known: BTreeMap<&str, u32> =
        of_known.map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(of_known, expected.into());
    let drains = destination::ALL.iter().map(|one| async {
        let mut process = place.start(one.function).await;
        (one.name, process.invoke(ring(), TIME_S).await.unwrap())
    });
    for (name, response) in join_all(drains).await {
        let settled: u32 = planned.get(name).copied().unwrap_or_default();
        assert_eq!(response, json!({"settled": settled}), "{name}");
    }

    let ga4 = place.providers.ga4_events();
    let segment = place.providers.segment_messages();
    for (number, name) in formats.into_iter().enumerate() {
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

/// A server that notes which functions are rung, and responds at once.
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

/// Kills the function of a destination while its provider, which has acted, has not responded yet.
async fn kill_during_its_request(place: &Place, destination: &Destination) {
    let Destination { name, function, .. } = destination;
    // Contact2Sale gets the message after a CPF was looked up, which may be done again.
    let before = usize::from(*name == "c2s");
    place.providers.script(name, vec![Behaviour::Normal; before]);
    place.providers.behave(name, Behaviour::HangAfterEffect);
    let mut process = place.start(function).await;
    tokio::select! {
        _ = process.invoke(ring(), TIME_S) => panic!("{function} ended while {name} hung"),
        () = place.providers.until_received(name, before + 1) => {}
    }
    process.kill().await;
    let ended = process.invoke(ring(), TIME_S).await;
    assert!(matches!(&ended, Err(InvocationError::Ended { .. })), "{function}: {ended:?}");
    place.providers.behave(name, Behaviour::Normal);
}

/// Kills the function of every destination that has deliveries of a lead, and lets `dispatch` run
/// until they are settled. Returns the names of these destinations.
async fn kill_and_dispatch(
    place: &Place,
    lead_id: LeadId,
    rung: &Mutex<BTreeSet<String>>,
) -> BTreeSet<&'static str> {
    let planned = place.store.journey(lead_id).await.unwrap().unwrap().deliveries;
    let open = |one: &Destination| {
        planned.iter().any(|delivery| delivery.destination == one.name && delivery.state.is_open())
    };
    let mut killed = BTreeSet::new();
    for destination in destination::ALL.iter().filter(|one| open(one)) {
        kill_during_its_request(place, destination).await;
        killed.insert(destination.name);
    }
    place.providers.release_hung();

    let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
    let mut dispatch = place.start("dispatch").await;
    // While the leases last, `dispatch` does not do again what the killed functions had begun.
    for _ in 0..4 {
        dispatch.invoke(schedule.clone(), TIME_S).await.unwrap();
        place.run_rung(rung).await;
        place.end_leases(lead_id).await;
    }
    let soon = after(place.platform.clock.now(), 3600);
    let settled = place.store.journey(lead_id).await.unwrap().unwrap().deliveries;
    for delivery in settled.iter().filter(|one| one.due_at().is_none_or(|due_at| due_at < soon)) {
        let expected = match destination::find(&delivery.destination).unwrap().when_unknown {
            WhenUnknown::Never => StateKind::Delivered,
            WhenUnknown::Final | WhenUnknown::NeedsPerson => StateKind::Unknown,
        };
        assert_eq!(delivery.state.kind(), expected, "{delivery:?}");
    }
    killed
}

#[tokio::test]
async fn deliveries_of_functions_killed_during_a_request_are_settled_by_later_runs_of_dispatch() {
    let mut place = Place::new().await;
    let (url, rung) = doorbell().await;
    place.env.insert("DOORBELL_URL".to_owned(), url);
    let lead_id = LeadId::parse("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11").unwrap();
    let body = json!({
        "leadId": lead_id, "name": "Ana", "email": "ana@example.com", "phone": "(11) 98765-4321",
        "businessType": "consultoria",
        "consent": {"marketing": true, "analytics": true, "ads": true, "whatsapp": true},
    });
    let mut intake = place.start("lead-submit").await;
    let response = intake.invoke(sample_event("http-v2", &body), TIME_S).await.unwrap();
    assert_eq!(response["statusCode"], 200, "{response}");
    let mut killed = kill_and_dispatch(&place, lead_id, &rung).await;
    assert_eq!(place.providers.crm_contact_count(), 1);
    assert_eq!(place.providers.crm_triggers(&lead_id.to_string()).values().sum::<u32>(), 1);
    assert_eq!(place.providers.received("ga4").len(), 1, "it is never sent again");
    assert_eq!(place.providers.segment_messages().len(), 2);
    let mut groups: Vec<_> =
        place.providers.group_joins().into_iter().map(|join| join.group).collect();
    groups.sort();
    assert_eq!(groups, ["101", "102"]);

    // A booking reaches the destinations that a form does not.
    let rest = destination::ALL.iter().filter(|one| !killed.contains(one.name));
    place.env.insert("DESTINATIONS".to_owned(), list(rest));
    let booking = crate::calendly::created_through_link("INV1").to_string();
    let event = signed_by_calendly(&place, sample_event("http-v2", &Value::Null), &booking);
    let mut webhook = place.start("calendar-webhook").await;
    let response = webhook.invoke(event, TIME_S).await.unwrap();
    assert_eq!(response["statusCode"], 200, "{response}");
    killed.extend(kill_and_dispatch(&place, lead_id, &rung).await);
    assert_eq!(place.providers.meta_events().len(), 1, "Meta leaves out the repeated event");
    assert_eq!(place.providers.received("whatsapp").len(), 1, "it is never sent again");
    // A deal reaches those that a booking does not.
    let rest = destination::ALL.iter().filter(|one| !killed.contains(one.name));
    place.env.insert("DESTINATIONS".to_owned(), list(rest));
    let deal = json!({"data": {"dealId": "D1", "dealDetails": {"status": "Committed"},
        "customer": {"contactId": "C1", "email": "ana@example.com"}}});
    let mut event = sample_event("http-v2", &deal);
    event["rawPath"] = json!("/deal-webhook");
    event["requestContext"]["http"]["path"] = json!("/deal-webhook");
    event["headers"]["x-api-key"] = json!(place.env["DEAL_API_KEY"]);
    let mut webhook = place.start("deal-webhook").await;
    let response = webhook.invoke(event, TIME_S).await.unwrap();
    assert_eq!(response["statusCode"], 200, "{response}");
    killed.extend(kill_and_dispatch(&place, lead_id, &rung).await);
    assert_eq!(place.providers.received("brevo").len(), 1, "it is never sent again");
    // A lead of a CRM reaches those that a deal does not.
    let rest = destination::ALL.iter().filter(|one| !killed.contains(one.name));
    place.env.insert("DESTINATIONS".to_owned(), list(rest));
    let crm_lead = json!({"id": "c1", "hook_action": "on_create_lead", "attributes": {
        "updated_at": "2026-01-02T03:04:05Z",
        "customer": {
            "name": "Ana Exemplo", "email": "ana@example.com", "cpf": "529.982.247-25"}}});
    let (name, cpf) = ("ANA EXEMPLO".to_owned(), "52998224725".to_owned());
    place.providers.know_person(Person { name, phone: String::new(), email: String::new(), cpf });
    let mut event = sample_event("http-v2", &crm_lead);
    event["headers"]["x-webhook-token"] = json!(place.env["C2S_WEBHOOK_SECRET"]);
    let mut webhook = place.start("c2s-webhook").await;
    let response = webhook.invoke(event, TIME_S).await.unwrap();
    assert_eq!(response["statusCode"], 200, "{response}");
    killed.extend(kill_and_dispatch(&place, lead_id, &rung).await);
    assert_eq!(place.providers.received("c2s").len(), 2, "it is never sent again");
    // What pages report of visits is sent again or given up like any event; `faults` has it.
    let of_leads = destination::ALL.iter().filter(|one| one.whose == Whose::Leads);
    assert_eq!(
        killed,
        of_leads.map(|one| one.name).collect(),
        "a destination that no form, booking, deal or CRM's lead reaches needs its event"
    );
}

#[tokio::test]
async fn a_function_that_takes_longer_than_its_limit_is_killed() {
    let place = Place::new().await;
    let mut process = place.start("crm-sync").await;
    let late = process.invoke(ring(), 0).await;
    assert_eq!(late, Err(InvocationError::TimedOut { time_s: 0 }));
    let ended = process.invoke(ring(), TIME_S).await.unwrap_err().to_string();
    assert!(ended.contains("signal: 9"), "{ended}");
}

#[tokio::test]
async fn a_binary_started_by_hand_says_how_to_run_it() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    for function in functions() {
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
async fn one_event_gets_the_response_of_a_process_of_its_own() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut env = environment(CLOSED, "funil", nowhere);
    env.insert("LOG_LEVEL".to_owned(), "error".to_owned());
    let preflight = sample_event("options-preflight-v2", &Value::Null);
    let response = funil_dev::cli::invoke("lead-submit", preflight, env).await.unwrap();
    assert_eq!(response["statusCode"], 204, "{response}");

    let error = funil_dev::cli::invoke("lead-submit", json!({}), []).await.unwrap_err().to_string();
    assert!(error.starts_with("the function ended before it responded (exit status: 1"), "{error}");
    for name in ["fax-sync", "../lead-submit", ""] {
        let error = funil_dev::cli::invoke(name, json!({}), []).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("there is no {name} in /")), "{error}");
    }
}
