//! Attacks and unlucky deployments that once did harm, and must not do it again.

use funil_core::contact::consent::Purpose;
use funil_core::delivery::StateKind;
use funil_core::destination;
use funil_dev::simulated::Behaviour;
use serde_json::{Value, json};

use crate::world::{World, lead, lead_body};

fn without_id(email: &str) -> Value {
    let mut body = lead_body();
    body["leadId"] = Value::Null;
    body["email"] = json!(email);
    body
}

#[tokio::test]
async fn nobody_takes_the_id_that_is_derived_from_anothers_email() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    // A robot gets an id of nobody's, which looks like the derived one; a person who submits the form with the
    // e-mail gets the derived one.
    let mut probe = without_id("victim@example.com");
    probe["website"] = json!("bot");
    let robots = world.submit(&probe).await.lead();
    let victims = world.submit(&without_id("victim@example.com")).await.lead();
    assert!(victims.is_derived() && robots.is_derived() && robots != victims);
    let mut thief = without_id("thief@example.com");
    thief["leadId"] = json!(victims);
    let taken = world.submit(&thief).await;
    assert_eq!(taken.status, 200);
    assert_ne!(taken.lead(), victims);
    let event = &world.journey(taken.lead()).await.events[0];
    assert_eq!(event.supplied_lead_id, Some(victims));
    let kept = world.submit(&without_id("victim@example.com")).await;
    assert_eq!((kept.status, kept.lead()), (200, victims));
    world.finish().await;
}

#[tokio::test]
async fn a_lead_written_by_newer_code_is_delivered_once_this_code_can_read_it() {
    let world = World::plan().with("DESTINATIONS", "segment").start().await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let version = |number: &str| {
        json!({
            "Key": {"pk": {"S": format!("LEAD#{}", lead())}, "sk": {"S": "LEAD"}},
            "UpdateExpression": "SET v = :v",
            "ExpressionAttributeValues": {":v": {"N": number}},
        })
    };
    world.ask_table("UpdateItem", version("2")).await;
    world.drain().await;
    assert_eq!(world.delivery(lead(), "segment").await.state.kind(), StateKind::Pending);
    world.ask_table("UpdateItem", version("1")).await;
    world.advance(jiff::SignedDuration::from_mins(6)).await;
    assert_eq!(world.delivery(lead(), "segment").await.state.kind(), StateKind::Delivered);
    world.finish().await;
}

#[tokio::test]
async fn a_revoked_consent_is_also_denied_inside_payloads() {
    let world =
        World::plan().with("DESTINATIONS", "crm,ga4").with("CRM_KIND", "leads").start().await;
    world.looks_at("crm");
    world.looks_at("ga4");
    let mut body = lead_body();
    body["consent"] = json!({"marketing": true, "analytics": true, "ads": true});
    world.submit(&body).await;
    world.pass(1);
    let email = world.delivery(lead(), "ga4").await.email_digest.unwrap();
    for purpose in [Purpose::Ads, Purpose::MarketingEmail] {
        world.store.revoke("email", &email, purpose, world.now()).await.unwrap();
    }
    world.drain().await;
    let sent = |provider| world.providers.received(provider)[0].body.clone();
    assert_eq!(sent("ga4")["consent"]["ad_user_data"], "DENIED");
    assert_eq!(sent("crm")["marketing_consent"], false);
    world.finish().await;
}

#[tokio::test]
async fn a_second_submission_removes_the_answers_that_its_score_did_not_count() {
    let world = World::plan().with("DESTINATIONS", "none").start().await;
    let mut whole = lead_body();
    whole["amandaScore"] = json!(5);
    world.submit(&whole).await;
    let short = json!({
        "leadId": lead(), "name": "Ana", "email": whole["email"], "businessType": "consultoria"
    });
    world.submit(&short).await;
    let latest = world.journey(lead()).await.lead.latest;
    let score = latest.amanda_score.unwrap();
    assert_eq!((score.total, score.breakdown["monthlyRevenue"]), (20, 0));
    assert!(latest.monthly_revenue.is_none() && latest.client_score.is_none());
    assert!(latest.phone.is_some(), "contact data is kept");
    world.finish().await;
}

#[tokio::test]
async fn a_destination_named_twice_counts_once_and_a_missing_list_is_an_error() {
    let world = World::plan().with("DESTINATIONS", "segment, segment").start().await;
    world.expect_requests("segment", 1);
    assert_eq!(world.submit(&lead_body()).await.status, 200);
    world.drain().await;
    world.finish().await;
    let env = [("SITE_URL", "https://example.com")].into_iter().collect();
    let error =
        funil_lambda::forms::lead_submit::function(&env, &funil_lambda::platform()).unwrap_err();
    assert!(error.to_string().contains("Set DESTINATIONS."), "{error}");
}

#[tokio::test]
async fn a_worker_with_little_time_left_claims_nothing_and_spends_no_attempt() {
    let world = World::plan().with("DESTINATIONS", "segment").start().await;
    world.expect_requests("segment", 1);
    world.submit(&lead_body()).await;
    let soon = funil_core::clock::after(world.now(), 13);
    let worker = world.worker("segment");
    let drained = worker.drain(funil_delivery::Patience::None, soon).await.unwrap();
    assert_eq!(drained.settled, 0);
    let delivery = world.delivery(lead(), "segment").await;
    assert_eq!(
        (delivery.state.kind(), delivery.attempts, delivery.claims),
        (StateKind::Pending, 0, 0)
    );
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_contact_under_another_id_in_the_crm_makes_the_delivery_dead() {
    let world =
        World::plan().with("DESTINATIONS", "crm").with("CRM_KIND", "contacts").start().await;
    world.looks_at("crm");
    world.providers.script("crm", [Behaviour::Normal, Behaviour::Status(409)]);
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(world.states(lead()).await, ["crm/lead dead answer_conflict_without_contact"]);
    world.finish().await;
}

#[tokio::test]
async fn an_unreadable_item_in_the_index_hides_no_due_delivery() {
    let world = World::plan().with("DESTINATIONS", "segment").start().await;
    world.expect_requests("segment", 1);
    world
        .ask_table(
            "PutItem",
            json!({"Item": {
                "pk": {"S": "VISITOR#x"}, "sk": {"S": "DELIVERY#segment#x"},
                "due_pk": {"S": "DUE#segment#0"}, "due_sk": {"S": "2000-01-01T00:00:00.000Z"},
            }}),
        )
        .await;
    world.submit(&lead_body()).await;
    assert_eq!(world.store.due("segment", world.now(), 1).await.unwrap().len(), 1);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn no_hidden_character_reaches_a_destination() {
    let world = World::new().await;
    world.looks_at_destinations();
    let mut body = lead_body();
    body["name"] = json!("Ana\u{202e} Exemplo\u{7}");
    body["mainStruggle"] = json!("tempo\u{0}\u{2066} e\r\nequipe");
    body["pageUrl"] = json!("javascript:alert(1)");
    body["referrer"] = json!("https://example.com/\u{202e}a");
    let lead = world.submit(&body).await.lead();
    let kept = world.journey(lead).await.lead.latest.name.unwrap();
    assert_eq!(kept.expose(), "Ana\u{202e} Exemplo\u{7}", "it is kept as it was written");
    world.drain().await;
    for destination in destination::ALL {
        for request in world.providers.received(destination.name) {
            let sent = request.body.to_string();
            for hidden in ["\u{202e}", "\u{2066}", "\\u0000", "\\u0007", "\\r", "javascript"] {
                assert!(!sent.contains(hidden), "{}: {sent}", destination.name);
            }
        }
    }
    let crm = &world.providers.received("crm")[0].body.to_string();
    assert!(crm.contains("Ana Exemplo") && crm.contains("tempo e\\nequipe"), "{crm}");
    world.finish().await;
}
