//! What goes by itself, and when: settled deliveries and the receipts of providers.

use funil_core::clock::after;
use funil_core::event::{Operator, Verdict};
use funil_dev::simulated::Behaviour;
use funil_lambda::operate::replay::{Judged, replay, settle};
use funil_store::DeadDelivery;
use serde_json::{Value, json};

use crate::calendly::created_through_link;
use crate::world::{LEAD, World, lead, lead_body};

/// When each of the lead's deliveries goes, with its name: `segment/event`.
async fn goes(world: &World) -> Vec<(String, Option<i64>)> {
    let items = world.items(&format!("LEAD#{LEAD}")).await;
    let text = |item: &Value, name: &str| item[name]["S"].as_str().unwrap().to_owned();
    let deliveries = items.iter().filter(|item| item["type"]["S"] == "delivery");
    deliveries
        .map(|item| {
            let name = format!("{}/{}", text(item, "destination"), text(item, "slot"));
            (name, item["expires_at"]["N"].as_str().map(|at| at.parse().unwrap()))
        })
        .collect()
}

/// The only dead delivery to Segment, judged.
async fn dead(world: &World) -> Judged {
    let dead = world.store.dead("segment", 10).await.unwrap();
    let [DeadDelivery { key, .. }] = &dead[..] else { panic!("{dead:?}") };
    let ended = world.store.ended(std::slice::from_ref(key)).await.unwrap().remove(0);
    Judged::new(ended, world.now())
}

#[tokio::test]
async fn a_settled_delivery_goes_after_its_time_and_a_dead_one_waits_for_a_person() {
    let world = World::plan()
        .with("DESTINATIONS", "crm,segment")
        .with("RETENTION_DELIVERIES", "100")
        .start()
        .await;
    world.looks_at_destinations();
    world.providers.script("segment", [Behaviour::Status(400), Behaviour::Status(400)]);
    world.submit(&lead_body()).await;
    assert!(goes(&world).await.iter().all(|(_, at)| at.is_none()), "what is open stays");
    world.drain().await;
    let in_100_days = |world: &World| Some(after(world.now(), 100 * 86_400).as_second());
    let crm = in_100_days(&world);
    let expected = |segment| [("crm/lead".to_owned(), crm), ("segment/event".to_owned(), segment)];
    assert_eq!(goes(&world).await, expected(None));
    world.pass(60);
    let (platform, by) = (world.platform(), Operator::Cli);
    assert!(replay(&world.store, platform, &dead(&world).await, false, by).await.unwrap());
    assert_eq!(goes(&world).await, expected(None));
    world.drain().await;
    let judged = dead(&world).await;
    assert!(settle(&world.store, platform, &judged.ended, Verdict::Skipped, by).await.unwrap());
    // The command line has the default of the site's own variable.
    let in_400_days = after(world.now(), 400 * 86_400).as_second();
    assert_eq!(goes(&world).await, expected(Some(in_400_days)));
    world.finish().await;
}

#[tokio::test]
async fn a_providers_receipt_stays_longer_than_the_deliveries_of_its_event() {
    let world = World::plan().with("DESTINATIONS", "crm,ga4,whatsapp").start().await;
    world.looks_at_destinations();
    world.submit(&lead_body()).await;
    world.drain().await;
    assert_eq!(world.calendly(&created_through_link("INV0")).await.status, 200);
    world.advance(jiff::SignedDuration::from_hours(24 * 5)).await;
    let receipts = world.items("RECEIPT#calendly").await;
    let receipt: i64 = receipts[0]["expires_at"]["N"].as_str().unwrap().parse().unwrap();
    let last = goes(&world).await.into_iter().map(|(_, at)| at.unwrap()).max().unwrap();
    assert!(receipt > last, "{receipt} {last}");
    world.finish().await;
}

#[tokio::test]
async fn a_lead_keeps_the_mark_of_every_destination_that_something_was_planned_for() {
    let world = World::plan().with("DESTINATIONS", "crm,segment,mailerlite").start().await;
    world.looks_at_destinations();
    let mut body = lead_body();
    body["consent"]["analytics"] = json!(false);
    world.submit(&body).await;
    let marks = async || {
        let items = world.items(&format!("LEAD#{LEAD}")).await;
        let found = items.into_iter().find(|item| item["sk"]["S"] == "LEAD").unwrap();
        let mut names: Vec<String> =
            serde_json::from_value(found["planned_for"]["SS"].clone()).unwrap();
        names.sort();
        names
    };
    assert_eq!(marks().await, ["crm", "mailerlite"]);
    world.drain().await;
    world.pass(1);
    world.authorised("segment-sync", &json!({"leadId": lead()})).await;
    assert_eq!(marks().await, ["crm", "mailerlite"], "nothing is planned for it by a sync");
    body["consent"]["analytics"] = json!(true);
    world.submit(&body).await;
    assert_eq!(marks().await, ["crm", "mailerlite", "segment"]);
    world.drain().await;
    world.finish().await;
}
