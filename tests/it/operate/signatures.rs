//! Webhooks without their provider's signature: they leave a trace, and a person hears of several.

use super::alerts::{minute, notifications, world};
use crate::calendly::{canceled, created, send_signed};
use crate::proxy::Proxy;
use crate::world::World;

#[tokio::test]
async fn requests_that_nobody_signed_are_counted_and_a_person_is_notified_once_a_day() {
    let world = world("none").await;
    let body = created("INV1").to_string();
    let wrong = async || send_signed(&world, "t=1,v1=00", body.as_bytes()).await.status;
    assert_eq!((wrong().await, wrong().await), (401, 401));
    minute(&world).await;
    assert_eq!(notifications(&world), [""; 0], "two may be a stranger's");
    assert_eq!(world.calendly(&canceled("INV9")).await.status, 200);
    assert_eq!((wrong().await, wrong().await), (401, 401));
    minute(&world).await;
    assert_eq!(notifications(&world).iter().filter(|one| one.contains("signature")).count(), 0);
    for _ in 0..4 {
        wrong().await;
        minute(&world).await;
    }
    let notified = notifications(&world);
    let notified: Vec<_> =
        notified.iter().filter(|one| one.contains("signature is wrong")).collect();
    assert_eq!(notified.len(), 1, "{notified:?}");
    assert!(notified[0].contains("calendly"), "{notified:?}");
    world.pass(61);
    wrong().await;
    let webhooks = world.health().await["webhooks"].clone();
    assert_eq!(webhooks[0]["provider"], "calendly");
    assert_eq!(webhooks[0]["refusedSince"], 7, "{webhooks}");
    assert!(webhooks[0]["lastSigned"].is_string() && webhooks[0]["lastRefused"].is_string());
    world.pass(86_400);
    for _ in 0..3 {
        wrong().await;
    }
    minute(&world).await;
    let notified = notifications(&world);
    assert_eq!(notified.iter().filter(|one| one.contains("signature is wrong")).count(), 2);
    let kept = world.items("").await;
    assert!(!kept.iter().any(|item| item.to_string().contains("INV1")), "nothing of the body");
    world.finish().await;
}

#[tokio::test]
async fn refused_requests_before_a_good_one_are_not_counted_with_those_after_it() {
    let world = world("none").await;
    let wrong = async || send_signed(&world, "t=1,v1=00", b"{}").await.status;
    assert_eq!(world.calendly(&canceled("INV1")).await.status, 200);
    world.pass(10);
    assert_eq!(wrong().await, 401);
    world.pass(10);
    assert_eq!(world.calendly(&canceled("INV2")).await.status, 200, "of the same minute");
    world.pass(55);
    assert_eq!((wrong().await, wrong().await), (401, 401));
    minute(&world).await;
    assert_eq!(notifications(&world), [""; 0], "two since the last good one");
    world.finish().await;
}

#[tokio::test]
async fn counting_requests_that_nobody_signed_costs_one_write_a_minute_and_no_other_response() {
    let (proxy, url) = Proxy::start().await;
    let world = World::plan()
        .with("DESTINATIONS", "none")
        .with("AWS_ENDPOINT_URL_DYNAMODB", &url)
        .start()
        .await;
    let wrong = async || send_signed(&world, "t=1,v1=00", b"{}").await.status;
    wrong().await;
    proxy.take();
    for _ in 0..50 {
        assert_eq!(wrong().await, 401);
    }
    let asked = proxy.take().requests;
    let writes = asked.get("UpdateItem").copied().unwrap_or(0);
    assert_eq!(writes, 1, "the alert, once: {asked:?}");
    let down = world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")]);
    assert_eq!(send_signed(&down, "t=1,v1=00", b"{}").await.status, 401, "also without a table");
    world.finish().await;
}
