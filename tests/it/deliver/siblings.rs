//! Several deliveries of one lead to one destination: which of them wait for each other.

use funil_core::clock::after;
use funil_core::delivery::{LEASE_S, StateKind};
use funil_core::id::LeaseId;
use funil_delivery::Patience;
use funil_dev::simulated::Behaviour;
use funil_store::{Claimed, Claiming};
use jiff::SignedDuration;
use serde_json::json;

use super::only;
use crate::world::{World, lead, lead_body, questionnaire_body};

/// Submits two different forms of one lead, this many seconds apart.
async fn submit_twice(world: &World, seconds: i64) {
    world.submit(&lead_body()).await;
    world.pass(seconds);
    let mut second = lead_body();
    second["mainStruggle"] = json!("equipe");
    world.submit(&second).await;
}

#[tokio::test]
async fn two_deliveries_of_one_lead_are_never_sent_at_the_same_time() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 4);
    submit_twice(&world, 1).await;
    let (one, other) = (world.worker("crm"), world.worker("crm"));
    while !world.states(lead()).await.iter().all(|state| state.ends_with(" delivered")) {
        let stop_at = world.stop_at();
        let (a, b) =
            tokio::join!(one.drain(Patience::None, stop_at), other.drain(Patience::None, stop_at));
        a.unwrap();
        b.unwrap();
        world.pass(1);
    }
    let bodies: Vec<_> =
        world.providers.received("crm").into_iter().map(|request| request.body).collect();
    let triggers = |body: &serde_json::Value| body.get("automation_triggers").is_some();
    let order: Vec<bool> = bodies.iter().map(triggers).collect();
    assert_eq!(order, [false, true, false, true], "each upsert is followed by its own trigger");
    assert_eq!(world.providers.crm_contact_count(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_waits_while_an_earlier_one_of_its_lead_is_leased() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 4);
    submit_twice(&world, 1).await;
    let start = world.now();
    let keys: Vec<_> = world.store.due("crm", start, 10).await.unwrap();
    let held = world
        .store
        .claim(&keys[0].key, Claiming::Due, LeaseId::random(world.entropy()), start)
        .await;
    assert!(matches!(held.unwrap(), Claimed::Ours(_)));
    world.drain().await;
    assert!(world.requests("crm").is_empty());
    let second = &world.store.deliveries_of(lead(), "crm").await.unwrap()[1];
    assert_eq!(
        (second.state.kind(), second.reason_text().as_deref()),
        (StateKind::Pending, Some("sibling_leased"))
    );
    assert_eq!((second.attempts, second.claims), (0, 0), "waiting costs nothing");
    assert_eq!(
        second.due_at(),
        Some(after(start, LEASE_S)),
        "it waits until the other's lease ends"
    );
    world.advance(SignedDuration::from_mins(5)).await;
    assert_eq!(world.states(lead()).await, ["crm/lead delivered", "crm/lead delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_waits_a_moment_where_a_later_one_was_claimed_first() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 4);
    submit_twice(&world, 1).await;
    let start = world.now();
    let keys: Vec<_> = world.store.due("crm", start, 10).await.unwrap();
    let lease = LeaseId::random(world.entropy());
    assert!(matches!(
        world.store.claim(&keys[1].key, Claiming::Due, lease, start).await.unwrap(),
        Claimed::Ours(_)
    ));
    world.drain().await;
    let first = &world.store.deliveries_of(lead(), "crm").await.unwrap()[0];
    let waits = first.due_at().unwrap().duration_since(start).as_secs();
    assert!((5..10).contains(&waits), "{waits}");
    world.advance(SignedDuration::from_mins(5)).await;
    assert_eq!(world.states(lead()).await, ["crm/lead delivered", "crm/lead delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn two_leads_do_not_wait_for_each_other() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 4);
    world.submit(&lead_body()).await;
    let mut bia = lead_body();
    bia["leadId"] = serde_json::Value::Null;
    bia["email"] = json!("bia@example.com");
    world.submit(&bia).await;
    assert_eq!(world.drain().await, 2);
    assert_eq!(world.providers.crm_contact_count(), 2);
    world.finish().await;
}

#[tokio::test]
async fn a_lease_that_has_ended_holds_up_no_other_delivery() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 4);
    submit_twice(&world, 1).await;
    let due = world.store.due("crm", world.now(), 10).await.unwrap();
    let lease = LeaseId::random(world.entropy());
    world.store.claim(&due[0].key, Claiming::Due, lease, world.now()).await.unwrap();
    world.pass(LEASE_S);
    let worker = world.worker("crm");
    worker.deliver_now(&[due[1].key.clone()], world.stop_at()).await.unwrap();
    assert_eq!(world.states(lead()).await, ["crm/lead delivered", "crm/lead leased"]);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn two_events_of_one_lead_do_not_wait_for_each_other() {
    let world = only("segment").start().await;
    world.expect_requests("segment", 2);
    submit_twice(&world, 1).await;
    let due = world.store.due("segment", world.now(), 10).await.unwrap();
    let lease = LeaseId::random(world.entropy());
    world.store.claim(&due[0].key, Claiming::Due, lease, world.now()).await.unwrap();
    assert_eq!(world.drain().await, 1);
    assert_eq!(world.states(lead()).await, ["segment/event delivered", "segment/event leased"]);
    world.pass(LEASE_S);
    world.drain().await;
    world.finish().await;
}

/// Submits questionnaires with these answers about commitment, a second apart.
async fn answer(world: &World, commitments: impl IntoIterator<Item = u8>) {
    for commitment in commitments {
        world.pass(1);
        let mut body = questionnaire_body();
        body["responses"]["commitment"] = json!(commitment);
        assert_eq!(world.answer_questionnaire(&body).await.status, 200);
    }
}

#[tokio::test]
async fn of_several_that_bring_nothing_but_the_state_only_the_newest_is_sent() {
    let world = only("crm").start().await;
    world.expect_requests("crm", 3);
    world.submit(&lead_body()).await;
    world.drain().await;
    answer(&world, [3, 5, 9]).await;
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        [
            "crm/lead delivered",
            "crm/lead delivered",
            "crm/lead skipped superseded",
            "crm/lead skipped superseded"
        ]
    );
    let newest = &world.store.deliveries_of(lead(), "crm").await.unwrap()[3];
    assert_eq!(newest.state.kind(), StateKind::Delivered);
    let sent = world.providers.received("crm").pop().unwrap().body.to_string();
    assert!(sent.contains("\"commitment\":9"), "{sent}");
    world.finish().await;
}

#[tokio::test]
async fn one_with_an_effect_of_its_own_is_never_superseded() {
    let world = only("crm").start().await;
    // Each submission is an upsert and a trigger; the questionnaire between them is superseded.
    world.expect_requests("crm", 4);
    world.submit(&lead_body()).await;
    answer(&world, [5]).await;
    world.pass(1);
    let mut second = lead_body();
    second["mainStruggle"] = json!("equipe");
    world.submit(&second).await;
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        ["crm/lead delivered", "crm/lead delivered", "crm/lead skipped superseded"]
    );
    world.finish().await;
}

#[tokio::test]
async fn an_older_one_waits_while_a_newer_one_is_to_be_tried_again() {
    let world = only("crm").start().await;
    world.looks_at("crm");
    world.submit(&lead_body()).await;
    world.drain().await;
    answer(&world, [3, 9]).await;
    world.providers.script("crm", [Behaviour::Status(500)]);
    world.drain().await;
    let states = world.states(lead()).await;
    assert_eq!(
        states,
        ["crm/lead delivered", "crm/lead pending http_500", "crm/lead pending newer_first"]
    );
    let older = &world.store.deliveries_of(lead(), "crm").await.unwrap()[1];
    assert_eq!((older.attempts, older.claims), (0, 0), "waiting costs nothing");
    world.advance(SignedDuration::from_mins(2)).await;
    assert_eq!(
        world.states(lead()).await,
        ["crm/lead delivered", "crm/lead delivered", "crm/lead skipped superseded"]
    );
    assert_eq!(world.requests("crm").len(), 4, "two for the submission, two for the newest");
    world.finish().await;
}

#[tokio::test]
async fn each_slot_has_a_newest_of_its_own() {
    let world = only("mailerlite").start().await;
    world.looks_at("mailerlite");
    world.submit(&lead_body()).await;
    answer(&world, [3, 9]).await;
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        [
            "mailerlite/marketing delivered",
            "mailerlite/profile delivered",
            "mailerlite/profile skipped superseded",
            "mailerlite/questionnaire delivered"
        ]
    );
    world.finish().await;
}
