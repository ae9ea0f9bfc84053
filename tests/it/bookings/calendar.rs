//! Calendly's webhooks: whose booking it is, and what each booking update changes.

use funil_core::booking::BookingStatus;
use funil_core::clock::after;
use funil_core::contact::consent::{Decision, How};
use funil_core::delivery::{Delivery, State, StateKind};
use funil_core::destination;
use funil_core::event::{CallEvent, Event, EventData};
use funil_core::id::LeadId;
use funil_delivery::Patience;
use serde_json::{Value, json};

use crate::calendly::{booking, canceled, created, moved, no_show};
use crate::world::{EMAIL, LEAD, World, lead, lead_body, list};

/// A world without destinations, for tests of what is kept.
pub(super) async fn quiet() -> World {
    World::plan().with("DESTINATIONS", "none").start().await
}

pub(super) async fn take(world: &World, body: &Value) {
    world.pass(1);
    let response = world.calendly(body).await;
    assert_eq!((response.status, response.json()), (200, json!({"received": true})), "{body}");
}

/// The names of what happened to a lead, oldest first.
pub(super) async fn events(world: &World, id: LeadId) -> Vec<&'static str> {
    world.journey(id).await.events.iter().map(|event| event.data.name()).collect()
}

pub(super) async fn status(world: &World, id: LeadId, invitee: &str) -> Option<BookingStatus> {
    world.store.booking(id, &booking(invitee)).await.unwrap().map(|found| found.status)
}

pub(super) async fn lead_count(world: &World) -> usize {
    let items = world.items("LEAD#").await;
    items.iter().filter(|item| item["sk"]["S"] == "LEAD").count()
}

/// The id that is derived from this e-mail.
pub(super) fn derived(world: &World, email: &str) -> LeadId {
    LeadId::from_email(&world.hash, &funil_core::contact::Email::parse(email).unwrap())
}

/// Plans a message about a booking, to be sent in a day.
async fn plan_message(world: &World, id: LeadId, invitee: &str, slot: &str) -> Delivery {
    let event = world.journey(id).await.events.last().unwrap().clone();
    let at = world.now();
    let event =
        Event { accepted_at: at, id: funil_core::id::EventId::sync(at, world.entropy()), ..event };
    let mut delivery = Delivery::planned(&event, "whatsapp", slot);
    delivery.state = State::due(after(at, 24 * 3600));
    delivery.deadline = after(at, 48 * 3600);
    delivery.booking = Some(booking(invitee));
    let written =
        world.store.accept_event(&event, std::slice::from_ref(&delivery), world.entropy());
    assert!(written.await.unwrap());
    delivery
}

async fn messages(world: &World, id: LeadId) -> Vec<String> {
    let found = world.store.deliveries_of(id, "whatsapp").await.unwrap();
    let mut shown: Vec<_> = found
        .iter()
        .map(|one| {
            format!(
                "{} {} {}",
                one.slot,
                one.state.name(),
                one.reason_text().as_deref().unwrap_or("-")
            )
        })
        .collect();
    shown.sort();
    shown
}

/// Ends the world after the deadlines of the messages that are left.
async fn run_out(world: World) {
    world.pass(72 * 3600);
    let worker = world.worker_with("whatsapp", &[("DESTINATIONS", "whatsapp")]);
    worker.drain(Patience::None, world.stop_at()).await.unwrap();
    world.finish().await;
}

#[tokio::test]
async fn a_booking_finds_its_lead_by_the_id_in_the_link() {
    for (field, value) in [
        ("tracking", json!({"utm_content": LEAD})),
        ("tracking", json!({"utm_content": "instagram", "salesforce_uuid": LEAD.to_uppercase()})),
        ("questions_and_answers", json!([{"question": "Código", "answer": LEAD, "position": 0}])),
    ] {
        let world = quiet().await;
        world.submit(&lead_body()).await;
        let mut body = created("INV1");
        body["payload"]["email"] = json!("ana.particular@example.org");
        body["payload"]["text_reminder_number"] = json!("+55 21 98888-7777");
        body["payload"][field] = value;
        take(&world, &body).await;
        let journey = world.journey(lead()).await;
        assert_eq!(events(&world, lead()).await, ["lead_submitted", "call_booked"]);
        let latest = &journey.lead.latest;
        assert_eq!(latest.email.as_ref().unwrap().as_str(), EMAIL, "a lead keeps its own e-mail");
        assert_eq!(latest.name.as_ref().unwrap().expose(), "Ana Exemplo");
        assert_eq!(latest.phone.as_ref().unwrap().as_str(), "+5511987654321");
        assert_eq!(journey.lead.stage().name(), "call_scheduled");
        assert_eq!(journey.events[1].occurred_at.to_string(), "2031-05-05T12:00:00Z");
        assert_eq!(journey.bookings[0].status, BookingStatus::Booked);
        assert_eq!(lead_count(&world).await, 1);
        world.finish().await;
    }
}

#[tokio::test]
async fn a_booking_finds_its_lead_by_email_and_adds_the_phone_it_lacked() {
    let world = quiet().await;
    let mut body = lead_body();
    body["phone"] = Value::Null;
    world.submit(&body).await;
    let mut booked = created("INV1");
    booked["payload"]["tracking"]["utm_content"] = json!("0b0a6f1c-2f5e-4d3e-9a53-0d7a6c1f2b11");
    booked["payload"]["text_reminder_number"] = json!("+55 21 98888-7777");
    take(&world, &booked).await;
    let journey = world.journey(lead()).await;
    let phone = journey.lead.latest.phone.unwrap();
    assert_eq!(phone.as_str(), "+5521988887777");
    let digest = world.hash.digest("phone", &phone.alias_text());
    assert_eq!(world.store.leads_of(("phone", &digest), 9).await.unwrap(), [lead()]);
    assert_eq!(lead_count(&world).await, 1);
    world.finish().await;
}

#[tokio::test]
async fn of_two_leads_with_one_email_the_newest_gets_the_booking() {
    let world = quiet().await;
    world.submit(&lead_body()).await;
    world.pass(60);
    let mut newer = lead_body();
    newer["leadId"] = json!("7f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b22");
    let newer = world.submit(&newer).await.lead();
    take(&world, &created("INV1")).await;
    assert_eq!(events(&world, newer).await, ["lead_submitted", "call_booked"]);
    assert_eq!(events(&world, lead()).await, ["lead_submitted"]);
    world.finish().await;
}

#[tokio::test]
async fn an_unknown_invitee_becomes_a_lead() {
    let world = World::new().await;
    world.looks_at_destinations();
    let mut body = created("INV1");
    body["payload"]["email"] = json!("Bia@Example.com");
    body["payload"]["questions_and_answers"] =
        json!([{"question": "Seu WhatsApp", "answer": "(11) 98765-4321", "position": 0}]);
    take(&world, &body).await;
    let bia = derived(&world, "bia@example.com");
    let journey = world.journey(bia).await;
    let latest = &journey.lead.latest;
    assert_eq!(latest.email.as_ref().unwrap().as_str(), "bia@example.com");
    assert_eq!(latest.name.as_ref().unwrap().expose(), "Ana no Calendly");
    assert_eq!(latest.phone.as_ref().unwrap().as_str(), "+5511987654321");
    assert_eq!(latest.traffic_source.as_ref().unwrap().expose(), "calendly");
    let contact = journey.lead.consents.contact.unwrap();
    assert_eq!((contact.decision, contact.how), (Decision::Granted, How::Contract));
    assert_eq!(journey.lead.consents.analytics, None);
    assert_eq!(journey.consents[0].form, "calendar-webhook");
    let mut aliases: Vec<_> = world
        .items("ALIAS#")
        .await
        .iter()
        .map(|item| item["pk"]["S"].as_str().unwrap().split('#').nth(1).unwrap().to_owned())
        .collect();
    aliases.sort();
    // The booking's alias has the lead, and that it belongs to no other; the e-mail's has the lead and
    // the person.
    assert_eq!(aliases, ["calendly_invitee", "calendly_invitee", "email", "email", "phone"]);
    // A form that comes later belongs to the same lead.
    let mut form = lead_body();
    form["leadId"] = Value::Null;
    form["email"] = json!("bia@example.com");
    form["consent"] = json!({"analytics": false});
    assert_eq!(world.submit(&form).await.lead(), bia);
    world.drain().await;
    world.finish().await;
}

#[tokio::test]
async fn a_booking_stays_with_its_first_lead() {
    let world = quiet().await;
    let mut body = created("INV1");
    body["payload"]["tracking"]["utm_content"] = json!(LEAD);
    take(&world, &body).await;
    let first = derived(&world, EMAIL);
    // The form arrives only now, with the id that was in the link.
    world.submit(&lead_body()).await;
    let mut end = canceled("INV1");
    end["payload"]["tracking"]["utm_content"] = json!(LEAD);
    end["payload"]["email"] = json!("ana.particular@example.org");
    take(&world, &end).await;
    assert_eq!(status(&world, first, "INV1").await, Some(BookingStatus::Canceled));
    assert_eq!(status(&world, lead(), "INV1").await, None);
    world.finish().await;
}

#[tokio::test]
async fn twenty_equal_webhooks_at_once_count_once() {
    let world = quiet().await;
    world.submit(&lead_body()).await;
    world.pass(1);
    let body = created("INV1");
    let responses = futures::future::join_all((0..20).map(|_| world.calendly(&body))).await;
    for response in responses {
        assert_eq!((response.status, response.json()), (200, json!({"received": true})));
    }
    take(&world, &body).await;
    assert_eq!(events(&world, lead()).await, ["lead_submitted", "call_booked"]);
    world.finish().await;
}

#[tokio::test]
async fn a_cancellation_skips_the_messages_that_are_not_leased() {
    let world = quiet().await;
    world.submit(&lead_body()).await;
    take(&world, &created("INV1")).await;
    plan_message(&world, lead(), "INV1", "reminder_24h").await;
    plan_message(&world, lead(), "INV1", "reminder_2h").await;
    plan_message(&world, lead(), "OTHER", "reminder_2h").await;
    take(&world, &canceled("INV1")).await;
    assert_eq!(status(&world, lead(), "INV1").await, Some(BookingStatus::Canceled));
    assert_eq!(
        messages(&world, lead()).await,
        [
            "reminder_24h skipped booking_canceled",
            "reminder_2h pending -",
            "reminder_2h skipped booking_canceled",
        ]
    );
    take(&world, &canceled("INV1")).await;
    let journey = world.journey(lead()).await;
    let EventData::Call(CallEvent::Canceled(said)) = &journey.events.last().unwrap().data else {
        panic!()
    };
    assert_eq!(said.by.as_deref(), Some("invitee"));
    assert_eq!(said.reason.as_ref().unwrap().expose(), "Viagem");
    run_out(world).await;
}

#[tokio::test]
async fn a_leased_message_does_not_prevent_a_cancellation() {
    let world = quiet().await;
    world.submit(&lead_body()).await;
    take(&world, &created("INV1")).await;
    let held = plan_message(&world, lead(), "INV1", "reminder_2h").await;
    let key = funil_store::DeliveryKey::from(&held);
    world.pass(24 * 3600);
    let lease = funil_core::id::LeaseId::random(world.entropy());
    let claim = world.store.claim(&key, funil_store::Claiming::Due, lease, world.now());
    assert!(matches!(claim.await.unwrap(), funil_store::Claimed::Ours(_)));
    take(&world, &canceled("INV1")).await;
    assert_eq!(status(&world, lead(), "INV1").await, Some(BookingStatus::Canceled));
    // The worker reads the booking before it sends, and settles the message then.
    assert_eq!(messages(&world, lead()).await, ["reminder_2h leased -"]);
    run_out(world).await;
}

#[tokio::test]
async fn a_cancellation_before_its_booking_stays_in_force() {
    let world = quiet().await;
    take(&world, &canceled("INV1")).await;
    let ana = derived(&world, EMAIL);
    assert_eq!(status(&world, ana, "INV1").await, Some(BookingStatus::Canceled));
    take(&world, &created("INV1")).await;
    assert_eq!(status(&world, ana, "INV1").await, Some(BookingStatus::Canceled));
    assert_eq!(events(&world, ana).await, ["call_canceled", "call_booked"]);
    assert_eq!(lead_count(&world).await, 1);
    world.finish().await;
}

#[tokio::test]
async fn rescheduling_ends_the_old_booking_in_either_order() {
    for turned in [false, true] {
        let world = quiet().await;
        world.submit(&lead_body()).await;
        take(&world, &created("OLD")).await;
        plan_message(&world, lead(), "OLD", "reminder_24h").await;
        let mut halves = moved("OLD", "NEW");
        if turned {
            halves.reverse();
        }
        take(&world, &halves[0]).await;
        assert_eq!(messages(&world, lead()).await, ["reminder_24h skipped booking_rescheduled"]);
        take(&world, &halves[1]).await;
        for half in &halves {
            take(&world, half).await;
        }
        assert_eq!(status(&world, lead(), "OLD").await, Some(BookingStatus::Rescheduled));
        assert_eq!(status(&world, lead(), "NEW").await, Some(BookingStatus::Booked));
        let bookings = world.journey(lead()).await.bookings;
        let current = funil_core::booking::current(&bookings).unwrap();
        let starts_at = current.call.as_ref().unwrap().starts_at.to_string();
        assert_eq!(starts_at, "2031-05-09T17:00:00Z");
        world.finish().await;
    }
}

#[tokio::test]
async fn a_rescheduled_booking_keeps_its_lead() {
    let world = quiet().await;
    world.submit(&lead_body()).await;
    take(&world, &created("OLD")).await;
    let [mut ended, mut began] = moved("OLD", "NEW");
    for half in [&mut ended, &mut began] {
        half["payload"]["email"] = json!("ana.particular@example.org");
    }
    take(&world, &began).await;
    take(&world, &ended).await;
    assert_eq!(status(&world, lead(), "OLD").await, Some(BookingStatus::Rescheduled));
    assert_eq!(status(&world, lead(), "NEW").await, Some(BookingStatus::Booked));
    assert_eq!(lead_count(&world).await, 1);
    world.finish().await;
}

#[tokio::test]
async fn a_missed_call_is_noted_and_can_be_taken_back() {
    let world = quiet().await;
    world.submit(&lead_body()).await;
    take(&world, &created("INV1")).await;
    take(&world, &no_show("INV1", "created")).await;
    assert_eq!(status(&world, lead(), "INV1").await, Some(BookingStatus::NoShow));
    take(&world, &no_show("INV1", "deleted")).await;
    assert_eq!(status(&world, lead(), "INV1").await, Some(BookingStatus::Booked));
    let expected = ["lead_submitted", "call_booked", "call_missed", "call_missed"];
    assert_eq!(events(&world, lead()).await, expected);
    assert!(world.journey(lead()).await.bookings[0].call.is_some(), "the call is still known");
    world.finish().await;
}

/// A webhook about a booking that says no more than whose it is.
pub(super) fn bare(invitee: &str, event: &str) -> Value {
    let whole = created(invitee);
    json!({
        "event": event, "created_at": "2031-05-05T12:10:00.000000Z",
        "payload": {"uri": whole["payload"]["uri"]},
    })
}

#[tokio::test]
async fn a_cancellation_that_names_no_more_than_its_booking_withdraws_it() {
    let world = with_destinations().await;
    let mut form = lead_body();
    form["consent"] = json!({"marketing": true, "analytics": true, "ads": true});
    world.submit(&form).await;
    take(&world, &created("INV1")).await;
    plan_message(&world, lead(), "INV1", "reminder_24h").await;
    let booked_at = world.journey(lead()).await.bookings[0].booked_at;
    take(&world, &bare("INV1", "invitee.canceled")).await;
    take(&world, &bare("INV1", "invitee.canceled")).await;
    assert_eq!(messages(&world, lead()).await, ["reminder_24h skipped booking_canceled"]);
    let journey = world.journey(lead()).await;
    let [booking] = &*journey.bookings else { panic!() };
    assert_eq!(booking.status, BookingStatus::Canceled);
    assert_eq!(booking.booked_at, booked_at, "what is known stays");
    assert!(booking.call.is_some(), "the call is still known");
    let ends = events(&world, lead()).await.into_iter().filter(|name| *name == "call_canceled");
    assert_eq!(ends.count(), 1);
    world.drain().await;
    let fields = world.providers.crm_contact(LEAD).unwrap()["custom_fields"].clone();
    assert_eq!(fields["call_status"], "canceled");
    // One worker sends several deliveries at once, so they may come in any order.
    let sent = world.providers.ga4_events();
    assert_eq!(sent.iter().filter(|event| event.name == "call_canceled").count(), 1);
    let tracked = world.providers.segment_messages();
    let mut canceled = tracked.iter().filter(|event| event["event"] == "Call Canceled");
    assert_eq!(canceled.next().unwrap()["properties"]["bookingId"], "INV1");
    assert_eq!(canceled.next(), None);
    // Of a booking that nobody knows it is kept for a person.
    take(&world, &bare("INV9", "invitee.canceled")).await;
    let aside = world.items("QUARANTINE#calendly").await;
    assert_eq!(aside[0]["reason"]["S"], "of_nobody_known");
    run_out(world).await;
}

#[tokio::test]
async fn a_booking_without_an_email_belongs_to_the_lead_whose_random_id_it_carries() {
    let world = quiet().await;
    world.submit(&lead_body()).await;
    let mut body = created("INV1");
    body["payload"]["email"] = Value::Null;
    body["payload"]["tracking"]["utm_content"] = json!(LEAD);
    take(&world, &body).await;
    let journey = world.journey(lead()).await;
    assert_eq!(events(&world, lead()).await, ["lead_submitted", "call_booked"]);
    assert_eq!(journey.lead.stage().name(), "call_scheduled");
    assert_eq!(journey.bookings[0].status, BookingStatus::Booked);
    // Anybody can learn an id that is derived from an e-mail, so it says nothing without it.
    let mut form = lead_body();
    form["leadId"] = Value::Null;
    form["email"] = json!("bia@example.com");
    let derived = world.submit(&form).await.lead();
    let mut body = created("INV2");
    body["payload"]["email"] = json!("not an address");
    body["payload"]["tracking"]["utm_content"] = json!(derived);
    take(&world, &body).await;
    assert_eq!(events(&world, derived).await, ["lead_submitted"]);
    assert_eq!(world.items("QUARANTINE#calendly").await.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn reports_about_coming_count_by_their_own_time_in_any_order() {
    use BookingStatus::{Booked, Canceled, NoShow, Rescheduled};

    let at = |body: &mut Value, time: &str| body["created_at"] = json!(time);
    let mut missed = no_show("INV1", "created");
    at(&mut missed, "2031-05-08T18:00:00.000000Z");
    let mut taken_back = no_show("INV1", "deleted");
    at(&mut taken_back, "2031-05-08T18:05:00.000000Z");
    let mut later_end = canceled("INV1");
    at(&mut later_end, "2031-05-08T19:00:00.000000Z");
    let mut earlier_end = later_end.clone();
    at(&mut earlier_end, "2031-05-08T17:00:00.000000Z");
    let mut later_move = later_end.clone();
    later_move["payload"]["rescheduled"] = json!(true);
    for (updates, expected) in [
        (vec![&missed, &taken_back], Booked),
        (vec![&missed, &later_end], Canceled),
        (vec![&missed, &later_move], Rescheduled),
        (vec![&missed, &earlier_end], NoShow),
        (vec![&missed, &taken_back, &earlier_end], Canceled),
        (vec![&missed, &taken_back, &later_end], Canceled),
    ] {
        for turned in [false, true] {
            let world = quiet().await;
            world.submit(&lead_body()).await;
            take(&world, &created("INV1")).await;
            plan_message(&world, lead(), "OTHER", "reminder_2h").await;
            let mut updates = updates.clone();
            if turned {
                updates.reverse();
            }
            for update in updates.iter().chain(&updates) {
                take(&world, update).await;
            }
            let is = status(&world, lead(), "INV1").await;
            assert_eq!(is, Some(expected), "{turned} {updates:?}");
            // Each is in the journey, once.
            assert_eq!(events(&world, lead()).await.len(), 3 + updates.len());
            run_out(world).await;
        }
    }
}

#[tokio::test]
async fn a_no_show_that_was_taken_back_before_it_came_withdraws_nothing() {
    let world = quiet().await;
    world.submit(&lead_body()).await;
    take(&world, &created("INV1")).await;
    plan_message(&world, lead(), "INV1", "reminder_2h").await;
    let mut taken_back = no_show("INV1", "deleted");
    taken_back["created_at"] = json!("2031-05-08T18:05:00.000000Z");
    take(&world, &taken_back).await;
    take(&world, &no_show("INV1", "created")).await;
    assert_eq!(messages(&world, lead()).await, ["reminder_2h pending -"]);
    assert_eq!(status(&world, lead(), "INV1").await, Some(BookingStatus::Booked));
    run_out(world).await;
}

/// Bookings that were kept before reports about coming had a time of their own.
#[tokio::test]
async fn a_booking_that_was_kept_as_missed_can_still_be_taken_back_or_canceled() {
    for (update, expected) in [
        (no_show("INV1", "deleted"), BookingStatus::Booked),
        (canceled("INV1"), BookingStatus::Canceled),
    ] {
        let world = quiet().await;
        world.submit(&lead_body()).await;
        take(&world, &created("INV1")).await;
        let key = json!({"pk": {"S": format!("LEAD#{LEAD}")}, "sk": {"S": "BOOKING#INV1"}});
        let old = json!({
            "Key": key, "UpdateExpression": "SET #status = :status",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {":status": {"S": "no_show"}},
        });
        world.ask_table("UpdateItem", old).await;
        assert_eq!(status(&world, lead(), "INV1").await, Some(BookingStatus::NoShow));
        take(&world, &update).await;
        assert_eq!(status(&world, lead(), "INV1").await, Some(expected));
        world.finish().await;
    }
}

/// A world with every destination but those whose messages follow a booking: `whatsapp.rs` and
/// `funnel.rs` test them.
async fn with_destinations() -> World {
    let destinations = destination::ALL.iter().filter(|one| !one.follows_bookings);
    let world = World::plan().with("DESTINATIONS", &list(destinations)).start().await;
    world.looks_at_destinations();
    world
}

#[tokio::test]
async fn booking_updates_reach_every_destination_that_may_get_them() {
    let world = with_destinations().await;
    let mut form = lead_body();
    form["consent"] = json!({"marketing": true, "analytics": true, "ads": true});
    world.submit(&form).await;
    take(&world, &created("OLD")).await;
    world.drain().await;
    let fields = || world.providers.crm_contact(LEAD).unwrap()["custom_fields"].clone();
    let fields_then = fields();
    assert_eq!(fields_then["stage"], "call_scheduled");
    assert_eq!(fields_then["call_scheduled"], true);
    assert_eq!(fields_then["call_datetime"], "2031-05-08T14:00:00-03:00");
    assert_eq!(fields_then["calendly_event_id"], "EVOLD");
    assert_eq!(fields_then["call_status"], "booked");

    for half in moved("OLD", "NEW") {
        take(&world, &half).await;
    }
    world.drain().await;
    assert_eq!(fields()["call_datetime"], "2031-05-09T14:00:00-03:00");
    assert_eq!(fields()["call_status"], "booked");
    take(&world, &no_show("NEW", "created")).await;
    world.drain().await;
    assert_eq!(fields()["call_status"], "no_show");
    take(&world, &no_show("NEW", "deleted")).await;
    let mut end = canceled("NEW");
    end["payload"]["created_at"] = json!("2031-05-05T12:09:58.000000Z");
    take(&world, &end).await;
    world.drain().await;
    assert_eq!(fields()["call_scheduled"], false);
    assert_eq!(fields()["call_status"], "canceled");

    let ga4: Vec<_> = world.providers.ga4_events().into_iter().map(|event| event.name).collect();
    let expected =
        ["generate_lead", "call_scheduled", "call_scheduled", "call_no_show", "call_canceled"];
    assert_eq!(ga4, expected);
    let messages = world.providers.segment_messages();
    let tracked: Vec<_> = messages.iter().filter_map(|message| message["event"].as_str()).collect();
    assert_eq!(
        tracked,
        ["Lead Submitted", "Call Scheduled", "Call Scheduled", "Call No-Show", "Call Canceled"]
    );
    let meta = world.providers.meta_events();
    let names: Vec<_> = meta.iter().map(|event| &event["event_name"]).collect();
    assert_eq!(names, ["Lead", "Schedule"], "a rescheduled call is no second conversion");
    world.finish().await;
}

#[tokio::test]
async fn without_analytics_and_ads_only_the_crm_and_mailerlite_get_booking_updates() {
    let world = with_destinations().await;
    let mut form = lead_body();
    form["consent"] = json!({"marketing": false, "analytics": false, "ads": false});
    world.submit(&form).await;
    take(&world, &created("INV1")).await;
    world.drain().await;
    assert_eq!(
        world.states(lead()).await,
        [
            "crm/lead delivered",
            "crm/lead delivered",
            "ga4/event skipped no_consent_analytics",
            "mailerlite/profile delivered",
            "mailerlite/questionnaire delivered",
            "meta/schedule skipped no_consent_ads",
            "segment/event skipped no_consent_analytics",
        ]
    );
    world.finish().await;
}

#[tokio::test]
async fn the_state_of_a_skipped_message_is_final() {
    let world = quiet().await;
    world.submit(&lead_body()).await;
    take(&world, &created("INV1")).await;
    let message = plan_message(&world, lead(), "INV1", "reminder_2h").await;
    take(&world, &canceled("INV1")).await;
    let settled = world.store.deliveries_of(lead(), "whatsapp").await.unwrap().remove(0);
    assert_eq!(
        (settled.id, settled.state.kind(), settled.due_at()),
        (message.id, StateKind::Skipped, None)
    );
    world.finish().await;
}
