//! What `lead-submit` does with robots, by whose response they cannot know that they were caught.

use serde_json::json;

use super::refusals::{intake, somebody};
use crate::world::{CALLER, Response, World, lead, lead_body};

/// What a robot could tell two responses apart by: the status, the headers, and which members the
/// body has.
fn telltales(response: &Response) -> (u16, Vec<(String, String)>, Vec<String>) {
    let headers = response.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let keys = response.json().as_object().unwrap().keys().cloned().collect();
    (response.status, headers.collect(), keys)
}

#[tokio::test]
async fn a_robot_gets_the_usual_response_and_is_quarantined() {
    let world = World::new().await;
    world.expect_one_lead();
    let real = world.submit(&lead_body()).await;
    let mut robot = somebody(1);
    robot["website"] = json!("https://spam.example");
    let caught = world.submit(&robot).await;
    assert_eq!(telltales(&caught), telltales(&real));
    assert!(world.store.journey(caught.lead()).await.unwrap().is_none(), "nothing is planned");
    let quarantined = world.items("QUARANTINE#lead-submit").await;
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0]["reason"]["S"], "honeypot");
    assert!(
        !quarantined[0].to_string().contains("somebody1"),
        "the table does not have it as plain text"
    );
    assert_eq!(world.items("ALIAS#").await.len(), 3, "the real lead's, and its person");

    let (again, real_again) = (world.submit(&robot).await, world.submit(&lead_body()).await);
    assert_eq!(telltales(&again), telltales(&real_again));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.body, caught.body);
    assert_eq!(world.items("QUARANTINE#lead-submit").await.len(), 1);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn the_response_to_a_robot_has_the_id_and_score_that_a_lead_would_have() {
    let world = intake().await;
    let mut robot = lead_body();
    robot["website"] = json!("https://spam.example");
    let caught = world.submit(&robot).await;
    assert_eq!(caught.lead(), lead());
    assert_eq!(caught.json()["amandaScore"], 76);
    // A honeypot that is blank, as a person leaves it, is no sign of a robot.
    let mut person = somebody(1);
    person["website"] = json!("  ");
    let accepted = world.submit(&person).await.lead();
    assert_eq!(world.journey(accepted).await.events.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn robots_count_against_the_rate_limit_of_their_address() {
    let world = intake().await;
    for number in 0..10 {
        let mut robot = somebody(number);
        robot["website"] = json!("x");
        assert_eq!(world.submit_from(CALLER, &robot).await.status, 200);
    }
    assert_eq!(world.submit(&lead_body()).await.status, 429);
    world.finish().await;
}

#[tokio::test]
async fn a_person_whose_browser_filled_the_honeypot_is_accepted_when_they_send_again() {
    let world = intake().await;
    let mut caught = lead_body();
    caught["website"] = json!("https://ana.example");
    world.submit(&caught).await;
    let kept = world.submit(&lead_body()).await;
    assert_eq!((kept.status, kept.header("idempotency-replayed")), (200, None));
    assert_eq!(world.journey(lead()).await.events.len(), 1);
    world.finish().await;
}
