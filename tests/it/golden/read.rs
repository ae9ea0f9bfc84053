//! Items that older code wrote, in a new table: this code reads them, shows them and works on them.

use std::fmt::Write as _;

use funil_core::id::LeadId;
use funil_dev::cli::journey;
use funil_store::DeliveryKey;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::forms::{KEY, whole};
use super::plain::text;
use super::walk::{JSON, replay, work};
use super::{compare, items_file, trouble};
use crate::bookings::whatsapp::send_webhook;
use crate::calendly::{booking, created};
use crate::world::{LEAD, SERVICE_TOKEN, World};

/// The destinations that `items.json` was written with; later ones are not in it.
const DESTINATIONS: [&str; 6] = ["crm", "mailerlite", "ga4", "segment", "whatsapp", "meta"];

/// A world that goes on where the walk of `items.json` ended, with providers that have nothing yet. Also
/// returns the items.
async fn world() -> (World, Vec<Value>) {
    let file = std::fs::read_to_string(items_file()).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let world = World::plan().with("DESTINATIONS", &DESTINATIONS.join(",")).start().await;
    for destination in DESTINATIONS {
        world.looks_at(destination);
    }
    let now: Timestamp = file["now"].as_str().unwrap().parse().unwrap();
    world.pass(now.duration_since(world.now()).as_secs());
    let items = file["items"].as_array().unwrap().clone();
    for item in &items {
        world.ask_table("PutItem", json!({"Item": item})).await;
    }
    (world, items)
}

/// The ids of all leads among the items.
fn leads(items: &[Value]) -> Vec<LeadId> {
    let leads = items.iter().filter(|item| text(item, "type") == "lead");
    let mut leads: Vec<_> =
        leads.map(|item| LeadId::parse(text(item, "lead_id")).unwrap()).collect();
    leads.sort();
    leads
}

/// What is due and what is dead, as the indexes have it.
async fn lists(world: &World) -> String {
    let mut lines = String::new();
    for destination in DESTINATIONS {
        let later = world.now().checked_add(SignedDuration::from_hours(24 * 30)).unwrap();
        for due in world.store.due(destination, later, 100).await.unwrap() {
            let deadline = due.deadline.unwrap();
            writeln!(lines, "due {}/{}", due.key.lead_id, due.key.sk).unwrap();
            writeln!(lines, "    {} until {deadline}", due.due_at).unwrap();
        }
        let dead = world.store.dead(destination, 100).await.unwrap();
        let keys: Vec<DeliveryKey> = dead.iter().map(|dead| dead.key.clone()).collect();
        let ended = world.store.ended(&keys).await.unwrap();
        assert_eq!(ended.len(), keys.len(), "{destination}");
        for (dead, ended) in dead.iter().zip(ended) {
            let event = ended.event.unwrap();
            let reason = ended.delivery.reason_text().unwrap_or_default();
            writeln!(lines, "dead {}/{}", dead.key.lead_id, dead.key.sk).unwrap();
            writeln!(lines, "    {} {reason}, of {}", dead.died_at, event.id).unwrap();
        }
    }
    lines
}

#[tokio::test]
async fn what_older_code_stored_is_read() {
    let (world, items) = world().await;
    let mut shown = lists(&world).await;
    for lead in leads(&items) {
        let pk = format!("LEAD#{lead}");
        let of = |kind| {
            let of_lead = items.iter().filter(|item| text(item, "pk") == pk);
            of_lead.filter(|item| text(item, "type") == kind).collect::<Vec<_>>()
        };
        // `journey` fails if it cannot read an item.
        let journey = world.journey(lead).await;
        assert_eq!(journey.events.len(), of("event").len(), "{lead}");
        assert_eq!(journey.deliveries.len(), of("delivery").len(), "{lead}");
        assert_eq!(journey.consents.len(), of("consent").len(), "{lead}");
        assert_eq!(journey.bookings.len(), of("booking").len(), "{lead}");
        for item in of("booking") {
            let id = booking(text(item, "booking_id"));
            let found = world.store.booking(lead, &id).await.unwrap().unwrap();
            assert_eq!(found.id, id);
        }
        let email = text(of("lead")[0], "email");
        let digest = world.hash.digest("email", email);
        assert_eq!(world.store.leads_of(("email", &digest), 9).await.unwrap(), [lead]);
        writeln!(shown, "\n{:#}\n", journey::to_json(&journey)).unwrap();
        shown.push_str(&journey::to_text(&journey));
    }
    let ana = LeadId::parse(LEAD).unwrap();
    for invitee in ["INV1", "INV2"] {
        let digest = world.hash.digest("calendly_invitee", invitee);
        assert_eq!(world.store.leads_of(("calendly_invitee", &digest), 9).await.unwrap(), [ana]);
    }
    for function in ["health", "metrics"] {
        let headers = [("authorization", &*format!("Bearer {SERVICE_TOKEN}"))];
        let response = world.send(function, Method::GET, &headers, b"").await;
        writeln!(shown, "\n{}", String::from_utf8_lossy(&response.body)).unwrap();
    }
    compare("read", &shown);
    world.advance(SignedDuration::from_hours(24 * 15)).await;
    world.finish().await;
}

#[tokio::test]
async fn a_duplicate_of_what_older_code_accepted_gets_the_same_response() {
    let (world, items) = world().await;
    let headers = [JSON, KEY];
    let form = async |body: &Value| {
        let body = body.to_string();
        world.send("lead-submit", Method::POST, &headers, body.as_bytes()).await
    };
    let response = form(&whole()).await;
    assert_eq!((response.status, response.header("idempotency-replayed")), (200, Some("true")));
    let expected =
        format!(r#"{{"amandaScore":76,"leadId":"{LEAD}","success":true,"tier":"medium"}}"#);
    assert_eq!(response.body, expected);
    let mut other = whole();
    other["name"] = json!("Ana Outra");
    assert_eq!(form(&other).await.json()["code"], json!("idempotency_key_reused"));

    let mut booked = created("INV1");
    booked["payload"]["tracking"]["utm_content"] = json!(LEAD);
    booked["payload"]["email"] = json!("ana.particular@example.org");
    assert_eq!(world.calendly(&booked).await.status, 200);
    let davi = items.iter().find(|item| text(item, "email") == "davi@example.com").unwrap();
    let mut sequence = json!({
        "leadId": text(davi, "lead_id"), "startTime": "2031-05-06T14:00:00Z",
        "endTime": "2031-05-06T14:45:00Z", "bookingId": "sala-7",
        "timeZone": "America/Sao_Paulo", "joinUrl": "https://zoom.us/j/1",
    });
    let response = world.authorised("whatsapp-automation", &sequence).await;
    assert_eq!((response.status, response.header("idempotency-replayed")), (200, Some("true")));
    assert_eq!(response.json()["deliveries"][0]["slot"], json!("welcome"));
    sequence["joinUrl"] = json!("https://zoom.us/j/9");
    assert_eq!(world.authorised("whatsapp-automation", &sequence).await.status, 409);
    // All of these were duplicates, so they left nothing but the rate of their sender.
    let left =
        async |kind| world.items("").await.iter().filter(|i| text(i, "type") == kind).count();
    for kind in ["lead", "event", "delivery", "booking", "consent", "alias", "receipt"] {
        let before = items.iter().filter(|item| text(item, "type") == kind).count();
        assert_eq!(left(kind).await, before, "{kind}");
    }
    world.advance(SignedDuration::from_hours(24 * 15)).await;
    world.finish().await;
}

#[tokio::test]
async fn what_older_code_stored_is_worked_on() {
    let (world, items) = world().await;
    let lead = |email: &str| {
        let found = items.iter().find(|item| text(item, "email") == email).unwrap();
        LeadId::parse(text(found, "lead_id")).unwrap()
    };
    let (ana, jonas, karen) =
        (lead("ana@example.com"), lead("jonas@example.com"), lead("karen@example.com"));
    // A worker died with this delivery: no other worker claims it before the lease ends.
    work(&world).await;
    let states = world.states(karen).await;
    assert!(states.contains(&"ga4/event leased".to_owned()), "{states:?}");
    assert!(states.contains(&"segment/event delivered".to_owned()), "{states:?}");

    // A status update about a message that was unknown.
    let messages = world.items(&format!("LEAD#{jonas}")).await;
    let unknown = messages.iter().find(|item| item.get("doubtful_since").is_some()).unwrap();
    let update = json!({
        "id": "wamid.1", "status": "delivered", "recipient_id": "5561996665555",
        "timestamp": world.now().as_second().to_string(),
        "biz_opaque_callback_data": format!("{jonas}/{}", text(unknown, "delivery_id")),
    });
    let body = json!({"object": "whatsapp_business_account", "entry": [
        {"id": "1", "changes": [{"field": "messages", "value": {"statuses": [update]}}]}]});
    assert_eq!(send_webhook(&world, &body).await.status, 200);

    // A dead delivery is replayed.
    let crm = trouble::name(&world, "karen@example.com", "crm").await;
    let response = replay(&world, &json!({"dryRun": false, "deliveries": [crm]})).await;
    let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["deliveries"][0]["replayed"], json!(true), "{body}");
    world.pass(61);
    work(&world).await;
    let states = world.states(karen).await;
    assert!(states.contains(&"crm/lead delivered".to_owned()), "{states:?}");
    assert!(states.contains(&"ga4/event unknown may_have_been_sent".to_owned()), "{states:?}");

    // A revoked consent is still revoked.
    let sequence =
        json!({"leadId": ana, "startTime": "2031-05-10T14:00:00Z", "bookingId": "sala-99"});
    assert_eq!(world.authorised("whatsapp-automation", &sequence).await.status, 200);
    world.advance(SignedDuration::from_hours(24 * 15)).await;
    let mut shown = String::new();
    for lead in leads(&items) {
        let states = world.states(lead).await.join("\n    ");
        writeln!(shown, "{lead}\n    {states}").unwrap();
    }
    compare("worked_on", &shown);
    world.finish().await;
}
