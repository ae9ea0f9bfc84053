//! A lead's whole way through real requests: form, questionnaire, booking, confirmation, reminders
//! and call; and the same with everything that may happen in between.

use funil_core::delivery::StateKind;
use funil_core::provider::whatsapp;
use funil_core::settings::Secret;
use funil_dev::simulated::{Behaviour, WhatsAppMessage};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::calendly::{STARTS_AT, canceled, created, moved};
use crate::world::{
    LEAD, WHATSAPP_APP_SECRET, World, all_destinations, lead, lead_body, questionnaire_body,
};

const WELCOME: &str = "welcome_booking_confirmation";
const DAY_BEFORE: &str = "call_reminder_24h";
const HOURS_BEFORE: &str = "call_reminder_2h";

/// Every destination is on; the person agrees to everything.
async fn site() -> World {
    let world = World::plan()
        .with("DESTINATIONS", &all_destinations())
        .with("CALENDLY_EVENT_URL", "https://calendly.com/ana/conversa")
        .impatient()
        .start()
        .await;
    world.looks_at_destinations();
    world
}

fn agreeable() -> Value {
    let mut body = lead_body();
    body["consent"]["ads"] = json!(true);
    body["consent"]["whatsapp"] = json!(true);
    body
}

/// Submits form and questionnaire; returns the webhook of the booking that the link leads to.
async fn until_the_link(world: &World) -> Value {
    assert_eq!(world.submit(&agreeable()).await.lead(), lead());
    world.drain().await;
    world.pass(600);
    let response = world.answer_questionnaire(&questionnaire_body()).await.json();
    assert_eq!(response["nextStep"], "calendar_booking");
    world.drain().await;
    world.pass(60);
    let link: url::Url = response["bookingUrl"].as_str().unwrap().parse().unwrap();
    let carried = link.query_pairs().find(|(name, _)| name == "utm_content").unwrap().1;
    assert_eq!(carried, LEAD);
    booked("INV1")
}

fn booked(invitee: &str) -> Value {
    let mut body = created(invitee);
    body["payload"]["tracking"]["utm_content"] = json!(LEAD);
    // Booked with another e-mail than the lead's: the link says who it is.
    body["payload"]["email"] = json!("ana.particular@example.org");
    body
}

async fn take(world: &World, webhook: &Value) {
    let response = world.calendly(webhook).await;
    assert_eq!(response.status, 200, "{response:?}");
    world.advance(SignedDuration::from_secs(30)).await;
}

async fn send_webhook(world: &World, body: &Value) {
    let body = body.to_string();
    let signature = whatsapp::sign(&Secret::new(WHATSAPP_APP_SECRET), body.as_bytes());
    let headers = [("content-type", "application/json"), ("x-hub-signature-256", &*signature)];
    let response = world.send("whatsapp-webhook", Method::POST, &headers, body.as_bytes()).await;
    assert_eq!(response.status, 200, "{response:?}");
}

/// Sends the status updates of a message that arrives and is read.
async fn arrives(world: &World, message: &WhatsAppMessage) {
    for status in ["delivered", "sent", "read", "read"] {
        send_webhook(world, &message.status(status, None, world.now().as_second())).await;
    }
}

/// Lets time pass until then, with every worker running.
async fn until(world: &World, at: &str) {
    let at: Timestamp = at.parse().unwrap();
    world.advance(at.duration_since(world.now())).await;
}

fn templates(world: &World) -> Vec<String> {
    world.providers.whatsapp_messages().into_iter().map(|message| message.template).collect()
}

/// The states of the messages, sorted: `reminder_24h delivered`.
async fn messages(world: &World) -> Vec<String> {
    let states = world.states(lead()).await;
    states.iter().filter_map(|state| state.strip_prefix("whatsapp/")).map(str::to_owned).collect()
}

/// Ends the world: no number got messages too fast, and every other delivery arrived.
async fn end(world: World) {
    world.advance(SignedDuration::from_hours(24 * 8)).await;
    for state in world.states(lead()).await {
        let other = !state.starts_with("whatsapp/");
        // A call that is booked and ended at once leaves MailerLite's record as it was.
        let arrived =
            state.ends_with(" delivered") || state == "mailerlite/profile skipped unchanged";
        assert!(!other || arrived, "{state}");
    }
    assert_eq!(world.providers.whatsapp_too_fast(), 0);
    assert_eq!(world.providers.crm_contact_count(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_lead_from_the_form_to_the_call() {
    let world = site().await;
    let booking = until_the_link(&world).await;
    take(&world, &booking).await;
    assert_eq!(templates(&world), [WELCOME]);
    arrives(&world, &world.providers.whatsapp_messages()[0]).await;

    until(&world, "2031-05-07T16:59:59Z").await;
    assert_eq!(templates(&world), [WELCOME]);
    until(&world, "2031-05-07T17:01:00Z").await;
    assert_eq!(templates(&world), [WELCOME, DAY_BEFORE]);
    until(&world, "2031-05-08T15:01:00Z").await;
    assert_eq!(templates(&world), [WELCOME, DAY_BEFORE, HOURS_BEFORE]);
    until(&world, STARTS_AT).await;

    let sent = world.providers.whatsapp_messages();
    assert!(sent.iter().all(|message| message.to == "5511987654321"));
    assert_eq!(sent[0].parameters[..2], ["Ana", "quinta-feira, 8 de maio às 14h"]);
    assert_eq!(sent[1].parameters, ["Ana", "14h"]);
    assert_eq!(sent[2].parameters, ["Ana", "14h", "https://meet.example.com/abc"]);
    let journey = world.journey(lead()).await;
    let events: Vec<_> = journey.events.iter().map(|event| event.data.name()).collect();
    assert_eq!(events, ["lead_submitted", "questionnaire_completed", "call_booked"]);
    assert_eq!(journey.lead.stage().name(), "call_scheduled");
    let first = journey.deliveries.iter().find(|one| one.slot == "welcome").unwrap();
    assert_eq!(first.message.unwrap().name(), "read");
    assert_eq!(
        messages(&world).await,
        ["reminder_24h delivered", "reminder_2h delivered", "welcome delivered"]
    );
    let counted: Vec<_> =
        world.providers.ga4_events().into_iter().map(|event| event.name).collect();
    assert_eq!(counted, ["generate_lead", "questionnaire_completed", "call_scheduled"]);
    assert_eq!(world.requests("meta").len(), 2);
    end(world).await;
}

#[tokio::test]
async fn duplicates_of_every_webhook_and_form_change_nothing() {
    let world = site().await;
    let booking = until_the_link(&world).await;
    let (one, other) = tokio::join!(world.calendly(&booking), world.calendly(&booking));
    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(one.body, other.body);
    world.answer_questionnaire(&questionnaire_body()).await;
    world.advance(SignedDuration::from_secs(30)).await;
    take(&world, &booking).await;
    until(&world, STARTS_AT).await;
    for message in world.providers.whatsapp_messages() {
        arrives(&world, &message).await;
        arrives(&world, &message).await;
    }
    assert_eq!(templates(&world), [WELCOME, DAY_BEFORE, HOURS_BEFORE]);
    assert_eq!(world.providers.ga4_events().len(), 3);
    assert_eq!(world.requests("meta").len(), 2);
    assert_eq!(world.journey(lead()).await.events.len(), 3);
    end(world).await;
}

#[tokio::test]
async fn a_canceled_call_gets_no_further_reminder() {
    let world = site().await;
    let booking = until_the_link(&world).await;
    take(&world, &booking).await;
    until(&world, "2031-05-07T18:00:00Z").await;
    let mut ended = canceled("INV1");
    ended["created_at"] = json!(world.now());
    take(&world, &ended).await;
    take(&world, &ended).await;
    until(&world, STARTS_AT).await;
    assert_eq!(templates(&world), [WELCOME, DAY_BEFORE]);
    assert_eq!(
        messages(&world).await,
        ["reminder_24h delivered", "reminder_2h skipped booking_canceled", "welcome delivered",]
    );
    let contact = world.providers.crm_contact(LEAD).unwrap();
    assert_eq!(contact["custom_fields"]["call_status"], "canceled");
    end(world).await;
}

#[tokio::test]
async fn a_cancellation_that_comes_before_its_booking_counts() {
    let world = site().await;
    let booking = until_the_link(&world).await;
    let mut ended = canceled("INV1");
    ended["payload"]["tracking"]["utm_content"] = json!(LEAD);
    take(&world, &ended).await;
    take(&world, &booking).await;
    until(&world, STARTS_AT).await;
    assert_eq!(templates(&world), [""; 0]);
    end(world).await;
}

#[tokio::test]
async fn a_rescheduled_call_has_reminders_at_its_new_time_whichever_webhook_comes_first() {
    for first in [0, 1] {
        let world = site().await;
        let booking = until_the_link(&world).await;
        take(&world, &booking).await;
        let mut halves = moved("INV1", "INV2");
        for half in &mut halves {
            half["payload"]["email"] = json!("ana.particular@example.org");
        }
        take(&world, &halves[first]).await;
        take(&world, &halves[1 - first]).await;
        until(&world, "2031-05-08T18:00:00Z").await;
        // The old call's reminders would have been sent by now. Of the new call's, one was sent.
        assert_eq!(templates(&world), [WELCOME, WELCOME, DAY_BEFORE], "{first}");
        until(&world, "2031-05-09T17:00:00Z").await;
        assert_eq!(templates(&world), [WELCOME, WELCOME, DAY_BEFORE, HOURS_BEFORE], "{first}");
        let sent = world.providers.whatsapp_messages();
        assert_eq!(sent[1].parameters[1], "sexta-feira, 9 de maio às 14h");
        let contact = world.providers.crm_contact(LEAD).unwrap();
        assert_eq!(contact["custom_fields"]["call_status"], "booked");
        end(world).await;
    }
}

#[tokio::test]
async fn whoever_opts_out_gets_no_further_message() {
    let world = site().await;
    let booking = until_the_link(&world).await;
    take(&world, &booking).await;
    until(&world, "2031-05-07T18:00:00Z").await;
    let last = world.providers.whatsapp_messages().pop().unwrap();
    send_webhook(&world, &last.reply(" Párar! ", world.now().as_second())).await;
    until(&world, STARTS_AT).await;
    assert_eq!(templates(&world), [WELCOME, DAY_BEFORE]);
    assert_eq!(
        messages(&world).await,
        ["reminder_24h delivered", "reminder_2h skipped no_consent_whatsapp", "welcome delivered",]
    );
    end(world).await;
}

#[tokio::test]
async fn a_message_without_a_response_is_sent_once_and_settled_by_its_status_update() {
    for hangs in 0..3 {
        for reported in [true, false] {
            let world = site().await;
            let booking = until_the_link(&world).await;
            world.providers.script("whatsapp", vec![Behaviour::Normal; hangs]);
            world.providers.script("whatsapp", [Behaviour::HangAfterEffect]);
            take(&world, &booking).await;
            let times = ["2031-05-05T12:30:00Z", "2031-05-07T17:05:00Z", "2031-05-08T15:05:00Z"];
            until(&world, times[hangs]).await;
            if reported {
                let message = world.providers.whatsapp_messages().pop().unwrap();
                arrives(&world, &message).await;
            }
            until(&world, STARTS_AT).await;
            assert_eq!(
                templates(&world),
                [WELCOME, DAY_BEFORE, HOURS_BEFORE],
                "{hangs} {reported}"
            );
            let deliveries = world.store.deliveries_of(lead(), "whatsapp").await.unwrap();
            let dead = deliveries.iter().filter(|one| one.state.kind() == StateKind::Dead).count();
            let expected = usize::from(!reported);
            assert_eq!(dead, expected, "{hangs} {reported}: {deliveries:?}");
            world.providers.release_hung();
            end(world).await;
        }
    }
}
