//! Requests without a response: repeated where the destination recognises a repetition, and unknown
//! where it does not.

use std::collections::BTreeMap;

use funil_delivery::Patience;
use funil_dev::simulated::Behaviour;
use funil_store::Written;
use jiff::SignedDuration;

use super::{claim, only};
use crate::world::{LEAD, lead, lead_body};

#[tokio::test]
async fn a_request_to_a_provider_that_hangs_is_repeated_where_that_is_safe() {
    let world = only("segment").impatient().start().await;
    world.expect_requests("segment", 2);
    world.providers.script("segment", [Behaviour::Hang]);
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["segment/event pending timeout"]);
    world.advance(SignedDuration::from_mins(1)).await;
    assert_eq!(world.states(lead()).await, ["segment/event delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn an_effect_without_a_response_is_not_doubled_at_segment() {
    for behaviour in [Behaviour::HangAfterEffect, Behaviour::CloseAfterEffect] {
        let world = only("segment").impatient().start().await;
        world.expect_requests("segment", 2);
        world.providers.script("segment", [behaviour]);
        world.submit(&lead_body()).await;
        world.advance(SignedDuration::from_mins(1)).await;
        assert_eq!(world.states(lead()).await, ["segment/event delivered"]);
        assert_eq!(world.providers.segment_messages().len(), 2, "identify and track, once");
        world.finish().await;
    }
}

#[tokio::test]
async fn ga4_without_a_response_stays_unknown_and_is_never_sent_again() {
    for (behaviour, reason, counted) in [
        (Behaviour::Hang, "timeout", 0),
        (Behaviour::HangAfterEffect, "timeout", 1),
        (Behaviour::CloseConnection, "transport", 0),
        (Behaviour::CloseAfterEffect, "transport", 1),
    ] {
        let world = only("ga4").impatient().start().await;
        world.expect_requests("ga4", 1);
        world.providers.script("ga4", [behaviour]);
        world.submit(&lead_body()).await;
        world.advance(SignedDuration::from_hours(100)).await;
        assert_eq!(world.states(lead()).await, [format!("ga4/event unknown {reason}")]);
        assert_eq!(world.providers.ga4_events().len(), counted);
        assert_eq!(world.store.dead("ga4", 10).await.unwrap(), [], "nobody needs to decide");
        world.finish().await;
    }
}

#[tokio::test]
async fn an_effect_without_a_response_is_not_doubled_at_the_crm() {
    // The connection closes after the upsert, or after the trigger.
    for (script, requests) in [
        (vec![Behaviour::CloseAfterEffect], 3),
        (vec![Behaviour::Normal, Behaviour::CloseAfterEffect], 4),
    ] {
        for kind in ["webhook", "contacts", "leads"] {
            let looks = usize::from(kind == "contacts");
            let world = only("crm").with("CRM_KIND", kind).start().await;
            // `contacts` looks the contact up first, each time.
            world.expect_requests("crm", requests + 2 * looks);
            world.providers.script("crm", vec![Behaviour::Normal; looks]);
            world.providers.script("crm", script.clone());
            world.submit(&lead_body()).await;
            world.drain().await;
            assert_eq!(world.states(lead()).await, ["crm/lead pending transport"], "{kind}");
            world.advance(SignedDuration::from_mins(1)).await;
            assert_eq!(world.states(lead()).await, ["crm/lead delivered"]);
            assert_eq!(world.providers.crm_contact_count(), 1);
            let triggers = world.providers.crm_triggers(LEAD);
            assert_eq!(triggers, BTreeMap::from([("standard_nurture".to_owned(), 1)]), "{kind}");
            world.finish().await;
        }
    }
}

#[tokio::test]
async fn a_worker_that_dies_before_its_request_to_ga4_leaves_it_unknown_and_unsent() {
    let world = only("ga4").start().await;
    world.submit(&lead_body()).await;
    let claim = claim(&world, "ga4").await;
    assert_eq!(world.store.mark_sending(&claim).await.unwrap(), Written::Yes);
    world.advance(SignedDuration::from_hours(100)).await;
    assert_eq!(world.states(lead()).await, ["ga4/event unknown may_have_been_sent"]);
    assert_eq!(
        world.delivery(lead(), "ga4").await.state.sending(),
        funil_core::delivery::Sending::NotBegun
    );
    world.finish().await;
}

#[tokio::test]
async fn a_worker_that_dies_during_its_request_to_ga4_leaves_it_unknown_and_sent_once() {
    let world = only("ga4").start().await;
    world.expect_requests("ga4", 1);
    world.submit(&lead_body()).await;
    world.providers.script("ga4", [Behaviour::HangAfterEffect]);
    let worker = world.worker("ga4");
    tokio::select! {
        drained = worker.drain(Patience::None, world.stop_at()) => panic!("{drained:?}"),
        () = world.providers.until_received("ga4", 1) => {}
    }
    world.advance(SignedDuration::from_hours(1)).await;
    assert_eq!(world.states(lead()).await, ["ga4/event unknown may_have_been_sent"]);
    world.providers.release_hung();
    world.finish().await;
}
