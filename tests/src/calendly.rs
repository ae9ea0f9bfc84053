//! Calendly as a caller: the bodies of its webhooks, signed by the world's clock.
//!
//! The payload formats are those of `docs/providers.md` ("Calendly"). It must not know what becomes of
//! a booking.

use funil_core::booking::BookingId;
use funil_core::clock::Clock as _;
use funil_core::provider::calendly;
use funil_core::settings::Secret;
use http::Method;
use serde_json::{Value, json};

use crate::world::{CALENDLY_KEY, Deployment, EMAIL, LEAD, Response, World};

/// When the booked call begins: three days after the world.
pub const STARTS_AT: &str = "2031-05-08T17:00:00.000000Z";

fn address(invitee: &str) -> String {
    format!("https://api.calendly.com/scheduled_events/EV{invitee}/invitees/{invitee}")
}

fn webhook(event: &str, payload: &Value) -> Value {
    json!({
        "created_at": "2031-05-05T12:00:00.000000Z",
        "created_by": "https://api.calendly.com/users/USER",
        "event": event,
        "payload": payload,
    })
}

/// A booking with the e-mail of the world's lead, and without a lead id.
pub fn created(invitee: &str) -> Value {
    webhook(
        "invitee.created",
        &json!({
            "uri": address(invitee),
            "email": EMAIL,
            "name": "Ana no Calendly",
            "first_name": null,
            "last_name": null,
            "status": "active",
            "timezone": "America/Sao_Paulo",
            "created_at": "2031-05-05T11:59:58.327602Z",
            "updated_at": "2031-05-05T11:59:58.341657Z",
            "event": format!("https://api.calendly.com/scheduled_events/EV{invitee}"),
            "text_reminder_number": null,
            "rescheduled": false,
            "old_invitee": null,
            "new_invitee": null,
            "questions_and_answers": [],
            "tracking": {
                "utm_campaign": null, "utm_source": null, "utm_medium": null,
                "utm_content": null, "utm_term": null, "salesforce_uuid": null,
            },
            "cancel_url": format!("https://calendly.com/cancellations/{invitee}"),
            "reschedule_url": format!("https://calendly.com/reschedulings/{invitee}"),
            "payment": null,
            "no_show": null,
            "scheduled_event": {
                "uri": format!("https://api.calendly.com/scheduled_events/EV{invitee}"),
                "name": "Chamada de diagnóstico",
                "status": "active",
                "start_time": STARTS_AT,
                "end_time": "2031-05-08T17:45:00.000000Z",
                "location": {
                    "type": "google_conference", "status": "pushed",
                    "join_url": "https://meet.example.com/abc",
                },
            },
        }),
    )
}

/// That booking through a link with the id of the world's lead.
pub fn created_through_link(invitee: &str) -> Value {
    let mut body = created(invitee);
    body["payload"]["tracking"]["utm_content"] = json!(LEAD);
    body
}

/// The cancellation of that booking.
pub fn canceled(invitee: &str) -> Value {
    let mut body = created(invitee);
    body["event"] = json!("invitee.canceled");
    body["created_at"] = json!("2031-05-05T12:10:00.000000Z");
    body["payload"]["status"] = json!("canceled");
    body["payload"]["cancellation"] =
        json!({"canceled_by": "Ana", "reason": "Viagem", "canceler_type": "invitee"});
    body
}

/// The two webhooks of a rescheduled call: the end of the old booking, and the new booking.
pub fn moved(old: &str, new: &str) -> [Value; 2] {
    let mut ended = canceled(old);
    ended["payload"]["rescheduled"] = json!(true);
    ended["payload"]["new_invitee"] = json!(address(new));
    let mut began = created(new);
    began["created_at"] = json!("2031-05-05T12:10:00.000000Z");
    began["payload"]["created_at"] = json!("2031-05-05T12:09:58.000000Z");
    began["payload"]["old_invitee"] = json!(address(old));
    began["payload"]["scheduled_event"]["start_time"] = json!("2031-05-09T17:00:00.000000Z");
    [ended, began]
}

/// The invitee did not come (`created`), or it turned out that they did (`deleted`).
pub fn no_show(invitee: &str, action: &str) -> Value {
    let mut body = webhook(
        &format!("invitee_no_show.{action}"),
        &json!({
            "uri": "https://api.calendly.com/invitee_no_shows/6ee96ed4-83a3-4966-a278-cd19b3c02e09",
            "invitee": address(invitee),
            "created_at": "2031-05-08T18:00:00.000000Z",
        }),
    );
    body["created_at"] = json!("2031-05-08T18:00:00.000000Z");
    body
}

/// The id of a booking.
pub fn booking(invitee: &str) -> BookingId {
    BookingId::parse(invitee).unwrap()
}

/// Sends bytes to `calendar-webhook` with this signature.
pub async fn send_signed(functions: &Deployment, signature: &str, body: &[u8]) -> Response {
    let headers = [("content-type", "application/json"), (calendly::SIGNATURE_HEADER, signature)];
    functions.send("calendar-webhook", Method::POST, &headers, body).await
}

impl World {
    /// Sends a webhook of Calendly's, signed now.
    pub async fn calendly(&self, body: &Value) -> Response {
        self.calendly_bytes(body.to_string().as_bytes()).await
    }

    /// Sends bytes as a webhook of Calendly's, signed now.
    pub async fn calendly_bytes(&self, body: &[u8]) -> Response {
        let signature = calendly::sign(body, &Secret::new(CALENDLY_KEY), self.clock.now());
        send_signed(self, &signature, body).await
    }
}
