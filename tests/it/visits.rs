//! What pages report of visits, from the request to what GA4 received.

use funil_core::delivery::LEASE_S;
use funil_core::destination::ga4::collect::{EVENTS_MAX, Why};
use funil_dev::simulated::Behaviour;
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::{LEAD, Response, World, lead_body};

const COLLECT: &str = "ga4-collect";
const CLIENT: &str = "123456789.1767225600";
const BROWSER: (&str, &str) = (
    "user-agent",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
);

async fn world() -> World {
    let world = World::plan().with("DESTINATIONS", "ga4,ga4_visits").start().await;
    world.looks_at_destinations();
    world
}

fn event(name: &str) -> Value {
    json!({
        "event": name, "client_id": CLIENT, "page_location": "https://www.example.com/lp?x=1",
        "consent": {"analytics_storage": "granted", "ad_user_data": "granted", "ad_personalization": "denied"},
    })
}

async fn send(world: &World, body: &Value) -> Response {
    world.post(COLLECT, &[BROWSER], body).await
}

/// The requests that GA4 got, without those of leads.
fn received(world: &World) -> Vec<Value> {
    let got = world.providers.received("ga4").into_iter().map(|one| one.body);
    got.filter(|body| body.get("user_id").is_none()).collect()
}

fn accepted(response: &Response) -> (u16, Value, Vec<Value>) {
    let body = response.json();
    let reasons = body["dropped"].as_array().unwrap().iter().map(|one| one["reason"].clone());
    (response.status, body["accepted"].clone(), reasons.collect())
}

#[tokio::test]
async fn a_page_s_events_reach_ga4_in_one_request_and_leave_no_lead() {
    let world = world().await;
    let events = json!([event("page_view"), event("scroll"), event("session_start")]);
    let response = send(&world, &events).await;
    assert_eq!(accepted(&response), (200, json!(2), vec![json!("event_name")]));
    assert!(received(&world).is_empty(), "no ring announces it");
    world.advance(SignedDuration::from_mins(2)).await;
    let got = received(&world);
    let [request] = got.as_slice() else { panic!("{got:?}") };
    assert_eq!(request["client_id"], CLIENT);
    assert_eq!(
        request["consent"],
        json!({"ad_user_data": "GRANTED", "ad_personalization": "DENIED"})
    );
    let names: Vec<&str> = request["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(names, ["page_view", "scroll"]);
    assert_eq!(request["events"][0]["params"]["page_location"], "https://www.example.com/lp");
    assert!(world.items("LEAD#").await.is_empty());
    let items = world.items("VISITOR#").await;
    let [item] = items.as_slice() else { panic!("one item for a request: {items:?}") };
    assert!(
        !format!("{:?}", item["pk"]).contains("123456789"),
        "the key tells nothing of the browser"
    );
    let kept_s =
        item["expires_at"]["N"].as_str().unwrap().parse::<i64>().unwrap() - world.now().as_second();
    assert!((70 * 3600..=72 * 3600).contains(&kept_s), "{kept_s}");
    world.finish().await;
}

#[tokio::test]
async fn beacons_lists_and_cookies_are_taken_as_browsers_send_them() {
    let world = world().await;
    let cookie = format!("_ga=GA1.1.{CLIENT}; _ga_ABC=GS1.1.1767225601.1.1.1.0.0.0");
    let body =
        json!({"event": "page_view", "consent": {"analytics_storage": "granted"}}).to_string();
    for kind in ["text/plain;charset=UTF-8", "application/json"] {
        let headers = [("content-type", kind), ("cookie", &*cookie), BROWSER];
        let response = world.send(COLLECT, Method::POST, &headers, body.as_bytes()).await;
        assert_eq!(accepted(&response).1, 1, "{response:?}");
    }
    let many = vec![event("scroll"); EVENTS_MAX + 2];
    assert_eq!(accepted(&send(&world, &json!(many)).await).2, ["too_many", "too_many"]);
    world.advance(SignedDuration::from_mins(2)).await;
    let got = received(&world);
    assert_eq!(got.len(), 3);
    assert_eq!(got[0]["events"][0]["params"]["session_id"], "1767225601");
    for (kind, body, status) in [
        ("application/x-www-form-urlencoded", "event=page_view", 415),
        ("application/json", "{", 400),
        ("application/json", "7", 422),
        ("application/json", "{\"event\": \"page_view\"}", 422),
    ] {
        let headers = [("content-type", kind), BROWSER];
        let response = world.send(COLLECT, Method::POST, &headers, body.as_bytes()).await;
        assert_eq!(response.status, status, "{body}");
    }
    world.finish().await;
}

#[tokio::test]
async fn nothing_is_kept_without_consent_nor_of_robots() {
    let world = World::plan()
        .with("DESTINATIONS", "ga4,ga4_visits")
        .with("CONSENT_WHEN_ABSENT", "contact")
        .start()
        .await;
    world.looks_at_destinations();
    let mut denied = event("page_view");
    denied["consent"]["analytics_storage"] = json!("denied");
    let mut unsaid = event("page_view");
    unsaid["consent"] = Value::Null;
    for body in [&denied, &unsaid] {
        assert_eq!(accepted(&send(&world, body).await), (200, json!(0), vec![json!("no_consent")]));
    }
    let robot = vec![json!("robot")];
    for agent in [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Linux; Android 11; moto g power) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36 Chrome-Lighthouse",
        "curl/8.5.0",
        "python-requests/2.32.3",
        "",
    ] {
        let response = world.post(COLLECT, &[("user-agent", agent)], &event("page_view")).await;
        assert_eq!(accepted(&response), (200, json!(0), robot.clone()), "{agent}");
    }
    assert!(world.items("VISITOR#").await.is_empty());
    let rates = world.items("RATE#").await.len();
    assert!(rates <= 1, "a robot's request costs no write");
    for agent in [
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 356.0.0.28.100",
        "Mozilla/5.0 (Linux; Android 14; SM-S918B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/131.0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/490.0.0.0;]",
        "Mozilla/5.0 (Linux; Android 10; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
        BROWSER.1,
    ] {
        let response = world.post(COLLECT, &[("user-agent", agent)], &event("page_view")).await;
        assert_eq!(accepted(&response).1, 1, "{agent}");
    }
    world.advance(SignedDuration::from_mins(2)).await;
    world.finish().await;
}

#[tokio::test]
async fn consent_when_absent_counts_for_pages_without_consent_mode() {
    let world = World::plan()
        .with("DESTINATIONS", "ga4_visits")
        .with("CONSENT_WHEN_ABSENT", "contact,analytics")
        .start()
        .await;
    world.looks_at("ga4");
    let mut unsaid = event("page_view");
    unsaid["consent"] = Value::Null;
    assert_eq!(accepted(&send(&world, &unsaid).await).1, 1);
    world.advance(SignedDuration::from_mins(2)).await;
    assert_eq!(received(&world)[0]["consent"]["ad_user_data"], "DENIED");
    world.finish().await;
}

#[tokio::test]
async fn what_our_servers_send_of_a_lead_is_not_taken_from_a_page() {
    let world = world().await;
    world.submit(&lead_body()).await;
    let of = |name: &str, lead: &str| {
        let mut event = event(name);
        event["lead_id"] = json!(lead);
        event
    };
    let unknown = "7f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b99";
    let mut within = event("generate_lead");
    (within["lead_id"], within["params"]["lead_id"]) = (Value::Null, json!(LEAD));
    let mut beside = of("generate_lead", "nonsense");
    beside["leadId"] = json!(LEAD);
    let hidden = send(&world, &json!([within, beside])).await;
    assert_eq!(accepted(&hidden).2, ["sent_by_server", "sent_by_server"]);
    let events = json!([
        of("generate_lead", LEAD),
        of("purchase", LEAD),
        of("purchase", unknown),
        of("form_start", LEAD),
    ]);
    let response = send(&world, &events).await;
    assert_eq!(accepted(&response).2, ["sent_by_server", "sent_by_server"]);
    world.advance(SignedDuration::from_mins(2)).await;
    let events = received(&world)[0]["events"].as_array().unwrap().clone();
    let sent: Vec<_> = events.iter().map(|one| (&one["name"], &one["params"]["lead_id"])).collect();
    assert_eq!(sent, [(&json!("purchase"), &json!(unknown)), (&json!("form_start"), &json!(LEAD))]);
    world.finish().await;
}

#[tokio::test]
async fn a_destination_that_is_off_says_so_and_keeps_nothing() {
    let world = World::plan().with("DESTINATIONS", "ga4").start().await;
    world.looks_at_destinations();
    let response = send(&world, &event("page_view")).await;
    assert_eq!((response.status, &response.json()["code"]), (409, &json!("destination_off")));
    assert!(world.items("VISITOR#").await.is_empty());
    world.finish().await;
}

/// A request to GA4 without a response may have counted, so it is not sent again.
#[tokio::test]
async fn a_visit_is_retried_as_other_events_are_and_ends_with_its_72_hours() {
    let world = world().await;
    world.providers.behave("ga4", Behaviour::Status(503));
    send(&world, &event("page_view")).await;
    world.advance(SignedDuration::from_mins(30)).await;
    world.providers.behave("ga4", Behaviour::Normal);
    world.advance(SignedDuration::from_hours(2)).await;
    assert_eq!(world.items("VISITOR#").await[0]["state"]["S"], "delivered");

    world.providers.behave("ga4", Behaviour::Status(503));
    world.pass(LEASE_S);
    let mut other = event("page_view");
    other["client_id"] = json!("1.2");
    send(&world, &other).await;
    world.advance(SignedDuration::from_hours(75)).await;
    let dead = world.store.dead_count("ga4_visits", 10).await.unwrap().count;
    assert_eq!(dead, 0, "no person decides about a visit");
    world.finish().await;
}

#[tokio::test]
async fn a_flood_from_one_address_is_limited_and_counted() {
    let world =
        World::plan().with("DESTINATIONS", "ga4_visits").with("RATE_TAGS", "3/60").start().await;
    world.looks_at("ga4");
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(send(&world, &event("page_view")).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    world.advance(SignedDuration::from_mins(2)).await;
    send(&world, &json!([event("page_view"), {"event": "x", "email": "ana@example.com"}, 7])).await;
    world.advance(SignedDuration::from_mins(2)).await;
    // What a request counts is written with a request that comes a minute later.
    world.post(COLLECT, &[("user-agent", "curl/8.5.0")], &event("page_view")).await;
    let totals = world.store.totals().await.unwrap();
    let pages = totals.iter().find(|one| one.of == funil_store::TotalOf::PageEvents).unwrap();
    assert_eq!(pages.counts["kept"], 5);
    assert_eq!(pages.counts[Why::NoEvent.name()], 1);
    world.finish().await;
}
