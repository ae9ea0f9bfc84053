//! A simulated Calendly: what is booked on the stage's page, and the signed webhooks about it.
//!
//! The webhooks have the shape of Calendly's (`provider-apis.md` §4) and go to `calendar-webhook` as
//! any caller's do. Bookings live in memory. It must not know what Funil does with them.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use funil_core::clock::after;
use funil_core::provider::calendly;
use funil_core::settings::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Shared, functions_route};

/// The function that Calendly calls.
const WEBHOOK: &str = "calendar-webhook";
/// How long a call is, in seconds.
const CALL_S: i64 = 45 * 60;
/// Where Calendly's objects have their addresses.
const API: &str = "https://api.calendly.com";

/// Everything that was booked.
#[derive(Debug, Default)]
pub(super) struct Calendar(Mutex<Vec<Invitee>>);

/// One person's booking.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Invitee {
    id: Uuid,
    event: Uuid,
    name: String,
    email: String,
    phone: Option<String>,
    time_zone: String,
    lead_id: Option<String>,
    starts_at: Timestamp,
    booked_at: Timestamp,
    status: Status,
    instead_of: Option<Uuid>,
    replaced_by: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Active,
    Canceled,
    NoShow,
}

/// What a person does on the page.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Act {
    /// Books a call.
    Book(Wish),
    /// Calls one off.
    Cancel {
        /// Which.
        id: Uuid,
    },
    /// Moves one.
    Reschedule {
        /// Which.
        id: Uuid,
        /// To when.
        #[serde(rename = "startsAt")]
        starts_at: Timestamp,
    },
    /// Notes that the person did not come.
    NoShow {
        /// To which.
        id: Uuid,
    },
}

/// What somebody wants to book.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wish {
    starts_at: Timestamp,
    name: String,
    email: String,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    lead_id: Option<String>,
    time_zone: String,
}

/// What is booked, the latest first.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let mut booked = shared.calendar.read();
    booked.reverse();
    Json(json!({"bookings": booked}))
}

/// Does what a person asks, and tells Funil as Calendly would. Answers what Funil said.
pub(super) async fn act(State(shared): State<Arc<Shared>>, Json(act): Json<Act>) -> Response {
    let now = shared.platform.clock.now();
    let webhooks = match act {
        Act::Book(wish) => {
            Some(shared.calendar.book(wish, now, &mut || shared.platform.entropy.uuid_v4()))
        }
        Act::Cancel { id } => shared.calendar.end(id, Status::Canceled, now),
        Act::NoShow { id } => shared.calendar.end(id, Status::NoShow, now),
        Act::Reschedule { id, starts_at } => {
            shared.calendar.shift(id, starts_at, now, &mut || shared.platform.entropy.uuid_v4())
        }
    };
    let Some(webhooks) = webhooks else {
        return (StatusCode::NOT_FOUND, "There is no such booking that stands.\n").into_response();
    };
    let mut answers = Vec::new();
    for webhook in webhooks {
        let answered = send(&shared, &webhook, now).await;
        answers.push(json!({"event": webhook["event"], "status": answered.as_u16()}));
    }
    Json(json!({"webhooks": answers})).into_response()
}

/// Calls `calendar-webhook` with a signature of now.
async fn send(shared: &Shared, told: &Value, now: Timestamp) -> StatusCode {
    let body = told.to_string();
    let key = Secret::new(shared.environment.variable("CALENDLY_SIGNING_KEY"));
    let signature = calendly::sign(body.as_bytes(), &key, now);
    functions_route::webhook(shared, WEBHOOK, calendly::SIGNATURE_HEADER, &signature, body).await
}

impl Calendar {
    fn read(&self) -> Vec<Invitee> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn book(&self, wish: Wish, now: Timestamp, id: &mut dyn FnMut() -> Uuid) -> Vec<Value> {
        let invitee = Invitee {
            id: id(),
            event: id(),
            name: wish.name,
            email: wish.email,
            phone: wish.phone,
            time_zone: wish.time_zone,
            lead_id: wish.lead_id,
            starts_at: wish.starts_at,
            booked_at: now,
            status: Status::Active,
            instead_of: None,
            replaced_by: None,
        };
        let webhook = webhook("invitee.created", &invitee, now);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(invitee);
        vec![webhook]
    }

    fn end(&self, id: Uuid, status: Status, now: Timestamp) -> Option<Vec<Value>> {
        let mut booked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let invitee = booked.iter_mut().find(|one| one.id == id && one.status == Status::Active)?;
        invitee.status = status;
        let event = match status {
            Status::NoShow => "invitee_no_show.created",
            Status::Canceled | Status::Active => "invitee.canceled",
        };
        Some(vec![webhook(event, invitee, now)])
    }

    /// Two webhooks, as Calendly sends them: the old one canceled, the new one created.
    fn shift(
        &self,
        id: Uuid,
        starts_at: Timestamp,
        now: Timestamp,
        fresh: &mut dyn FnMut() -> Uuid,
    ) -> Option<Vec<Value>> {
        let mut booked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = booked.iter_mut().find(|one| one.id == id && one.status == Status::Active)?;
        let new = Invitee {
            id: fresh(),
            event: fresh(),
            starts_at,
            booked_at: now,
            instead_of: Some(old.id),
            ..old.clone()
        };
        old.status = Status::Canceled;
        old.replaced_by = Some(new.id);
        let webhooks =
            vec![webhook("invitee.canceled", old, now), webhook("invitee.created", &new, now)];
        booked.push(new);
        Some(webhooks)
    }
}

/// A webhook of Calendly's.
fn webhook(event: &str, invitee: &Invitee, now: Timestamp) -> Value {
    let event_uri = format!("{API}/scheduled_events/{}", invitee.event);
    let uri = |id: Uuid| format!("{API}/scheduled_events/{}/invitees/{id}", invitee.event);
    let canceled = invitee.status == Status::Canceled;
    let mut payload = json!({
        "uri": uri(invitee.id),
        "event": event_uri,
        "name": invitee.name,
        "email": invitee.email,
        "status": if canceled { "canceled" } else { "active" },
        "timezone": invitee.time_zone,
        "text_reminder_number": invitee.phone,
        "questions_and_answers": [],
        "tracking": {
            "utm_campaign": null, "utm_source": null, "utm_medium": null, "utm_term": null,
            "utm_content": invitee.lead_id, "salesforce_uuid": null,
        },
        "rescheduled": invitee.replaced_by.is_some(),
        "old_invitee": invitee.instead_of.map(uri),
        "new_invitee": invitee.replaced_by.map(uri),
        "cancel_url": format!("https://calendly.com/cancellations/{}", invitee.id),
        "reschedule_url": format!("https://calendly.com/reschedulings/{}", invitee.id),
        "routing_form_submission": null,
        "payment": null,
        "no_show": null,
        "reconfirmation": null,
        "created_at": invitee.booked_at,
        "updated_at": now,
        "scheduled_event": {
            "uri": event_uri,
            "name": "Conversa de diagnóstico",
            "status": if canceled { "canceled" } else { "active" },
            "start_time": invitee.starts_at,
            "end_time": after(invitee.starts_at, CALL_S),
            "event_type": format!("{API}/event_types/STAGE"),
            "location": {
                "type": "google_conference",
                "status": "pushed",
                "join_url": "https://meet.example.com/palco-do-funil",
            },
        },
    });
    if canceled {
        payload["cancellation"] = json!({
            "canceled_by": invitee.name,
            "reason": "",
            "canceler_type": "invitee",
            "created_at": now,
        });
    }
    if invitee.status == Status::NoShow {
        payload["no_show"] = json!({
            "uri": format!("{API}/invitee_no_shows/{}", invitee.id),
            "created_at": now,
        });
    }
    json!({
        "event": event,
        "created_at": now,
        "created_by": format!("{API}/users/STAGE"),
        "payload": payload,
    })
}
