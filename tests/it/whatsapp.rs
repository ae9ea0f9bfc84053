//! Messages about a call: each at its time, one at a time to a number, none twice, and none about a
//! call that is off or to somebody who wants none.

use std::time::Duration;

use funil_core::booking::{BookingId, Call, Place};
use funil_core::clock::after;
use funil_core::config::Secret;
use funil_core::consent::{ConsentChanges, Purpose};
use funil_core::contact::Email;
use funil_core::delivery::{Delivery, MessageStatus, Reason, State};
use funil_core::destination::{AliasDigests, plan};
use funil_core::event::{CallBooked, Event, EventData, Invitee, Operator};
use funil_core::id::{DeliveryName, EventId, LeadId, LeaseId};
use funil_core::idempotency::ReceiptKey;
use funil_core::lead::LeadChanges;
use funil_core::pii::Text;
use funil_core::provider::whatsapp::sign;
use funil_delivery::Patience;
use funil_dev::providers::{Behaviour, WhatsAppMessage, whatsapp_inbound};
use funil_lambda::replay::{Judged, replay};
use funil_store::{
    Acceptance, Accepted, Claimed, Claiming, DeliveryKey, LeadWrite, Receipt, StoredAnswer,
    TablePatience,
};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::proxy::{Break, Proxy};
use crate::world::{
    Answer, LEAD, Plan, SERVICE_TOKEN, WHATSAPP_APP_SECRET, World, lead, lead_body,
};

const FUNCTION: &str = "whatsapp-automation";

pub(crate) fn whatsapp() -> Plan {
    World::plan().with("DESTINATIONS", "whatsapp")
}

/// A world with the lead of [`lead_body`], who was sent nothing yet.
pub(crate) async fn with_lead(plan: Plan) -> World {
    let world = plan.start().await;
    world.looks_at("whatsapp");
    world.submit(&lead_body()).await;
    world
}

/// Asks for the messages about a call of `lead` in so many hours.
pub(crate) async fn call_in(world: &World, lead: LeadId, hours: i64) -> Answer {
    let start = after(world.now(), hours * 3600);
    let body = json!({"leadId": lead, "startTime": start, "joinUrl": "https://zoom.us/j/1"});
    let answer = world.authorised(FUNCTION, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// Withdraws them.
async fn withdraw(world: &World, body: &Value) -> Answer {
    let token = format!("Bearer {SERVICE_TOKEN}");
    let headers = [("content-type", "application/json"), ("authorization", &*token)];
    world.call(FUNCTION, Method::DELETE, &headers, body.to_string().as_bytes()).await
}

/// What Meta sends, signed.
pub(crate) async fn tell(world: &World, body: &Value) -> Answer {
    let body = body.to_string();
    let signature = sign(&Secret::new(WHATSAPP_APP_SECRET), body.as_bytes());
    let headers = [("content-type", "application/json"), ("x-hub-signature-256", &*signature)];
    world.call("whatsapp-webhook", Method::POST, &headers, body.as_bytes()).await
}

pub(crate) async fn tell_status(
    world: &World,
    message: &WhatsAppMessage,
    status: &str,
    code: Option<u32>,
) -> u16 {
    tell(world, &message.status(status, code, world.now().as_second())).await.status
}

pub(crate) async fn slot(world: &World, lead: LeadId, slot: &str) -> Delivery {
    let found = world.store.deliveries_of(lead, "whatsapp").await.unwrap();
    found.into_iter().find(|delivery| delivery.slot == slot).unwrap()
}

/// Somebody else with the number of [`lead_body`].
pub(crate) async fn namesake(world: &World, number: usize) -> LeadId {
    let mut body = lead_body();
    body["leadId"] = Value::Null;
    body["email"] = json!(format!("namesake{number}@example.com"));
    world.submit_from(&format!("198.51.100.{number}"), &body).await.lead()
}

/// Whether a person was, or will be, told of a death.
async fn is_alerted(world: &World) -> bool {
    !world.items("ALERT#whatsapp#dead").await.is_empty()
}

/// Nothing is planned any more for the rest of a world's time.
async fn end(world: World) {
    withdraw(&world, &json!({"leadId": LEAD})).await;
    assert_eq!(world.providers.whatsapp_too_fast(), 0, "one message in six seconds");
    world.finish().await;
}

#[tokio::test]
async fn the_welcome_goes_at_once_and_the_reminders_at_their_times() {
    let world = with_lead(whatsapp()).await;
    let start = world.now();
    // The world begins on a Monday, at 9:00 in São Paulo.
    let answer = call_in(&world, lead(), 78).await.json();
    assert_eq!(answer["deliveries"].as_array().unwrap().len(), 3);
    assert_eq!(answer["leadId"], LEAD);
    world.advance(SignedDuration::from_hours(100)).await;
    let messages = world.providers.whatsapp_messages();
    let told: Vec<_> = messages.iter().map(|m| (&*m.template, m.parameters.clone())).collect();
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let preparation = format!("https://www.example.com/preparacao-chamada?lead_id={LEAD}");
    assert_eq!(
        told,
        [
            (
                "welcome_booking_confirmation",
                texts(&["Ana Exemplo", "quinta-feira, 8 de maio às 15h", &preparation])
            ),
            ("call_reminder_24h", texts(&["Ana Exemplo", "15h"])),
            ("call_reminder_2h", texts(&["Ana Exemplo", "15h", "https://zoom.us/j/1"])),
        ]
    );
    let hour = |hours: i64| hours * 3600;
    assert_eq!(world.call_times("whatsapp", start), [0, hour(54), hour(76)]);
    for message in &messages {
        let delivery = world.store.deliveries_of(lead(), "whatsapp").await.unwrap();
        let names = delivery.iter().map(|d| format!("{LEAD}/{}", d.id));
        assert!(names.into_iter().any(|name| message.callback_data == Some(name)));
        assert_eq!((&*message.to, &*message.language), ("5511987654321", "pt_BR"));
    }
    end(world).await;
}

#[tokio::test]
async fn a_repeated_request_plans_once_and_another_call_needs_another_name() {
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
async fn all_that_is_wrong_with_a_request_is_told_at_once() {
    let world = with_lead(whatsapp()).await;
    let wrong = json!({"leadId": "x", "startTime": "tomorrow", "endTime": "later",
        "timeZone": "Atlantis/Sunken", "joinUrl": "javascript:1", "bookingId": "a/b", "start": 1});
    let answer = world.authorised(FUNCTION, &wrong).await;
    assert_eq!(answer.status, 422);
    let mut codes: Vec<_> = answer.json()["errors"]
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
    let get = world.call(FUNCTION, Method::GET, &[], b"").await;
    assert_eq!((get.status, get.header("allow")), (405, Some("POST, DELETE")));
    world.finish().await;
}

#[tokio::test]
async fn what_is_withdrawn_is_not_sent_and_can_be_withdrawn_before_it_is_known() {
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
        assert_eq!(planned, expected, "an answer names no message that will not come");
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
    let times = world.call_times("whatsapp", start);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 6), "{times:?}");
    for lead in [lead(), others[0], others[1]] {
        let delivery = slot(&world, lead, "welcome").await;
        assert_eq!((delivery.state, delivery.attempts), (State::Delivered, 1), "waiting is no try");
    }
    end(world).await;
}

/// The lead's welcome was sent, or not, and nobody answered.
async fn unanswered(behaviour: Behaviour) -> World {
    let world = with_lead(whatsapp().impatient()).await;
    world.providers.script("whatsapp", [behaviour]);
    call_in(&world, lead(), 1).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome unknown timeout"]);
    world
}

#[tokio::test]
async fn a_message_without_an_answer_is_settled_by_its_status() {
    let world = unanswered(Behaviour::HangAfterEffect).await;
    let message = world.providers.whatsapp_messages().remove(0);
    world.pass(5);
    assert_eq!(tell_status(&world, &message, "delivered", None).await, 200);
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome delivered"]);
    world.advance(SignedDuration::from_hours(2)).await;
    assert_eq!(world.calls("whatsapp").len(), 1);
    assert!(!is_alerted(&world).await);
    end(world).await;
}

#[tokio::test]
async fn a_message_that_whatsapp_tells_of_though_it_answered_with_an_error_is_not_sent_again() {
    let world = with_lead(whatsapp()).await;
    world.providers.script("whatsapp", [Behaviour::Status(503), Behaviour::Normal]);
    call_in(&world, lead(), 1).await;
    let welcome = slot(&world, lead(), "welcome").await;
    assert_eq!(welcome.state, State::Pending);
    let name = format!("{LEAD}/{}", welcome.id);
    let status = json!({"id": "wamid.1", "status": "delivered", "biz_opaque_callback_data": name});
    let value = json!({"statuses": [status]});
    let body = json!({"object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]});
    assert_eq!(tell(&world, &body).await.status, 200);
    world.advance(SignedDuration::from_mins(2)).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome delivered"]);
    assert_eq!(world.calls("whatsapp").len(), 1);
    end(world).await;
}

#[tokio::test]
async fn a_message_nobody_tells_of_is_dead_after_ten_minutes_and_settled_all_the_same() {
    let world = unanswered(Behaviour::HangAfterEffect).await;
    world.advance(SignedDuration::from_mins(9)).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome unknown timeout"]);
    assert!(!is_alerted(&world).await);
    world.advance(SignedDuration::from_mins(2)).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome dead may_have_been_sent"]);
    assert!(is_alerted(&world).await);
    let message = world.providers.whatsapp_messages().remove(0);
    assert_eq!(tell_status(&world, &message, "sent", None).await, 200);
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome delivered"]);
    assert_eq!(world.store.dead("whatsapp", 10).await.unwrap(), []);
    assert_eq!(world.calls("whatsapp").len(), 1, "it was never sent again");
    end(world).await;
}

#[tokio::test]
async fn a_doubtful_message_is_not_sent_again_by_itself() {
    let world = unanswered(Behaviour::Hang).await;
    world.advance(SignedDuration::from_mins(20)).await;
    let dead = slot(&world, lead(), "welcome").await;
    let name = DeliveryName { lead_id: lead(), delivery_id: dead.id };
    let judged = |ended| Judged::new(ended, world.now());
    let ended = judged(world.store.delivery_named(name).await.unwrap().unwrap());
    assert_eq!(ended.safety.name(), "would_duplicate");
    let by = Operator::Cli;
    assert!(!replay(&world.store, world.shell(), &ended, false, by).await.unwrap());
    assert!(replay(&world.store, world.shell(), &ended, true, by).await.unwrap());
    world.drain().await;
    assert_eq!(world.providers.whatsapp_messages().len(), 1);
    end(world).await;
}

#[tokio::test]
async fn a_worker_that_dies_while_whatsapp_has_its_call_leaves_a_doubt_and_no_second_message() {
    let world = with_lead(whatsapp()).await;
    let mut hurried = world.authorised(FUNCTION, &json!({"leadId": LEAD})).await;
    assert_eq!(hurried.json()["deliveries"], json!([]));
    world.providers.script("whatsapp", [Behaviour::HangAfterEffect]);
    let start = after(world.now(), 3600);
    let body = json!({"leadId": LEAD, "startTime": start});
    tokio::select! {
        _ = world.authorised(FUNCTION, &body) => panic!("WhatsApp hangs"),
        () = world.providers.until_received("whatsapp", 1) => {}
    }
    world.advance(SignedDuration::from_mins(5)).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome unknown may_have_been_sent"]);
    hurried = world.authorised(FUNCTION, &json!({"leadId": LEAD})).await;
    assert_eq!(hurried.json()["deliveries"], json!([]), "what may have been sent is not hurried");
    world.advance(SignedDuration::from_mins(10)).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome dead may_have_been_sent"]);
    assert_eq!(world.providers.whatsapp_messages().len(), 1);
    world.providers.release_hung();
    end(world).await;
}

#[tokio::test]
async fn a_message_that_fails_after_it_was_taken_is_dead_and_can_be_sent_again() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 20).await;
    let first = world.providers.whatsapp_messages().remove(0);
    world.pass(10);
    let failed = first.status("failed", Some(131_026), world.now().as_second());
    assert_eq!(tell(&world, &failed).await.status, 200);
    assert_eq!(slot(&world, lead(), "welcome").await.reason.as_deref(), Some("failed_131026"));
    assert!(is_alerted(&world).await);
    world.pass(60);
    let name = world.store.dead("whatsapp", 10).await.unwrap();
    assert_eq!(name.len(), 1);
    let dead = slot(&world, lead(), "welcome").await;
    assert_eq!((dead.state, dead.message), (State::Dead, Some(MessageStatus::Failed)));
    let name = DeliveryName { lead_id: lead(), delivery_id: dead.id };
    let ended = world.store.delivery_named(name).await.unwrap().unwrap();
    let judged = Judged::new(ended, world.now());
    assert_eq!(judged.safety.name(), "safe");
    assert!(replay(&world.store, world.shell(), &judged, false, Operator::Cli).await.unwrap());
    world.drain().await;
    assert_eq!(world.providers.whatsapp_messages().len(), 2);
    // Meta tells of the first one once more, then of the second.
    assert_eq!(tell(&world, &failed).await.status, 200);
    let second = world.providers.whatsapp_messages().remove(1);
    world.pass(5);
    assert_eq!(tell_status(&world, &second, "delivered", None).await, 200);
    let welcome = slot(&world, lead(), "welcome").await;
    assert_eq!(
        (welcome.state, welcome.message),
        (State::Delivered, Some(MessageStatus::Delivered))
    );
    end(world).await;
}

#[tokio::test]
async fn a_replay_after_the_calls_start_is_too_late() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 1).await;
    let message = world.providers.whatsapp_messages().remove(0);
    tell_status(&world, &message, "failed", Some(131_026)).await;
    world.pass(3600);
    let dead = slot(&world, lead(), "welcome").await;
    let name = DeliveryName { lead_id: lead(), delivery_id: dead.id };
    let ended = world.store.delivery_named(name).await.unwrap().unwrap();
    assert_eq!(Judged::new(ended, world.now()).safety.name(), "too_late");
    end(world).await;
}

/// Drains WhatsApp through a table that keeps the worker waiting at one of its calls, while `meanwhile`
/// happens.
async fn drain_held_at(world: &mut World, call: usize, meanwhile: impl AsyncFnOnce(&World)) {
    let (proxy, url) = Proxy::start().await;
    world.set_table_patience(TablePatience {
        attempt: Duration::from_millis(400),
        call: Duration::from_secs(4),
    });
    let worker = world.worker_with("whatsapp", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    proxy.break_calls(call..call + 1, 1, Break::HangBefore);
    let drain = worker.drain(Patience::None, world.stop_at());
    let between = async {
        proxy.held().await;
        meanwhile(world).await;
    };
    futures::join!(drain, between).0.unwrap();
    assert_eq!(proxy.broken(), 1);
}

/// A reminder is due, and nothing else.
async fn reminder_due() -> World {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 3).await;
    world.pass(3600);
    world
}

// META, the breaker, what is due, the claim, the material, the pause, `sending`, a last look.
const MATERIAL: usize = 4;
const LAST_LOOK: usize = 7;

#[tokio::test]
async fn a_call_withdrawn_while_its_message_is_in_a_workers_hands_is_not_told_of() {
    for call in [MATERIAL, LAST_LOOK] {
        let mut world = reminder_due().await;
        drain_held_at(&mut world, call, async |world: &World| {
            let reminder = slot(world, lead(), "reminder_2h").await;
            assert_eq!(reminder.state, State::Leased);
            assert_eq!(reminder.sending.is_some(), call == LAST_LOOK);
            let answer = withdraw(world, &json!({"leadId": LEAD})).await;
            assert_eq!(answer.json()["withdrawn"].as_array().unwrap().len(), 1);
        })
        .await;
        let reminder = slot(&world, lead(), "reminder_2h").await;
        assert_eq!(reminder.reason.as_deref(), Some("booking_canceled"), "held at {call}");
        assert_eq!(reminder.state, State::Skipped);
        assert_eq!(world.providers.whatsapp_messages().len(), 1, "the welcome");
        end(world).await;
    }
}

#[tokio::test]
async fn somebody_who_opts_out_while_a_message_is_in_a_workers_hands_does_not_get_it() {
    for call in [MATERIAL, LAST_LOOK] {
        let mut world = reminder_due().await;
        let welcome = world.providers.whatsapp_messages().remove(0);
        drain_held_at(&mut world, call, async |world: &World| {
            let body = welcome.answer("Parar!", world.now().as_second());
            assert_eq!(tell(world, &body).await.status, 200);
        })
        .await;
        let reminder = slot(&world, lead(), "reminder_2h").await;
        assert_eq!(
            (reminder.state, reminder.reason.as_deref()),
            (State::Skipped, Some("no_consent_whatsapp")),
            "held at {call}"
        );
        assert_eq!(world.providers.whatsapp_messages().len(), 1, "the welcome");
        end(world).await;
    }
}

#[tokio::test]
async fn a_lead_without_a_phone_is_skipped_and_a_late_reminder_expires() {
    let world = whatsapp().start().await;
    world.looks_at("whatsapp");
    let mut body = lead_body();
    body["phone"] = Value::Null;
    world.submit(&body).await;
    call_in(&world, lead(), 1).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome skipped no_phone"]);
    end(world).await;

    let world = with_lead(whatsapp()).await;
    world.providers.behave("whatsapp", Behaviour::Status(503));
    call_in(&world, lead(), 3).await;
    world.advance(SignedDuration::from_hours(4)).await;
    assert_eq!(
        world.states(lead()).await,
        ["whatsapp/reminder_2h dead deadline_passed", "whatsapp/welcome dead deadline_passed"]
    );
    end(world).await;
}

/// Keeps a booking as Calendly tells of one whose link is still being made.
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
        email: Email::parse("ana@example.com").unwrap(),
        name: Some(Text::from("Ana")),
        phone: None,
    };
    let now = world.now();
    let event = Event {
        id: EventId::of_provider("calendly", "invitee-1"),
        lead_id: lead(),
        occurred_at: now,
        accepted_at: now,
        supplied_lead_id: None,
        data: EventData::CallBooked(Box::new(CallBooked {
            call,
            invitee,
            booked_at: now,
            instead_of: None,
        })),
    };
    let key = ReceiptKey::of_provider("calendly", &["invitee-1"]);
    let answer = StoredAnswer { status: 200, headers: Vec::new(), body: String::new() };
    let acceptance = Acceptance {
        receipt: &Receipt { fingerprint: key.key.clone(), key, answer },
        event: &event,
        lead: LeadWrite::Known,
        changes: &LeadChanges::default(),
        consent: &ConsentChanges::default(),
        evidence: &funil_store::ConsentEvidence::default(),
        aliases: &AliasDigests::default(),
        other_aliases: &[],
        deliveries: &plan(
            &event,
            &[funil_core::destination::find("whatsapp").unwrap()],
            None,
            &AliasDigests::default(),
        ),
        withdrawn: &[],
    };
    let accepted = world.store.accept(&acceptance, now, world.entropy()).await.unwrap();
    assert_eq!(accepted, Accepted::Kept);
}

#[tokio::test]
async fn the_link_of_the_call_is_asked_for_and_a_calendar_that_fails_costs_no_reminder() {
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
        world.expect_calls("calendly", 1);
        world.providers.behave("calendly", behaviour.clone());
        booked(&world, 3).await;
        world.advance(SignedDuration::from_hours(2)).await;
        assert_eq!(world.calls("calendly"), ["GET /scheduled_events/event-1"]);
        let messages = world.providers.whatsapp_messages();
        assert_eq!(messages.len(), 2, "{behaviour:?}");
        assert_eq!(messages[1].parameters[2], link, "{behaviour:?}");
        world.providers.release_hung();
        end(world).await;
    }
}

#[tokio::test]
async fn a_message_about_a_call_that_is_off_costs_the_person_no_pause() {
    let world = with_lead(whatsapp()).await;
    let answer = call_in(&world, lead(), 20).await.json();
    // The booking is off, and its withdrawal did not see the reminder.
    let booking = answer["bookingId"].as_str().unwrap();
    let off = json!({
        "Key": {"pk": {"S": format!("LEAD#{LEAD}")}, "sk": {"S": format!("BOOKING#{booking}")}},
        "UpdateExpression": "SET #status = :off",
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": {":off": {"S": "canceled"}},
    });
    world.ask_table("UpdateItem", off).await;
    for rate in world.items("RATE#whatsapp").await {
        let keys = json!({"Key": {"pk": rate["pk"], "sk": rate["sk"]}});
        world.ask_table("DeleteItem", keys).await;
    }
    world.advance(SignedDuration::from_hours(20)).await;
    let reminder = slot(&world, lead(), "reminder_2h").await;
    assert_eq!(reminder.reason.as_deref(), Some("booking_canceled"));
    assert_eq!(world.items("RATE#whatsapp").await, [Value::Null; 0]);
    end(world).await;
}

#[tokio::test]
async fn what_a_worker_holds_is_not_withdrawn_out_of_its_hands() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 20).await;
    world.pass(18 * 3600);
    let reminder = slot(&world, lead(), "reminder_2h").await;
    let key = DeliveryKey::from(&reminder);
    let lease = LeaseId::random(world.entropy());
    let claimed = world.store.claim(&key, Claiming::Due, lease, world.now()).await.unwrap();
    assert!(matches!(claimed, Claimed::Ours(_)));
    let reason = Reason::NoConsent(Purpose::Whatsapp);
    let withdrawn = world.store.withdraw(&key, reason, world.now(), world.entropy()).await;
    assert!(!withdrawn.unwrap());
    assert_eq!(slot(&world, lead(), "reminder_2h").await.lease_id, Some(lease));
    world.advance(SignedDuration::from_mins(5)).await;
    end(world).await;
}

#[tokio::test]
async fn a_lead_that_turns_to_a_number_which_opted_out_gets_no_message_there() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 30).await;
    let stop = whatsapp_inbound("5521988887777", "PARAR", world.now().as_second());
    assert_eq!(tell(&world, &stop).await.status, 200);
    world.pass(60);
    let mut form = lead_body();
    form["phone"] = json!("(21) 98888-7777");
    world.submit(&form).await;
    world.advance(SignedDuration::from_hours(31)).await;
    assert_eq!(
        world.states(lead()).await,
        [
            "whatsapp/reminder_24h skipped no_consent_whatsapp",
            "whatsapp/reminder_2h skipped no_consent_whatsapp",
            "whatsapp/welcome delivered",
        ]
    );
    assert_eq!(world.providers.whatsapp_messages().len(), 1, "to the first number");
    world.finish().await;
}
