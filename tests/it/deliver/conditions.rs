//! Conditions of the table's writes that matter only when two writers meet. No other check would
//! catch what they catch.

use funil_core::contact::consent::{ConsentChanges, Purpose};
use funil_core::delivery::{LEASE_S, Queue};
use funil_core::destination::{AliasDigests, plan};
use funil_core::event::{Event, EventData, FormEvent, SyncRequested};
use funil_core::id::{EventId, LeaseId};
use funil_core::lead::{Authority, LeadChanges};
use funil_core::receipt::ReceiptKey;
use funil_store::{
    Acceptance, Accepted, AlertKind, Claimed, Claiming, ConsentEvidence, DeliveryKey, LeadWrite,
    Receipt, StoreError, StoredResponse,
};
use serde_json::json;

use crate::world::{EMAIL, HASH_KEY, World, lead, lead_body};

async fn segment() -> World {
    World::plan().with("DESTINATIONS", "segment").start().await
}

/// Another event of the lead, which happens now.
fn another_event(world: &World) -> Event {
    let data = SyncRequested { destination: "crm".to_owned() };
    Event::new(EventId::sync(world.now(), world.entropy()), lead(), data, world.now())
}

/// Accepts `event` as if the form of the lead's first event had come again with another receipt.
async fn accept(
    world: &World,
    event: &Event,
    aliases: &AliasDigests,
) -> Result<Accepted, StoreError> {
    let first = &world.journey(lead()).await.events[0];
    let EventData::Form(FormEvent::LeadSubmitted(submitted)) = &first.data else {
        panic!("{first:?}")
    };
    let response = StoredResponse { status: 200, headers: Vec::new(), body: String::new() };
    let key =
        ReceiptKey::of_form(&world.hash, "another", &submitted.form.email, None, event.id.as_str());
    let acceptance = Acceptance {
        receipt: &Receipt { key, fingerprint: String::new(), response, caller: None },
        event,
        lead: LeadWrite::OfEmail,
        changes: &LeadChanges::of_submission(submitted, Authority::Capability, None, world.now()),
        consent: &ConsentChanges::default(),
        evidence: &ConsentEvidence::default(),
        aliases,
        deliveries: &[],
        bookings: &event.data.bookings(),
        payment: None,
        beside: None,
        other_aliases: &[],
        shared_aliases: &[],
        withdrawn: &[],
        released: None,
    };
    world.store.accept(&acceptance, world.now(), world.entropy()).await
}

#[tokio::test]
async fn an_event_of_a_lead_that_does_not_exist_is_not_kept() {
    let world = segment().await;
    let event = another_event(&world);
    let crm = funil_core::destination::find("crm").unwrap();
    let planned = plan(&event, &[crm], None, &AliasDigests::default(), Queue::default());
    assert_eq!(planned.len(), 1);
    assert!(!world.store.accept_event(&event, &planned, world.entropy()).await.unwrap());
    assert_eq!(world.items("LEAD#").await, [json!(null); 0]);
    world.finish().await;
}

#[tokio::test]
async fn an_event_and_a_delivery_are_written_once_and_never_overwritten() {
    let world = segment().await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    world.drain().await;
    let kept = world.journey(lead()).await;
    let (event, delivered) = (&kept.events[0], &kept.deliveries);
    let planned = plan(
        event,
        &[funil_core::destination::find("segment").unwrap()],
        None,
        &AliasDigests::default(),
        Queue::default(),
    );
    assert_eq!(planned[0].id, delivered[0].id);

    let aliases = AliasDigests { email: Some(world.hash.digest("email", EMAIL)), phone: None };
    assert!(accept(&world, event, &aliases).await.is_err(), "the event exists already");
    assert!(world.store.accept_event(event, &[], world.entropy()).await.is_err());
    let other = another_event(&world);
    let again = world.store.accept_event(&other, &planned, world.entropy()).await;
    assert!(again.is_err(), "the delivery exists already");

    let after = world.journey(lead()).await;
    assert_eq!((&after.events, &after.deliveries), (&kept.events, delivered));
    assert_eq!(world.drain().await, 0, "it is not sent again");
    world.finish().await;
}

#[tokio::test]
async fn a_request_without_an_e_mail_takes_over_no_lead() {
    let world = segment().await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    world.pass(1);
    let event = another_event(&world);
    let accepted = accept(&world, &event, &AliasDigests::default()).await.unwrap();
    assert_eq!(accepted, Accepted::OtherEmail);
    assert_eq!(world.journey(lead()).await.events.len(), 1);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn an_older_revocation_does_not_replace_a_newer_one() {
    let world = segment().await;
    let digest = world.hash.digest("email", EMAIL);
    let older = world.now();
    world.pass(1);
    world.submit(&lead_body()).await;
    world.pass(1);
    for at in [world.now(), older] {
        world.store.revoke("email", &digest, Purpose::Analytics, at).await.unwrap();
    }
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["segment/event skipped no_consent_analytics"]);
    world.finish().await;
}

#[tokio::test]
async fn a_newer_revocation_replaces_an_older_one() {
    let world = segment().await;
    let digest = world.hash.digest("email", EMAIL);
    world.store.revoke("email", &digest, Purpose::Analytics, world.now()).await.unwrap();
    world.pass(1);
    world.submit(&lead_body()).await;
    world.pass(1);
    world.store.revoke("email", &digest, Purpose::Analytics, world.now()).await.unwrap();
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["segment/event skipped no_consent_analytics"]);
    world.finish().await;
}

/// Opens the connections that requests at once need, so that none of them has a head start.
async fn connect(world: &World) {
    let reads = (0..8).map(|_| world.store.breaker("segment"));
    futures::future::try_join_all(reads).await.unwrap();
}

#[tokio::test]
async fn of_many_hash_keys_that_claim_a_new_table_at_once_one_gets_it() {
    let world = segment().await;
    world.ask_table("DeleteItem", json!({"Key": {"pk": {"S": "META"}, "sk": {"S": "META"}}})).await;
    let deployments: Vec<_> = (0..8)
        .map(|number| world.deployment(&[("HASH_KEY", &format!("{HASH_KEY}-{number}"))]))
        .collect();
    connect(&world).await;
    let rings = deployments.iter().map(|one| one.invoke("dispatch", json!({"ring": true})));
    let responses = futures::future::join_all(rings).await;
    let served = responses.iter().filter(|response| response.get("rung").is_some());
    assert_eq!(served.count(), 1, "{responses:?}");
    world.finish().await;
}

#[tokio::test]
async fn of_many_senders_at_once_one_takes_an_alert() {
    let world = segment().await;
    world.store.raise_alert("segment", AlertKind::Dead, None, world.now()).await.unwrap();
    connect(&world).await;
    let senders = (0..8).map(|_| world.store.take_alerts(world.now()));
    let taken = futures::future::try_join_all(senders).await.unwrap();
    assert_eq!(taken.iter().flatten().count(), 1, "{taken:?}");
    world.finish().await;
}

#[tokio::test]
async fn only_a_delivery_that_exists_is_due_and_is_not_leased_is_claimed() {
    let world = segment().await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let due = world.delivery_key(lead(), "segment").await;
    let gone = DeliveryKey { sk: format!("{}0", due.sk), ..due.clone() };
    let claim = async |key: &DeliveryKey, claiming| {
        let lease = LeaseId::random(world.entropy());
        let claimed = world.store.claim(key, claiming, lease, world.now()).await.unwrap();
        claimed != Claimed::NotDue
    };
    for claiming in [Claiming::Due, Claiming::Interrupted] {
        assert!(!claim(&gone, claiming).await, "it does not exist");
    }
    assert!(!claim(&due, Claiming::Interrupted).await, "no worker was interrupted");
    assert!(claim(&due, Claiming::Due).await);
    assert!(!claim(&due, Claiming::Due).await, "another worker has it");
    world.pass(LEASE_S);
    world.drain().await;
    world.pass(LEASE_S);
    for claiming in [Claiming::Due, Claiming::Interrupted] {
        assert!(!claim(&due, claiming).await, "it is settled");
    }
    assert_eq!(world.states(lead()).await, ["segment/event delivered"]);
    assert_eq!(world.items("LEAD#").await.len(), 4, "lead, event, consent, delivery");
    world.finish().await;
}
