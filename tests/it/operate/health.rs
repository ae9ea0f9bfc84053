//! What monitors see: whether the system works, the state of each destination, and the gauges.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use funil_core::clock::after;
use funil_core::destination::{self, Destination};
use funil_dev::simulated::Behaviour;
use http::Method;
use serde_json::{Value, json};

use crate::world::{Deployment, Response, SERVICE_TOKEN, World, lead, lead_body};

/// An address without a server.
const CLOSED: (&str, &str) = ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1");
const OTHER_KEY: (&str, &str) = ("HASH_KEY", "another-hash-key-of-the-tests");

async fn get(deployment: &Deployment, function: &str) -> Response {
    deployment.send(function, Method::GET, &[], b"").await
}

async fn get_as(deployment: &Deployment, function: &str, token: &str) -> Response {
    let token = format!("Bearer {token}");
    deployment.send(function, Method::GET, &[("authorization", &*token)], b"").await
}

async fn get_authorised(deployment: &Deployment, function: &str) -> Response {
    get_as(deployment, function, SERVICE_TOKEN).await
}

/// A gauge: its name, its help, and the destinations whose value is not 0.
type Gauge = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The gauges of a [`troubled`] world.
const GAUGES: [Gauge; 5] = [
    (
        "funil_pending_deliveries",
        "Deliveries still to be settled, due or not. Counted up to 1000.",
        &[("mailerlite", "2"), ("ga4", "1")],
    ),
    (
        "funil_dead_deliveries",
        "Deliveries that wait for a person. Counted up to 1000.",
        &[("crm", "1")],
    ),
    (
        "funil_oldest_due_age_seconds",
        "For how long the oldest due delivery has been due. 0 where nothing is due.",
        &[("mailerlite", "90"), ("ga4", "8?")],
    ),
    (
        "funil_breaker_open",
        "1 while the breaker is open or probing: at most one delivery is sent, to see.",
        &[("mailerlite", "1")],
    ),
    (
        "funil_destination_enabled",
        "1 where the destination is listed in DESTINATIONS.",
        &[("crm", "1"), ("mailerlite", "1"), ("ga4", "1")],
    ),
];
/// The gauge of the sources of requests, which are no destinations. The landing page's form has a
/// request in quarantine.
fn quarantined() -> String {
    let name = "funil_quarantined_calls";
    let mut text = format!(
        "# HELP {name} Calls kept aside for a person. Counted up to 100.\n# TYPE {name} gauge\n"
    );
    for registration in funil_lambda::functions::intake() {
        let Some(source) = registration.quarantine_source else { continue };
        let count = usize::from(source == "lead-submit");
        writeln!(text, "{name}{{source=\"{source}\"}} {count}").unwrap();
    }
    text
}

/// What Prometheus reads in a [`troubled`] world: each gauge with every destination.
fn gauges() -> String {
    let mut text = String::new();
    for (name, help, values) in GAUGES {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge").unwrap();
        for Destination { name: destination, .. } in destination::ALL {
            let value = values.iter().find(|(of, _)| of == destination);
            let value = value.map_or("0", |(_, value)| value);
            writeln!(text, "{name}{{destination=\"{destination}\"}} {value}").unwrap();
        }
    }
    text + &quarantined() + COUNTERS
}

/// What the processes counted until the table was [`troubled`] and a robot's form came, of all that was
/// written by then.
const COUNTERS: &str = "\
# HELP funil_requests_total HTTP requests received, and of these the duplicates and those refused with a problem. Each process adds its own once a minute.
# TYPE funil_requests_total counter
funil_requests_total{function=\"lead-submit\",counted=\"received\"} 2
# HELP funil_settled_deliveries_total Deliveries that a try or the housekeeping settled, by outcome. Each process adds its own once a minute.
# TYPE funil_settled_deliveries_total counter
funil_settled_deliveries_total{destination=\"crm\",outcome=\"rejected\"} 1
funil_settled_deliveries_total{destination=\"ga4\",outcome=\"retry\"} 1
funil_settled_deliveries_total{destination=\"mailerlite\",outcome=\"blocked\"} 1
# HELP funil_page_events_total Events that pages reported: kept, dropped for a reason, and values left out as personal. Each process adds its own once a minute.
# TYPE funil_page_events_total counter
";

/// What the response says about a destination.
fn reported<'b>(body: &'b Value, name: &str) -> &'b Value {
    let all = body["destinations"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap()
}

/// A world with a dead delivery (CRM), an open breaker (MailerLite), an overdue delivery (GA4), and
/// a destination that is off (Segment). 90 s have passed.
async fn troubled() -> World {
    let world = World::plan().with("DESTINATIONS", "crm,mailerlite,ga4").start().await;
    world.providers.behave("crm", Behaviour::Status(422));
    world.providers.behave("mailerlite", Behaviour::Status(401));
    world.providers.behave("ga4", Behaviour::Status(503));
    world.submit(&lead_body()).await;
    world.drain().await;
    world.pass(90);
    for provider in ["crm", "mailerlite", "ga4"] {
        world.looks_at(provider);
    }
    world
}

#[tokio::test]
async fn everybody_sees_liveness_and_nothing_else() {
    let world = World::new().await;
    let response = get(&world, "health").await;
    assert_eq!((response.status, response.json()), (200, json!({"status": "ok"})));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let response = world.send("health", Method::HEAD, &[], b"").await;
    assert_eq!((response.status, response.body.len()), (200, 0));
    for function in ["health", "metrics"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let response = world.send(function, method, &[], b"").await;
            assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")));
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn a_broken_deployment_says_so_and_says_why_to_authorised_callers() {
    let world = World::new().await;
    for (variable, sentence) in [
        (CLOSED, "the table did not respond to GetItem: no connection"),
        (OTHER_KEY, "HASH_KEY is not the key this table was made with"),
        (("TABLE_NAME", "gone"), "the table refused GetItem: ResourceNotFoundException"),
    ] {
        let broken = world.deployment(&[variable]);
        // A process checks again each time.
        for _ in 0..2 {
            let response = get(&broken, "health").await;
            assert_eq!((response.status, response.json()), (503, json!({"status": "unavailable"})));
        }
        let response = get_authorised(&broken, "health").await;
        assert_eq!(response.status, 503);
        let body = response.json();
        assert_eq!((&body["status"], &body["table"]["ok"]), (&json!("unavailable"), &json!(false)));
        let error = body["table"]["error"].as_str().unwrap();
        // The queries run at once, and any of them may fail first.
        assert!(
            error.starts_with(sentence) || error.starts_with(&sentence.replace("GetItem", "Query")),
            "{error}"
        );
        let response = get_authorised(&broken, "metrics").await;
        assert_eq!((response.status, &response.json()["code"]), (503, &json!("unavailable")));
        assert_eq!(response.header("retry-after"), Some("5"));
    }
    world.finish().await;
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let world = World::new().await;
    for function in ["health", "metrics"] {
        let response = get_as(&world, function, "another-token-altogether").await;
        assert_eq!(response.status, 401, "{function}");
    }
    assert_eq!(get(&world, "metrics").await.status, 401);
    world.finish().await;
}

#[tokio::test]
async fn the_detail_shows_the_state_of_each_destination() {
    let world = troubled().await;
    let received = world.providers.all_received().len();
    let (start, now) = (after(world.now(), -90), world.now());
    let response = get_authorised(&world, "health").await;
    assert_eq!(response.status, 200);
    let body = response.json();
    assert_eq!((&body["status"], &body["table"]), (&json!("ok"), &json!({"ok": true})));
    let counted = |count: u32| json!({"count": count, "orMore": false});
    assert_eq!(
        *reported(&body, "crm"),
        json!({
            "name": "crm", "enabled": true, "breaker": {"state": "closed"},
            "lastSuccess": start, "lastFailure": null, "oldestDueAgeSeconds": null,
            "pending": counted(0), "dead": counted(1),
        })
    );
    assert_eq!(
        *reported(&body, "mailerlite"),
        json!({
            "name": "mailerlite", "enabled": true,
            "breaker": {
                "state": "open", "reason": "http_401", "since": start, "probeAt": after(start, 300),
            },
            "lastSuccess": null, "lastFailure": start,
            // The delivery that was not tried.
            "oldestDueAgeSeconds": 90, "pending": counted(2), "dead": counted(0),
        })
    );
    let ga4 = reported(&body, "ga4");
    let breakers = json!({"crm": "closed", "mailerlite": "open", "ga4": "closed"});
    assert_eq!(body["checks"]["external_apis"], breakers);
    assert_eq!((&ga4["breaker"]["state"], &ga4["lastFailure"]), (&json!("closed"), &json!(start)));
    // It is due again about 5 s after its failure.
    let age = ga4["oldestDueAgeSeconds"].as_i64().unwrap();
    assert!((80..90).contains(&age), "{age}");
    assert_eq!(reported(&body, "segment")["enabled"], json!(false));

    world.pass(300 - 90);
    let body = get_authorised(&world, "health").await.json();
    assert_eq!(reported(&body, "mailerlite")["breaker"]["state"], "probing", "since {now}");
    assert_eq!(world.providers.all_received().len(), received, "no provider gets a request");
    recovers(world).await;
}

/// Makes the providers work again, and asserts that everything is delivered.
async fn recovers(world: World) {
    for provider in ["mailerlite", "ga4"] {
        world.providers.behave(provider, Behaviour::Normal);
    }
    world.advance(jiff::SignedDuration::from_hours(1)).await;
    let body = get_authorised(&world, "health").await.json();
    assert_eq!(reported(&body, "mailerlite")["breaker"], json!({"state": "closed"}));
    assert_ne!(reported(&body, "mailerlite")["lastSuccess"], Value::Null);
    world.finish().await;
}

/// The counters of `metrics`, by their labels.
async fn counters(world: &World) -> BTreeMap<String, i64> {
    let text = get_authorised(world, "metrics").await.body;
    let text = String::from_utf8(text.to_vec()).unwrap();
    let counters = text.lines().filter(|line| line.contains("_total{"));
    let parts = counters.map(|line| line.rsplit_once(' ').unwrap());
    parts.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}

#[tokio::test]
async fn what_functions_got_and_destinations_settled_is_counted_a_minute_later() {
    let world = World::plan().with("DESTINATIONS", "segment").start().await;
    world.looks_at("segment");
    assert_eq!(counters(&world).await, BTreeMap::new());
    world.submit(&lead_body()).await;
    world.submit(&lead_body()).await;
    assert_eq!(world.submit(&json!({})).await.status, 422);
    assert_eq!(world.send("calendar-webhook", Method::POST, &[], b"{}").await.status, 401);
    world.drain().await;
    let of = |function: &str, counted: &str| {
        format!("funil_requests_total{{function=\"{function}\",counted=\"{counted}\"}}")
    };
    // The first request of a process is written at once, and the others with the first of a later minute.
    let received = of("lead-submit", "received");
    assert_eq!(counters(&world).await, [(received.clone(), 1)].into());
    world.pass(59);
    world.get("calendar-webhook", "").await;
    assert_eq!(counters(&world).await, [(received.clone(), 1)].into());
    world.pass(1);
    let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
    world.invoke("dispatch", schedule.clone()).await;
    let delivered = "funil_settled_deliveries_total{destination=\"segment\",outcome=\"delivered\"}";
    let expected: BTreeMap<String, i64> = [
        (received, 3),
        (of("lead-submit", "duplicate"), 1),
        (of("lead-submit", "refused"), 1),
        (of("calendar-webhook", "received"), 2),
        (of("calendar-webhook", "refused"), 2),
        (delivered.to_owned(), 1),
    ]
    .into();
    assert_eq!(counters(&world).await, expected);
    // What the table does not take is written later.
    world.pass(60);
    let cut_off = world.deployment(&[CLOSED]);
    assert_eq!(cut_off.submit(&lead_body()).await.status, 503);
    assert_eq!(counters(&world).await, expected);
    world.pass(60);
    world.invoke("dispatch", schedule).await;
    let counters = counters(&world).await;
    let of_form = ["received", "refused"].map(|counted| counters[&of("lead-submit", counted)]);
    assert_eq!(of_form, [4, 2]);
    world.finish().await;
}

#[tokio::test]
async fn the_gauges_are_prometheus_text() {
    let world = troubled().await;
    let mut robot = lead_body();
    robot["website"] = json!("https://robot.example");
    robot["email"] = json!("robot@example.com");
    assert_eq!(world.submit(&robot).await.status, 200);
    let received = world.providers.all_received().len();
    let response = get_authorised(&world, "metrics").await;
    assert_eq!(response.status, 200);
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(response.header("content-type"), Some(content_type));
    let text = String::from_utf8(response.body.to_vec()).unwrap();
    // Only GA4's retry has jitter in its due time.
    let ga4 = world.delivery(lead(), "ga4").await.due_at().unwrap();
    let age = world.now().as_second() - ga4.as_second();
    let expected = gauges().replace("8?", &age.to_string());
    assert_eq!(text, expected);
    let token = format!("Bearer {SERVICE_TOKEN}");
    let head = world.send("metrics", Method::HEAD, &[("authorization", &*token)], b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(world.providers.all_received().len(), received, "no provider gets a request");
    recovers(world).await;
}

#[tokio::test]
async fn a_count_stops_at_its_cap() {
    let world = World::plan().with("DESTINATIONS", "segment").start().await;
    world.providers.behave("segment", Behaviour::Status(422));
    for number in 0..3 {
        let mut body = lead_body();
        body["email"] = json!(format!("ana{number}@example.com"));
        body["leadId"] = Value::Null;
        world.submit(&body).await.lead();
    }
    for (cap, count, capped) in [(2, 2, true), (4, 3, false)] {
        let counted = world.store.pending_count("segment", cap).await.unwrap();
        assert_eq!((counted.count, counted.capped), (count, capped), "pending up to {cap}");
    }
    world.drain().await;
    for (cap, count, capped) in [(2, 2, true), (4, 3, false)] {
        let counted = world.store.dead_count("segment", cap).await.unwrap();
        assert_eq!((counted.count, counted.capped), (count, capped), "dead up to {cap}");
    }
    assert_eq!(world.store.pending_count("segment", 4).await.unwrap().count, 0);
    world.expect_requests("segment", 3);
    world.finish().await;
}
