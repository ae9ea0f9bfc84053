//! Meta's webhooks as a whole: only signed ones count, large ones are taken, and what is not understood is kept
//! for a person.

mod opt_out;
mod status;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use funil_core::clock::{Clock, after};
use funil_core::contact::consent::Purpose;
use funil_core::delivery::{MessageStatus, StateKind};
use funil_core::event::{CallEvent, CallWish, EventData};
use funil_core::hash::sha256_hex;
use funil_core::id::{DeliveryName, LeadId};
use funil_dev::server::front_door::event;
use funil_dev::simulated::whatsapp_inbound;
use funil_store::Platform;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::whatsapp::{call_in, namesake, send_webhook, slot, whatsapp, with_lead};
use crate::proxy::{Break, Proxy};
use crate::statuses::{sent_messages, status_updates};
use crate::world::{World, lead};

const FUNCTION: &str = "whatsapp-webhook";
/// The number of [`crate::world::lead_body`] as WhatsApp knows it in some areas: `docs/providers.md` ("Brazilian
/// phone numbers").
const WITHOUT_NINTH_DIGIT: &str = "551187654321";

/// Whether messages to the lead's number are revoked.
async fn is_revoked(world: &World, lead: LeadId) -> bool {
    let latest = world.journey(lead).await.lead.latest;
    let digest = world.hash.digest("phone", &latest.phone.unwrap().alias_text());
    let revocations = world.store.revocations_of(("phone", &digest)).await.unwrap();
    revocations.purposes.contains_key(&Purpose::Whatsapp)
}

#[tokio::test]
async fn the_handshake_succeeds_for_whoever_knows_the_token() {
    let world = whatsapp().start().await;
    let shake = async |query: &str| world.get(FUNCTION, query).await;
    let whole =
        "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=whatsapp-verify-token";
    let response = shake(whole).await;
    assert_eq!((response.status, &response.body[..]), (200, &b"1158201444"[..]));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    for query in [
        "",
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=another",
        "hub.mode=subscribe&hub.challenge=1",
        "hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=whatsapp-verify-token",
    ] {
        assert_eq!(shake(query).await.status, 403, "{query}");
    }
    let put = world.send(FUNCTION, Method::PUT, &[], b"").await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, POST")));
    world.finish().await;
}

#[tokio::test]
async fn only_metas_signature_is_accepted() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 30).await;
    let body = whatsapp_inbound(WITHOUT_NINTH_DIGIT, "PARAR", world.now().as_second()).to_string();
    for signature in [None, Some("sha256=00"), Some("")] {
        let headers: Vec<_> = signature.iter().map(|s| ("x-hub-signature-256", *s)).collect();
        let response = world.send(FUNCTION, Method::POST, &headers, body.as_bytes()).await;
        assert_eq!((response.status, response.json()["code"].clone()), (401, json!("not_signed")));
    }
    assert!(!is_revoked(&world, lead()).await);
    let rotated = world.deployment(&[("WHATSAPP_APP_SECRET", "the-next-one, whatsapp-app-secret")]);
    let secret = funil_core::settings::Secret::new("the-next-one");
    let signed = funil_core::provider::whatsapp::sign(&secret, body.as_bytes());
    let headers = [("x-hub-signature-256", &*signed)];
    let response = rotated.send(FUNCTION, Method::POST, &headers, body.as_bytes()).await;
    assert_eq!(response.status, 200);
    assert!(is_revoked(&world, lead()).await);
    world.finish().await;
}

#[tokio::test]
async fn a_webhook_that_is_not_understood_is_quarantined_once() {
    let world = whatsapp().start().await;
    let page = json!({"object": "page", "entry": []});
    let bad_part = json!({"object": "whatsapp_business_account", "entry": [
        {"changes": [{"field": "messages", "value": {"statuses": ["x"]}}]}]});
    for body in [&page, &json!("text"), &bad_part, &page] {
        assert_eq!(send_webhook(&world, body).await.status, 200, "{body}");
    }
    assert_eq!(world.items("QUARANTINE#whatsapp").await.len(), 3);
    let empty = json!({"object": "whatsapp_business_account", "entry": []});
    assert_eq!(send_webhook(&world, &empty).await.status, 200);
    let hello = whatsapp_inbound(WITHOUT_NINTH_DIGIT, "Olá", world.now().as_second());
    assert_eq!(send_webhook(&world, &hello).await.status, 200);
    assert_eq!(world.items("QUARANTINE#whatsapp").await.len(), 3, "nothing else is kept");
    world.finish().await;
}

#[tokio::test]
async fn without_the_table_meta_is_asked_to_retry_until_the_opt_out_stands() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 30).await;
    let (proxy, url) = Proxy::start().await;
    let deployment = world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    let body = whatsapp_inbound("5511987654321", "parar", world.now().as_second()).to_string();
    let secret = funil_core::settings::Secret::new(crate::world::WHATSAPP_APP_SECRET);
    let signed = funil_core::provider::whatsapp::sign(&secret, body.as_bytes());
    let headers = [("x-hub-signature-256", &*signed)];
    let post = async || deployment.send(FUNCTION, Method::POST, &headers, body.as_bytes()).await;
    let mut asked_again = 0;
    for request in 0.. {
        proxy.break_requests(request..request + 1, 9, Break::BeforeEffect);
        let response = post().await;
        if proxy.broken() == 0 {
            assert_eq!(response.status, 200);
            assert!(request > 5, "{request}");
            break;
        }
        // A 200 says that the revocation stands and that nothing waits any more.
        let mut stands = is_revoked(&world, lead()).await;
        for reminder in ["reminder_24h", "reminder_2h"] {
            stands &= slot(&world, lead(), reminder).await.state.kind() == StateKind::Skipped;
        }
        let is_accepted = response.status == 200;
        assert!(stands || !is_accepted, "request {request} was accepted too early");
        assert!(is_accepted || response.status == 503, "request {request}: {response:?}");
        assert_eq!(response.header("retry-after").is_some(), !is_accepted);
        asked_again += usize::from(!is_accepted);
    }
    proxy.mend();
    assert!(asked_again > 3, "{asked_again}");
    assert!(is_revoked(&world, lead()).await);
    assert_eq!(slot(&world, lead(), "reminder_24h").await.state.kind(), StateKind::Skipped);
    assert_eq!(slot(&world, lead(), "reminder_2h").await.state.kind(), StateKind::Skipped);
    world.finish().await;
}

/// `FUNIL_FIXTURES=<folder> cargo test -p funil-tests --test it -- --ignored metas_own_sample`
#[tokio::test]
#[ignore = "needs the sample of Meta's, which its licence does not let us keep here"]
async fn metas_own_sample_is_accepted_unchanged() {
    let folder = std::env::var_os("FUNIL_FIXTURES").unwrap();
    let path = Path::new(&folder).join("whatsapp/webhook.messages.inbound_text.json");
    let body: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let world = whatsapp().start().await;
    assert_eq!(send_webhook(&world, &body).await.status, 200);
    assert_eq!(world.items("QUARANTINE").await.len(), 0);
    world.finish().await;
}

/// Messages of so many leads, which nobody reported on yet.
async fn messages_of(world: &World, leads: usize, each: usize) -> Vec<DeliveryName> {
    let mut names = Vec::new();
    for number in 0..leads {
        let lead = namesake(world, number + 1).await;
        names.extend(sent_messages(world, lead, each).await);
    }
    names
}

/// How many of these messages are known as delivered.
async fn delivered(world: &World, names: &[DeliveryName]) -> usize {
    let leads: BTreeSet<LeadId> = names.iter().map(|name| name.lead_id).collect();
    let mut count = 0;
    for lead in leads {
        let found = world.store.deliveries_of(lead, "whatsapp").await.unwrap();
        let known = found.iter().filter(|one| one.message == Some(MessageStatus::Delivered));
        count += known.count();
    }
    count
}

/// Adds a message that somebody wrote to a request.
fn add_message(all: &mut Value, from: &str, text: &str, second: i64) {
    let message = whatsapp_inbound(from, text, second)["entry"][0].clone();
    all["entry"].as_array_mut().unwrap().push(message);
}

#[tokio::test]
async fn a_request_with_a_thousand_status_updates_is_taken_whole() {
    let world = with_lead(whatsapp()).await;
    let names = messages_of(&world, 20, 50).await;
    let second = world.now().as_second();
    let mut all = status_updates(&names, "delivered", second);
    add_message(&mut all, WITHOUT_NINTH_DIGIT, "PARAR", second);
    assert!(all.to_string().len() > 337_000);
    assert_eq!(send_webhook(&world, &all).await.status, 200);
    assert_eq!(delivered(&world, &names).await, 1_000);
    assert!(is_revoked(&world, lead()).await);
    assert_eq!(world.items("QUARANTINE").await.len(), 0);
    let large = vec![b' '; 3 * 1024 * 1024 + 1];
    assert_eq!(world.send(FUNCTION, Method::POST, &[], &large).await.status, 413);
    world.finish().await;
}

/// A clock that is a second later at every look. Each request to the table looks at it.
#[derive(Debug)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.fetch_add(1, Ordering::SeqCst)).unwrap()
    }
}

#[tokio::test]
async fn a_request_for_which_there_is_no_time_keeps_opt_outs_first_and_comes_again() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 30).await;
    let names = messages_of(&world, 30, 1).await;
    let second = world.now().as_second();
    let mut all = status_updates(&names, "delivered", second);
    add_message(&mut all, WITHOUT_NINTH_DIGIT, "PARAR", second);
    let body = all.to_string();
    let secret = funil_core::settings::Secret::new(crate::world::WHATSAPP_APP_SECRET);
    let signed = funil_core::provider::whatsapp::sign(&secret, body.as_bytes());
    let clock = Arc::new(Ticking(AtomicI64::new(second)));
    let platform = Platform { clock, ..world.platform().clone() };
    let function = funil_lambda::webhooks::whatsapp::function(&world.env(&[]), &platform).unwrap();
    let headers = [("x-hub-signature-256".parse().unwrap(), signed.parse().unwrap())];
    let headers = headers.into_iter().collect();
    let caller = "198.51.100.1".parse().unwrap();
    let event = event(&Method::POST, "/whatsapp-webhook", "", &headers, body.as_bytes(), caller);
    let response = function.invoke(event, after(world.now(), 60)).await;
    assert_eq!(response["statusCode"], 503);
    assert!(is_revoked(&world, lead()).await);
    let first = delivered(&world, &names).await;
    assert!((1..30).contains(&first), "{first}");
    assert_eq!(send_webhook(&world, &all).await.status, 200);
    assert_eq!(delivered(&world, &names).await, 30);
    world.finish().await;
}

#[tokio::test]
async fn a_large_request_that_is_not_understood_is_kept_or_comes_again() {
    let world = whatsapp().start().await;
    let noise: Vec<String> =
        (0..40_000_u64).map(|number| sha256_hex(&number.to_be_bytes())).collect();
    let response = send_webhook(&world, &json!({"object": "page", "noise": noise})).await;
    let kept = !world.items("QUARANTINE#whatsapp").await.is_empty();
    assert_eq!(response.status, if kept { 200 } else { 503 });
    world.finish().await;
}

/// Why requests of WhatsApp are in quarantine.
async fn quarantined(world: &World) -> Vec<String> {
    let items = world.items("QUARANTINE#whatsapp").await;
    items.iter().map(|item| item["reason"]["S"].as_str().unwrap().to_owned()).collect()
}

/// The wishes about calls in a lead's journey.
async fn wishes(world: &World, lead: LeadId) -> Vec<(CallWish, bool)> {
    let events = world.journey(lead).await.events;
    let wishes = events.into_iter().filter_map(|event| {
        let EventData::Call(CallEvent::ChangeRequested(wished)) = event.data else { return None };
        Some((wished.wish, wished.booking.is_some()))
    });
    wishes.collect()
}

#[tokio::test]
async fn a_person_hears_of_a_wish_whichever_request_to_the_table_fails() {
    let world = with_lead(whatsapp()).await;
    call_in(&world, lead(), 30).await;
    let (proxy, url) = Proxy::start().await;
    let deployment = world.deployment(&[("AWS_ENDPOINT_URL_DYNAMODB", &url)]);
    let secret = funil_core::settings::Secret::new(crate::world::WHATSAPP_APP_SECRET);
    let mut asked_again = 0;
    for request in 0.. {
        world.pass(1);
        let message = whatsapp_inbound("551187654321", "REMARCAR", world.now().as_second());
        let body = message.to_string();
        let signed = funil_core::provider::whatsapp::sign(&secret, body.as_bytes());
        let headers = [("x-hub-signature-256", &*signed)];
        let post =
            async || deployment.send(FUNCTION, Method::POST, &headers, body.as_bytes()).await;
        let alerts = async || world.items("ALERT#whatsapp#call_change").await;
        let count = |alerts: &[Value]| alerts.first().map(|alert| alert["count"]["N"].clone());
        let before = count(&alerts().await);
        proxy.break_requests(request..request + 1, 9, Break::BeforeEffect);
        let response = post().await;
        let broken = proxy.broken();
        proxy.mend();
        if response.status != 200 {
            assert_eq!(post().await.status, 200);
            asked_again += 1;
        }
        assert_ne!(count(&alerts().await), before, "request {request}");
        assert_eq!(wishes(&world, lead()).await.len(), request + 1);
        if broken == 0 {
            break;
        }
    }
    assert!(asked_again > 3, "{asked_again}");
    world.advance(SignedDuration::from_hours(31)).await;
    assert_eq!(world.providers.whatsapp_messages().len(), 3);
    world.finish().await;
}

#[tokio::test]
async fn a_wish_about_a_call_is_noted_once_alerts_a_person_and_revokes_nothing() {
    let world = with_lead(whatsapp()).await;
    let other = namesake(&world, 1).await;
    call_in(&world, lead(), 30).await;
    let message = whatsapp_inbound("551187654321", "Cancelar, por favor", world.now().as_second());
    for _ in 0..3 {
        assert_eq!(send_webhook(&world, &message).await.status, 200);
    }
    assert_eq!(wishes(&world, lead()).await, [(CallWish::Cancel, true)]);
    assert_eq!(wishes(&world, other).await, [], "it has no call");
    let alerts = world.items("ALERT#whatsapp#call_change").await;
    let [alert] = &*alerts else { panic!("{alerts:?}") };
    // Meta's repetitions count too, because only a lost response makes it repeat.
    assert_eq!((&alert["count"]["N"], &alert["example"]["S"]), (&json!("3"), &json!(lead())));
    assert!(!is_revoked(&world, lead()).await);
    assert_eq!(slot(&world, lead(), "reminder_2h").await.state.kind(), StateKind::Pending);
    // Without a call ahead it stands on the newest lead.
    world.advance(SignedDuration::from_hours(31)).await;
    assert_eq!(world.providers.whatsapp_messages().len(), 3);
    let newest = namesake(&world, 2).await;
    let message = whatsapp_inbound("551187654321", "REMARCAR", world.now().as_second());
    assert_eq!(send_webhook(&world, &message).await.status, 200);
    assert_eq!(wishes(&world, newest).await, [(CallWish::Move, false)]);
    assert_eq!(wishes(&world, lead()).await.len(), 1);
    // Of a number that is nobody's there is nothing to note.
    let message = whatsapp_inbound("5521988887777", "REMARCAR", world.now().as_second());
    assert_eq!(send_webhook(&world, &message).await.status, 200);
    assert!(quarantined(&world).await.is_empty());
    world.finish().await;
}
