//! Messages about a booked call: requested, sent at their times, one at a time to a number, and
//! withdrawn.

use funil_core::booking::{BookingId, Call, Place};
use funil_core::clock::after;
use funil_core::contact::Email;
use funil_core::contact::consent::ConsentChanges;
use funil_core::delivery::{Delivery, Queue, StateKind};
use funil_core::destination::{AliasDigests, plan};
use funil_core::event::{CallBooked, Event, Invitee};
use funil_core::id::{EventId, LeadId};
use funil_core::lead::LeadChanges;
use funil_core::pii::Text;
use funil_core::provider::whatsapp::sign;
use funil_core::receipt::ReceiptKey;
use funil_core::settings::Secret;
use funil_dev::simulated::{Behaviour, WhatsAppMessage};
use funil_store::{Acceptance, Accepted, LeadWrite, Receipt, StoredResponse};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::world::{
    LEAD, Plan, Response, SERVICE_TOKEN, WHATSAPP_APP_SECRET, World, lead, lead_body,
};

pub(super) const FUNCTION: &str = "whatsapp-automation";

/// A world with WhatsApp alone.
pub(crate) fn whatsapp() -> Plan {
    World::plan().with("DESTINATIONS", "whatsapp")
}

/// A world with the lead of [`lead_body`], who has been sent nothing yet.
pub(crate) async fn with_lead(plan: Plan) -> World {
    let world = plan.start().await;
    world.looks_at("whatsapp");
    world.submit(&lead_body()).await;
    world
}

/// Requests the messages about a call of `lead` that begins in so many hours.
pub(crate) async fn call_in(world: &World, lead: LeadId, hours: i64) -> Response {
    let start = after(world.now(), hours * 3600);
    let body = json!({"leadId": lead, "startTime": start, "joinUrl": "https://zoom.us/j/1"});
    let response = world.authorised(FUNCTION, &body).await;
    assert_eq!(response.status, 200, "{response:?}");
    response
}

/// Withdraws the messages about one call, or about all.
pub(super) async fn withdraw(world: &World, body: &Value) -> Response {
    let token = format!("Bearer {SERVICE_TOKEN}");
    let headers = [("content-type", "application/json"), ("authorization", &*token)];
    world.send(FUNCTION, Method::DELETE, &headers, body.to_string().as_bytes()).await
}

/// Sends a webhook of Meta's, signed.
pub(crate) async fn send_webhook(world: &World, body: &Value) -> Response {
    let body = body.to_string();
    let signature = sign(&Secret::new(WHATSAPP_APP_SECRET), body.as_bytes());
    let headers = [("content-type", "application/json"), ("x-hub-signature-256", &*signature)];
    world.send("whatsapp-webhook", Method::POST, &headers, body.as_bytes()).await
}

/// Sends a status update of a message; returns the status of the response.
pub(crate) async fn send_status(
    world: &World,
    message: &WhatsAppMessage,
    status: &str,
    code: Option<u32>,
) -> u16 {
    send_webhook(world, &message.status(status, code, world.now().as_second())).await.status
}

/// The lead's message of a slot.
pub(crate) async fn slot(world: &World, lead: LeadId, slot: &str) -> Delivery {
    let found = world.store.deliveries_of(lead, "whatsapp").await.unwrap();
    found.into_iter().find(|delivery| delivery.slot == slot).unwrap()
}

/// Another lead with the phone number of [`lead_body`].
pub(crate) async fn namesake(world: &World, number: usize) -> LeadId {
    let mut body = lead_body();
    body["leadId"] = Value::Null;
    body["email"] = json!(format!("namesake{number}@example.com"));
    world.submit_from(&format!("198.51.100.{number}"), &body).await.lead()
}

/// Withdraws what is left, and ends the world.
pub(super) async fn end(world: World) {
    withdraw(&world, &json!({"leadId": LEAD})).await;
    assert_eq!(
        world.providers.whatsapp_too_fast(),
        0,
        "one number gets one message in six seconds"
    );
    world.finish().await;
}

#[tokio::test]
async fn the_welcome_goes_at_once_and_the_reminders_at_their_times() {
    let world = with_lead(whatsapp()).await;
    let start = world.now();
    // The world begins on a Monday, at 9:00 in São Paulo.
    let response = call_in(&world, lead(), 78).await.json();
    assert_eq!(response["deliveries"].as_array().unwrap().len(), 3);
    assert_eq!(response["leadId"], LEAD);
    world.advance(SignedDuration::from_hours(100)).await;
    let messages = world.providers.whatsapp_messages();
    let sent: Vec<_> = messages.iter().map(|m| (&*m.template, m.parameters.clone())).collect();
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let preparation = format!("https://www.example.com/preparacao-chamada?lead_id={LEAD}");
    assert_eq!(
        sent,
        [
            (
                "welcome_booking_confirmation",
                texts(&["Ana", "quinta-feira, 8 de maio às 15h", &preparation])
            ),
            ("call_reminder_24h", texts(&["Ana", "15h"])),
            ("call_reminder_2h", texts(&["Ana", "15h", "https://zoom.us/j/1"])),
        ]
    );
    let hour = |hours: i64| hours * 3600;
    assert_eq!(world.request_times("whatsapp", start), [0, hour(54), hour(76)]);
    for message in &messages {
        let delivery = world.store.deliveries_of(lead(), "whatsapp").await.unwrap();
        let names = delivery.iter().map(|d| format!("{LEAD}/{}", d.id));
        assert!(names.into_iter().any(|name| message.callback_data == Some(name)));
        assert_eq!((&*message.to, &*message.language), ("5511987654321", "pt_BR"));
    }
    end(world).await;
}

#[tokio::test]
async fn a_duplicate_request_plans_once_and_another_call_needs_another_booking_id() {
    let world = with_lead(whatsapp()).await;
    let first = call_in(&world, lead(), 48).await;
    world.pass(60);
    let start: Timestamp = after(world.now(), 48 * 3600 - 60);
    let body = |minutes: i64| {
        json!({"leadId": LEAD, "startTime": after(start, minutes * 60),
            "joinUrl": "https://zoom.us/j/1"})
    };
    let again = world.authorised(FUNCTION, &body(0)).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(world.providers.whatsapp_messages().len(), 1);
    let other = world.authorised(FUNCTION, &body(30)).await;
    assert_ne!(other.json()["bookingId"], first.json()["bookingId"]);
    let mut named = body(60);
    named["bookingId"] = first.json()["bookingId"].clone();
    let clash = world.authorised(FUNCTION, &named).await;
    assert_eq!((clash.status, clash.json()["code"].clone()), (409, json!("booking_known")));
    world.advance(SignedDuration::from_mins(1)).await;
    end(world).await;
}

#[tokio::test]
async fn all_field_errors_of_a_request_come_at_once() {
    let world = with_lead(whatsapp()).await;
    let wrong = json!({"leadId": "x", "startTime": "tomorrow", "endTime": "later",
        "timeZone": "Atlantis/Sunken", "joinUrl": "javascript:1", "bookingId": "a/b", "start": 1});
    let response = world.authorised(FUNCTION, &wrong).await;
    assert_eq!(response.status, 422);
    let mut codes: Vec<_> = response.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| format!("{} {}", e["field"].as_str().unwrap(), e["code"].as_str().unwrap()))
        .collect();
    codes.sort();
    assert_eq!(
        codes,
        [
            "bookingId invalid_booking_id",
            "endTime invalid_time",
            "joinUrl invalid_url",
            "leadId invalid_uuid",
            "start unexpected_field",
            "startTime invalid_time",
            "timeZone unknown_time_zone",
        ]
    );
    let missing = world.authorised(FUNCTION, &json!({"leadId": LEAD, "timeZone": "UTC"})).await;
    assert_eq!(missing.json()["errors"][0]["code"], "required");
    let stranger = json!({"leadId": "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b12",
        "startTime": "2031-06-01T12:00:00Z"});
    assert_eq!(world.authorised(FUNCTION, &stranger).await.status, 404);
    assert_eq!(world.authorised_as("wrong", FUNCTION, &stranger).await.status, 401);
    assert_eq!(withdraw(&world, &stranger).await.status, 422);
    assert_eq!(withdraw(&world, &json!({"leadId": stranger["leadId"]})).await.status, 404);
    let get = world.send(FUNCTION, Method::GET, &[], b"").await;
    assert_eq!((get.status, get.header("allow")), (405, Some("POST, DELETE")));
    world.finish().await;
}

#[tokio::test]
async fn withdrawn_messages_are_not_sent_even_if_withdrawn_before_they_are_planned() {
    let world = with_lead(whatsapp()).await;
    let booking = call_in(&world, lead(), 48).await.json()["bookingId"].clone();
    call_in(&world, lead(), 72).await;
    let one = withdraw(&world, &json!({"leadId": LEAD, "bookingId": booking})).await;
    assert_eq!(one.json(), json!({"leadId": LEAD, "withdrawn": [booking]}));
    let again = withdraw(&world, &json!({"leadId": LEAD, "bookingId": booking})).await;
    assert_eq!(again.json()["withdrawn"], json!([]));
    let planned = call_in(&world, lead(), 48).await.json();
    assert_eq!((&planned["bookingId"], &planned["deliveries"]), (&booking, &json!([])));
    let all = withdraw(&world, &json!({"leadId": LEAD})).await;
    assert_eq!(all.json()["withdrawn"].as_array().unwrap().len(), 1);
    world.advance(SignedDuration::from_hours(100)).await;
    assert_eq!(world.providers.whatsapp_messages().len(), 1, "the first welcome alone");
    let states = world.states(lead()).await;
    let canceled = states.iter().filter(|state| state.ends_with("skipped booking_canceled"));
    assert_eq!(canceled.count(), 5, "{states:?}");
    let early = withdraw(&world, &json!({"leadId": LEAD, "bookingId": "early"})).await;
    assert_eq!(early.json()["withdrawn"], json!(["early"]));
    let late = json!({"leadId": LEAD, "bookingId": "early",
        "startTime": after(world.now(), 86_400)});
    for _ in 0..2 {
        let planned = world.authorised(FUNCTION, &late).await.json();
        let expected = json!({"leadId": LEAD, "bookingId": "early", "deliveries": []});
        assert_eq!(planned, expected, "the response names no message that will not be sent");
    }
    world.advance(SignedDuration::from_hours(30)).await;
    assert_eq!(world.providers.whatsapp_messages().len(), 1);
    end(world).await;
}

#[tokio::test]
async fn one_number_gets_one_message_in_six_seconds() {
    let world = with_lead(whatsapp()).await;
    let start = world.now();
    let others = [namesake(&world, 1).await, namesake(&world, 2).await];
    call_in(&world, lead(), 1).await;
    for other in others {
        call_in(&world, other, 1).await;
    }
    assert_eq!(world.providers.whatsapp_messages().len(), 1, "three are due at once");
    world.advance(SignedDuration::from_mins(2)).await;
    assert_eq!(world.providers.whatsapp_messages().len(), 3);
    let times = world.request_times("whatsapp", start);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 6), "{times:?}");
    for lead in [lead(), others[0], others[1]] {
        let delivery = slot(&world, lead, "welcome").await;
        assert_eq!(
            (delivery.state.kind(), delivery.attempts),
            (StateKind::Delivered, 1),
            "waiting is no attempt"
        );
    }
    end(world).await;
}

#[tokio::test]
async fn one_number_gets_so_many_messages_a_day_and_the_last_are_kept_for_reminders() {
    // Four of the six are kept for reminders.
    let world = with_lead(whatsapp().with("WHATSAPP_DAILY_PER_NUMBER", "6")).await;
    let leads = [lead(), namesake(&world, 1).await, namesake(&world, 2).await];
    for lead in leads {
        call_in(&world, lead, 3).await;
        world.pass(60);
    }
    world.advance(SignedDuration::from_hours(3)).await;
    let mut states = Vec::new();
    for lead in leads {
        states.extend(world.states(lead).await);
    }
    let count = |state: &str| states.iter().filter(|one| *one == state).count();
    assert_eq!(count("whatsapp/welcome delivered"), 2, "{states:?}");
    assert_eq!(count("whatsapp/welcome skipped daily_limit"), 1, "{states:?}");
    assert_eq!(count("whatsapp/reminder_2h delivered"), 3, "{states:?}");
    assert_eq!(world.items("ALERT#whatsapp#daily_limit").await.len(), 1);
    world.pass(86_400);
    call_in(&world, leads[2], 1).await;
    let welcomes = world.states(leads[2]).await;
    assert!(welcomes.contains(&"whatsapp/welcome delivered".to_owned()), "{welcomes:?}");
    end(world).await;
}

#[tokio::test]
async fn a_number_that_whatsapp_does_not_know_gets_no_further_try() {
    let error = json!({"error": {"code": 131_026, "message": "Message undeliverable"}});
    let refusal =
        Behaviour::StatusWith { status: 400, headers: Vec::new(), body: error.to_string() };
    let world = with_lead(whatsapp()).await;
    world.providers.script("whatsapp", [refusal]);
    call_in(&world, lead(), 30).await;
    let skipped = |slot: &str| format!("whatsapp/{slot} skipped failed_131026");
    let expected = [
        skipped("reminder_24h"),
        skipped("reminder_2h"),
        "whatsapp/welcome dead failed_131026".to_owned(),
    ];
    assert_eq!(world.states(lead()).await, expected);
    assert_eq!(world.requests("whatsapp").len(), 1);
    end(world).await;

    // The same as a status update, after the message was taken.
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 30).await;
    let message = world.providers.whatsapp_messages().remove(0);
    assert_eq!(send_status(&world, &message, "failed", Some(131_026)).await, 200);
    assert_eq!(world.states(lead()).await, expected);
    end(world).await;
}

#[tokio::test]
async fn a_landline_gets_no_message() {
    let world = whatsapp().start().await;
    world.looks_at("whatsapp");
    let mut body = lead_body();
    body["phone"] = json!("(11) 3333-4444");
    world.submit(&body).await;
    call_in(&world, lead(), 1).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome skipped not_mobile"]);
    end(world).await;
}

#[tokio::test]
async fn a_lead_without_a_phone_is_skipped_and_a_late_reminder_expires() {
    let world = whatsapp().start().await;
    world.looks_at("whatsapp");
    let mut body = lead_body();
    body["phone"] = Value::Null;
    world.submit(&body).await;
    call_in(&world, lead(), 1).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome skipped no_number_disputed"]);
    end(world).await;

    let world = with_lead(whatsapp()).await;
    // WhatsApp's own error, so that nothing was sent.
    let body = json!({"error": {"code": 131_016, "type": "OAuthException"}}).to_string();
    let fails = Behaviour::StatusWith { status: 503, headers: Vec::new(), body };
    world.providers.behave("whatsapp", fails);
    call_in(&world, lead(), 3).await;
    world.advance(SignedDuration::from_hours(4)).await;
    assert_eq!(
        world.states(lead()).await,
        ["whatsapp/reminder_2h dead deadline_passed", "whatsapp/welcome dead deadline_passed"]
    );
    end(world).await;
}

/// Keeps a booking whose link Calendly is still making.
async fn booked(world: &World, hours: i64) {
    let id = BookingId::parse("invitee-1").unwrap();
    let call = Call {
        booking: id,
        calendar_event: Some(BookingId::parse("event-1").unwrap()),
        title: None,
        starts_at: after(world.now(), hours * 3600),
        ends_at: None,
        time_zone: None,
        place: Place::BeingMade { url: None },
        cancel_url: None,
        reschedule_url: None,
    };
    let invitee = Invitee {
        email: Email::parse("ana@example.com").ok(),
        name: Some(Text::from("Ana")),
        phone: None,
    };
    let now = world.now();
    let data = CallBooked { call, invitee, booked_at: now, instead_of: None, recipient: None };
    let event = Event::new(EventId::of_provider("calendly", "invitee-1"), lead(), data, now);
    let key = ReceiptKey::of_provider("calendly", &["invitee-1"]);
    let response = StoredResponse { status: 200, headers: Vec::new(), body: String::new() };
    let acceptance = Acceptance {
        receipt: &Receipt { fingerprint: key.key.clone(), key, response, caller: None },
        event: &event,
        lead: LeadWrite::Known,
        changes: &LeadChanges::default(),
        consent: &ConsentChanges::default(),
        evidence: &funil_store::ConsentEvidence::default(),
        aliases: &AliasDigests::default(),
        bookings: &event.data.bookings(),
        payment: None,
        beside: None,
        other_aliases: &[],
        shared_aliases: &[],
        deliveries: &plan(
            &event,
            &[funil_core::destination::find("whatsapp").unwrap()],
            None,
            &AliasDigests::default(),
            Queue::default(),
        ),
        withdrawn: &[],
        released: None,
    };
    let accepted = world.store.accept(&acceptance, now, world.entropy()).await.unwrap();
    assert_eq!(accepted, Accepted::Kept);
}

#[tokio::test]
async fn the_link_of_the_call_is_fetched_and_a_calendar_that_fails_costs_no_reminder() {
    let location = json!({"resource": {"location": {"join_url": "https://meet.google.com/a-b"}}});
    let found = Behaviour::StatusWith { status: 200, headers: vec![], body: location.to_string() };
    let preparation = format!("https://www.example.com/preparacao-chamada?lead_id={LEAD}");
    for (behaviour, link) in [
        (found, "https://meet.google.com/a-b"),
        (Behaviour::Status(404), &*preparation),
        (Behaviour::Hang, &*preparation),
        (Behaviour::CloseConnection, &*preparation),
    ] {
        let plan = whatsapp()
            .impatient()
            .with("CALENDLY_API_TOKEN", "calendly-token")
            .with_provider_url("CALENDLY_BASE_URL", "calendly");
        let world = with_lead(plan).await;
        world.expect_requests("calendly", 1);
        world.providers.behave("calendly", behaviour.clone());
        booked(&world, 3).await;
        world.advance(SignedDuration::from_hours(2)).await;
        assert_eq!(world.requests("calendly"), ["GET /scheduled_events/event-1"]);
        let messages = world.providers.whatsapp_messages();
        assert_eq!(messages.len(), 2, "{behaviour:?}");
        assert_eq!(messages[1].parameters[2], link, "{behaviour:?}");
        world.providers.release_hung();
        end(world).await;
    }
}
