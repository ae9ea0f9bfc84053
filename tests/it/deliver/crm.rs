//! The three kinds of CRM: with each of them a lead becomes one complete contact.

use std::collections::BTreeMap;

use funil_dev::simulated::Behaviour;
use jiff::SignedDuration;
use serde_json::json;

use crate::world::{EMAIL, LEAD, World, client, lead, lead_body};

const KINDS: [&str; 3] = ["webhook", "contacts", "leads"];

async fn crm(kind: &str) -> World {
    World::plan().with("DESTINATIONS", "crm").with("CRM_KIND", kind).start().await
}

/// Asserts that there is one contact with the lead's e-mail, whose automation started once.
async fn has_one_complete_contact(world: &World, kind: &str) {
    assert!(world.states(lead()).await.iter().all(|state| state == "crm/lead delivered"), "{kind}");
    assert_eq!(world.providers.crm_contact_count(), 1, "{kind}");
    let contact = world.providers.crm_contact(LEAD).unwrap();
    let email = if kind == "leads" { &contact["contact"]["email"] } else { &contact["email"] };
    assert_eq!(email, EMAIL, "{kind}");
    assert_eq!(contact["custom_fields"]["amanda_match_score"], 76, "{kind}");
    let triggers = BTreeMap::from([("standard_nurture".to_owned(), 1)]);
    assert_eq!(world.providers.crm_triggers(LEAD), triggers, "{kind}");
}

#[tokio::test]
async fn a_new_lead_becomes_a_contact() {
    for (kind, requests) in [
        ("webhook", vec!["POST /", "POST /"]),
        ("contacts", vec!["GET /contacts", "POST /contacts", "PUT /contacts/1"]),
        ("leads", vec!["POST /leads", "POST /leads"]),
    ] {
        let world = crm(kind).await;
        world.expect_requests("crm", requests.len());
        world.submit(&lead_body()).await;
        world.drain().await;
        assert_eq!(world.requests("crm"), requests);
        for request in world.providers.received("crm") {
            assert_eq!(request.header("authorization"), Some("Bearer crm-key"));
            let key = request.header("idempotency-key");
            assert_eq!(key.is_some(), request.body.get("automation_triggers").is_some(), "{kind}");
            let version = request.header("x-api-version");
            assert_eq!(version, (kind == "leads").then_some("2023-10"));
        }
        has_one_complete_contact(&world, kind).await;
        world.finish().await;
    }
}

#[tokio::test]
async fn an_existing_contact_is_updated_and_keeps_its_other_fields() {
    for (kind, requests) in [
        ("webhook", vec!["POST /", "POST /"]),
        ("contacts", vec!["GET /contacts", "PUT /contacts/1", "PUT /contacts/1"]),
        ("leads", vec!["POST /leads", "POST /leads"]),
    ] {
        let world = crm(kind).await;
        world.expect_requests("crm", 1 + requests.len());
        // Somebody made it by hand before the lead came.
        let made = json!({"external_id": LEAD, "name": "Old", "owner": "Carla"});
        world.make_contact(&client(), &made).await;
        world.submit(&lead_body()).await;
        world.drain().await;
        assert_eq!(world.requests("crm")[1..], requests);
        has_one_complete_contact(&world, kind).await;
        let contact = world.providers.crm_contact(LEAD).unwrap();
        assert_eq!(contact["owner"], "Carla");
        assert_eq!(contact["id"], "1");
        world.finish().await;
    }
}

#[tokio::test]
async fn a_conflict_means_that_the_crm_has_the_contact() {
    for kind in ["webhook", "leads"] {
        let world = crm(kind).await;
        world.expect_requests("crm", 2);
        world.providers.script("crm", [Behaviour::Status(409)]);
        world.submit(&lead_body()).await;
        world.drain().await;
        assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
        assert_eq!(world.providers.crm_triggers(LEAD)["standard_nurture"], 1);
        world.finish().await;
    }
}

#[tokio::test]
async fn a_contact_created_between_our_look_up_and_our_request_is_updated() {
    let world = crm("contacts").await;
    world.make_contact(&client(), &json!({"external_id": LEAD, "name": "Old"})).await;
    let nobody = r#"{"contacts":[]}"#.to_owned();
    let looked_too_early = Behaviour::StatusWith { status: 200, headers: vec![], body: nobody };
    world.providers.script("crm", [looked_too_early]);
    world.submit(&lead_body()).await;
    world.drain().await;
    let requests = [
        "POST /contacts",
        "GET /contacts",
        "POST /contacts",
        "GET /contacts",
        "PUT /contacts/1",
        "PUT /contacts/1",
    ];
    assert_eq!(world.requests("crm"), requests);
    world.expect_requests("crm", requests.len());
    has_one_complete_contact(&world, "contacts").await;
    world.finish().await;
}

/// A world whose CRM of this kind is down, and with a lead whose delivery failed once.
async fn while_down(kind: &str) -> World {
    let world = crm(kind).await;
    world.looks_at("crm");
    world.providers.behave("crm", Behaviour::Status(503));
    world.submit(&lead_body()).await;
    world.drain().await;
    world
}

#[tokio::test]
async fn a_sync_before_the_first_delivery_does_no_harm() {
    for kind in KINDS {
        let world = while_down(kind).await;
        world.providers.behave("crm", Behaviour::Normal);
        // Of two deliveries of one moment it is not known which is newer.
        world.pass(1);
        let response = world.authorised("crm-sync", &json!({"leadId": LEAD})).await;
        assert_eq!(response.json()["deliveries"][0]["state"], "delivered", "{kind}");
        assert_eq!(world.providers.crm_contact_count(), 1);
        assert!(world.providers.crm_triggers(LEAD).is_empty(), "a sync starts no automation");
        world.advance(SignedDuration::from_mins(1)).await;
        has_one_complete_contact(&world, kind).await;
        world.finish().await;
    }
}

#[tokio::test]
async fn every_kind_sends_the_present_state_of_the_lead() {
    for kind in KINDS {
        let world = while_down(kind).await;
        // While the CRM is down the person corrects the name.
        world.pass(2);
        let mut corrected = lead_body();
        corrected["name"] = json!("Ana Corrigida");
        world.submit(&corrected).await;
        world.providers.behave("crm", Behaviour::Normal);
        world.advance(SignedDuration::from_mins(1)).await;
        let contact = world.providers.crm_contact(LEAD).unwrap();
        let name = if kind == "leads" { &contact["contact"]["name"] } else { &contact["name"] };
        assert_eq!(name, "Ana Corrigida", "{kind}");
        // The older delivery was sent later, with the present state.
        let received = world.providers.received("crm");
        let late = received.iter().filter(|request| request.status != Some(503));
        assert!(!late.into_iter().any(|request| request.body.to_string().contains("Ana Exemplo")));
        assert_eq!(world.providers.crm_contact_count(), 1);
        world.finish().await;
    }
}
