//! A simulated Calendly: the bookings made on `/agenda`, and the signed webhooks about them.
//!
//! The webhooks have Calendly's format (`docs/providers.md`, "Calendly") and are sent to
//! `calendar-webhook`. Bookings are kept in memory only. This module must not know what Funil does
//! with a webhook.

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

/// The function that receives the webhooks.
const WEBHOOK: &str = "calendar-webhook";
/// The length of a call, in seconds.
const CALL_S: i64 = 45 * 60;
/// The base of the URIs of Calendly's resources.
const API: &str = "https://api.calendly.com";

/// All bookings, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Calendar(Mutex<Vec<Invitee>>);

/// One person's booking, which Calendly calls an invitee.
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

/// An action of a person on the page.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Action {
    /// Books a call.
    Book(NewBooking),
    /// Cancels a call.
    Cancel {
        /// The id of the booking in the simulated calendar.
        id: Uuid,
    },
    /// Moves a call.
    Reschedule {
        /// The id of the booking in the simulated calendar.
        id: Uuid,
        /// When the moved call starts.
        #[serde(rename = "startsAt")]
        starts_at: Timestamp,
    },
    /// Marks that the person did not come.
    NoShow {
        /// The id of the booking in the simulated calendar.
        id: Uuid,
    },
}

/// The details of a new booking.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewBooking {
    starts_at: Timestamp,
    name: String,
    email: String,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    lead_id: Option<String>,
    time_zone: String,
}

/// The bookings, newest first.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let mut booked = shared.calendar.read();
    booked.reverse();
    Json(json!({"bookings": booked}))
}

/// Applies an action and sends the webhooks that Calendly would send. The response has the status
/// with which Funil responded to each.
pub(super) async fn act(State(shared): State<Arc<Shared>>, Json(action): Json<Action>) -> Response {
    let now = shared.platform.clock.now();
    let webhooks = match action {
        Action::Book(new) => {
            Some(shared.calendar.book(new, now, &mut || shared.platform.entropy.uuid_v4()))
        }
        Action::Cancel { id } => shared.calendar.end(id, Status::Canceled, now),
        Action::NoShow { id } => shared.calendar.end(id, Status::NoShow, now),
        Action::Reschedule { id, starts_at } => {
            shared
                .calendar
                .reschedule(id, starts_at, now, &mut || shared.platform.entropy.uuid_v4())
        }
    };
    let Some(webhooks) = webhooks else {
        return (StatusCode::NOT_FOUND, "There is no such booking that stands.\n").into_response();
    };
    let mut sent = Vec::new();
    for webhook in webhooks {
        let status = send(&shared, &webhook, now).await;
        sent.push(json!({"event": webhook["event"], "status": status.as_u16()}));
    }
    Json(json!({"webhooks": sent})).into_response()
}

/// Sends a webhook, signed at the time `now`, and returns the status of the response.
async fn send(shared: &Shared, webhook: &Value, now: Timestamp) -> StatusCode {
    let body = webhook.to_string();
    let key = Secret::new(shared.environment.variable("CALENDLY_SIGNING_KEY"));
    let signature = calendly::sign(body.as_bytes(), &key, now);
    functions_route::webhook(shared, WEBHOOK, calendly::SIGNATURE_HEADER, &signature, body).await
}

impl Calendar {
    fn read(&self) -> Vec<Invitee> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn book(&self, new: NewBooking, now: Timestamp, id: &mut dyn FnMut() -> Uuid) -> Vec<Value> {
        let invitee = Invitee {
            id: id(),
            event: id(),
            name: new.name,
            email: new.email,
            phone: new.phone,
            time_zone: new.time_zone,
            lead_id: new.lead_id,
            starts_at: new.starts_at,
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

    /// Moves a booking. As with Calendly this makes two webhooks: the old booking is canceled, the
    /// new one created.
    fn reschedule(
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

/// The body of a webhook in Calendly's format.
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
            "event_type": format!("{API}/event_types/DEV"),
            "location": {
                "type": "google_conference",
                "status": "pushed",
                "join_url": "https://meet.example.com/servidor-de-desenvolvimento",
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
        "created_by": format!("{API}/users/DEV"),
        "payload": payload,
    })
}
