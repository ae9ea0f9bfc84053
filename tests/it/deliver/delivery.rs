//! One destination does not disturb another, what is off gets nothing, and what cannot be read waits.

use funil_core::clock::after;
use funil_core::delivery::StateKind;
use funil_core::destination;
use funil_core::id::LeadId;
use funil_delivery::Patience;
use funil_dev::simulated::Behaviour;
use jiff::SignedDuration;
use serde_json::json;

use super::only;
use crate::world::{LEAD, World, lead, lead_body};

#[tokio::test]
async fn a_destination_that_refuses_slows_no_other() {
    let world = World::new().await;
    world.expect_one_lead();
    world.expect_requests("crm", 1);
    world.providers.behave("crm", Behaviour::Status(400));
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        [
            "crm/lead dead http_400",
            "ga4/event delivered",
            "mailerlite/marketing delivered",
            "mailerlite/questionnaire delivered",
            "meta/lead skipped no_consent_ads",
            "segment/event delivered",
        ]
    );
    world.finish().await;
}

#[tokio::test]
async fn a_destination_that_hangs_holds_up_neither_the_others_nor_the_form() {
    let world = World::plan().with("DESTINATIONS", "crm,mailerlite,ga4,segment").start().await;
    world.looks_at_destinations();
    world.providers.behave("crm", Behaviour::Hang);
    let first = world.submit(&lead_body()).await.lead();
    let crm = world.worker("crm");
    let mut hanging = std::pin::pin!(crm.drain(Patience::None, world.stop_at()));
    tokio::select! {
        _ = &mut hanging => panic!("the CRM hangs"),
        () = world.providers.until_received("crm", 1) => {}
    }
    // The clock stands still, so anything that waited for the CRM would never end.
    let mut body = lead_body();
    body["leadId"] = json!(null);
    body["email"] = json!("bia@example.com");
    let second = world.submit_from("198.51.100.7", &body).await.lead();
    for other in destination::ALL.iter().filter(|one| one.name != "crm") {
        world.worker(other.name).drain(Patience::None, world.stop_at()).await.unwrap();
    }
    for lead in [first, second] {
        let journey = world.journey(lead).await;
        for delivery in journey.deliveries {
            assert_eq!(
                delivery.state.kind() == StateKind::Delivered,
                delivery.destination != "crm"
            );
        }
    }
    world.providers.behave("crm", Behaviour::Normal);
    world.providers.release_hung();
    hanging.await.unwrap();
    world.advance(SignedDuration::from_mins(10)).await;
    assert_eq!(world.delivery(first, "crm").await.state.kind(), StateKind::Delivered);
    world.finish().await;
}

#[tokio::test]
async fn nothing_is_planned_for_a_destination_that_is_not_listed() {
    let world = World::plan().with("DESTINATIONS", "crm,segment").start().await;
    world.expect_requests("crm", 2);
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["crm/lead delivered", "segment/event delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn outside_production_only_destinations_with_another_address_get_anything() {
    let world = World::plan()
        .with("ENVIRONMENT", "preview")
        .without("CRM_BASE_URL")
        .without("CRM_API_KEY")
        .without("GA4_BASE_URL")
        .without("MAILERLITE_BASE_URL")
        .start()
        .await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        [
            "crm/lead skipped outside_production",
            "ga4/event skipped outside_production",
            "mailerlite/marketing skipped outside_production",
            "mailerlite/questionnaire skipped outside_production",
            "meta/lead skipped no_consent_ads",
            "segment/event delivered",
        ]
    );
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_written_by_newer_code_is_released_and_not_lost() {
    let world = only("segment").start().await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let delivery = world.delivery(lead(), "segment").await;
    let key = world.delivery_key(lead(), "segment").await;
    let keys = json!({"pk": {"S": format!("LEAD#{}", delivery.lead_id)}, "sk": {"S": key.sk}});
    let change = |value: serde_json::Value| {
        json!({
            "Key": keys,
            "UpdateExpression": "SET v = :v",
            "ExpressionAttributeValues": {":v": value},
        })
    };
    world.ask_table("UpdateItem", change(json!({"N": "2"}))).await;
    let start = world.now();
    world.advance(SignedDuration::from_mins(20)).await;
    assert!(world.requests("segment").is_empty());
    let due = world.store.due("segment", after(start, 3600), 10).await.unwrap();
    assert!(due[0].due_at > after(start, 1200), "it is read again every five minutes");
    world.ask_table("UpdateItem", change(json!({"N": "1"}))).await;
    world.advance(SignedDuration::from_mins(5)).await;
    assert_eq!(world.states(lead()).await, ["segment/event delivered"]);
    assert_eq!(world.delivery(lead(), "segment").await.attempts, 1);
    world.finish().await;
}

#[tokio::test]
async fn many_leads_at_once_are_all_delivered() {
    let world = World::plan().with("DESTINATIONS", "crm,ga4").start().await;
    world.expect_requests("crm", 2 * 60);
    world.expect_requests("ga4", 60);
    let mut leads: Vec<LeadId> = Vec::new();
    for number in 0..60 {
        let mut body = lead_body();
        body["leadId"] = serde_json::Value::Null;
        body["email"] = json!(format!("somebody{number}@example.com"));
        let ip = format!("198.51.100.{number}");
        leads.push(world.submit_from(&ip, &body).await.lead());
    }
    assert_eq!(world.drain().await, 120);
    for lead in leads {
        assert_eq!(world.states(lead).await, ["crm/lead delivered", "ga4/event delivered"]);
    }
    world.finish().await;
}

#[tokio::test]
async fn unreadable_items_do_not_hold_up_what_is_due_after_them() {
    let world = only("segment").start().await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let (pk, sk) = {
        let key = world.delivery_key(lead(), "segment").await;
        (format!("LEAD#{LEAD}"), key.sk)
    };
    // More items than one query of the index returns, and all of them older: half have keys that
    // nobody can read, and half are deliveries with nothing but their key.
    let due = json!({"S": "2031-05-05T11:00:00.000Z"});
    for number in 0..110 {
        let (pk, sk) = match number % 2 {
            0 => (format!("SCRAP#{number}"), "SCRAP".to_owned()),
            _ => (pk.clone(), format!("{}{number:03}", &sk[..sk.len() - 3])),
        };
        let item = json!({
            "pk": {"S": pk}, "sk": {"S": sk}, "v": {"N": "1"}, "type": {"S": "delivery"},
            "due_pk": {"S": "DUE#segment#0"}, "due_sk": due,
        });
        world.ask_table("PutItem", json!({"Item": item})).await;
    }
    world.drain().await;
    assert_eq!(world.requests("segment").len(), 1, "the readable delivery is sent at once");
    assert_eq!(world.delivery(lead(), "segment").await.state.kind(), StateKind::Delivered);
    for item in world.items("").await {
        let released = item.get("due_pk").is_some() && item["pk"]["S"] == json!(pk);
        assert!(!released || item["due_sk"]["S"].as_str().unwrap() > "2031-05-05T12:04", "{item}");
        if item.get("due_pk").is_some() {
            let keys = json!({"Key": {"pk": item["pk"], "sk": item["sk"]}});
            world.ask_table("DeleteItem", keys).await;
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn a_worker_of_a_destination_that_is_off_delivers_nothing() {
    let world = only("segment").start().await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let off = world.worker_with("segment", &[("DESTINATIONS", "crm")]);
    off.drain(Patience::None, world.stop_at()).await.unwrap();
    let delivery = world.delivery(lead(), "segment").await;
    assert_eq!((delivery.state.kind(), delivery.log.len()), (StateKind::Pending, 0));
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_worker_with_another_hash_key_delivers_nothing() {
    let world = only("segment").start().await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "segment").await;
    let wrong = || world.worker_with("segment", &[("HASH_KEY", "another-key-of-16-and-more")]);
    assert!(wrong().drain(Patience::None, world.stop_at()).await.is_err());
    assert!(wrong().deliver_now(std::slice::from_ref(&key), world.stop_at()).await.is_err());
    assert!(world.requests("segment").is_empty());
    world.drain().await;
    world.finish().await;
}
