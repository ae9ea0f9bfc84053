//! One message on its way: without a response, reported as failed, replayed, and withdrawn while a
//! worker has it.

use std::time::Duration;

use funil_core::clock::after;
use funil_core::contact::consent::Purpose;
use funil_core::delivery::{MessageStatus, Reason, StateKind};
use funil_core::event::Operator;
use funil_core::id::{DeliveryName, LeaseId};
use funil_delivery::Patience;
use funil_dev::simulated::Behaviour;
use funil_lambda::operate::replay::{Judged, replay};
use funil_store::{Claimed, Claiming, DeliveryKey, TablePatience};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::whatsapp::{
    FUNCTION, call_in, end, send_status, send_webhook, slot, whatsapp, with_lead, withdraw,
};
use crate::proxy::{Break, Proxy};
use crate::world::{LEAD, World, lead};

/// A response of WhatsApp with an error of this code.
fn graph_error(status: u16, code: u32) -> Behaviour {
    let body = json!({"error": {"code": code, "type": "OAuthException"}}).to_string();
    Behaviour::StatusWith { status, headers: Vec::new(), body }
}

/// Whether a person was or will be notified of a dead message.
async fn is_alerted(world: &World) -> bool {
    !world.items("ALERT#whatsapp#dead").await.is_empty()
}

/// A world in which the request for the lead's welcome got no response.
async fn without_response(behaviour: Behaviour) -> World {
    let world = with_lead(whatsapp().impatient()).await;
    world.providers.script("whatsapp", [behaviour]);
    call_in(&world, lead(), 1).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome unknown timeout"]);
    world
}

#[tokio::test]
async fn a_message_without_a_response_is_settled_by_its_status_update() {
    let world = without_response(Behaviour::HangAfterEffect).await;
    let message = world.providers.whatsapp_messages().remove(0);
    world.pass(5);
    assert_eq!(send_status(&world, &message, "delivered", None).await, 200);
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome delivered"]);
    world.advance(SignedDuration::from_hours(2)).await;
    assert_eq!(world.requests("whatsapp").len(), 1);
    assert!(!is_alerted(&world).await);
    end(world).await;
}

#[tokio::test]
async fn a_message_reported_as_delivered_after_an_error_is_not_sent_again() {
    let world = with_lead(whatsapp()).await;
    world.providers.script("whatsapp", [graph_error(503, 131_016), Behaviour::Normal]);
    call_in(&world, lead(), 1).await;
    let welcome = slot(&world, lead(), "welcome").await;
    assert_eq!(welcome.state.kind(), StateKind::Pending);
    let name = format!("{LEAD}/{}", welcome.id);
    let status = json!({"id": "wamid.1", "status": "delivered", "biz_opaque_callback_data": name});
    let value = json!({"statuses": [status]});
    let body = json!({"object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]});
    assert_eq!(send_webhook(&world, &body).await.status, 200);
    world.advance(SignedDuration::from_mins(2)).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome delivered"]);
    assert_eq!(world.requests("whatsapp").len(), 1);
    end(world).await;
}

#[tokio::test]
async fn a_gateways_error_page_is_no_response_of_whatsapp_so_the_message_is_sent_once() {
    let world = with_lead(whatsapp()).await;
    let page = Behaviour::StatusWith {
        status: 504,
        headers: Vec::new(),
        body: "<html><h1>504 Gateway Time-out</h1></html>".to_owned(),
    };
    world.providers.script("whatsapp", [page]);
    call_in(&world, lead(), 1).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome unknown http_504"]);
    world.advance(SignedDuration::from_mins(20)).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome dead may_have_been_sent"]);
    assert!(is_alerted(&world).await);
    assert_eq!(world.requests("whatsapp").len(), 1);
    end(world).await;
}

#[tokio::test]
async fn whatsapps_own_codes_open_its_breaker_and_a_response_about_one_recipient_does_not() {
    let condition = async |world: &World| {
        world.store.breaker("whatsapp").await.unwrap().condition(world.now()).name()
    };
    for (code, answers) in [(131_016, 5), (2, 5), (368, 1), (131_048, 1)] {
        let world = with_lead(whatsapp()).await;
        world.providers.script("whatsapp", (0..answers).map(|_| graph_error(400, code)));
        call_in(&world, lead(), 20).await;
        // How many tries one drain makes depends on how their waits are spread.
        while condition(&world).await == "closed" {
            let due_at = slot(&world, lead(), "welcome").await.state.due_at().unwrap();
            world.advance(due_at.duration_since(world.now())).await;
        }
        assert_eq!(condition(&world).await, "open", "{code}");
        assert_eq!(world.requests("whatsapp").len(), answers, "{code}");
        end(world).await;
    }
    for code in [131_026, 130_497] {
        let world = with_lead(whatsapp()).await;
        world.store.destination_failed("whatsapp", (1, "timeout"), 60, world.now()).await.unwrap();
        world.providers.script("whatsapp", [graph_error(400, code)]);
        call_in(&world, lead(), 1).await;
        assert_eq!(world.states(lead()).await, [format!("whatsapp/welcome dead failed_{code}")]);
        let breaker = world.store.breaker("whatsapp").await.unwrap();
        assert_eq!(breaker.failures, 0, "{code} proves that the API works");
        end(world).await;
    }
}

#[tokio::test]
async fn a_reminder_that_comes_too_late_is_not_sent() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 48).await;
    world.providers.behave("whatsapp", graph_error(503, 131_016));
    world.advance(SignedDuration::from_hours(45) + SignedDuration::from_mins(1)).await;
    let reminder = slot(&world, lead(), "reminder_24h").await;
    assert_eq!(reminder.state.kind(), StateKind::Dead);
    assert_eq!(reminder.reason_text().as_deref(), Some("deadline_passed"));
    world.providers.behave("whatsapp", Behaviour::Normal);
    world.advance(SignedDuration::from_hours(2)).await;
    let reminder = slot(&world, lead(), "reminder_2h").await;
    assert_eq!(reminder.state.kind(), StateKind::Delivered);
    end(world).await;
}

#[tokio::test]
async fn a_message_without_a_status_update_is_dead_after_ten_minutes_and_can_still_be_settled() {
    let world = without_response(Behaviour::HangAfterEffect).await;
    world.advance(SignedDuration::from_mins(9)).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome unknown timeout"]);
    assert!(!is_alerted(&world).await);
    world.advance(SignedDuration::from_mins(2)).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome dead may_have_been_sent"]);
    assert!(is_alerted(&world).await);
    let message = world.providers.whatsapp_messages().remove(0);
    assert_eq!(send_status(&world, &message, "sent", None).await, 200);
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome delivered"]);
    assert_eq!(world.store.dead("whatsapp", 10).await.unwrap(), []);
    assert_eq!(world.requests("whatsapp").len(), 1, "it was never sent again");
    end(world).await;
}

#[tokio::test]
async fn an_unknown_message_is_not_sent_again_by_itself() {
    let world = without_response(Behaviour::Hang).await;
    world.advance(SignedDuration::from_mins(20)).await;
    let dead = slot(&world, lead(), "welcome").await;
    let name = DeliveryName { lead_id: lead(), delivery_id: dead.id };
    let judged = |ended| Judged::new(ended, world.now());
    let ended = judged(world.store.delivery_named(name).await.unwrap().unwrap());
    assert_eq!(ended.safety.name(), "would_duplicate");
    let by = Operator::Cli;
    assert!(!replay(&world.store, world.platform(), &ended, false, by).await.unwrap());
    assert!(replay(&world.store, world.platform(), &ended, true, by).await.unwrap());
    world.drain().await;
    assert_eq!(world.providers.whatsapp_messages().len(), 1);
    end(world).await;
}

#[tokio::test]
async fn an_unknown_message_waits_for_a_person_when_its_destination_is_turned_off() {
    let world = without_response(Behaviour::Hang).await;
    let without = world.deployment(&[("DESTINATIONS", "crm")]);
    world.pass(25 * 3600);
    let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
    without.invoke("dispatch", schedule).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome dead may_have_been_sent"]);
    end(world).await;
}

#[tokio::test]
async fn a_worker_that_dies_during_its_request_leaves_the_message_unknown_and_sent_once() {
    let world = with_lead(whatsapp()).await;
    let mut response = world.authorised(FUNCTION, &json!({"leadId": LEAD})).await;
    assert_eq!(response.json()["deliveries"], json!([]));
    world.providers.script("whatsapp", [Behaviour::HangAfterEffect]);
    let start = after(world.now(), 3600);
    let body = json!({"leadId": LEAD, "startTime": start});
    tokio::select! {
        _ = world.authorised(FUNCTION, &body) => panic!("the request ended although WhatsApp hangs"),
        () = world.providers.until_received("whatsapp", 1) => {}
    }
    world.advance(SignedDuration::from_mins(5)).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome unknown may_have_been_sent"]);
    response = world.authorised(FUNCTION, &json!({"leadId": LEAD})).await;
    assert_eq!(
        response.json()["deliveries"],
        json!([]),
        "what may have been sent is not sent again on request"
    );
    world.advance(SignedDuration::from_mins(10)).await;
    assert_eq!(world.states(lead()).await, ["whatsapp/welcome dead may_have_been_sent"]);
    assert_eq!(world.providers.whatsapp_messages().len(), 1);
    world.providers.release_hung();
    end(world).await;
}

#[tokio::test]
async fn a_message_that_fails_after_it_was_accepted_is_dead_and_can_be_replayed() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 20).await;
    let first = world.providers.whatsapp_messages().remove(0);
    world.pass(10);
    let failed = first.status("failed", Some(131_026), world.now().as_second());
    assert_eq!(send_webhook(&world, &failed).await.status, 200);
    assert_eq!(
        slot(&world, lead(), "welcome").await.reason_text().as_deref(),
        Some("failed_131026")
    );
    assert!(is_alerted(&world).await);
    world.pass(60);
    let name = world.store.dead("whatsapp", 10).await.unwrap();
    assert_eq!(name.len(), 1);
    let dead = slot(&world, lead(), "welcome").await;
    assert_eq!((dead.state.kind(), dead.message), (StateKind::Dead, Some(MessageStatus::Failed)));
    let name = DeliveryName { lead_id: lead(), delivery_id: dead.id };
    let ended = world.store.delivery_named(name).await.unwrap().unwrap();
    let judged = Judged::new(ended, world.now());
    assert_eq!(judged.safety.name(), "safe");
    assert!(replay(&world.store, world.platform(), &judged, false, Operator::Cli).await.unwrap());
    world.drain().await;
    assert_eq!(world.providers.whatsapp_messages().len(), 2);
    // Meta sends the first message's failure again, and then a status update of the second.
    assert_eq!(send_webhook(&world, &failed).await.status, 200);
    let second = world.providers.whatsapp_messages().remove(1);
    world.pass(5);
    assert_eq!(send_status(&world, &second, "delivered", None).await, 200);
    let welcome = slot(&world, lead(), "welcome").await;
    assert_eq!(
        (welcome.state.kind(), welcome.message),
        (StateKind::Delivered, Some(MessageStatus::Delivered))
    );
    end(world).await;
}

#[tokio::test]
async fn a_replay_after_the_calls_start_is_too_late() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 1).await;
    let message = world.providers.whatsapp_messages().remove(0);
    send_status(&world, &message, "failed", Some(131_026)).await;
    world.pass(3600);
    let dead = slot(&world, lead(), "welcome").await;
    let name = DeliveryName { lead_id: lead(), delivery_id: dead.id };
    let ended = world.store.delivery_named(name).await.unwrap().unwrap();
    assert_eq!(Judged::new(ended, world.now()).safety.name(), "too_late");
    end(world).await;
}

/// Drains WhatsApp through a table that keeps the worker waiting at one of its requests, while
/// `meanwhile` happens.
async fn drain_held_at(world: &mut World, request: usize, meanwhile: impl AsyncFnOnce(&World)) {
    let (proxy, url) = Proxy::start().await;
    world.set_table_patience(TablePatience {
        attempt: Duration::from_millis(400),
        operation: Duration::from_secs(4),
        settlement: Duration::ZERO,
        totals: Duration::from_millis(300),
    });
    let worker = world.worker_with("whatsapp", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    proxy.break_requests(request..request + 1, 1, Break::HangBefore);
    let drain = worker.drain(Patience::None, world.stop_at());
    let between = async {
        proxy.held().await;
        meanwhile(world).await;
    };
    futures::join!(drain, between).0.unwrap();
    assert_eq!(proxy.broken(), 1);
}

/// A world in which one reminder is due and nothing else.
async fn reminder_due() -> World {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 3).await;
    world.pass(3600);
    world
}

// A worker's requests to the table, in order: the table identity, the breaker, what is due, the
// claim, the inputs, the person's pause, the count of the day, the `sending` mark, and a last look at
// booking and consent.
const INPUTS: usize = 5;
const SENDING: usize = 8;
const LAST_LOOK: usize = 9;

#[tokio::test]
async fn a_message_that_the_table_stopped_before_it_was_sent_is_not_unknown() {
    for (request, how) in [(SENDING, Break::AfterEffect), (LAST_LOOK, Break::BeforeEffect)] {
        let world = reminder_due().await;
        let (proxy, url) = Proxy::start().await;
        let worker = world.worker_with("whatsapp", &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
        proxy.break_requests(request..request + 1, 9, how);
        let drained = worker.drain(Patience::None, world.stop_at()).await.unwrap();
        assert_eq!((drained.settled, proxy.broken()), (0, 1));
        let reminder = slot(&world, lead(), "reminder_2h").await;
        assert_eq!(reminder.state.kind(), StateKind::Pending, "request {request}");
        assert!(!reminder.state.sending().may_have_been_sent(), "request {request}");
        assert_eq!(world.providers.whatsapp_messages().len(), 1, "the welcome");
        world.advance(SignedDuration::from_mins(2)).await;
        let reminder = slot(&world, lead(), "reminder_2h").await;
        assert_eq!(reminder.state.kind(), StateKind::Delivered, "request {request}");
        assert_eq!(world.providers.whatsapp_messages().len(), 2);
        end(world).await;
    }
}

#[tokio::test]
async fn a_message_withdrawn_while_a_worker_has_it_is_not_sent() {
    for request in [INPUTS, LAST_LOOK] {
        let mut world = reminder_due().await;
        drain_held_at(&mut world, request, async |world: &World| {
            let reminder = slot(world, lead(), "reminder_2h").await;
            assert_eq!(reminder.state.kind(), StateKind::Leased);
            assert_eq!(reminder.state.sending().may_have_been_sent(), request == LAST_LOOK);
            let response = withdraw(world, &json!({"leadId": LEAD})).await;
            assert_eq!(response.json()["withdrawn"].as_array().unwrap().len(), 1);
        })
        .await;
        let reminder = slot(&world, lead(), "reminder_2h").await;
        assert_eq!(
            reminder.reason_text().as_deref(),
            Some("booking_canceled"),
            "held at request {request}"
        );
        assert_eq!(reminder.state.kind(), StateKind::Skipped);
        assert_eq!(world.providers.whatsapp_messages().len(), 1, "the welcome");
        end(world).await;
    }
}

#[tokio::test]
async fn somebody_who_opts_out_while_a_worker_has_the_message_does_not_get_it() {
    for request in [INPUTS, LAST_LOOK] {
        let mut world = reminder_due().await;
        let welcome = world.providers.whatsapp_messages().remove(0);
        drain_held_at(&mut world, request, async |world: &World| {
            let body = welcome.reply("Parar!", world.now().as_second());
            assert_eq!(send_webhook(world, &body).await.status, 200);
        })
        .await;
        let reminder = slot(&world, lead(), "reminder_2h").await;
        assert_eq!(
            (reminder.state.kind(), reminder.reason_text().as_deref()),
            (StateKind::Skipped, Some("no_consent_whatsapp")),
            "held at request {request}"
        );
        assert_eq!(world.providers.whatsapp_messages().len(), 1, "the welcome");
        end(world).await;
    }
}

#[tokio::test]
async fn a_message_about_a_canceled_call_costs_the_person_no_pause() {
    let world = with_lead(whatsapp()).await;
    let response = call_in(&world, lead(), 20).await.json();
    // The booking is canceled, but its withdrawal missed the reminder.
    let booking = response["bookingId"].as_str().unwrap();
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
    assert_eq!(reminder.reason_text().as_deref(), Some("booking_canceled"));
    assert_eq!(world.items("RATE#whatsapp").await, [Value::Null; 0]);
    end(world).await;
}

#[tokio::test]
async fn a_leased_message_is_not_withdrawn() {
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
    assert_eq!(slot(&world, lead(), "reminder_2h").await.state.lease(), Some(lease));
    world.advance(SignedDuration::from_mins(5)).await;
    end(world).await;
}

#[tokio::test]
async fn a_message_that_is_tried_again_counts_once_for_its_number() {
    let error = json!({"error": {"code": 130_429, "message": "Rate limit hit"}});
    let busy = Behaviour::StatusWith { status: 400, headers: Vec::new(), body: error.to_string() };
    // Four of the five are kept for reminders.
    let world = with_lead(whatsapp().with("WHATSAPP_DAILY_PER_NUMBER", "5")).await;
    world.providers.script("whatsapp", [busy.clone(), busy.clone(), busy.clone(), busy]);
    call_in(&world, lead(), 20).await;
    world.advance(SignedDuration::from_hours(1)).await;
    assert_eq!(world.requests("whatsapp").len(), 5, "the welcome is tried until it is taken");
    assert_eq!(slot(&world, lead(), "welcome").await.state.kind(), StateKind::Delivered);
    world.advance(SignedDuration::from_hours(24)).await;
    end(world).await;
}
