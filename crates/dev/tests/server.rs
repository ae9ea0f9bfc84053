//! The dev server as a newcomer uses it: submit the form, watch the deliveries, stop, start again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use funil_core::clock::after;
use funil_core::settings::Env;
use funil_dev::cli::send::send;
use funil_dev::server::{DevServer, DevServerOptions};
use serde_json::{Value, json};

const LEAD: &str = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";
/// A worker that meets another one at the same lead may wait until its lease of a minute ends.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(10);

async fn start(data: &Path) -> DevServer {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options =
        DevServerOptions { listen, data: data.to_owned(), functions_at: None, alerts_to: None };
    DevServer::start(&options, &Env::default()).await.unwrap()
}

async fn get(server: &DevServer, path: &str) -> Value {
    let url = format!("http://{}{path}", server.address());
    let response = funil_lambda::platform().http.get(url).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// Requests the journey, with a pause between, until it is as the test wants it.
async fn journey_with(server: &DevServer, what: &str, is_there: impl Fn(&Value) -> bool) -> Value {
    let mut journey = Value::Null;
    let wait = async {
        loop {
            journey = get(server, &format!("/stage/journey/{LEAD}")).await;
            if is_there(&journey) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "{what}: {journey:#}");
    journey
}

/// Waits until no delivery is pending or leased, and returns the journey.
async fn settled_journey(server: &DevServer) -> Value {
    let is_open = |entry: &Value| ["pending", "leased"].iter().any(|s| entry["state"] == *s);
    let settled = |journey: &Value| !journey["entries"].as_array().unwrap().iter().any(is_open);
    journey_with(server, "the deliveries did not settle", settled).await
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
async fn a_submitted_form_is_delivered_and_is_still_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let form = json!({
        "leadId": LEAD, "name": "Ana Exemplo", "email": "ana@example.com",
        "phone": "(11) 98765-4321", "businessType": "consultoria",
        "consent": {"marketing": true, "analytics": true, "policyVersion": "2026-01"}
    });
    let http = funil_lambda::platform().http;
    let url = format!("http://{}/api/lead-submit", server.address());
    let request = http.post(url).header("content-type", "application/json");
    let response = request.body(form.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);

    let expected = [
        "crm/lead",
        "ga4/event",
        "mailerlite/marketing",
        "mailerlite/questionnaire",
        "segment/event",
    ];
    let found = delivered(&settled_journey(&server).await);
    // A destination that is added later may get the form, too.
    let known = [
        "crm/",
        "ga4/",
        "ga4_visits/",
        "mailerlite/",
        "segment/",
        "meta/",
        "whatsapp/",
        "brevo/",
        "c2s/",
    ];
    let is_known = |slot: &&String| known.iter().any(|name| slot.starts_with(name));
    let mut of_known: Vec<&String> = found.iter().filter(is_known).collect();
    of_known.sort();
    assert_eq!(of_known, expected);
    for provider in get(&server, "/stage/providers").await["providers"].as_array().unwrap() {
        let name = provider["name"].as_str().unwrap();
        let received = !provider["received"].as_array().unwrap().is_empty();
        assert_eq!(received, found.iter().any(|slot| slot.starts_with(name)), "{name}");
    }
    for path in ["api/dispatch/replay", ".netlify/functions/dispatch/replay"] {
        let url = format!("http://{}/{path}", server.address());
        assert_eq!(http.post(&url).send().await.unwrap().status(), 401, "{path}");
        let token = "local-stage-service-token";
        let response = http.post(url).bearer_auth(token).send().await.unwrap();
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert_eq!(body, json!({"deliveries": [], "dryRun": true, "more": false}));
    }
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/dispatch/replay.json");
    let api = format!("http://{}/api", server.address()).parse().unwrap();
    let sent =
        send(Path::new(sample), &api, &Env::default(), &funil_lambda::platform()).await.unwrap();
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    assert_eq!(body, json!({"deliveries": [], "dryRun": true, "more": false}));
    server.stop().await.unwrap();

    let server = start(data.path()).await;
    assert_eq!(delivered(&settled_journey(&server).await).len(), found.len());
    assert_eq!(get(&server, "/stage/leads").await["leads"][0]["leadId"], LEAD);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_dev_server_takes_rates_and_limits_from_the_environment_and_no_credentials() {
    let data = tempfile::tempdir().unwrap();
    let given: Env = [
        ("CRM_REQUESTS_PER_MINUTE", "10"),
        ("BACKLOG_ALERT_SECONDS", "60"),
        ("MONITORING_WEBHOOK_URL", "https://hooks.example.com/of-a-real-channel"),
        ("CRM_API_KEY", "of-a-real-account"),
    ]
    .into_iter()
    .collect();
    let options = DevServerOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        data: data.path().to_owned(),
        functions_at: None,
        alerts_to: Some("http://127.0.0.1:9/alerts".parse().unwrap()),
    };
    let server = DevServer::start(&options, &given).await.unwrap();
    let env = server.environment().env();
    assert_eq!(env.get("CRM_REQUESTS_PER_MINUTE"), Some("10"));
    assert_eq!(env.get("BACKLOG_ALERT_SECONDS"), Some("60"));
    assert_eq!(env.get("MONITORING_WEBHOOK_URL"), Some("http://127.0.0.1:9/alerts"));
    assert_ne!(env.get("CRM_API_KEY"), Some("of-a-real-account"));
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_of_calendly_are_signed_when_they_are_sent() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let to = format!("http://{}/api", server.address()).parse().unwrap();
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let platform = funil_lambda::platform();
    for (sample, status) in [
        ("lead-submit/high-score.json", 200),
        ("calendar-webhook/created.json", 200),
        ("calendar-webhook/rescheduled-2-new.json", 200),
        ("calendar-webhook/rescheduled-1-old.json", 200),
        ("calendar-webhook/canceled.json", 200),
        ("calendar-webhook/no-show.json", 200),
        ("calendar-webhook/other-event.json", 200),
    ] {
        let sent = send(&events.join(sample), &to, &Env::default(), &platform).await.unwrap();
        assert_eq!(sent.status, status, "{sample}: {}", sent.body);
    }
    let another: Env = [("CALENDLY_SIGNING_KEY", "another key")].into_iter().collect();
    let sample = events.join("calendar-webhook/created.json");
    assert_eq!(send(&sample, &to, &another, &platform).await.unwrap().status, 401);
    let journey = get(&server, "/stage/journey/3a6f0c52-7d0e-4f0b-9f57-0c9b6a1d2e01").await;
    let shown = journey.to_string();
    for event in ["call_booked", "call_canceled", "call_missed"] {
        assert!(shown.contains(event), "{event} in {shown}");
    }
    server.stop().await.unwrap();
}

async fn post(server: &DevServer, path: &str, body: &Value) -> (u16, Value) {
    let url = format!("http://{}{path}", server.address());
    let request =
        funil_lambda::platform().http.post(url).header("content-type", "application/json");
    let response = request.body(body.to_string()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

/// Waits until WhatsApp has received this many messages for the lead, and returns their templates.
async fn templates(server: &DevServer, count: usize) -> Vec<String> {
    let received = |journey: &Value| journey["messages"].as_array().unwrap().len() >= count;
    let journey =
        journey_with(server, &format!("WhatsApp did not receive {count} messages"), received).await;
    let messages = journey["messages"].as_array().unwrap();
    messages.iter().map(|one| one["template"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_goes_through_the_whole_funnel_while_the_clock_is_moved() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let form = json!({
        "leadId": LEAD, "name": "Ana Exemplo", "email": "ana@example.com",
        "phone": "(11) 98765-4321", "businessType": "consultoria",
        "consent": {"marketing": true, "analytics": true, "whatsapp": true, "ads": true}
    });
    assert_eq!(post(&server, "/api/lead-submit", &form).await.0, 200);
    let responses =
        json!({"commitment": 10, "urgency": "imediata", "investmentRange": "5000-10000"});
    let answers = json!({"leadId": LEAD, "email": "ana@example.com", "responses": responses});
    let (status, body) = post(&server, "/api/questionnaire-submit", &answers).await;
    assert_eq!((status, &body["nextStep"]), (200, &json!("calendar_booking")), "{body}");
    let page = format!("http://{}/agenda?", server.address());
    assert!(body["bookingUrl"].as_str().unwrap().starts_with(&page), "{body}");

    let now: jiff::Timestamp =
        get(&server, "/stage/clock").await["now"].as_str().unwrap().parse().unwrap();
    let starts_at = after(now, 60 * 3600);
    let booking = json!({
        "startsAt": starts_at, "name": "Ana", "email": "ana@example.com", "leadId": LEAD,
        "timeZone": "America/Sao_Paulo",
    });
    let (_, body) = post(&server, "/stage/calendar", &json!({"book": booking})).await;
    assert_eq!(body["webhooks"], json!([{"event": "invitee.created", "status": 200}]));
    assert_eq!(templates(&server, 1).await, ["welcome_booking_confirmation"]);

    for (count, last) in [(2, "call_reminder_24h"), (3, "call_reminder_2h")] {
        // Deliveries that were released for a few seconds may be due first.
        for _ in 0..10 {
            let ahead_s = |clock: &Value| clock["aheadS"].as_i64().unwrap();
            let before_s = ahead_s(&get(&server, "/stage/clock").await);
            let (status, body) = post(&server, "/stage/clock", &json!({"toNextDue": {}})).await;
            assert_eq!(status, 200, "{body}");
            // By what it moved, because what was due before may have been delivered meanwhile.
            if ahead_s(&body) > before_s + 3600 {
                break;
            }
        }
        assert_eq!(templates(&server, count).await.last().unwrap(), last);
    }
    let id = get(&server, "/stage/calendar").await["bookings"][0]["id"].clone();
    let moved = json!({"reschedule": {"id": id, "startsAt": after(starts_at, 86_400)}});
    let (_, body) = post(&server, "/stage/calendar", &moved).await;
    let both = ["invitee.canceled", "invitee.created"];
    assert_eq!(body["webhooks"], json!(both.map(|event| json!({"event": event, "status": 200}))));
    let (_, body) =
        post(&server, "/stage/whatsapp", &json!({"leadId": LEAD, "text": "Parar!"})).await;
    assert_eq!(body, json!({"status": 200}));

    let product = json!({"name": "Ana", "email": "ana@example.com", "leadId": LEAD,
        "product": "mentoring"});
    let mut declined = product.clone();
    declined["declined"] = json!(true);
    for (payment, events) in [
        (declined, &["payment_intent.payment_failed"][..]),
        (product, &["payment_intent.succeeded", "checkout.session.completed"]),
    ] {
        let (_, body) = post(&server, "/stage/checkout", &json!({"pay": payment})).await;
        let expected: Vec<_> =
            events.iter().map(|event| json!({"event": event, "status": 200})).collect();
        assert_eq!(body["webhooks"], json!(expected));
    }
    let id = get(&server, "/stage/checkout").await["payments"][0]["id"].clone();
    for action in [
        json!({"refund": {"id": id}}),
        json!({"dispute": {"id": id}}),
        json!({"loseDispute": {"id": id}}),
    ] {
        let (status, body) = post(&server, "/stage/checkout", &action).await;
        assert_eq!((status, &body["webhooks"][0]["status"]), (200, &json!(200)), "{body}");
    }
    let refund = json!({"refund": {"id": id}});
    assert_eq!(post(&server, "/stage/checkout", &refund).await.0, 404, "nothing is left of it");
    let journey = settled_journey(&server).await;
    let [payment] = &journey["payments"].as_array().unwrap()[..] else { panic!("{journey}") };
    assert_eq!((&payment["paid"], &payment["net"]), (&json!("997.00"), &json!("0.00")));
    assert_eq!(journey["lead"]["stage"], "customer");
    assert_eq!(journey["lead"]["daysToPayment"], 2, "{journey}");
    let reminders: Vec<_> = journey["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["reason"] == "no_consent_whatsapp")
        .collect();
    assert!(!reminders.is_empty(), "{journey}");
    assert_eq!(post(&server, "/stage/clock", &json!({"aheadS": -1})).await.0, 422);
    server.stop().await.unwrap();

    // The times in the table are those of the moved clock, so a restart must go on from there.
    let server = start(data.path()).await;
    let ahead = get(&server, "/stage/clock").await["aheadS"].as_i64().unwrap();
    assert!(ahead > 50 * 3600, "{ahead}");
    let mut again = form;
    again["name"] = json!("Ana Maria");
    assert_eq!(post(&server, "/api/lead-submit", &again).await.0, 200);
    // Samples are signed at the time of the moved clock.
    let sample =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/calendar-webhook/created.json");
    let to = format!("http://{}/api", server.address()).parse().unwrap();
    let platform = funil_lambda::platform();
    let sent = send(&sample, &to, &Env::default(), &platform).await.unwrap();
    assert_eq!(sent.status, 200, "{}", sent.body);
    server.stop().await.unwrap();
}
