//! The second part of the walk: bookings, the messages about them, and the webhooks of WhatsApp.

use funil_dev::simulated::{Behaviour, whatsapp_inbound};
use http::Method;
use serde_json::{Value, json};

use super::forms::{OF_HTML, PORTUGUESE};
use super::walk::{JSON, Walk};
use crate::bookings::whatsapp::send_webhook;
use crate::calendly::{canceled, created, moved, no_show, send_signed};
use crate::world::{LEAD, SERVICE_TOKEN, World};

const AUTOMATION: &str = "whatsapp-automation";
const WEBHOOK: &str = "whatsapp-webhook";

/// Walks this part.
pub(super) async fn walk(walk: &mut Walk) {
    bookings(walk).await;
    rejected(walk).await;
    sequences(walk).await;
    messages(walk).await;
    syncs(walk).await;
}

/// Sends a webhook of Calendly's, then runs every worker.
async fn calendly(walk: &mut Walk, title: &str, body: &Value) {
    let response = walk.world.calendly(body).await;
    walk.note(title, &response);
    // Two messages to one number are six seconds apart.
    walk.work_after(10).await;
}

/// Sends a webhook of Meta's.
async fn meta(walk: &mut Walk, title: &str, body: &Value) {
    let response = send_webhook(&walk.world, body).await;
    walk.note(title, &response);
}

async fn bookings(walk: &mut Walk) {
    let mut booked = created("INV1");
    booked["payload"]["tracking"]["utm_content"] = json!(LEAD);
    booked["payload"]["email"] = json!("ana.particular@example.org");
    calendly(walk, "a call is booked", &booked).await;
    let response = walk.world.calendly(&booked).await;
    walk.note("the same booking again", &response);
    let message = walk.world.providers.whatsapp_messages().remove(0);
    for status in ["sent", "delivered", "read", "delivered"] {
        let body = message.status(status, None, walk.world.now().as_second());
        meta(walk, &format!("the first message: {status}"), &body).await;
    }
    let [ended, began] = moved("INV1", "INV2");
    calendly(walk, "a move, the old half", &ended).await;
    calendly(walk, "a move, the new half", &began).await;
    calendly(walk, "a no-show", &no_show("INV2", "created")).await;
    let mut taken_back = no_show("INV2", "deleted");
    taken_back["created_at"] = json!("2031-05-08T18:10:00.000000Z");
    calendly(walk, "a no-show that is taken back", &taken_back).await;

    let mut by_email = created("INV3");
    by_email["payload"]["email"] = json!("caio@example.com");
    by_email["payload"]["scheduled_event"]["location"] =
        json!({"type": "physical", "location": "Rua Augusta, 100"});
    calendly(walk, "a call of a lead who is known by e-mail", &by_email).await;
    let mut off = canceled("INV3");
    off["payload"]["email"] = json!("caio@example.com");
    calendly(walk, "it is called off", &off).await;
    let mut new = created("INV4");
    new["payload"]["email"] = json!("nova@example.com");
    new["payload"]["name"] = Value::Null;
    new["payload"]["first_name"] = json!("Nova");
    new["payload"]["last_name"] = json!("Pessoa");
    new["payload"]["questions_and_answers"] =
        json!([{"question": "WhatsApp?", "answer": "+55 51 99777-6666", "position": 0}]);
    calendly(walk, "a call of somebody new", &new).await;
}

async fn rejected(walk: &mut Walk) {
    let odd = json!({"event": "invitee.created", "created_at": "yesterday", "payload": {}});
    calendly(walk, "a booking that is not understood", &odd).await;
    calendly(walk, "a no-show of nobody", &no_show("INV9", "created")).await;
    let other = json!({"event": "routing_form_submission.created", "payload": {}});
    calendly(walk, "an event that is nothing to us", &other).await;
    let body = odd.to_string();
    let response = send_signed(&walk.world, "t=1,v1=00", body.as_bytes()).await;
    walk.note("a booking that is not signed", &response);
    let post = ("POST", "calendar-webhook");
    walk.send("not signed, in Portuguese", post, &[JSON, PORTUGUESE], body.as_bytes()).await;
    walk.send("another method at the calendar", ("GET", "calendar-webhook"), &[], b"").await;
    let large = vec![b' '; 256 * 1024 + 1];
    walk.send("too large for a webhook", ("POST", "calendar-webhook"), &[JSON], &large).await;

    let shake = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=";
    walk.get("a handshake", WEBHOOK, &format!("{shake}whatsapp-verify-token")).await;
    walk.get("a handshake with another token", WEBHOOK, &format!("{shake}another")).await;
    walk.send("no handshake, in Portuguese", ("GET", WEBHOOK), &[PORTUGUESE], b"").await;
    walk.send("another method at the webhook", ("PUT", WEBHOOK), &[], b"").await;
    walk.send("an update that is not signed", ("POST", WEBHOOK), &[JSON], b"{}").await;
    meta(walk, "an update that is not understood", &json!({"object": "page", "entry": []})).await;
    let part = json!({"object": "whatsapp_business_account", "entry": [
        {"changes": [{"field": "messages", "value": {"statuses": ["x"]}}]}]});
    meta(walk, "an update of which a part is not understood", &part).await;
}

/// The id of the lead with this e-mail.
pub(super) async fn lead_of(world: &World, email: &str) -> String {
    let found =
        world.store.leads_of(("email", &world.hash.digest("email", email)), 9).await.unwrap();
    found[0].to_string()
}

async fn sequences(walk: &mut Walk) {
    let davi = lead_of(&walk.world, "davi@example.com").await;
    let post = ("POST", AUTOMATION);
    let whole = json!({
        "leadId": davi, "startTime": "2031-05-06T14:00:00Z", "endTime": "2031-05-06T14:45:00Z",
        "bookingId": "sala-7", "timeZone": "America/Sao_Paulo", "joinUrl": "https://zoom.us/j/1",
    });
    walk.authorised("the messages about a call", post, &whole).await;
    walk.authorised("the same again", post, &whole).await;
    let mut moved = whole.clone();
    moved["startTime"] = json!("2031-05-07T14:00:00Z");
    walk.authorised("another call under the same name", post, &moved).await;
    let token = format!("Bearer {SERVICE_TOKEN}");
    let headers = [JSON, ("authorization", &*token), PORTUGUESE];
    walk.send("the same, in Portuguese", post, &headers, moved.to_string().as_bytes()).await;
    walk.world.pass(10);
    let named = json!({"leadId": davi, "startTime": "2031-05-08T14:00:00-03:00"});
    walk.world.providers.script("whatsapp", [Behaviour::CloseAfterEffect]);
    walk.authorised("a call without a name, and no response from WhatsApp", post, &named).await;
    let delete = ("DELETE", AUTOMATION);
    let one = json!({"leadId": davi, "bookingId": "sala-8"});
    walk.authorised("a call is withdrawn before it comes", delete, &one).await;
    let mut late = whole.clone();
    late["bookingId"] = json!("sala-8");
    walk.authorised("it comes", post, &late).await;
    walk.world.pass(10);
    let third = json!({
        "leadId": davi, "startTime": "2031-05-08T20:00:00Z", "bookingId": "sala-9",
    });
    walk.authorised("a third call", post, &third).await;
    let one = json!({"leadId": davi, "bookingId": "sala-9"});
    walk.authorised("the third call is withdrawn", delete, &one).await;
    walk.authorised("once more", delete, &one).await;
    walk.world.pass(10);
    walk.authorised("a lead's messages are hurried", post, &json!({"leadId": davi})).await;
    let unknown = json!({"leadId": "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2bff"});
    walk.authorised("the messages of nobody", post, &unknown).await;
    walk.authorised("withdrawn of nobody", delete, &unknown).await;
    let faults = json!({
        "leadId": "x", "startTime": "soon", "timeZone": "Mars", "joinUrl": "x", "bookingId": "",
        "statTime": 1,
    });
    walk.authorised("wrong fields of a call", post, &faults).await;
    walk.authorised("another method at the messages", ("GET", AUTOMATION), &Value::Null).await;
    walk.post("no service token", AUTOMATION, &whole).await;
    walk.send("no service token, in Portuguese", post, &[JSON, PORTUGUESE], b"{}").await;
}

/// The webhook of a message that a person wrote, with the fields by which Meta names the person.
fn written(text: &str, walk: &Walk, names: &Value, contacts: &Value) -> Value {
    let mut message = json!({"id": "wamid.x", "timestamp": walk.world.now().as_second().to_string(),
        "type": "text", "text": {"body": text}});
    for (name, value) in names.as_object().unwrap() {
        message[name] = value.clone();
    }
    let value = json!({"contacts": contacts, "messages": [message]});
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]})
}

async fn messages(walk: &mut Walk) {
    // Of the messages to Davi, the first one failed, and the one that was unknown was delivered.
    let messages = walk.world.providers.whatsapp_messages();
    let davi: Vec<_> = messages.iter().filter(|one| one.to == "5531991234567").collect();
    let second = walk.world.now().as_second();
    meta(walk, "a message failed", &davi[0].status("failed", Some(131_026), second)).await;
    meta(walk, "the unknown one was delivered", &davi[1].status("delivered", None, second)).await;
    let mut of_username = davi[2].status("read", None, second);
    let status = of_username.pointer_mut("/entry/0/changes/0/value/statuses/0").unwrap();
    status.as_object_mut().unwrap().remove("recipient_id");
    status["recipient_user_id"] = json!("BR.9");
    meta(walk, "a status of somebody with a username", &of_username).await;
    let stop = written("stop", walk, &json!({"from_user_id": "BR.9"}), &json!([]));
    meta(walk, "an opt-out by a business-scoped id", &stop).await;

    let contact = json!([{"wa_id": "5521998765432", "user_id": "BR.1"}]);
    let both = written("oi", walk, &json!({"from": "5521998765432"}), &contact);
    meta(walk, "somebody writes, under both names", &both).await;
    let stop = whatsapp_inbound("551187654321", " *Parar* ", walk.world.now().as_second());
    meta(walk, "an opt-out", &stop).await;
    meta(walk, "the same opt-out again", &stop).await;
    walk.work_after(10).await;
}

async fn syncs(walk: &mut Walk) {
    for (title, function, lead) in [
        ("a sync of the CRM", "crm-sync", LEAD),
        ("a sync of MailerLite", "mailerlite-sync", OF_HTML),
        ("events are hurried", "segment-sync", LEAD),
    ] {
        walk.authorised(title, ("POST", function), &json!({"leadId": lead})).await;
    }
    let nobody = json!({"leadId": "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2bff"});
    walk.authorised("a sync of nobody", ("POST", "crm-sync"), &nobody).await;
    walk.authorised("a sync without a lead", ("POST", "crm-sync"), &json!({})).await;
    let off = walk.world.deployment(&[("DESTINATIONS", "crm")]);
    let response = off.authorised("mailerlite-sync", &json!({"leadId": LEAD})).await;
    walk.note("a sync of what is off", &response);
    let token = format!("Bearer {SERVICE_TOKEN}");
    let headers = [JSON, ("authorization", &*token), PORTUGUESE];
    let body = json!({"leadId": LEAD}).to_string();
    let response = off.send("mailerlite-sync", Method::POST, &headers, body.as_bytes()).await;
    walk.note("a sync of what is off, in Portuguese", &response);
    let token = [JSON, ("authorization", "Bearer wrong-token")];
    let response = walk.world.send("crm-sync", Method::POST, &token, b"").await;
    walk.note("a wrong service token", &response);
}
