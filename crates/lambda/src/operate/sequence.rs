//! The messages about a call, planned and withdrawn by an authorised request to the delivery
//! function that sends them: for calls that no calendar reports. Also what an operator decides about a
//! number: that it is a lead's, and that its owner wants messages again.
//!
//! Owns what a body may say and what a duplicate means. Must not know how a message is made or
//! sent.

use funil_core::booking::{BookingId, Call, Place, Recipient};
use funil_core::contact::Phone;
use funil_core::contact::consent::Purpose;
use funil_core::delivery::{Reason, StoredReason};
use funil_core::destination::{AliasDigests, Destination, plan};
use funil_core::event::{Event, SequenceRequested, SequenceWithdrawn};
use funil_core::form::{Fault, Fields, Need, Schema};
use funil_core::hash::sha256_hex;
use funil_core::id::{EventId, LeadId};
use funil_core::lead::Lead;
use funil_core::pii::Text;
use funil_core::receipt::{CONTENT_RECEIPT_S, ReceiptKey};
use funil_store::{Accepted, DeliveryKey, Receipt, StoreError, StoredResponse};
use http::{HeaderName, Method, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use url::Url;

use crate::api::{self, Operation, Presence, Refusal, Returned};
use crate::app::App;
use crate::http::problem::{Problem, json_response, put};
use crate::intake::accept::Incoming;
use crate::intake::doorbell;
use crate::platform::response::HttpResponse;

/// The scope of receipts and events.
const NAME: &str = "sequence";
const URL_CHARS_MAX: usize = 2000;

/// Whether a body has more fields than `leadId`, which alone delivers at once what is pending: a
/// misspelt field must not send reminders early.
pub(crate) fn is_asked_for(body: &Value) -> bool {
    body.as_object().is_some_and(|fields| fields.keys().any(|name| name != "leadId"))
}

/// What a body that is about a call may have, and the one that only names a lead.
pub(crate) fn schemas() -> Vec<Schema> {
    vec![
        Fields::schema(|fields| {
            fields.only(&["leadId"]);
            lead_id(fields)
        }),
        doorbell::schema(Need::Required),
        Fields::schema(call),
        Fields::schema(confirmation),
        Fields::schema(opt_in),
    ]
}

/// Why a request about a call is refused.
pub(crate) fn refusals() -> [Refusal; 2] {
    [Problem::BookingKnown.refusal(), Problem::NoSuchBooking.refusal()]
}

/// What the function returns: of what is due and of one lead, of a call, and of an opt-out.
pub(crate) fn returned(mut others: Vec<Value>) -> Returned {
    let message = api::object([
        ("deliveryId", api::uuid()),
        ("slot", api::text()),
        ("dueAt", api::time_or_null()),
    ]);
    let of_call = api::object([
        ("leadId", api::uuid()),
        ("bookingId", api::text()),
        ("deliveries", api::list(&message)),
    ]);
    others.extend([of_call, api::object([("leadId", api::uuid()), ("optIn", api::flag())])]);
    Returned {
        status: 200,
        when: "What was settled, what became of the lead's deliveries, or which messages are planned.",
        content: Some(("application/json", json!({"anyOf": others}))),
        headers: &["Idempotency-Replayed"],
    }
}

/// What a `DELETE` takes and returns.
pub(crate) fn withdrawal(function: &'static str) -> Operation {
    let returned = api::object([("leadId", api::uuid()), ("withdrawn", api::list(&api::text()))]);
    let summary = "Withdraws the messages about a lead's call, or about all of their calls.";
    let mut operation = Operation::post(function, summary)
        .authorised()
        .takes(vec![Fields::schema(withdrawn)], Presence::Required)
        .refuses_fields()
        .returns("The bookings whose messages were withdrawn.", returned)
        .refuses([Problem::NoSuchLead]);
    operation.method = Method::DELETE;
    operation
}

/// Whether a body asks to take an opt-out back.
pub(crate) fn restores(body: &Value) -> bool {
    body.get("optIn").is_some()
}

/// Takes the opt-out of a number back, for a person who asked an operator to.
pub(crate) async fn restore(
    app: &App,
    destination: &Destination,
    body: &Value,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::of(body);
    let read = opt_in(&mut fields);
    let ((lead_id, phone), opt_in) = fields.finish(read).map_err(Problem::Fields)?;
    let lead = app.store.lead(lead_id).await?.ok_or(Problem::NoSuchLead)?;
    if opt_in {
        let (purpose, now) = (Purpose::Whatsapp, app.platform.clock.now());
        let entropy = &*app.platform.entropy;
        let digest = app.config.hash_key.digest("phone", &phone.alias_text());
        app.store.restore("phone", &digest, purpose, now).await?;
        app.store.restore_of_lead(lead.id, purpose, now, destination.function, entropy).await?;
        tracing::info!(lead = %lead.id, "an operator took an opt-out back, for lead {}", lead.id);
    }
    Ok(json_response(StatusCode::OK, &json!({"leadId": lead_id, "optIn": opt_in})))
}

/// Reads `{leadId, phone, optIn}`.
fn opt_in(fields: &mut Fields<'_>) -> Option<((LeadId, Phone), bool)> {
    fields.only(&["leadId", "phone", "optIn"]);
    let lead_id = lead_id(fields);
    let phone = fields.phone("phone");
    let phone = required(fields, "phone", phone);
    let opt_in = fields.flag("optIn");
    let opt_in = required(fields, "optIn", opt_in);
    lead_id.zip(phone).zip(opt_in)
}

/// A sequence that was planned, now or by an earlier request.
pub(crate) struct Sequence {
    pub(crate) response: HttpResponse,
    /// The lead that gets the messages.
    pub(crate) lead_id: LeadId,
    /// The messages that are due now.
    pub(crate) due: Vec<DeliveryKey>,
}

fn required<T>(fields: &mut Fields<'_>, name: &str, value: Option<T>) -> Option<T> {
    // Adds the error of a missing or mistyped field; a value that could not be parsed has its error
    // already.
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

/// Reads `{leadId, startTime, bookingId?, timeZone?, joinUrl?, endTime?, phone?}`. With `phone` an
/// operator confirms the number that the messages go to.
fn read(body: &Value) -> Result<(LeadId, Call, Option<Phone>), Problem> {
    let mut fields = Fields::of(body);
    let call = call(&mut fields);
    fields.finish(call).map_err(Problem::Fields)
}

fn call(fields: &mut Fields<'_>) -> Option<(LeadId, Call, Option<Phone>)> {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    fields.only(&["leadId", "startTime", "bookingId", "timeZone", "joinUrl", "endTime", "phone"]);
    let lead_id = lead_id(fields);
    let starts_at = fields.parsed("startTime", Fault::Time, time);
    let starts_at = required(fields, "startTime", starts_at);
    let ends_at = fields.parsed("endTime", Fault::Time, time);
    let time_zone = fields.parsed("timeZone", Fault::TimeZone, |name| {
        TimeZone::get(name).ok().map(|_| name.to_owned())
    });
    let link = fields.parsed("joinUrl", Fault::Url, web_address);
    let booking = booking_id(fields);
    let phone = fields.phone("phone");
    let read = lead_id.zip(starts_at).map(|(lead_id, starts_at)| {
        let named = || {
            let digest = sha256_hex(format!("{lead_id}\n{starts_at}").as_bytes());
            BookingId::parse(&format!("{NAME}-{}", &digest[..32])).ok()
        };
        (lead_id, starts_at, booking.or_else(named))
    });
    read.and_then(|(lead_id, starts_at, booking)| {
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
        Some((lead_id, call, phone))
    })
}

/// Plans the messages about a call, once however often it is requested.
pub(crate) async fn request(
    app: &App,
    destination: &Destination,
    body: &Value,
) -> Result<Sequence, Problem> {
    if body.get("phone").is_some() && body.get("startTime").is_none() {
        return confirm(app, destination, body).await;
    }
    let (lead_id, call, phone) = read(body)?;
    let lead = app.store.lead(lead_id).await?.ok_or(Problem::NoSuchLead)?;
    let known = app.store.booking(lead_id, &call.booking).await?;
    let is_withdrawn = known.as_ref().is_some_and(|known| !known.status.stands());
    if known.and_then(|known| known.call).is_some_and(|known| known != call) {
        return Err(Problem::BookingKnown);
    }
    let name = format!("{lead_id}:{}", call.booking);
    let (recipient, confirmed) = match phone {
        Some(phone) => {
            let number = format!("\n{}", phone.as_str());
            (Recipient::Number { phone, name: lead.latest.name.clone() }, number)
        }
        None => (app.agreed_recipient(lead_id).await?, String::new()),
    };
    let messages = Messages { name, call, recipient, confirmed, slots: None, is_withdrawn };
    plan_messages(app, destination, &lead, messages).await
}

/// Sends the messages about a known call to the number that an operator confirmed, where they went to
/// nobody because no number was known to be the person's.
async fn confirm(app: &App, destination: &Destination, body: &Value) -> Result<Sequence, Problem> {
    let mut fields = Fields::of(body);
    let read = confirmation(&mut fields);
    let ((lead_id, booking), phone) = fields.finish(read).map_err(Problem::Fields)?;
    let lead = app.store.lead(lead_id).await?.ok_or(Problem::NoSuchLead)?;
    let known = app.store.booking(lead_id, &booking).await?.ok_or(Problem::NoSuchBooking)?;
    let call = known.call.clone().ok_or(Problem::NoSuchBooking)?;
    let sent = app.store.deliveries_of(lead_id, destination.name).await?;
    let went_to_somebody = |slot: &str| {
        sent.iter().any(|delivery| {
            let nobody = matches!(
                delivery.state.reason().and_then(StoredReason::known),
                Some(Reason::NoNumber(_))
            );
            delivery.booking.as_ref() == Some(&booking) && delivery.slot == slot && !nobody
        })
    };
    let slots = destination.slots.iter().map(|slot| slot.name.to_owned());
    let slots = slots.filter(|slot| !went_to_somebody(slot)).collect();
    let confirmed = format!("\n{}", phone.as_str());
    let messages = Messages {
        name: format!("{lead_id}:{booking}:confirmed"),
        is_withdrawn: !known.status.stands(),
        recipient: Recipient::Number { phone, name: lead.latest.name.clone() },
        call,
        confirmed,
        slots: Some(slots),
    };
    plan_messages(app, destination, &lead, messages).await
}

/// Reads `{leadId, bookingId, phone}`.
fn confirmation(fields: &mut Fields<'_>) -> Option<((LeadId, BookingId), Phone)> {
    fields.only(&["leadId", "bookingId", "phone"]);
    let lead_id = lead_id(fields);
    let booking = booking_id(fields);
    let booking = required(fields, "bookingId", booking);
    let phone = fields.phone("phone");
    let phone = required(fields, "phone", phone);
    lead_id.zip(booking).zip(phone)
}

/// The messages about a call that are to be planned.
struct Messages {
    /// What identifies the request among those about calls.
    name: String,
    call: Call,
    recipient: Recipient,
    /// The number that the caller confirmed, for the comparison with a duplicate; empty if none.
    confirmed: String,
    /// Only these slots; `None` is all.
    slots: Option<Vec<String>>,
    is_withdrawn: bool,
}

async fn plan_messages(
    app: &App,
    destination: &Destination,
    lead: &Lead,
    messages: Messages,
) -> Result<Sequence, Problem> {
    let Messages { name, call, recipient, confirmed, slots, is_withdrawn } = messages;
    let (lead_id, booking) = (lead.id, call.booking.clone());
    let now = app.platform.clock.now();
    let mut person = AliasDigests::of(&lead.latest, &app.config.hash_key);
    person.phone = match &recipient {
        Recipient::Number { phone, .. } => {
            Some(app.config.hash_key.digest("phone", &phone.alias_text()))
        }
        Recipient::Nobody { .. } => None,
    };
    let data = SequenceRequested { call: call.clone(), recipient: Some(recipient), slots };
    let event = Event::new(EventId::of_provider(NAME, &name), lead.id, data, now);
    let mut planned =
        plan(&event, &app.config.destinations, None, &person, app.config.queue_of(lead_id));
    // Nobody is sent a message about a withdrawn call, so the response must not list one.
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
    let content =
        format!("{}\n{:?}\n{:?}\n{place}{confirmed}", call.starts_at, call.ends_at, call.time_zone);
    let receipt = Receipt {
        key: ReceiptKey::of_provider(NAME, &[&name]),
        fingerprint: sha256_hex(content.as_bytes()),
        response: StoredResponse {
            status: StatusCode::OK.as_u16(),
            headers: Vec::new(),
            body: response.to_string(),
        },
        caller: None,
    };
    match accept(app, destination, event, &receipt, &person, now).await? {
        Accepted::Kept => {
            let is_due = |due_at: Option<Timestamp>| due_at.is_some_and(|due_at| due_at <= now);
            let due = planned.iter().filter(|delivery| is_due(delivery.due_at()));
            let due = due.map(DeliveryKey::from).collect();
            Ok(Sequence { response: json_response(StatusCode::OK, &response), lead_id, due })
        }
        Accepted::Duplicate(stored) => {
            // A response that was stored before the withdrawal lists messages that will not be
            // sent.
            let mut response = json_response(StatusCode::OK, &response);
            if !is_withdrawn {
                response.body = stored.body.into();
            }
            put(&mut response.headers, HeaderName::from_static("idempotency-replayed"), "true");
            Ok(Sequence { response, lead_id, due: Vec::new() })
        }
        Accepted::KeyReused | Accepted::KeyOfAnother => Err(Problem::BookingKnown),
        Accepted::NoSuchLead | Accepted::OtherEmail => Err(Problem::NoSuchLead),
        Accepted::Overtaken
        | Accepted::Exists(_)
        | Accepted::NotInQuarantine
        | Accepted::TooManyNewLeads => Err(Problem::Unavailable),
    }
}

/// Withdraws the messages about a lead's call, or about all of their calls.
pub(crate) async fn withdraw(
    app: &App,
    destination: &Destination,
    body: &Value,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::of(body);
    let read = withdrawn(&mut fields);
    let (lead_id, booking) = fields.finish(read).map_err(Problem::Fields)?;
    let lead = app.store.lead(lead_id).await?.ok_or(Problem::NoSuchLead)?;
    let known = app.store.bookings(lead_id).await?;
    let stands = |id: &BookingId| known.iter().find(|b| b.id == *id).map(|b| b.status.stands());
    let meant: Vec<BookingId> = match booking {
        // A booking that is not known yet is withdrawn before it arrives.
        Some(id) => vec![id],
        None => known.iter().map(|booking| booking.id.clone()).collect(),
    };
    let mut withdrawn = Vec::new();
    for booking in meant.into_iter().filter(|id| stands(id) != Some(false)) {
        withdraw_one(app, destination, &lead, &booking).await?;
        withdrawn.push(booking);
    }
    Ok(json_response(StatusCode::OK, &json!({"leadId": lead_id, "withdrawn": withdrawn})))
}

/// Reads the body of a withdrawal: `leadId`, and `bookingId` if only one booking is meant.
fn withdrawn(fields: &mut Fields<'_>) -> Option<(LeadId, Option<BookingId>)> {
    fields.only(&["leadId", "bookingId"]);
    let lead_id = lead_id(fields);
    let booking = booking_id(fields);
    lead_id.map(|lead_id| (lead_id, booking))
}

async fn withdraw_one(
    app: &App,
    destination: &Destination,
    lead: &Lead,
    booking: &BookingId,
) -> Result<(), Problem> {
    let now = app.platform.clock.now();
    let name = app.platform.entropy.uuid_v7(now).to_string();
    let data = SequenceWithdrawn { booking: booking.clone() };
    let event = Event::new(EventId::of_provider(NAME, &name), lead.id, data, now);
    // Withdrawing twice does no harm, so the receipt need not recognise a duplicate for long.
    let key =
        ReceiptKey { lives_s: Some(CONTENT_RECEIPT_S), ..ReceiptKey::of_provider(NAME, &[&name]) };
    let receipt = Receipt {
        key,
        fingerprint: String::new(),
        response: StoredResponse { status: 200, headers: Vec::new(), body: String::new() },
        caller: None,
    };
    let person = AliasDigests::of(&lead.latest, &app.config.hash_key);
    match accept(app, destination, event, &receipt, &person, now).await? {
        Accepted::Kept | Accepted::Duplicate(_) => Ok(()),
        Accepted::NoSuchLead | Accepted::OtherEmail => Err(Problem::NoSuchLead),
        Accepted::Overtaken
        | Accepted::KeyReused
        | Accepted::KeyOfAnother
        | Accepted::NotInQuarantine
        | Accepted::Exists(_)
        | Accepted::TooManyNewLeads => Err(Problem::Unavailable),
    }
}

async fn accept(
    app: &App,
    destination: &Destination,
    event: Event,
    receipt: &Receipt,
    person: &AliasDigests,
    now: Timestamp,
) -> Result<Accepted, StoreError> {
    let incoming =
        Incoming { person: person.clone(), ..Incoming::new(destination.function, event, receipt) };
    app.accept_calls(&incoming, &incoming.event.data.bookings(), now).await
}
