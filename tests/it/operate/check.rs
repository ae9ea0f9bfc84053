//! The authorised check of each function: what it says of itself, to whom, and that it changes nothing.

use funil_core::check::{Finding, Report, Verdict};
use funil_core::destination;
use funil_dev::functions;
use funil_dev::simulated::Behaviour;
use http::Method;
use serde_json::{Value, json};

use crate::world::{Deployment, SERVICE_TOKEN, World, all_destinations, lead_body};

/// The functions that are read and take no POST.
const READ: [&str; 2] = ["health", "metrics"];

fn check() -> Value {
    json!({"check": true})
}

/// The functions that take a check.
fn checked() -> impl Iterator<Item = &'static str> {
    let all = functions::makes(funil_delivery::REQUEST_TIMEOUT).into_iter().map(|(name, _)| name);
    all.filter(|name| !READ.contains(name))
}

async fn findings(deployment: &Deployment, function: &str) -> Vec<Finding> {
    let response = deployment.authorised(function, &check()).await;
    assert_eq!(response.status, 200, "{function}: {response:?}");
    let report: Report = serde_json::from_value(response.json()).unwrap();
    assert_eq!(report.function, function);
    // The clock of the tests is years ahead of the real one, by which the fake providers respond; and
    // the doorbell of this world leads nowhere, which a dev server's does not.
    let of_world = |finding: &Finding| !["clock", "rings"].contains(&&*finding.subject);
    report.findings.into_iter().filter(of_world).collect()
}

fn worst(findings: &[Finding]) -> Verdict {
    findings.iter().map(|finding| finding.verdict).max().unwrap()
}

#[tokio::test]
async fn every_function_checks_itself_and_changes_nothing() {
    let world = World::plan().with("DESTINATIONS", &all_destinations()).start().await;
    world.looks_at_destinations();
    let deployment = world.deployment(&[]);
    deployment.submit(&lead_body()).await;
    let before = world.ask_table("Scan", json!({})).await["Count"].clone();
    for function in checked() {
        let found = findings(&deployment, function).await;
        assert!(worst(&found) < Verdict::Failed, "{function}: {found:?}");
        let direct = deployment.invoke(function, check()).await;
        assert_eq!(direct["function"], function, "who may invoke it directly may check it too");
    }
    for destination in destination::ALL {
        let effects = world.requests(destination.name);
        let harmless = |line: &String| {
            line.starts_with("GET ")
                || ["/batch", "/debug/mp/collect", "/events"].iter().any(|end| line.contains(end))
        };
        assert!(effects.iter().all(harmless), "{effects:?}");
    }
    assert_eq!(world.providers.segment_messages(), Vec::<Value>::new());
    assert_eq!(world.providers.meta_events(), Vec::<Value>::new());
    let after = world.ask_table("Scan", json!({})).await["Count"].clone();
    assert_eq!(after, before, "no item is new");
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn only_the_service_token_gets_a_check() {
    let world = World::new().await;
    let deployment = world.deployment(&[]);
    for function in checked() {
        let body = check().to_string();
        let json = ("content-type", "application/json");
        let response = deployment.send(function, Method::POST, &[json], body.as_bytes()).await;
        assert!(
            [400, 401, 422].contains(&response.status),
            "{function} takes it for what it takes without a token: {response:?}"
        );
        let response = deployment.authorised_as("not-the-token", function, &check()).await;
        assert_eq!(response.status, 401, "{function}");
        for near in [json!({"check": false}), json!({"check": true, "email": "a@example.com"})] {
            let response = deployment.authorised(function, &near).await;
            let text = String::from_utf8_lossy(&response.body).into_owned();
            assert!(!text.contains("findings"), "{function} {near}: {text}");
        }
    }
    let token = format!("Bearer {SERVICE_TOKEN}");
    for function in READ {
        let headers = [("content-type", "application/json"), ("authorization", &*token)];
        let body = check().to_string();
        let response = deployment.send(function, Method::POST, &headers, body.as_bytes()).await;
        assert_eq!(response.status, 405, "{function} is read");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_provider_that_refuses_hangs_or_babbles_is_reported_and_not_taken_for_well() {
    let world = World::plan()
        .with("DESTINATIONS", &all_destinations())
        .with("CRM_KIND", "contacts")
        .impatient()
        .start()
        .await;
    world.looks_at_destinations();
    let deployment = world.deployment(&[]);
    let rows = [
        (Behaviour::Status(401), Verdict::Failed),
        (Behaviour::Status(500), Verdict::Warning),
        (Behaviour::CloseConnection, Verdict::Failed),
        (Behaviour::Hang, Verdict::Failed),
    ];
    for destination in destination::ALL {
        for (behaviour, expected) in &rows {
            world.providers.behave(destination.provider, behaviour.clone());
            let found = findings(&deployment, destination.function).await;
            let of_account: Vec<&Finding> = found.iter().filter(|one| !of_funil(one)).collect();
            let verdict = of_account.iter().map(|one| one.verdict).max().unwrap();
            assert_eq!(verdict, *expected, "{} {behaviour:?}: {of_account:?}", destination.name);
            assert!(of_account.iter().all(|one| one.verdict != Verdict::Ok), "{of_account:?}");
            world.providers.behave(destination.provider, Behaviour::Normal);
        }
        world.providers.behave(destination.provider, Behaviour::Garbage);
        let found = findings(&deployment, destination.function).await;
        // Segment says nothing that could be read.
        let reads = destination.name != "segment";
        assert!(!reads || worst(&found) == Verdict::Failed, "{}: {found:?}", destination.name);
        world.providers.behave(destination.provider, Behaviour::Normal);
    }
    world.finish().await;
}

/// Whether a finding is about what is ours.
fn of_funil(finding: &Finding) -> bool {
    ["configuration", "table", "index due"].contains(&&*finding.subject)
}

#[tokio::test]
async fn what_an_account_lacks_is_named() {
    let world = World::plan().with("DESTINATIONS", &all_destinations()).start().await;
    world.looks_at_destinations();
    let rows = [
        (
            "mailerlite-sync",
            "MAILERLITE_GROUPS",
            r#"{"questionnaire":"101","marketing":"999"}"#,
            "the ids of marketing",
        ),
        (
            "mailerlite-sync",
            "MAILERLITE_FIELDS",
            r#"{"call_date":"data_da_chamada"}"#,
            "lacks data_da_chamada",
        ),
        ("ga4-events", "GA4_MEASUREMENT_ID", "1234567", "no measurement id"),
        (
            "whatsapp-automation",
            "WHATSAPP_TEMPLATES",
            r#"{"welcome":"bem_vinda"}"#,
            "no template bem_vinda",
        ),
        (
            "whatsapp-automation",
            "WHATSAPP_TEMPLATES",
            r#"{"welcome":"call_reminder_24h"}"#,
            "2 variables, and the message fills 3",
        ),
        ("whatsapp-automation", "WHATSAPP_LANGUAGE", "pt_PT", "not in pt_PT"),
    ];
    for (function, variable, value, expected) in rows {
        let found = findings(&world.deployment(&[(variable, value)]), function).await;
        let failed: Vec<&Finding> =
            found.iter().filter(|one| one.verdict == Verdict::Failed).collect();
        assert!(failed.iter().any(|one| one.says.contains(expected)), "{variable}: {found:?}");
    }
    let off = findings(&world.deployment(&[("DESTINATIONS", "crm")]), "ga4-events").await;
    assert!(off.iter().any(|one| one.says.contains("not in DESTINATIONS")), "{off:?}");
    let test = [("META_TEST_EVENT_CODE", "TEST1")];
    let found = findings(&world.deployment(&test), "meta-events").await;
    assert_eq!(worst(&found), Verdict::Warning, "{found:?}");
    world.finish().await;
}

#[tokio::test]
async fn a_table_that_is_away_or_of_another_key_is_reported() {
    let world = World::new().await;
    for (variable, value, expected) in [
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1", "no connection"),
        ("HASH_KEY", "another-hash-key-of-the-tests", "HASH_KEY is not the key"),
        ("TABLE_NAME", "no-such-table", "TABLE_NAME"),
    ] {
        let deployment = world.deployment(&[(variable, value)]);
        if variable != "HASH_KEY" {
            let found = findings(&deployment, "lead-submit").await;
            assert!(found.iter().any(|one| one.says.contains(expected)), "{variable}: {found:?}");
        }
        let found = findings(&deployment, "crm-sync").await;
        assert_eq!(worst(&found), Verdict::Failed);
        assert!(found.iter().any(|one| one.says.contains(expected)), "{variable}: {found:?}");
    }
    world.finish().await;
}
