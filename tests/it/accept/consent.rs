//! Consent: assumed, denied, revoked and given again, and what is sent in each case.

use funil_core::contact::consent::{Decision, How, Purpose};
use serde_json::json;

use crate::world::{EMAIL, World, lead, lead_body};

/// The states of a lead of whom only the contact may be kept: no analytics, no marketing.
const ONLY_CONTACT: [&str; 6] = [
    "crm/lead delivered",
    "ga4/event skipped no_consent_analytics",
    "mailerlite/marketing skipped no_consent_marketing_email",
    "mailerlite/questionnaire delivered",
    "meta/lead skipped no_consent_ads",
    "segment/event skipped no_consent_analytics",
];

#[tokio::test]
async fn without_a_consent_object_analytics_are_assumed_and_marketing_is_skipped() {
    let world = World::new().await;
    world.expect_one_lead();
    world.expect_requests("mailerlite", 2);
    let mut body = lead_body();
    body.as_object_mut().unwrap().remove("consent");
    world.submit(&body).await;
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        [
            "crm/lead delivered",
            "ga4/event delivered",
            "mailerlite/marketing skipped no_consent_marketing_email",
            "mailerlite/questionnaire delivered",
            "meta/lead skipped no_consent_ads",
            "segment/event delivered",
        ]
    );
    let joined: Vec<_> = world.providers.group_joins().into_iter().map(|join| join.group).collect();
    assert_eq!(joined, ["101"]);
    let analytics = *world.journey(lead()).await.lead.consents.get(Purpose::Analytics).unwrap();
    assert_eq!((analytics.decision, analytics.how), (Decision::Granted, How::Assumed));
    world.finish().await;
}

#[tokio::test]
async fn the_assumed_consent_can_be_turned_off() {
    let world = World::plan().with("CONSENT_WHEN_ABSENT", "none").start().await;
    world.expect_requests("crm", 2);
    world.expect_requests("mailerlite", 2);
    let mut body = lead_body();
    body.as_object_mut().unwrap().remove("consent");
    world.submit(&body).await;
    world.drain().await;
    assert_eq!(world.states(lead()).await, ONLY_CONTACT);
    world.finish().await;
}

#[tokio::test]
async fn nothing_is_planned_for_a_purpose_denied_in_the_form() {
    let world = World::new().await;
    world.expect_requests("crm", 2);
    world.expect_requests("mailerlite", 2);
    let mut body = lead_body();
    body["consent"] = json!({"marketing": false, "analytics": false});
    world.submit(&body).await;
    assert_eq!(
        world.states(lead()).await,
        ["crm/lead pending", "mailerlite/questionnaire pending", "meta/lead pending"]
    );
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_delivery_planned_before_a_revocation_is_skipped_after_it() {
    let world = World::new().await;
    world.expect_requests("crm", 2);
    world.expect_requests("mailerlite", 2);
    world.submit(&lead_body()).await;
    world.pass(1);
    let digest = world.hash.digest("email", EMAIL);
    for purpose in [Purpose::Analytics, Purpose::MarketingEmail] {
        world.store.revoke("email", &digest, purpose, world.now()).await.unwrap();
    }
    world.drain().await;
    assert_eq!(world.states(lead()).await, ONLY_CONTACT);
    world.finish().await;
}

#[tokio::test]
async fn a_revocation_by_phone_counts_too() {
    let world = World::plan().with("DESTINATIONS", "segment").start().await;
    world.submit(&lead_body()).await;
    world.pass(1);
    // The alias of a Brazilian mobile number is hashed without the ninth digit: `docs/providers.md`
    // ("Brazilian phone numbers").
    let digest = world.hash.digest("phone", "+551187654321");
    world.store.revoke("phone", &digest, Purpose::Analytics, world.now()).await.unwrap();
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["segment/event skipped no_consent_analytics"]);
    world.finish().await;
}

#[tokio::test]
async fn a_box_that_is_ticked_does_not_undo_a_revocation() {
    let world = World::plan().with("DESTINATIONS", "segment").start().await;
    let digest = world.hash.digest("email", EMAIL);
    world.store.revoke("email", &digest, Purpose::Analytics, world.now()).await.unwrap();
    world.pass(1);
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["segment/event skipped no_consent_analytics"]);
    // The channel itself takes it back, but not in the second in which it was revoked.
    world.store.restore("email", &digest, Purpose::Analytics, world.now()).await.unwrap();
    world.expect_requests("segment", 1);
    world.pass(600);
    world.submit(&lead_body()).await;
    world.drain().await;
    let states = world.states(lead()).await;
    assert_eq!(states, ["segment/event delivered", "segment/event skipped no_consent_analytics"]);
    world.finish().await;
}

#[tokio::test]
async fn an_assumed_consent_does_not_undo_a_revocation() {
    let world = World::plan().with("DESTINATIONS", "segment").start().await;
    let digest = world.hash.digest("email", EMAIL);
    world.store.revoke("email", &digest, Purpose::Analytics, world.now()).await.unwrap();
    world.pass(1);
    let mut body = lead_body();
    body.as_object_mut().unwrap().remove("consent");
    world.submit(&body).await;
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["segment/event skipped no_consent_analytics"]);
    world.finish().await;
}

#[tokio::test]
async fn an_assumed_consent_does_not_replace_a_denial() {
    let world = World::plan().with("DESTINATIONS", "segment").start().await;
    let mut body = lead_body();
    body["consent"] = json!({"analytics": false});
    world.submit(&body).await;
    world.pass(1);
    body.as_object_mut().unwrap().remove("consent");
    world.submit(&body).await;
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["segment/event skipped no_consent_analytics"]);
    world.finish().await;
}
