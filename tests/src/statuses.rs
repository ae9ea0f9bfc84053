//! Many WhatsApp messages that were sent, and one request with the status updates of all of them.
//!
//! It must not know what becomes of an update.

use funil_core::clock::after;
use funil_core::delivery::{Delivery, State};
use funil_core::event::Event;
use funil_core::id::{DeliveryName, EventId, LeadId};
use serde_json::{Value, json};

use crate::world::World;

/// Keeps `count` messages of a lead that were sent, at most 90: they are one transaction.
pub async fn sent_messages(world: &World, lead: LeadId, count: usize) -> Vec<DeliveryName> {
    let first = world.journey(lead).await.events.remove(0);
    let at = world.now();
    let event = Event { id: EventId::sync(at, world.entropy()), accepted_at: at, ..first };
    let sent = |number: usize| {
        let mut delivery = Delivery::planned(&event, "whatsapp", &format!("welcome-{number}"));
        delivery.state = State::Delivered { at, reason: None };
        delivery.deadline = after(at, 3_600);
        delivery
    };
    let messages: Vec<Delivery> = (0..count).map(sent).collect();
    assert!(world.store.accept_event(&event, &messages, world.entropy()).await.unwrap());
    let name = |one: &Delivery| DeliveryName { lead_id: lead, delivery_id: one.id };
    messages.iter().map(name).collect()
}

/// One request with this status of every message, as large as Meta makes it.
pub fn status_updates(names: &[DeliveryName], status: &str, second: i64) -> Value {
    let updates: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(number, name)| {
            json!({
                "id": format!("wamid.HBgNNTUxMTk4NzY1NDMyMRUCABEYEjQ5QUI4NkQyM0YwNkY3{number:06}AA=="),
                "status": status,
                "timestamp": second.to_string(),
                "recipient_id": "5511987654321",
                "biz_opaque_callback_data": name.to_string(),
                "conversation": {
                    "id": format!("{number:032x}"),
                    "origin": {"type": "utility"},
                },
                "pricing": {"billable": true, "pricing_model": "PMP", "category": "utility", "type": "regular"},
            })
        })
        .collect();
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "551133334444", "phone_number_id": "106540352242922"},
        "statuses": updates,
    });
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]})
}
