//! Authorised requests to a delivery function about one lead: send its state, or retry now.

use funil_core::destination;
use funil_core::id::LeaseId;
use funil_dev::simulated::Behaviour;
use funil_store::{Claimed, Claiming};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::{LEAD, World, all_destinations, lead, lead_body};

#[tokio::test]
async fn a_requested_sync_is_delivered_and_the_response_has_its_state() {
    for (destination, slot, requests) in [("crm", "lead", 2 + 1), ("mailerlite", "profile", 3 + 1)]
    {
        let world = World::plan().with("DESTINATIONS", destination).start().await;
        world.expect_requests(destination, requests);
        world.submit(&lead_body()).await;
        world.drain().await;
        world.pass(1);
        let function = format!("{destination}-sync");
        let response = world.authorised(&function, &json!({"leadId": LEAD.to_uppercase()})).await;
        assert_eq!(response.status, 200);
        let shown = response.json();
        assert_eq!(shown["leadId"], LEAD);
        let deliveries = shown["deliveries"].as_array().unwrap();
        assert_eq!(deliveries.len(), 1, "only the sync's");
        assert_eq!(deliveries[0]["destination"], destination);
        assert_eq!(deliveries[0]["slot"], slot);
        assert_eq!(deliveries[0]["state"], "delivered");
        assert_eq!(deliveries[0]["attempts"], 1);
        let events = world.journey(lead()).await.events;
        assert!(events[1].id.as_str().starts_with("sync:"), "{}", events[1].id);
        if destination == "crm" {
            assert_eq!(world.providers.crm_triggers(LEAD)["standard_nurture"], 1);
        }
        world.finish().await;
    }
}

#[tokio::test]
async fn a_sync_that_fails_says_when_it_is_due_again() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.expect_requests("crm", 2 + 2);
    world.submit(&lead_body()).await;
    world.drain().await;
    world.providers.script("crm", [Behaviour::Status(500)]);
    let shown = world.authorised("crm-sync", &json!({"leadId": LEAD})).await.json();
    let delivery = &shown["deliveries"][0];
    assert_eq!((&delivery["state"], &delivery["reason"]), (&json!("pending"), &json!("http_500")));
    let due_at: Timestamp = delivery["dueAt"].as_str().unwrap().parse().unwrap();
    assert!((5..=6).contains(&due_at.duration_since(world.now()).as_secs()));
    world.pass(6);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn an_event_destination_retries_now_on_request() {
    let world = World::plan().with("DESTINATIONS", "ga4,segment").start().await;
    world.expect_requests("ga4", 2);
    world.expect_requests("segment", 1);
    world.providers.script("ga4", [Behaviour::Status(503)]);
    world.submit(&lead_body()).await;
    world.drain().await;
    let shown = world.authorised("ga4-events", &json!({"leadId": LEAD})).await.json();
    assert_eq!(shown["deliveries"][0]["state"], "delivered");
    assert_eq!(shown["deliveries"][0]["attempts"], 2);
    // What is delivered stays delivered.
    for function in ["ga4-events", "segment-sync"] {
        let shown = world.authorised(function, &json!({"leadId": LEAD})).await.json();
        assert_eq!(shown, json!({"leadId": LEAD, "deliveries": []}));
    }
    world.finish().await;
}

#[tokio::test]
async fn an_unknown_lead_is_not_found_and_a_request_without_a_lead_is_invalid() {
    let world = World::plan().with("DESTINATIONS", &all_destinations()).start().await;
    for function in destination::ALL.iter().map(|one| one.function) {
        let response = world.authorised(function, &json!({"leadId": LEAD})).await;
        assert_eq!(
            (response.status, &response.json()["code"]),
            (404, &json!("lead_not_found")),
            "{function}"
        );
        for body in [json!({}), json!({"leadId": "no"}), json!({"leadId": null}), json!([])] {
            let response = world.authorised(function, &body).await;
            assert_eq!(response.status, 422, "{function}: {body}");
            assert_eq!(response.json()["errors"][0]["field"], "leadId");
            assert_eq!(response.json()["errors"].as_array().unwrap().len(), 1, "{body}");
        }
    }
    assert_eq!(world.items("LEAD#").await, [Value::Null; 0]);
    world.finish().await;
}

#[tokio::test]
async fn a_leased_delivery_is_not_retried_on_request() {
    let world = World::plan().with("DESTINATIONS", "ga4").start().await;
    world.submit(&lead_body()).await;
    let key = world.delivery_key(lead(), "ga4").await;
    let lease = LeaseId::random(world.entropy());
    let claimed = world.store.claim(&key, Claiming::Due, lease, world.now()).await.unwrap();
    let Claimed::Ours(claim) = claimed else { panic!("the delivery should be due") };
    world.store.mark_sending(&claim).await.unwrap();
    let shown = world.authorised("ga4-events", &json!({"leadId": LEAD})).await.json();
    assert_eq!(shown, json!({"leadId": LEAD, "deliveries": []}));
    assert_eq!(world.delivery(lead(), "ga4").await.state.lease(), Some(lease));
    world.pass(60);
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["ga4/event unknown may_have_been_sent"]);
    world.finish().await;
}

#[tokio::test]
async fn a_sync_of_a_destination_that_is_off_is_refused_and_not_kept() {
    let world = World::plan().with("DESTINATIONS", "crm").start().await;
    world.expect_requests("crm", 2);
    world.submit(&lead_body()).await;
    world.drain().await;
    let response = world.authorised("mailerlite-sync", &json!({"leadId": LEAD})).await;
    assert_eq!((response.status, &response.json()["code"]), (409, &json!("destination_off")));
    assert_eq!(world.journey(lead()).await.events.len(), 1);
    world.finish().await;
}
