//! A state that MailerLite confirmed a short time ago is not sent again, unless somebody asks for it or
//! something else may have changed it.

use funil_core::delivery::StateKind;
use funil_core::event::Operator;
use funil_dev::simulated::Behaviour;
use funil_lambda::operate::replay::{Judged, replay};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::only;
use crate::world::{LEAD, World, lead, lead_body, questionnaire_body};

/// A world in which MailerLite has a lead who answered the questionnaire a minute ago.
async fn answered() -> World {
    let world = only("mailerlite").start().await;
    world.looks_at("mailerlite");
    world.submit(&lead_body()).await;
    world.drain().await;
    world.pass(30);
    assert_eq!(world.answer_questionnaire(&questionnaire_body()).await.status, 200);
    world.drain().await;
    world.pass(30);
    world
}

/// Answers the questionnaire again, with another goal, which MailerLite does not get to know.
async fn answer_again(world: &World, goal: &str) {
    let mut body = questionnaire_body();
    body["responses"]["mainGoal"] = json!(goal);
    assert_eq!(world.answer_questionnaire(&body).await.status, 200);
}

/// How often a state of MailerLite's deliveries ends with this.
async fn ended(world: &World, end: &str) -> usize {
    world.states(lead()).await.iter().filter(|state| state.ends_with(end)).count()
}

#[tokio::test]
async fn the_same_state_is_not_sent_twice_within_a_day() {
    let world = answered().await;
    let before = world.requests("mailerlite").len();
    answer_again(&world, "Viajar.").await;
    world.drain().await;
    assert_eq!(ended(&world, "mailerlite/profile skipped unchanged").await, 1);
    assert_eq!(world.requests("mailerlite").len(), before);
    world.advance(SignedDuration::from_hours(24)).await;
    answer_again(&world, "Descansar.").await;
    world.drain().await;
    assert_eq!(ended(&world, "skipped unchanged").await, 1);
    assert_eq!(world.requests("mailerlite").len(), before + 2, "a look-up and the upsert");
    world.finish().await;
}

#[tokio::test]
async fn a_sync_and_a_replay_are_always_sent() {
    let world = answered().await;
    let before = world.requests("mailerlite").len();
    let response = world.authorised("mailerlite-sync", &json!({"leadId": LEAD})).await;
    assert_eq!(response.json()["deliveries"][0]["state"], "delivered");
    assert_eq!(world.requests("mailerlite").len(), before + 1);
    world.pass(60);
    world.providers.script("mailerlite", [Behaviour::Status(422)]);
    let mut corrected = questionnaire_body();
    corrected["responses"]["weeklyHours"] = json!(20);
    assert_eq!(world.answer_questionnaire(&corrected).await.status, 200);
    world.drain().await;
    let dead = world.store.dead("mailerlite", 1).await.unwrap();
    let ended = world.store.ended(std::slice::from_ref(&dead[0].key)).await.unwrap().remove(0);
    let judged = Judged::new(ended, world.now());
    let by = Operator::Cli;
    assert!(replay(&world.store, world.platform(), &judged, false, by).await.unwrap());
    world.drain().await;
    assert!(world.store.dead("mailerlite", 1).await.unwrap().is_empty());
    assert_eq!(self::ended(&world, "skipped unchanged").await, 0);
    world.finish().await;
}

#[tokio::test]
async fn what_was_tried_since_may_have_changed_it() {
    let world = answered().await;
    // The upsert takes effect, and its response is lost.
    world.providers.script("mailerlite", [Behaviour::CloseAfterEffect]);
    let mut corrected = questionnaire_body();
    corrected["responses"]["weeklyHours"] = json!(20);
    assert_eq!(world.answer_questionnaire(&corrected).await.status, 200);
    world.drain().await;
    let before = world.requests("mailerlite").len();
    world.pass(1);
    // The old answers again: MailerLite may have the new ones.
    answer_again(&world, "Viajar.").await;
    world.drain().await;
    assert!(world.requests("mailerlite").len() > before);
    assert_eq!(ended(&world, "skipped unchanged").await, 0);
    world.advance(SignedDuration::from_mins(10)).await;
    world.finish().await;
}

#[tokio::test]
async fn another_lead_of_the_e_mail_may_have_changed_it() {
    let world = answered().await;
    let mut stranger = lead_body();
    stranger["leadId"] = Value::Null;
    stranger["businessType"] = json!("outro");
    let derived = world.submit(&stranger).await.lead();
    assert_ne!(derived, lead());
    world.drain().await;
    world.pass(1);
    answer_again(&world, "Viajar.").await;
    world.drain().await;
    assert_eq!(ended(&world, "skipped unchanged").await, 0);
    let last = world.store.deliveries_of(lead(), "mailerlite").await.unwrap().pop().unwrap();
    assert_eq!(last.state.kind(), StateKind::Delivered);
    let fields = world.providers.subscriber("ana@example.com").unwrap()["fields"].clone();
    assert_eq!(fields["business_type"], "consultoria");
    world.finish().await;
}
