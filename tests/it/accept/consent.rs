//! Consent: what is assumed, denied, revoked and given again, and what is sent then.

use funil_core::contact::consent::{Decision, How, Purpose};
use serde_json::json;

use crate::world::{EMAIL, World, lead, lead_body};

#[tokio::test]
async fn without_a_consent_object_analytics_are_assumed_and_marketing_is_skipped() {
    let world = World::new().await;
    world.expect_one_lead();
    world.expect_calls("mailerlite", 3);
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
async fn what_the_site_assumes_can_be_turned_off() {
    let world = World::plan().with("CONSENT_WHEN_ABSENT", "none").start().await;
    world.expect_calls("crm", 2);
    world.expect_calls("mailerlite", 3);
    let mut body = lead_body();
    body.as_object_mut().unwrap().remove("consent");
    world.submit(&body).await;
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        [
            "crm/lead delivered",
            "ga4/event skipped no_consent_analytics",
            "mailerlite/marketing skipped no_consent_marketing_email",
            "mailerlite/questionnaire delivered",
            "segment/event skipped no_consent_analytics",
        ]
    );
    world.finish().await;
}

#[tokio::test]
async fn what_a_person_denies_is_not_even_planned() {
    let world = World::new().await;
    world.expect_calls("crm", 2);
    world.expect_calls("mailerlite", 3);
    let mut body = lead_body();
    body["consent"] = json!({"marketing": false, "analytics": false});
    world.submit(&body).await;
    assert_eq!(
        world.states(lead()).await,
        ["crm/lead pending", "mailerlite/questionnaire pending"]
    );
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn what_was_queued_before_a_revocation_is_skipped_after_it() {
    let world = World::new().await;
    world.expect_calls("crm", 2);
    world.expect_calls("mailerlite", 3);
    world.submit(&lead_body()).await;
    world.pass(1);
    let digest = world.hash.digest("email", EMAIL);
    for purpose in [Purpose::Analytics, Purpose::MarketingEmail] {
        world.store.revoke("email", &digest, purpose, world.now()).await.unwrap();
    }
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        [
            "crm/lead delivered",
            "ga4/event skipped no_consent_analytics",
            "mailerlite/marketing skipped no_consent_marketing_email",
            "mailerlite/questionnaire delivered",
            "segment/event skipped no_consent_analytics",
        ]
    );
    world.finish().await;
}

#[tokio::test]
async fn a_revocation_by_phone_counts_too() {
    let world = World::plan().with("DESTINATIONS", "segment").start().await;
    world.submit(&lead_body()).await;
    world.pass(1);
    // The alias of a Brazilian mobile is hashed without its ninth digit.
    let digest = world.hash.digest("phone", "+551187654321");
    world.store.revoke("phone", &digest, Purpose::Analytics, world.now()).await.unwrap();
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["segment/event skipped no_consent_analytics"]);
    world.finish().await;
}

#[tokio::test]
async fn whoever_revoked_and_agrees_again_is_heard() {
    let world = World::plan().with("DESTINATIONS", "segment").start().await;
    world.expect_calls("segment", 1);
    let digest = world.hash.digest("email", EMAIL);
    world.store.revoke("email", &digest, Purpose::Analytics, world.now()).await.unwrap();
    world.pass(1);
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["segment/event delivered"]);
    world.finish().await;
}

#[tokio::test]
async fn an_assumption_does_not_undo_a_revocation() {
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
async fn what_is_assumed_does_not_replace_what_was_said() {
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
