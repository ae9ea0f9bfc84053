//! The whole way of a lead, through the front doors: form, questionnaire, booking, confirmation,
//! reminders, call; and again with everything that happens on the way.

use funil_core::delivery::StateKind;
use funil_core::provider::whatsapp;
use funil_core::settings::Secret;
use funil_dev::simulated::{Behaviour, WhatsAppMessage};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::calendly::{STARTS_AT, canceled, created, moved};
use crate::world::{LEAD, WHATSAPP_APP_SECRET, World, lead, lead_body, questionnaire_body};

const WELCOME: &str = "welcome_booking_confirmation";
const DAY_BEFORE: &str = "call_reminder_24h";
const HOURS_BEFORE: &str = "call_reminder_2h";

/// Every destination is on; the person agrees to everything.
async fn site() -> World {
    let world = World::plan()
        .with("DESTINATIONS", "crm,mailerlite,ga4,segment,whatsapp,meta")
        .with("CALENDLY_EVENT_URL", "https://calendly.com/ana/conversa")
        .impatient()
        .start()
        .await;
    for provider in ["crm", "mailerlite", "ga4", "segment", "whatsapp", "meta"] {
        world.looks_at(provider);
    }
    world
}

fn agreeable() -> Value {
    let mut body = lead_body();
    body["consent"]["ads"] = json!(true);
    body["consent"]["whatsapp"] = json!(true);
    body
}

/// Form and questionnaire; answers the booking webhook that the link of the answer leads to.
async fn until_the_link(world: &World) -> Value {
    assert_eq!(world.submit(&agreeable()).await.lead(), lead());
    world.drain().await;
    world.pass(600);
    let answer = world.answer_questionnaire(&questionnaire_body()).await.json();
    assert_eq!(answer["nextStep"], "calendar_booking");
    world.drain().await;
    world.pass(60);
    let link: url::Url = answer["bookingUrl"].as_str().unwrap().parse().unwrap();
    let carried = link.query_pairs().find(|(name, _)| name == "utm_content").unwrap().1;
    assert_eq!(carried, LEAD);
    booked("INV1")
}

fn booked(invitee: &str) -> Value {
    let mut body = created(invitee);
    body["payload"]["tracking"]["utm_content"] = json!(LEAD);
    // Booked with another address than the lead's: the link says who it is.
    body["payload"]["email"] = json!("ana.particular@example.org");
    body
}

async fn take(world: &World, webhook: &Value) {
    let answer = world.calendly(webhook).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    world.advance(SignedDuration::from_secs(30)).await;
}

async fn tell(world: &World, body: &Value) {
    let body = body.to_string();
    let signature = whatsapp::sign(&Secret::new(WHATSAPP_APP_SECRET), body.as_bytes());
    let headers = [("content-type", "application/json"), ("x-hub-signature-256", &*signature)];
    let answer = world.call("whatsapp-webhook", Method::POST, &headers, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The person has the message.
async fn arrives(world: &World, message: &WhatsAppMessage) {
    for status in ["delivered", "sent", "read", "read"] {
        tell(world, &message.status(status, None, world.now().as_second())).await;
    }
}

/// Lets time pass, with everybody at work, until then.
async fn until(world: &World, at: &str) {
    let at: Timestamp = at.parse().unwrap();
    world.advance(at.duration_since(world.now())).await;
}

fn templates(world: &World) -> Vec<String> {
    world.providers.whatsapp_messages().into_iter().map(|message| message.template).collect()
}

/// What becomes of the messages, sorted: `reminder_24h delivered`.
async fn messages(world: &World) -> Vec<String> {
    let states = world.states(lead()).await;
    states.iter().filter_map(|state| state.strip_prefix("whatsapp/")).map(str::to_owned).collect()
}

/// Nothing is open, nobody was written to too fast, and every other destination has everything.
async fn end(world: World) {
    world.advance(SignedDuration::from_hours(24 * 8)).await;
    for state in world.states(lead()).await {
        let other = !state.starts_with("whatsapp/");
        assert!(!other || state.ends_with(" delivered"), "{state}");
    }
    assert_eq!(world.providers.whatsapp_too_fast(), 0);
    assert_eq!(world.providers.crm_contact_count(), 1);
    world.finish().await;
}

#[tokio::test]
async fn the_whole_way_from_the_form_to_the_call() {
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

    let told = world.providers.whatsapp_messages();
    assert!(told.iter().all(|message| message.to == "5511987654321"));
    assert_eq!(told[0].parameters[..2], ["Ana Exemplo", "quinta-feira, 8 de maio às 14h"]);
    assert_eq!(told[1].parameters, ["Ana Exemplo", "14h"]);
    assert_eq!(told[2].parameters, ["Ana Exemplo", "14h", "https://meet.example.com/abc"]);
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
    assert_eq!(world.calls("meta").len(), 1);
    end(world).await;
}

#[tokio::test]
async fn every_webhook_and_form_twice_is_as_once() {
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
    assert_eq!(world.calls("meta").len(), 1);
    assert_eq!(world.journey(lead()).await.events.len(), 3);
    end(world).await;
}

#[tokio::test]
async fn a_call_that_is_called_off_is_not_reminded_of() {
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
async fn a_cancellation_that_comes_before_its_booking_stands() {
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
async fn a_call_that_is_moved_is_reminded_of_at_its_new_time_whichever_half_comes_first() {
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
        // The old call's reminders would have gone out by now; the new call's first one is out.
        assert_eq!(templates(&world), [WELCOME, WELCOME, DAY_BEFORE], "{first}");
        until(&world, "2031-05-09T17:00:00Z").await;
        assert_eq!(templates(&world), [WELCOME, WELCOME, DAY_BEFORE, HOURS_BEFORE], "{first}");
        let told = world.providers.whatsapp_messages();
        assert_eq!(told[1].parameters[1], "sexta-feira, 9 de maio às 14h");
        let contact = world.providers.crm_contact(LEAD).unwrap();
        assert_eq!(contact["custom_fields"]["call_status"], "booked");
        end(world).await;
    }
}

#[tokio::test]
async fn who_opts_out_between_is_left_alone() {
    let world = site().await;
    let booking = until_the_link(&world).await;
    take(&world, &booking).await;
    until(&world, "2031-05-07T18:00:00Z").await;
    let last = world.providers.whatsapp_messages().pop().unwrap();
    tell(&world, &last.reply(" Párar! ", world.now().as_second())).await;
    until(&world, STARTS_AT).await;
    assert_eq!(templates(&world), [WELCOME, DAY_BEFORE]);
    assert_eq!(
        messages(&world).await,
        ["reminder_24h delivered", "reminder_2h skipped no_consent_whatsapp", "welcome delivered",]
    );
    end(world).await;
}

#[tokio::test]
async fn a_message_without_an_answer_is_never_sent_twice_and_found_by_its_status() {
    for hangs in 0..3 {
        for told in [true, false] {
            let world = site().await;
            let booking = until_the_link(&world).await;
            world.providers.script("whatsapp", vec![Behaviour::Normal; hangs]);
            world.providers.script("whatsapp", [Behaviour::HangAfterEffect]);
            take(&world, &booking).await;
            let times = ["2031-05-05T12:30:00Z", "2031-05-07T17:05:00Z", "2031-05-08T15:05:00Z"];
            until(&world, times[hangs]).await;
            if told {
                let message = world.providers.whatsapp_messages().pop().unwrap();
                arrives(&world, &message).await;
            }
            until(&world, STARTS_AT).await;
            assert_eq!(templates(&world), [WELCOME, DAY_BEFORE, HOURS_BEFORE], "{hangs} {told}");
            let deliveries = world.store.deliveries_of(lead(), "whatsapp").await.unwrap();
            let dead = deliveries.iter().filter(|one| one.state.kind() == StateKind::Dead).count();
            let expected = usize::from(!told);
            assert_eq!(dead, expected, "{hangs} {told}: {deliveries:?}");
            world.providers.release_hung();
            end(world).await;
        }
    }
}
