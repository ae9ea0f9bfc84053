//! The rate limit of a caller: how many requests pass, when the next one does, and who counts as one caller.

use serde_json::Value;

use super::refusals::{code, intake, somebody};
use crate::world::World;

#[tokio::test]
async fn the_eleventh_request_of_a_minute_is_refused_until_its_retry_after() {
    let world = intake().await;
    for number in 0..10 {
        assert_eq!(world.submit(&somebody(number)).await.status, 200);
    }
    let refused = world.submit(&somebody(10)).await;
    assert_eq!((refused.status, &*code(&refused)), (429, "rate_limited"));
    let retry_after_s: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=7).contains(&retry_after_s), "{retry_after_s}");
    let kept = world.items("LEAD#").await;
    assert_eq!(kept.iter().filter(|item| item["type"]["S"] == "lead").count(), 10);

    assert_eq!(world.submit_from("203.0.113.11", &somebody(10)).await.status, 200);
    let spoofed = [("x-forwarded-for", "198.51.100.7"), ("x-real-ip", "198.51.100.7")];
    let spoofed = world.submit_with(&spoofed, &somebody(11)).await;
    assert_eq!(spoofed.status, 429, "headers that the caller sets do not change its address");

    world.pass(retry_after_s);
    assert_eq!(world.submit(&somebody(12)).await.status, 200);
    assert_eq!(world.submit(&somebody(13)).await.status, 429, "the limit allowed one more request");
    world.pass(60);
    for number in 14..24 {
        assert_eq!(world.submit(&somebody(number)).await.status, 200, "{number}");
    }
    assert_eq!(world.submit(&somebody(24)).await.status, 429);
    world.finish().await;
}

#[tokio::test]
async fn a_refused_request_does_not_make_the_caller_wait_longer() {
    let world = intake().await;
    for number in 0..10 {
        world.submit(&somebody(number)).await;
    }
    for number in 10..30 {
        let refused = world.submit(&somebody(number)).await;
        assert_eq!(refused.header("retry-after"), Some("7"));
    }
    world.pass(7);
    assert_eq!(world.submit(&somebody(30)).await.status, 200);
    world.finish().await;
}

#[tokio::test]
async fn ten_of_thirty_requests_at_once_pass() {
    let world = intake().await;
    let bodies: Vec<Value> = (0..30).map(somebody).collect();
    let responses = futures::future::join_all(bodies.iter().map(|body| world.submit(body))).await;
    let passed = responses.iter().filter(|response| response.status == 200).count();
    let refused = responses.iter().filter(|response| response.status == 429).count();
    assert_eq!((passed, refused), (10, 20));
    world.finish().await;
}

#[tokio::test]
async fn the_header_of_the_sites_own_proxy_counts_where_it_is_configured() {
    let world = World::plan()
        .with("DESTINATIONS", "none")
        .with("CLIENT_IP_HEADER", "X-Real-IP")
        .start()
        .await;
    for caller in ["198.51.100.1", "198.51.100.2"] {
        for number in 0..10 {
            let response = world.submit_with(&[("x-real-ip", caller)], &somebody(number)).await;
            assert_eq!(response.status, 200);
        }
        let response = world.submit_with(&[("x-real-ip", caller)], &somebody(10)).await;
        assert_eq!(response.status, 429);
    }
    world.finish().await;
}

#[tokio::test]
async fn no_notation_of_an_address_and_no_further_line_is_another_caller() {
    let world = World::plan()
        .with("DESTINATIONS", "none")
        .with("CLIENT_IP_HEADER", "X-Real-IP")
        .with("RATE_LEAD_FORMS", "3/60")
        .start()
        .await;
    let own = "203.0.113.9";
    let notations: [Vec<(&str, &str)>; 4] = [
        vec![("x-real-ip", own)],
        vec![("x-real-ip", "::ffff:203.0.113.9")],
        vec![("x-real-ip", "198.51.100.1"), ("x-real-ip", own)],
        vec![("x-real-ip", "198.51.100.2, 203.0.113.9")],
    ];
    let mut statuses = Vec::new();
    for (number, headers) in notations.iter().enumerate() {
        statuses.push(world.submit_with(headers, &somebody(number)).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    world.finish().await;
}

#[tokio::test]
async fn callers_of_one_ipv6_network_share_a_limit() {
    let world = intake().await;
    for number in 0..10 {
        let caller = format!("2001:db8:1:2::{number:x}");
        assert_eq!(world.submit_from(&caller, &somebody(number)).await.status, 200);
    }
    assert_eq!(world.submit_from("2001:db8:1:2:ffff::1", &somebody(10)).await.status, 429);
    assert_eq!(world.submit_from("2001:db8:1:3::1", &somebody(10)).await.status, 200);
    world.finish().await;
}

#[tokio::test]
async fn a_long_pause_does_not_raise_the_limit() {
    let world = intake().await;
    world.submit(&somebody(0)).await;
    world.pass(3600);
    let bodies: Vec<Value> = (1..13).map(somebody).collect();
    let responses = futures::future::join_all(bodies.iter().map(|body| world.submit(body))).await;
    assert_eq!(responses.iter().filter(|response| response.status == 200).count(), 10);
    world.finish().await;
}
