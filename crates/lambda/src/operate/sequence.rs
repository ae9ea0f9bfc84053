//! The messages about a call, planned and withdrawn by an authorised caller of `whatsapp-automation`:
//! for calls that no calendar tells of.
//!
//! Owns what a body may say and what a repetition means. Must not know how a message is made or sent.

use funil_core::booking::{BookingId, Call, Place};
use funil_core::contact::consent::ConsentChanges;
use funil_core::destination::{AliasDigests, Destination, plan};
use funil_core::event::{Event, EventData, SequenceRequested, SequenceWithdrawn};
use funil_core::form::{Fault, Fields};
use funil_core::hash::sha256_hex;
use funil_core::id::{EventId, LeadId};
use funil_core::lead::{Lead, LeadChanges};
use funil_core::pii::Text;
use funil_core::receipt::{CONTENT_RECEIPT_S, ReceiptKey};
use funil_store::{Accepted, DeliveryKey, LeadWrite, Receipt, StoreError, StoredResponse};
use http::{HeaderName, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use url::Url;

use crate::app::Site;
use crate::http::problem::{Problem, json_response, put};
use crate::intake::booking::BookingUpdate;
use crate::platform::response::HttpResponse;

/// The destination whose messages these are.
const DESTINATION: &str = "whatsapp";
/// The function that is asked, by which what is accepted is counted.
const FUNCTION: &str = "whatsapp-automation";
/// The scope of receipts and events.
const NAME: &str = "sequence";
const URL_CHARS_MAX: usize = 2000;

/// Whether a destination's function takes sequences.
pub(crate) fn are_of(destination: &Destination) -> bool {
    destination.name == DESTINATION
}

/// Whether a body asks for more than to hurry: a misspelt field must not send reminders early.
pub(crate) fn is_asked_for(body: &Value) -> bool {
    body.as_object().is_some_and(|fields| fields.keys().any(|name| name != "leadId"))
}

/// A sequence that was planned, now or before.
pub(crate) struct Sequence {
    /// What to answer.
    pub(crate) response: HttpResponse,
    /// Whose it is.
    pub(crate) lead_id: LeadId,
    /// The messages that are due now.
    pub(crate) due: Vec<DeliveryKey>,
}

fn required<T>(fields: &mut Fields<'_>, name: &str, value: Option<T>) -> Option<T> {
    // Notes that it is missing, or wrong in kind; what is wrong in itself was noted already.
    if value.is_none() {
        fields.required_text(name, URL_CHARS_MAX);
    }
    value
}

fn lead_id(fields: &mut Fields<'_>) -> Option<LeadId> {
    let id = fields.lead_id("leadId");
    required(fields, "leadId", id)
}

fn booking_id(fields: &mut Fields<'_>) -> Option<BookingId> {
    fields.parsed("bookingId", Fault::BookingId, |text| BookingId::parse(text).ok())
}

fn web_address(text: &str) -> Option<Text> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    (text.len() <= URL_CHARS_MAX).then(|| Text::new(url.into()))
}

/// Reads `{leadId, startTime, bookingId?, timeZone?, joinUrl?, endTime?}`.
fn read(body: &Value) -> Result<(LeadId, Call), Problem> {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let mut fields = Fields::of(body);
    fields.only(&["leadId", "startTime", "bookingId", "timeZone", "joinUrl", "endTime"]);
    let lead_id = lead_id(&mut fields);
    let starts_at = fields.parsed("startTime", Fault::Time, time);
    let starts_at = required(&mut fields, "startTime", starts_at);
    let ends_at = fields.parsed("endTime", Fault::Time, time);
    let time_zone = fields.parsed("timeZone", Fault::TimeZone, |name| {
        TimeZone::get(name).ok().map(|_| name.to_owned())
    });
    let link = fields.parsed("joinUrl", Fault::Url, web_address);
    let booking = booking_id(&mut fields);
    let read = lead_id.zip(starts_at).map(|(lead_id, starts_at)| {
        let named = || {
            let digest = sha256_hex(format!("{lead_id}\n{starts_at}").as_bytes());
            BookingId::parse(&format!("{NAME}-{}", &digest[..32])).ok()
        };
        (lead_id, starts_at, booking.or_else(named))
    });
    let call = read.and_then(|(lead_id, starts_at, booking)| {
        let place = link.map_or(Place::Unsaid, |url| Place::Link { url });
        let call = Call {
            booking: booking?,
            calendar_event: None,
            title: None,
            starts_at,
            ends_at,
            time_zone,
            place,
            cancel_url: None,
            reschedule_url: None,
        };
        Some((lead_id, call))
    });
    fields.finish(call).map_err(Problem::Fields)
}

/// Plans the messages about a call, once however often it is asked for.
pub(crate) async fn request(site: &Site, body: &Value) -> Result<Sequence, Problem> {
    let (lead_id, call) = read(body)?;
    let now = site.platform.clock.now();
    let lead = site.store.lead(lead_id).await?.ok_or(Problem::NoSuchLead)?;
    let known = site.store.booking(lead_id, &call.booking).await?;
    let is_withdrawn = known.as_ref().is_some_and(|known| !known.status.stands());
    if known.and_then(|known| known.call).is_some_and(|known| known != call) {
        return Err(Problem::BookingKnown);
    }
    let booking = call.booking.clone();
    let data = EventData::SequenceRequested(Box::new(SequenceRequested { call: call.clone() }));
    let name = format!("{lead_id}:{booking}");
    let event = event(&lead, EventId::of_provider(NAME, &name), data, now);
    let person = AliasDigests::of(&lead.latest, &site.config.hash_key);
    let mut planned = plan(&event, &site.config.destinations, None, &person);
    // Nobody is sent a message about a withdrawn call, so an answer must not promise one.
    planned.retain(|_| !is_withdrawn);
    let messages: Vec<Value> = planned
        .iter()
        .map(|d| json!({"deliveryId": d.id, "slot": d.slot, "dueAt": d.due_at()}))
        .collect();
    let response = json!({"leadId": lead_id, "bookingId": booking, "deliveries": messages});
    let place = match &call.place {
        Place::Link { url } => url.expose().as_str(),
        Place::BeingMade { .. } | Place::Words { .. } | Place::Unsaid => "",
    };
    let content = format!("{}\n{:?}\n{:?}\n{place}", call.starts_at, call.ends_at, call.time_zone);
    let receipt = Receipt {
        key: ReceiptKey::of_provider(NAME, &[&name]),
        fingerprint: sha256_hex(content.as_bytes()),
        response: StoredResponse {
            status: StatusCode::OK.as_u16(),
            headers: Vec::new(),
            body: response.to_string(),
        },
    };
    match accept(site, &event, &receipt, &person, now).await? {
        Accepted::Kept => {
            let is_due = |due_at: Option<Timestamp>| due_at.is_some_and(|due_at| due_at <= now);
            let due = planned.iter().filter(|delivery| is_due(delivery.due_at()));
            let due = due.map(DeliveryKey::from).collect();
            Ok(Sequence { response: json_response(StatusCode::OK, &response), lead_id, due })
        }
        Accepted::Duplicate(stored) => {
            // What was stored before the withdrawal names messages that will not come.
            let mut response = json_response(StatusCode::OK, &response);
            if !is_withdrawn {
                response.body = stored.body.into();
            }
            put(&mut response.headers, HeaderName::from_static("idempotency-replayed"), "true");
            Ok(Sequence { response, lead_id, due: Vec::new() })
        }
        Accepted::KeyReused => Err(Problem::BookingKnown),
        Accepted::NoSuchLead | Accepted::OtherEmail => Err(Problem::NoSuchLead),
        Accepted::Overtaken => Err(Problem::Unavailable),
    }
}

/// Withdraws the messages about a lead's call, or about all of their calls.
pub(crate) async fn withdraw(site: &Site, body: &Value) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::of(body);
    fields.only(&["leadId", "bookingId"]);
    let lead_id = lead_id(&mut fields);
    let booking = booking_id(&mut fields);
    let lead_id = fields.finish(lead_id).map_err(Problem::Fields)?;
    let lead = site.store.lead(lead_id).await?.ok_or(Problem::NoSuchLead)?;
    let known = site.store.bookings(lead_id).await?;
    let stands = |id: &BookingId| known.iter().find(|b| b.id == *id).map(|b| b.status.stands());
    let meant: Vec<BookingId> = match booking {
        // One that nobody has heard of is withdrawn before it comes.
        Some(id) => vec![id],
        None => known.iter().map(|booking| booking.id.clone()).collect(),
    };
    let mut withdrawn = Vec::new();
    for booking in meant.into_iter().filter(|id| stands(id) != Some(false)) {
        withdraw_one(site, &lead, &booking).await?;
        withdrawn.push(booking);
    }
    Ok(json_response(StatusCode::OK, &json!({"leadId": lead_id, "withdrawn": withdrawn})))
}

async fn withdraw_one(site: &Site, lead: &Lead, booking: &BookingId) -> Result<(), Problem> {
    let now = site.platform.clock.now();
    let name = site.platform.entropy.uuid_v7(now).to_string();
    let data = EventData::SequenceWithdrawn(SequenceWithdrawn { booking: booking.clone() });
    let event = event(lead, EventId::of_provider(NAME, &name), data, now);
    // Withdrawing twice does no harm, so nobody needs to know this call again.
    let key =
        ReceiptKey { lives_s: Some(CONTENT_RECEIPT_S), ..ReceiptKey::of_provider(NAME, &[&name]) };
    let receipt = Receipt {
        key,
        fingerprint: String::new(),
        response: StoredResponse { status: 200, headers: Vec::new(), body: String::new() },
    };
    let person = AliasDigests::of(&lead.latest, &site.config.hash_key);
    match accept(site, &event, &receipt, &person, now).await? {
        Accepted::Kept | Accepted::Duplicate(_) => Ok(()),
        Accepted::NoSuchLead | Accepted::OtherEmail => Err(Problem::NoSuchLead),
        Accepted::Overtaken | Accepted::KeyReused => Err(Problem::Unavailable),
    }
}

fn event(lead: &Lead, id: EventId, data: EventData, now: Timestamp) -> Event {
    Event { id, lead_id: lead.id, occurred_at: now, accepted_at: now, supplied_lead_id: None, data }
}

async fn accept(
    site: &Site,
    event: &Event,
    receipt: &Receipt,
    person: &AliasDigests,
    now: Timestamp,
) -> Result<Accepted, StoreError> {
    let word = BookingUpdate {
        event,
        lead: LeadWrite::Known,
        changes: &LeadChanges::default(),
        consent: &ConsentChanges::default(),
        told_by: FUNCTION,
        receipt,
        aliases: &AliasDigests::default(),
        other_aliases: &[],
        person,
    };
    site.accept_booking(&word, now).await
}
