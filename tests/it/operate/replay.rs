//! What a person does with deliveries that ended: list, replay and settle them.

mod backfill;

use std::net::IpAddr;
use std::time::Duration;

use clap::Parser;
use funil_core::clock::after;
use funil_core::delivery::StateKind;
use funil_core::event::{Operator, Verdict};
use funil_core::id::DeliveryName;
use funil_dev::cli::backfill::BackfillArguments;
use funil_dev::cli::dead::{self, DeadCommand};
use funil_dev::cli::journey;
use funil_dev::server::front_door;
use funil_dev::simulated::Behaviour;
use funil_lambda::operate::replay::{self as decided, Judged};
use http::{HeaderMap, HeaderValue, Method};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::world::{CALLER, Deployment, EMAIL, Plan, SERVICE_TOKEN, World, lead, lead_body};

/// The command line, as far as it is about deliveries.
#[derive(Parser)]
enum CommandLine {
    /// `funil dead`
    #[command(subcommand)]
    Dead(DeadCommand),
    /// `funil backfill`
    Backfill(BackfillArguments),
}

/// A world with one destination.
fn only(destination: &str) -> Plan {
    World::plan().with("DESTINATIONS", destination)
}

/// Runs `funil dead …`; returns what it printed.
async fn dead(world: &World, arguments: &str) -> Result<String, String> {
    let words = ["funil", "dead"].into_iter().chain(arguments.split_whitespace());
    let CommandLine::Dead(command) = CommandLine::try_parse_from(words).unwrap() else {
        panic!("another command")
    };
    let mut out = Vec::new();
    let done = dead::run(command, &world.store, world.platform(), &mut out).await;
    done.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

/// Sends `POST /replay`.
async fn post(world: &Deployment, token: &str, body: &Value) -> (u16, Value) {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    let body = body.to_string();
    let caller: IpAddr = CALLER.parse().unwrap();
    let path = "/.netlify/functions/dispatch/replay";
    let event = front_door::event(&Method::POST, path, "", &headers, body.as_bytes(), caller);
    let (status, _, body) = front_door::response(&world.invoke("dispatch", event).await);
    (status.as_u16(), serde_json::from_slice(&body).unwrap())
}

async fn replay(world: &World, body: &Value) -> Value {
    let (status, response) = post(world, SERVICE_TOKEN, body).await;
    assert_eq!(status, 200, "{response}");
    response
}

/// The name of the lead's delivery to a destination.
async fn name(world: &World, destination: &str) -> DeliveryName {
    let delivery = world.delivery(lead(), destination).await;
    DeliveryName { lead_id: lead(), delivery_id: delivery.id }
}

/// The decisions in the lead's journey: the type, why the delivery had ended, and who decided.
async fn decisions(world: &World) -> Vec<(String, Value, Value)> {
    let shown = journey::to_json(&world.journey(lead()).await);
    let entries = shown["entries"].as_array().unwrap().iter();
    entries
        .filter(|entry| entry["decision"].is_object())
        .map(|entry| {
            let (decision, kind) = (&entry["decision"], entry["type"].as_str().unwrap());
            (kind.to_owned(), decision["was"].clone(), decision["by"].clone())
        })
        .collect()
}

/// The form of another person.
fn another(number: usize) -> Value {
    let mut body = lead_body();
    body["leadId"] = json!(format!("6f1c2f5e-0b0a-4d3e-9a53-{number:012x}"));
    body["email"] = json!(format!("ana{number}@example.com"));
    body["phone"] = Value::Null;
    body
}

#[tokio::test]
async fn a_range_that_ends_before_it_begins_has_nothing() {
    let world = World::new().await;
    let early = "1960-01-01T00:00:00Z";
    for range in [
        json!({"since": "2031-05-06T00:00:00Z", "until": "2031-05-05T00:00:00Z"}),
        json!({"until": early}),
        json!({"since": early, "until": early}),
        json!({"since": "-000100-01-01T00:00:00Z", "until": "-000050-01-01T00:00:00Z"}),
        json!({"since": "-000100-01-01T00:00:00Z"}),
    ] {
        let response = post(&world, SERVICE_TOKEN, &range).await;
        let expected = json!({"dryRun": true, "deliveries": [], "more": false});
        assert_eq!(response, (200, expected), "{range}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_replay_after_a_long_outage_delivers_once_and_under_the_same_id() {
    for (destination, requests) in [("crm", 2), ("segment", 1)] {
        let world = only(destination).start().await;
        world.looks_at(destination);
        world.providers.behave(destination, Behaviour::Status(500));
        world.submit(&lead_body()).await;
        world.advance(SignedDuration::from_hours(30 * 24)).await;
        let before = world.delivery(lead(), destination).await;
        assert_eq!(before.state.kind(), StateKind::Dead);
        let dry = dead(&world, "replay").await.unwrap();
        assert!(dry.contains("1 found: 1 safe, 0 would duplicate, 0 too late."), "{dry}");
        assert!(dry.contains("Dry run"), "{dry}");
        assert_eq!(world.delivery(lead(), destination).await, before, "a dry run changes nothing");
        assert_eq!(decisions(&world).await, []);

        world.providers.behave(destination, Behaviour::Normal);
        let failed = world.requests(destination).len();
        let done = dead(&world, "replay --yes").await.unwrap();
        assert!(done.contains("1 replayed."), "{done}");
        let revived = world.delivery(lead(), destination).await;
        assert_eq!((revived.state.kind(), revived.attempts), (StateKind::Pending, 0));
        assert_eq!(revived.deadline, after(world.now(), 14 * 24 * 3600));
        world.drain().await;
        let now = world.delivery(lead(), destination).await;
        assert_eq!((now.id, now.state.kind()), (before.id, StateKind::Delivered));
        assert_eq!(world.requests(destination).len(), failed + requests);
        let expected = ("delivery_replayed".to_owned(), json!("deadline_passed"), json!("cli"));
        assert_eq!(decisions(&world).await, [expected]);
        let text = journey::to_text(&world.journey(lead()).await);
        assert!(text.contains("was deadline_passed, by cli"), "{text}");
        assert_eq!(dead(&world, "list").await.unwrap(), "Nothing waits for a person.\n");
        world.finish().await;
    }
}

#[tokio::test]
async fn an_effect_before_a_delivery_died_is_not_doubled_by_a_replay() {
    for (destination, requests) in [("crm", 2), ("mailerlite", 2), ("segment", 1)] {
        let world = only(destination).impatient().start().await;
        world.looks_at(destination);
        // Everything arrives, but the response to the last request is lost. The next one is refused.
        let deliveries = if destination == "mailerlite" { 2 } else { 1 };
        for _ in 0..deliveries {
            world.providers.script(destination, vec![Behaviour::Normal; requests - 1]);
            world.providers.script(destination, [Behaviour::CloseAfterEffect]);
        }
        world.submit(&lead_body()).await;
        world.drain().await;
        world.providers.behave(destination, Behaviour::Status(400));
        world.advance(SignedDuration::from_mins(2)).await;
        for state in world.states(lead()).await {
            assert!(state.ends_with("dead http_400"), "{state}");
        }
        world.providers.behave(destination, Behaviour::Normal);
        let response = replay(&world, &json!({"dryRun": false, "destination": destination})).await;
        assert_eq!(response["deliveries"].as_array().unwrap().len(), deliveries);
        for one in response["deliveries"].as_array().unwrap() {
            assert_eq!((&one["safety"], &one["replayed"]), (&json!("safe"), &json!(true)));
        }
        world.drain().await;
        for state in world.states(lead()).await {
            assert!(state.ends_with("delivered"), "{state}");
        }
        match destination {
            "crm" => {
                assert_eq!(world.providers.crm_contact_count(), 1);
                let triggers = world.providers.crm_triggers(crate::world::LEAD);
                assert!(triggers.values().all(|count| *count == 1), "{triggers:?}");
            }
            "segment" => assert_eq!(world.providers.segment_messages().len(), 2),
            _ => {
                let joins = world.providers.group_joins();
                let mut joined: Vec<_> = joins.iter().map(|join| &join.group).collect();
                joined.sort();
                assert_eq!(joined, ["101", "102"], "each automation started once");
            }
        }
        world.finish().await;
    }
}

#[tokio::test]
async fn dead_deliveries_are_listed_by_destination_reason_and_time_beyond_a_page() {
    let world = World::plan().with("DESTINATIONS", "crm,segment").start().await;
    world.looks_at("crm");
    world.looks_at("segment");
    world.providers.behave("crm", Behaviour::Status(400));
    world.providers.behave("segment", Behaviour::Status(413));
    let mut middle = world.now();
    for number in 1..=60 {
        let ip = format!("203.0.113.{number}");
        assert_eq!(world.submit_from(&ip, &another(number)).await.status, 200);
        if number == 30 {
            world.drain().await;
            world.pass(3600);
            middle = world.now();
        }
    }
    world.drain().await;
    let lines = async |arguments: &str| {
        let printed = dead(&world, arguments).await.unwrap();
        printed.lines().filter(|line| line.starts_with("6f1c2f5e")).count()
    };
    assert_eq!(lines("list").await, 100, "the default limit");
    assert_eq!(lines("list --limit 1000").await, 120);
    assert_eq!(lines("list --limit 60 --destination crm").await, 60);
    assert_eq!(lines("list --limit 1000 --reason http_413").await, 60);
    assert_eq!(lines(&format!("list --destination crm --since {middle}")).await, 30);
    let earlier = after(middle, -1);
    assert_eq!(lines(&format!("list --destination crm --until {earlier}")).await, 30);
    assert_eq!(lines("list --reason http_500").await, 0);
    let first = dead(&world, "list --limit 1").await.unwrap();
    assert!(first.contains("There are more"), "{first}");
    assert!(first.contains("crm/lead"), "{first}");

    let response = replay(&world, &json!({"limit": 70})).await;
    assert_eq!(response["deliveries"].as_array().unwrap().len(), 70);
    assert_eq!((&response["more"], &response["dryRun"]), (&json!(true), &json!(true)));
    let response = replay(&world, &json!({"limit": 60, "reason": "http_413"})).await;
    assert_eq!(response["more"], json!(false));
    assert!(!response.to_string().contains("@example.com"));

    world.providers.behave("crm", Behaviour::Normal);
    let done = dead(&world, "replay --yes --destination crm --per-second 1000").await.unwrap();
    assert!(done.contains("60 replayed."), "{done}");
    world.drain().await;
    assert_eq!(lines("list --limit 1000").await, 60);
    world.finish().await;
}

#[tokio::test]
async fn ga4_that_may_have_been_sent_needs_permission_and_is_refused_after_72_hours() {
    for (hours, safety) in [(1, "would_duplicate"), (72, "too_late")] {
        let world = only("ga4").impatient().start().await;
        let again = usize::from(safety == "would_duplicate");
        world.expect_requests("ga4", 1 + again);
        world.providers.script("ga4", [Behaviour::HangAfterEffect]);
        let start = world.now();
        world.submit(&lead_body()).await;
        world.drain().await;
        assert_eq!(world.states(lead()).await, ["ga4/event unknown timeout"]);
        world.pass(hours * 3600);
        let name = name(&world, "ga4").await.to_string();
        let mut body = json!({"deliveries": [name], "dryRun": false});
        let response = replay(&world, &body).await;
        assert_eq!(response["deliveries"][0]["safety"], json!(safety));
        assert_eq!(response["deliveries"][0]["replayed"], json!(false));
        assert!(response["deliveries"][0]["why"].is_string());
        let shown = dead(&world, &format!("replay {name}")).await.unwrap();
        assert!(shown.contains(safety), "{shown}");
        let done = dead(&world, &format!("replay {name} --yes")).await.unwrap();
        assert!(done.contains("0 replayed."), "{done}");

        body["evenDuplicates"] = json!(true);
        let response = replay(&world, &body).await;
        assert_eq!(response["deliveries"][0]["replayed"], json!(again == 1));
        if again == 1 {
            let revived = world.delivery(lead(), "ga4").await;
            assert_eq!(
                revived.deadline,
                after(start, 72 * 3600),
                "never later than GA4 takes events"
            );
            world.drain().await;
            assert_eq!(world.states(lead()).await, ["ga4/event delivered"]);
            let expected = ("delivery_replayed".to_owned(), json!("timeout"), json!("http"));
            assert_eq!(decisions(&world).await, [expected]);
        }
        world.finish().await;
    }
}

#[tokio::test]
async fn a_replay_revives_no_more_a_second_than_it_was_asked_to() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 5);
    world.providers.behave("crm", Behaviour::Status(400));
    for number in 1..=5 {
        let ip = format!("203.0.113.{number}");
        assert_eq!(world.submit_from(&ip, &another(number)).await.status, 200);
    }
    world.drain().await;
    let begun = Instant::now();
    let done = dead(&world, "replay --yes --per-second 20").await.unwrap();
    assert!(done.contains("5 replayed."), "{done}");
    assert!(begun.elapsed() >= Duration::from_millis(4 * 50), "{:?}", begun.elapsed());
    world.providers.behave("crm", Behaviour::Normal);
    world.expect_requests("crm", 5 + 2 * 5);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn two_replays_at_once_revive_once() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 1 + 2);
    world.providers.script("crm", [Behaviour::Status(400)]);
    world.submit(&lead_body()).await;
    world.drain().await;
    let body = json!({"dryRun": false});
    let both = futures::join!(replay(&world, &body), replay(&world, &body));
    let replayed = [&both.0, &both.1]
        .into_iter()
        .filter(|response| response["deliveries"][0]["replayed"] == json!(true));
    assert_eq!(replayed.count(), 1, "{both:?}");
    assert_eq!(decisions(&world).await.len(), 1);
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
    let name = name(&world, "crm").await.to_string();
    let again = replay(&world, &json!({"dryRun": false, "deliveries": [name]})).await;
    assert_eq!(again["deliveries"], json!([]), "what was delivered needs no person");
    world.finish().await;
}

#[tokio::test]
async fn a_decision_about_an_earlier_death_or_state_is_refused() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 2);
    world.providers.behave("crm", Behaviour::Status(400));
    world.submit(&lead_body()).await;
    world.drain().await;
    let name = name(&world, "crm").await;
    let look = async || world.store.delivery_named(name).await.unwrap().unwrap();
    let first = Judged::new(look().await, world.now());
    let (store, platform, by) = (&world.store, world.platform(), Operator::Cli);
    assert!(decided::replay(store, platform, &first, false, by).await.unwrap());
    world.pass(60);
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["crm/lead dead http_400"]);
    assert!(!decided::replay(store, platform, &first, false, by).await.unwrap(), "it died again");
    // At one instant, so that only the state tells them apart.
    let second = look().await;
    for settled in [true, false] {
        let done = decided::settle(store, platform, &second, Verdict::Skipped, by).await.unwrap();
        assert_eq!(done, settled);
    }
    assert_eq!(decisions(&world).await.len(), 2);
    world.finish().await;
}

#[tokio::test]
async fn a_request_without_the_token_or_with_wrong_fields_changes_nothing() {
    let world = World::new().await;
    let (status, response) = post(&world, "another-token-altogether", &json!({})).await;
    assert_eq!((status, &response["code"]), (401, &json!("unauthorized")));
    let body = json!({
        "destination": "fax", "since": "yesterday", "until": 5, "limit": 501,
        "deliveries": ["x"], "dryRun": "perhaps", "reasn": "http_400",
    });
    let (status, response) = post(&world, SERVICE_TOKEN, &body).await;
    assert_eq!(status, 422, "{response}");
    let mut faults: Vec<_> = response["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| format!("{} {}", error["field"], error["code"]).replace('"', ""))
        .collect();
    faults.sort();
    assert_eq!(
        faults,
        [
            "deliveries.0 invalid_delivery",
            "destination unknown_choice",
            "dryRun wrong_type",
            "limit out_of_range",
            "reasn unexpected_field",
            "since invalid_time",
            "until wrong_type",
        ]
    );
    assert_eq!(post(&world, SERVICE_TOKEN, &json!([])).await.0, 400);
    world.finish().await;
}

#[tokio::test]
async fn a_person_looks_at_a_dead_delivery_and_settles_it() {
    for (word, state) in [("delivered", StateKind::Delivered), ("skipped", StateKind::Skipped)] {
        let world = only("crm").start().await;
        world.expect_requests("crm", 1);
        world.providers.script("crm", [Behaviour::Status(400)]);
        world.submit(&lead_body()).await;
        world.drain().await;
        let name = name(&world, "crm").await;
        let shown = dead(&world, &format!("show {name}")).await.unwrap();
        for part in ["state        dead", "reason       http_400", "replay       safe", "rejected"]
        {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(!shown.contains(EMAIL), "{shown}");
        let settle = format!("settle {name} --as {word}");
        let done = dead(&world, &settle).await.unwrap();
        assert_eq!(done, format!("{name} is settled as {word}.\n"));
        let settled = world.delivery(lead(), "crm").await;
        assert_eq!(
            (settled.state.kind(), settled.reason_text().as_deref()),
            (state, Some("by_person"))
        );
        assert_eq!(dead(&world, "list").await.unwrap(), "Nothing waits for a person.\n");
        assert!(dead(&world, &settle).await.is_err(), "it is settled");
        let expected = ("delivery_settled".to_owned(), json!("http_400"), json!("cli"));
        assert_eq!(decisions(&world).await, [expected]);
        world.finish().await;
    }
}

#[tokio::test]
async fn a_delivered_delivery_is_never_replayed() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 2);
    world.submit(&lead_body()).await;
    world.drain().await;
    let ended = world.store.delivery_named(name(&world, "crm").await).await.unwrap().unwrap();
    let judged = Judged::new(ended, world.now());
    let by = Operator::Cli;
    assert!(!decided::replay(&world.store, world.platform(), &judged, true, by).await.unwrap());
    assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn another_hash_key_replays_nothing() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 1);
    world.providers.script("crm", [Behaviour::Status(400)]);
    world.submit(&lead_body()).await;
    world.drain().await;
    let wrong = world.deployment(&[("HASH_KEY", "another-key-of-16-and-more")]);
    let (status, _) = post(&wrong, SERVICE_TOKEN, &json!({"dryRun": false})).await;
    assert_eq!(status, 503);
    assert_eq!(world.states(lead()).await, ["crm/lead dead http_400"]);
    world.finish().await;
}
