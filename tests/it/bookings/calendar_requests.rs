//! Calendly's webhooks as requests: which are believed, which are kept for a person, and which are
//! refused.

use std::path::Path;
use std::time::Duration;

use funil_core::booking::BookingStatus;
use funil_core::clock::after;
use funil_core::provider::calendly;
use funil_core::settings::{ConfigError, Secret};
use funil_store::TablePatience;
use serde_json::{Value, json};

use super::calendar::{bare, derived, events, lead_count, quiet, status, take};
use crate::calendly::{canceled, created, moved, no_show, send_signed};
use crate::proxy::{Break, Proxy};
use crate::world::{CALENDLY_KEY, World, lead, lead_body};

/// The types of everything in the table.
async fn types(world: &World) -> Vec<String> {
    let items = world.items("").await;
    let mut types: Vec<String> =
        items.iter().map(|item| item["type"]["S"].as_str().unwrap().to_owned()).collect();
    types.sort();
    types
}

#[tokio::test]
async fn a_webhook_without_a_recent_signature_by_a_known_key_is_refused_and_not_kept() {
    let world = quiet().await;
    let body = created("INV1").to_string();
    let body = body.as_bytes();
    let key = Secret::new(CALENDLY_KEY);
    let at = |seconds| calendly::sign(body, &key, after(world.now(), seconds));
    let other = calendly::sign(b"{}", &key, world.now());
    let stranger = calendly::sign(body, &Secret::new("another key"), world.now());
    for signature in [at(-181), at(181), other, stranger, String::new(), "t=1,v1=00".to_owned()] {
        let response = send_signed(&world, &signature, body).await;
        assert_eq!(
            (response.status, &response.json()["code"]),
            (401, &json!("not_signed")),
            "{signature}"
        );
    }
    let headers = [("content-type", "application/json")];
    let bare = world.send("calendar-webhook", http::Method::POST, &headers, body).await;
    assert_eq!(bare.status, 401);
    let kept = ["alert", "meta", "signatures", "totals"];
    assert_eq!(types(&world).await, kept, "counts, an alert, and nothing of what was sent");
    for seconds in [-180, 180] {
        assert_eq!(send_signed(&world, &at(seconds), body).await.status, 200);
    }
    let rotated = world.deployment(&[(
        "CALENDLY_SIGNING_KEY",
        &format!("the new key of the tests, {CALENDLY_KEY}"),
    )]);
    for key in ["the new key of the tests", CALENDLY_KEY] {
        let signature = calendly::sign(body, &Secret::new(key), world.now());
        assert_eq!(send_signed(&rotated, &signature, body).await.status, 200, "{key}");
    }
    world.finish().await;
}

#[tokio::test]
async fn only_a_post_of_reasonable_size_is_read() {
    let world = quiet().await;
    for method in [http::Method::GET, http::Method::OPTIONS, http::Method::PUT] {
        let response = world.send("calendar-webhook", method, &[], b"").await;
        assert_eq!((response.status, response.header("allow")), (405, Some("POST")));
    }
    assert_eq!(world.calendly_bytes(&vec![b' '; 256 * 1024 + 1]).await.status, 413);
    world.finish().await;
}

#[tokio::test]
async fn an_event_of_another_kind_gets_a_200_and_is_not_kept() {
    let world = quiet().await;
    take(&world, &json!({"event": "routing_form_submission.created", "payload": {}})).await;
    let kept = ["meta", "signatures", "totals"];
    assert_eq!(types(&world).await, kept, "only that Calendly signed a request");
    world.finish().await;
}

const SALES: &str = "https://api.calendly.com/event_types/SALES";

#[tokio::test]
async fn only_listed_event_types_are_sales_calls() {
    let list = format!("https://api.calendly.com/event_types/OTHER , {SALES}");
    let world = World::plan()
        .with("DESTINATIONS", "none")
        .with("CALENDLY_EVENT_TYPES", &list)
        .start()
        .await;
    world.submit(&lead_body()).await;
    let items = types(&world).await;
    let of_type = |mut body: Value, kind: &str| {
        body["payload"]["scheduled_event"]["event_type"] = json!(kind);
        body
    };
    let of_team = |body: Value| of_type(body, "https://api.calendly.com/event_types/TEAM");
    for body in [
        of_team(created("TEAM1")),
        of_team(canceled("TEAM1")),
        no_show("TEAM1", "created"),
        no_show("TEAM1", "deleted"),
    ] {
        take(&world, &body).await;
    }
    let unchanged = types(&world).await.into_iter().filter(|one| one != "signatures");
    assert_eq!(unchanged.collect::<Vec<_>>(), items, "nothing changed");
    take(&world, &of_type(created("INV1"), SALES)).await;
    take(&world, &no_show("INV1", "created")).await;
    assert_eq!(status(&world, lead(), "INV1").await, Some(BookingStatus::NoShow));
    take(&world, &no_show("INV1", "deleted")).await;
    take(&world, &bare("INV1", "invitee.canceled")).await;
    assert_eq!(status(&world, lead(), "INV1").await, Some(BookingStatus::Canceled));
    // The list was another one when this was booked.
    take(&world, &of_type(created("INV2"), SALES)).await;
    take(&world, &of_team(canceled("INV2"))).await;
    assert_eq!(status(&world, lead(), "INV2").await, Some(BookingStatus::Canceled));
    // What may be a sales call is kept for a person.
    take(&world, &created("INV3")).await;
    take(&world, &bare("INV3", "invitee.canceled")).await;
    assert_eq!(status(&world, lead(), "INV3").await, None);
    let aside = world.items("QUARANTINE#calendly").await;
    assert_eq!(aside.len(), 2);
    assert!(aside.iter().all(|item| item["reason"]["S"] == "without_event_type"));
    world.finish().await;
}

#[tokio::test]
async fn an_event_type_that_is_no_uri_of_one_is_refused_at_start() {
    let world = quiet().await;
    for list in ["https://calendly.com/ana/conversa", &format!("{SALES}, TEAM"), ","] {
        let env = world.env(&[("CALENDLY_EVENT_TYPES", list)]);
        let made = funil_lambda::webhooks::calendar::function(&env, world.platform());
        let ConfigError(problems) = made.map(drop).unwrap_err();
        assert!(problems[0].starts_with("CALENDLY_EVENT_TYPES"), "{problems:?}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_signed_webhook_that_is_not_understood_is_quarantined_once() {
    let world = quiet().await;
    let mut without_invitee = created("INV1");
    without_invitee["payload"]["uri"] = Value::Null;
    let mut reasons = Vec::new();
    for body in [
        "{".to_owned(),
        without_invitee.to_string(),
        no_show("NOBODY", "created").to_string(),
        r#"{"event":"invitee.created","event":"invitee.canceled"}"#.to_owned(),
    ] {
        for _ in 0..2 {
            let response = world.calendly_bytes(body.as_bytes()).await;
            assert_eq!(
                (response.status, response.json()),
                (200, json!({"received": true})),
                "{body}"
            );
        }
        world.pass(1);
    }
    for aside in world.items("QUARANTINE#calendly").await {
        reasons.push(aside["reason"]["S"].as_str().unwrap().to_owned());
    }
    reasons.sort();
    assert_eq!(reasons, ["invalid_json", "invalid_json", "of_nobody_known", "without_invitee"]);
    assert_eq!(lead_count(&world).await, 0);
    world.finish().await;
}

#[tokio::test]
async fn without_the_table_calendly_is_asked_to_retry() {
    let world = quiet().await;
    let cut_off = world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")]);
    let body = created("INV1").to_string();
    let signature = calendly::sign(body.as_bytes(), &Secret::new(CALENDLY_KEY), world.now());
    let response = send_signed(&cut_off, &signature, body.as_bytes()).await;
    assert_eq!(response.status, 503);
    assert!(response.header("retry-after").is_some());
    take(&world, &created("INV1")).await;
    world.finish().await;
}

/// `FUNIL_FIXTURES=<folder> cargo test -p funil-tests --test it -- --ignored calendlys_own_sample`
#[tokio::test]
#[ignore = "needs the sample of Calendly's, which its licence does not let us keep here"]
async fn calendlys_own_sample_is_accepted_unchanged() {
    let folder = std::env::var_os("FUNIL_FIXTURES")
        .expect("FUNIL_FIXTURES should name the folder of samples");
    let sample = Path::new(&folder).join("calendly/webhook.invitee.created.full.json");
    let body = std::fs::read(sample).unwrap();
    let world = quiet().await;
    let response = world.calendly_bytes(&body).await;
    assert_eq!(response.status, 200);
    let who = derived(&world, "test@example.com");
    assert_eq!(events(&world, who).await, ["call_booked"]);
    assert_eq!(status(&world, who, "AAAAAAAAAAAAAAAA").await, Some(BookingStatus::Booked));
    world.finish().await;
}

#[tokio::test]
async fn two_updates_at_once_and_a_form_between_them_leave_a_booking_with_one_lead() {
    let (proxy, url) = Proxy::start().await;
    let mut world = quiet().await;
    world.submit(&lead_body()).await;
    world.pass(1);
    // The booking has looked for its lead, and its transaction is slow.
    world.set_table_patience(TablePatience {
        attempt: Duration::from_millis(500),
        operation: Duration::from_secs(3),
        settlement: Duration::ZERO,
        totals: Duration::from_millis(300),
    });
    let slow = world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    let body = created("INV1").to_string();
    let signature = calendly::sign(body.as_bytes(), &Secret::new(CALENDLY_KEY), world.now());
    // The table's identity, the invitee, the e-mail, the lead, the booking; then the transaction.
    proxy.break_requests(5..6, 1, Break::HangBefore);
    let meanwhile = async {
        proxy.held().await;
        let mut newer = lead_body();
        newer["leadId"] = json!("7f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b22");
        let newer = world.submit(&newer).await.lead();
        take(&world, &canceled("INV1")).await;
        newer
    };
    let (response, newer) =
        tokio::join!(send_signed(&slow, &signature, body.as_bytes()), meanwhile);
    assert_eq!(response.status, 503, "Calendly sends it again");
    take(&world, &created("INV1")).await;
    assert_eq!(status(&world, newer, "INV1").await, Some(BookingStatus::Canceled));
    assert_eq!(status(&world, lead(), "INV1").await, None);
    world.finish().await;
}

#[tokio::test]
async fn a_move_between_bookings_of_two_leads_is_kept_and_each_booking_stays_with_its_lead() {
    let world = quiet().await;
    world.submit(&lead_body()).await;
    take(&world, &created("INV1")).await;
    let mut newer = lead_body();
    newer["leadId"] = json!("7f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b22");
    world.pass(1);
    let newer = world.submit(&newer).await.lead();
    // The new booking of the move came without the old one's name.
    take(&world, &created("INV2")).await;
    let [ended, began] = moved("INV1", "INV2");
    take(&world, &ended).await;
    take(&world, &began).await;
    assert_eq!(status(&world, lead(), "INV1").await, Some(BookingStatus::Rescheduled));
    assert_eq!(status(&world, newer, "INV1").await, None);
    assert_eq!(status(&world, newer, "INV2").await, Some(BookingStatus::Booked));
    assert_eq!(status(&world, lead(), "INV2").await, None);
    world.finish().await;
}
