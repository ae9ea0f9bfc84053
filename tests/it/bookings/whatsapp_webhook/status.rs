//! Status updates: they move a message forward only, in their order, and each is taken by itself.

use funil_core::delivery::{MessageStatus, StateKind};
use funil_core::id::LeaseId;
use funil_store::{Claimed, Claiming, DeliveryKey};
use serde_json::json;

use super::super::whatsapp::{
    call_in, namesake, send_status, send_webhook, slot, whatsapp, with_lead,
};
use super::messages_of;
use crate::statuses::status_updates;
use crate::world::lead;

#[tokio::test]
async fn status_updates_move_forward_only_and_foreign_ones_are_ignored() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 1).await;
    let message = world.providers.whatsapp_messages().remove(0);
    for (status, known) in [
        ("sent", MessageStatus::Sent),
        ("read", MessageStatus::Read),
        ("delivered", MessageStatus::Read),
        ("read", MessageStatus::Read),
    ] {
        world.pass(1);
        assert_eq!(send_status(&world, &message, status, None).await, 200);
        assert_eq!(slot(&world, lead(), "welcome").await.message, Some(known), "{status}");
    }
    assert_eq!(send_status(&world, &message, "failed", Some(131_000)).await, 200);
    assert_eq!(
        slot(&world, lead(), "welcome").await.state.kind(),
        StateKind::Delivered,
        "it was read"
    );
    let mut foreign = message.clone();
    for data in [
        None,
        Some("outbox:1"),
        Some(
            "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b12/\
                 0b0a6f1c-2f5e-8d3e-9a53-0d7a6c1f2b11",
        ),
    ] {
        foreign.callback_data = data.map(str::to_owned);
        assert_eq!(send_status(&world, &foreign, "delivered", None).await, 200, "{data:?}");
    }
    world.finish().await;
}

#[tokio::test]
async fn every_update_of_a_webhook_is_taken_and_one_that_comes_too_early_is_requested_again() {
    let world = with_lead(whatsapp()).await;
    let other = namesake(&world, 1).await;
    call_in(&world, lead(), 3).await;
    world.pass(6);
    call_in(&world, other, 1).await;
    let messages = world.providers.whatsapp_messages();
    // A worker has the reminder. Its settlement must not overwrite the failure that Meta reports.
    world.pass(3600);
    let reminder = slot(&world, lead(), "reminder_2h").await;
    let lease = LeaseId::random(world.entropy());
    let key = DeliveryKey::from(&reminder);
    let claimed = world.store.claim(&key, Claiming::Due, lease, world.now()).await.unwrap();
    assert!(matches!(claimed, Claimed::Ours(_)));
    let mut early = messages[0].clone();
    early.callback_data = Some(format!("{}/{}", lead(), reminder.id));
    let second = world.now().as_second();
    let bodies = [
        early.status("failed", Some(131_026), second),
        messages[0].status("delivered", None, second),
        messages[1].status("read", None, second),
    ];
    let mut all = json!({"object": "whatsapp_business_account", "entry": [null]});
    for body in bodies {
        all["entry"].as_array_mut().unwrap().push(body["entry"][0].clone());
    }
    assert_eq!(send_webhook(&world, &all).await.status, 503);
    assert_eq!(slot(&world, lead(), "welcome").await.message, Some(MessageStatus::Delivered));
    assert_eq!(slot(&world, other, "welcome").await.message, Some(MessageStatus::Read));
    world.pass(60);
    world.drain().await;
    assert_eq!(send_webhook(&world, &all).await.status, 200);
    let dead = slot(&world, lead(), "reminder_2h").await;
    assert_eq!(
        (dead.state.kind(), dead.reason_text().as_deref()),
        (StateKind::Dead, Some("failed_131026"))
    );
    assert_eq!(world.items("ALERT#whatsapp#dead").await.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn what_a_request_says_of_one_message_is_taken_in_its_order() {
    use MessageStatus::{Delivered, Failed, Read};

    let world = with_lead(whatsapp()).await;
    let names = messages_of(&world, 2, 2).await;
    let second = world.now().as_second();
    let mut all = status_updates(&names, "sent", second);
    for (status, of) in [("read", &names[..1]), ("failed", &names[1..2]), ("delivered", &names)] {
        let more = status_updates(of, status, second)["entry"][0].clone();
        all["entry"].as_array_mut().unwrap().push(more);
    }
    assert_eq!(send_webhook(&world, &all).await.status, 200);
    let mut known = Vec::new();
    for name in &names {
        let found = world.store.delivery_named(*name).await.unwrap().unwrap().delivery;
        known.push((found.message.unwrap(), found.state.kind()));
    }
    let fine = (Delivered, StateKind::Delivered);
    let (read, dead) = ((Read, StateKind::Delivered), (Failed, StateKind::Dead));
    assert_eq!(known, [read, dead, fine, fine]);
    world.finish().await;
}
