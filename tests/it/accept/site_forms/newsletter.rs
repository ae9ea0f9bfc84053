//! The sign-up for the newsletter: MailerLite asks for a confirmation, once, and only where it may.

use funil_core::contact::consent::Purpose;
use funil_core::hash::HashKey;
use funil_dev::simulated::Behaviour;
use serde_json::{Value, json};

use super::{CONTACT, NEWSLETTER, contact_body, derived};
use crate::world::{EMAIL, HASH_KEY, World};

pub(super) fn newsletter_body() -> Value {
    json!({"data": {"email": EMAIL, "name": "Ana", "marketing_consent": true}})
}

#[tokio::test]
async fn who_signs_up_for_the_newsletter_is_asked_by_mailerlite_once() {
    let world = World::plan().with("DESTINATIONS", "mailerlite").start().await;
    world.looks_at("mailerlite");
    for number in 0..3 {
        let mut body = newsletter_body();
        body["data"]["name"] = json!(format!("Ana {number}"));
        assert_eq!(world.post(NEWSLETTER, &[], &body).await.status, 200, "twice is no error");
        world.drain().await;
    }
    let received = world.providers.received("mailerlite");
    let upserts = received.iter().filter(|one| one.method == "POST");
    let asked: Vec<_> = upserts.map(|one| one.body["status"].clone()).collect();
    assert_eq!(asked, [json!("unconfirmed"), Value::Null, Value::Null]);
    let subscriber = world.providers.subscriber(EMAIL).unwrap();
    assert_eq!(subscriber["status"], "unconfirmed");
    assert_eq!(subscriber["groups"][0]["id"], "202");
    world.finish().await;
}

#[tokio::test]
async fn nobody_who_unsubscribed_is_subscribed_by_a_form_that_anybody_can_send() {
    for (confirmation, status, state) in [
        ("new", "unsubscribed", "skipped unsubscribed"),
        ("nobody", "unsubscribed", "skipped unsubscribed"),
        ("everybody", "unconfirmed", "delivered"),
    ] {
        let world = World::plan()
            .with("DESTINATIONS", "mailerlite")
            .with("MAILERLITE_CONFIRMATION", confirmation)
            .start()
            .await;
        world.looks_at("mailerlite");
        world.post(CONTACT, &[], &contact_body()).await;
        world.drain().await;
        assert!(world.providers.set_status(EMAIL, "unsubscribed"));
        world.post(NEWSLETTER, &[], &newsletter_body()).await;
        world.drain().await;
        assert_eq!(world.states(derived()).await, [format!("mailerlite/newsletter {state}")]);
        assert_eq!(world.providers.subscriber(EMAIL).unwrap()["status"], status);
        world.finish().await;
    }
}

#[tokio::test]
async fn an_e_mail_that_was_revoked_after_the_sign_up_gets_none() {
    let world = World::plan()
        .with("DESTINATIONS", "mailerlite")
        .with("MAILERLITE_CONFIRMATION", "everybody")
        .start()
        .await;
    world.looks_at("mailerlite");
    world.providers.behave("mailerlite", Behaviour::Status(503));
    world.post(NEWSLETTER, &[], &newsletter_body()).await;
    world.drain().await;
    world.pass(60);
    let digest = HashKey::new(HASH_KEY).unwrap().digest("email", EMAIL);
    let purpose = Purpose::MarketingEmail;
    world.store.revoke("email", &digest, purpose, world.now()).await.unwrap();
    world.providers.behave("mailerlite", Behaviour::Normal);
    world.pass(3600);
    world.drain().await;
    let states = world.states(derived()).await;
    assert_eq!(states, ["mailerlite/newsletter skipped no_consent_marketing_email"]);
    assert_eq!(world.providers.subscriber(EMAIL), None);
    world.finish().await;
}
