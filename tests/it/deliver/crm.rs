//! The three kinds of CRM, each through the real client to a contact that is whole.

use std::collections::BTreeMap;

use funil_dev::simulated::Behaviour;
use jiff::SignedDuration;
use serde_json::json;

use crate::world::{EMAIL, LEAD, World, client, lead, lead_body};

const KINDS: [&str; 3] = ["webhook", "contacts", "leads"];

async fn crm(kind: &str) -> World {
    World::plan().with("DESTINATIONS", "crm").with("CRM_KIND", kind).start().await
}

/// One contact, with the lead's own e-mail, and its automation started once.
async fn holds_one_whole_contact(world: &World, kind: &str) {
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
    for (kind, calls) in [
        ("webhook", vec!["POST /", "POST /"]),
        ("contacts", vec!["GET /contacts", "POST /contacts", "PUT /contacts/1"]),
        ("leads", vec!["POST /leads", "POST /leads"]),
    ] {
        let world = crm(kind).await;
        world.expect_calls("crm", calls.len());
        world.submit(&lead_body()).await;
        world.drain().await;
        assert_eq!(world.calls("crm"), calls);
        for call in world.providers.received("crm") {
            assert_eq!(call.header("authorization"), Some("Bearer crm-key"));
            let key = call.header("idempotency-key");
            assert_eq!(key.is_some(), call.body.get("automation_triggers").is_some(), "{kind}");
            let version = call.header("x-api-version");
            assert_eq!(version, (kind == "leads").then_some("2023-10"));
        }
        holds_one_whole_contact(&world, kind).await;
        world.finish().await;
    }
}

#[tokio::test]
async fn a_contact_that_was_there_is_brought_up_to_date_and_keeps_what_it_had() {
    for (kind, calls) in [
        ("webhook", vec!["POST /", "POST /"]),
        ("contacts", vec!["GET /contacts", "PUT /contacts/1", "PUT /contacts/1"]),
        ("leads", vec!["POST /leads", "POST /leads"]),
    ] {
        let world = crm(kind).await;
        world.expect_calls("crm", 1 + calls.len());
        // Made by hand, before the lead came.
        let made = json!({"external_id": LEAD, "name": "Old", "owner": "Carla"});
        world.make_contact(&client(), &made).await;
        world.submit(&lead_body()).await;
        world.drain().await;
        assert_eq!(world.calls("crm")[1..], calls);
        holds_one_whole_contact(&world, kind).await;
        let contact = world.providers.crm_contact(LEAD).unwrap();
        assert_eq!(contact["owner"], "Carla");
        assert_eq!(contact["id"], "1");
        world.finish().await;
    }
}

#[tokio::test]
async fn a_conflict_means_that_the_crm_has_it() {
    for kind in ["webhook", "leads"] {
        let world = crm(kind).await;
        world.expect_calls("crm", 2);
        world.providers.script("crm", [Behaviour::Status(409)]);
        world.submit(&lead_body()).await;
        world.drain().await;
        assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
        assert_eq!(world.providers.crm_triggers(LEAD)["standard_nurture"], 1);
        world.finish().await;
    }
}

#[tokio::test]
async fn a_contact_that_was_created_between_our_look_and_our_call_is_updated() {
    let world = crm("contacts").await;
    world.make_contact(&client(), &json!({"external_id": LEAD, "name": "Old"})).await;
    let nobody = r#"{"contacts":[]}"#.to_owned();
    let looked_too_early = Behaviour::StatusWith { status: 200, headers: vec![], body: nobody };
    world.providers.script("crm", [looked_too_early]);
    world.submit(&lead_body()).await;
    world.drain().await;
    let calls = [
        "POST /contacts",
        "GET /contacts",
        "POST /contacts",
        "GET /contacts",
        "PUT /contacts/1",
        "PUT /contacts/1",
    ];
    assert_eq!(world.calls("crm"), calls);
    world.expect_calls("crm", calls.len());
    holds_one_whole_contact(&world, "contacts").await;
    world.finish().await;
}

#[tokio::test]
async fn an_update_that_comes_before_the_creation_harms_nothing() {
    for kind in KINDS {
        let world = crm(kind).await;
        world.looks_at("crm");
        world.providers.behave("crm", Behaviour::Status(503));
        world.submit(&lead_body()).await;
        world.drain().await;
        world.providers.behave("crm", Behaviour::Normal);
        let answer = world.authorised("crm-sync", &json!({"leadId": LEAD})).await;
        assert_eq!(answer.json()["deliveries"][0]["state"], "delivered", "{kind}");
        assert_eq!(world.providers.crm_contact_count(), 1);
        assert!(world.providers.crm_triggers(LEAD).is_empty(), "an update starts no automation");
        world.advance(SignedDuration::from_mins(1)).await;
        holds_one_whole_contact(&world, kind).await;
        world.finish().await;
    }
}

#[tokio::test]
async fn every_kind_sends_what_it_learnt_since() {
    for kind in KINDS {
        let world = crm(kind).await;
        world.looks_at("crm");
        world.providers.behave("crm", Behaviour::Status(503));
        world.submit(&lead_body()).await;
        world.drain().await;
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
        // The older delivery came later, and brought the present state all the same.
        let received = world.providers.received("crm");
        let late = received.iter().filter(|call| call.status != Some(503));
        assert!(!late.into_iter().any(|call| call.body.to_string().contains("Ana Exemplo")));
        assert_eq!(world.providers.crm_contact_count(), 1);
        world.finish().await;
    }
}
