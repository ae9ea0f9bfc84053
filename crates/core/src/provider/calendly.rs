//! Calendly's webhooks: verified, and parsed into booking updates.
//!
//! Owns Calendly's signature header, its event names and the format of its payloads; the facts are
//! in `docs/providers.md` ("Calendly"). Absent and null fields are tolerated: a booking needs its
//! invitee and the call's start, and every other update no more than its invitee. This module must not
//! know how the lead of a booking is found.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{NotSigned, NotUnderstood, Verified, event_name};
use crate::booking::{BookingId, Call, Place};
use crate::contact::{Email, Phone};
use crate::event::{
    Attendance, CallBooked, CallCanceled, CallMissed, Canceled, EventData, Invitee, Withdrawal,
};
use crate::id::{EventId, LeadId};
use crate::json;
use crate::pii::Text;
use crate::provider::signature;
use crate::settings::Secret;

/// The provider's name in receipts, event ids and the quarantine.
pub const NAME: &str = "calendly";
/// The header with the signature: `t=<unix seconds>,v1=<hex>`.
pub const SIGNATURE_HEADER: &str = "calendly-webhook-signature";
/// By how much the signature's time may differ from ours, in seconds. Calendly's documentation
/// allows three minutes in the past; we allow them in both directions.
pub const TOLERANCE_S: i64 = 180;

const NAME_CHARS_MAX: usize = 200;
const TITLE_CHARS_MAX: usize = 200;
const WORDS_CHARS_MAX: usize = 500;
const URL_CHARS_MAX: usize = 2000;
/// The maximum number of lead ids taken from one request.
const NAMED_MAX: usize = 10;

/// The content of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A booking update, in a box because it is much larger than the rest.
    Booking(Box<BookingUpdate>),
    /// The name of an event type that is not handled, cut and stripped so that it can be logged.
    Other(String),
}

/// A kind of event that can be booked. Calendly names it by a URI,
/// `https://api.calendly.com/event_types/<id>`; this is its last part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventType(BookingId);

impl EventType {
    /// Parses the URI.
    pub fn parse(uri: &str) -> Option<Self> {
        let (server, id) = uri.strip_prefix("https://")?.split_once("/event_types/")?;
        let id = BookingId::parse(id).ok()?;
        (!server.is_empty()).then_some(Self(id))
    }
}

/// A booking update: somebody booked, cancelled, moved or missed a call, or the missed call was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingUpdate {
    /// The id of the event: the event's name, the invitee and the time. Calendly sends no id of its
    /// own, and repeats these three when it sends the webhook again.
    pub id: EventId,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The bookings that it is about: its own first, then the one that it replaces.
    pub bookings: Vec<BookingId>,
    /// What was booked, if the webhook states it.
    pub event_type: Option<EventType>,
    /// The lead ids that came with the booking link, most trusted first.
    pub named: Vec<LeadId>,
    /// Who booked, as far as the webhook states it.
    pub invitee: Invitee,
    /// When they booked, if the update is about a booking and says so.
    pub booked_at: Option<Timestamp>,
    /// What happened, as an event.
    pub data: EventData,
}

/// Verifies that the raw body is signed with any of the keys, at most [`TOLERANCE_S`] from now.
pub fn verify<'b>(
    body: &'b [u8],
    header: Option<&str>,
    keys: &[Secret],
    now: Timestamp,
) -> Result<Verified<'b>, NotSigned> {
    signature::verify_with_time(body, header, keys, now, TOLERANCE_S)
}

/// The header that Calendly would send with a body. Used for samples and tests.
pub fn sign(body: &[u8], key: &Secret, now: Timestamp) -> String {
    signature::sign_with_time(body, key, now)
}

/// Writes a lead's id into a webhook's body as if it had come with the booking link. Returns whether
/// the body has a place for it.
pub fn name_lead(body: &mut Value, lead: LeadId) -> bool {
    let Some(Value::Object(payload)) = body.get_mut("payload") else { return false };
    let tracking = payload.entry("tracking").or_insert(Value::Null);
    if !tracking.is_object() {
        *tracking = Value::Object(Map::new());
    }
    tracking["utm_content"] = Value::String(lead.to_string());
    true
}

/// Parses a verified webhook.
pub fn parse(Verified(body): Verified<'_>) -> Result<Parsed, NotUnderstood> {
    let body = json::parse(body).map_err(|_| NotUnderstood("invalid_json"))?;
    let name = text(&body, "event").ok_or(NotUnderstood("without_event"))?;
    let Some(topic) = Topic::of(name) else { return Ok(Parsed::Other(event_name(name))) };
    let payload = body.get("payload").ok_or(NotUnderstood("without_payload"))?;
    let occurred_at = time(&body, "created_at").ok_or(NotUnderstood("without_created_at"))?;
    // The payload of a no-show is the invitee, or a separate resource that names the invitee.
    let address = text(payload, "invitee").or_else(|| text(payload, "uri"));
    let booking = address.and_then(invitee_id).ok_or(NotUnderstood("without_invitee"))?;
    let invitee = invitee(payload);
    let instead_of = text(payload, "old_invitee").and_then(invitee_id);
    // Whichever update about a rescheduled booking comes first, its lead is that of the booking that
    // it replaces.
    let bookings: Vec<BookingId> =
        [booking.clone()].into_iter().chain(instead_of.clone()).collect();
    let id = EventId::of_provider(NAME, &format!("{name}:{booking}:{occurred_at}"));
    let stated = time(payload, "created_at");
    let (data, booked_at): (EventData, _) = match topic {
        Topic::Created => {
            let call = call(payload, booking).ok_or(NotUnderstood("without_start_time"))?;
            let (invitee, booked_at) = (invitee.clone(), stated.unwrap_or(occurred_at));
            let booked = CallBooked { call, invitee, booked_at, instead_of, recipient: None };
            (booked.into(), Some(booked_at))
        }
        Topic::Canceled => {
            let moved = payload.get("rescheduled") == Some(&Value::Bool(true));
            let cancellation = payload.get("cancellation").unwrap_or(&Value::Null);
            let by =
                text(cancellation, "canceler_type").filter(|by| ["host", "invitee"].contains(by));
            let described = call(payload, booking.clone());
            let canceled = CallCanceled {
                of: described.map_or(Canceled::Booking(booking), Canceled::Call),
                invitee: invitee.clone(),
                booked_at: stated,
                withdrawal: if moved { Withdrawal::Rescheduled } else { Withdrawal::Canceled },
                by: by.map(str::to_owned),
                reason: personal(cancellation, "reason", WORDS_CHARS_MAX),
            };
            (canceled.into(), stated)
        }
        // A no-show that is a resource of its own has a time of its own.
        Topic::NoShow(attendance) => {
            let of_invitee = invitee.email.is_some();
            (CallMissed { booking, attendance }.into(), stated.filter(|_| of_invitee))
        }
    };
    let named = named(payload);
    let scheduled = payload.get("scheduled_event").unwrap_or(&Value::Null);
    let event_type = text(scheduled, "event_type").and_then(EventType::parse);
    Ok(Parsed::Booking(Box::new(BookingUpdate {
        id,
        occurred_at,
        bookings,
        event_type,
        named,
        invitee,
        booked_at,
        data,
    })))
}

/// The events of Calendly's that are handled.
#[derive(Clone, Copy)]
enum Topic {
    Created,
    Canceled,
    NoShow(Attendance),
}

impl Topic {
    fn of(name: &str) -> Option<Self> {
        match name {
            "invitee.created" => Some(Self::Created),
            "invitee.canceled" => Some(Self::Canceled),
            "invitee_no_show.created" => Some(Self::NoShow(Attendance::Missed)),
            "invitee_no_show.deleted" => Some(Self::NoShow(Attendance::MissedTakenBack)),
            _ => None,
        }
    }
}

/// The booking id in an invitee's URI, which is
/// `https://api.calendly.com/scheduled_events/<event>/invitees/<invitee>`.
fn invitee_id(address: &str) -> Option<BookingId> {
    let (_, id) = address.rsplit_once("/invitees/")?;
    BookingId::parse(id).ok()
}

fn invitee(payload: &Value) -> Invitee {
    let email = text(payload, "email").and_then(|text| Email::parse(text).ok());
    let whole = || {
        let parts = ["first_name", "last_name"].map(|part| text(payload, part));
        let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        Some(cut(&name, NAME_CHARS_MAX)).filter(|_| !name.is_empty())
    };
    let name = personal(payload, "name", NAME_CHARS_MAX).or_else(whole);
    let reminder = text(payload, "text_reminder_number").and_then(|text| Phone::parse(text).ok());
    let answered = || answers(payload).find_map(|(question, answer)| phone(question, answer));
    Invitee { email, name, phone: reminder.or_else(answered) }
}

/// The phone number in an answer, if its question asks for one or it is written with `+` and the
/// country code. Any other number could be something else, such as a CPF, and messages would go to
/// a stranger.
fn phone(question: &str, answer: &str) -> Option<Phone> {
    let question = question.to_lowercase();
    let words = ["phone", "fone", "celular", "whats", "zap", "contato", "telem"];
    let asked = words.iter().any(|word| question.contains(word));
    if asked || answer.starts_with('+') { Phone::parse(answer).ok() } else { None }
}

fn answers(payload: &Value) -> impl Iterator<Item = (&str, &str)> {
    let entries = payload.get("questions_and_answers").and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(|entry| {
        Some((text(entry, "question").unwrap_or_default(), text(entry, "answer")?))
    })
}

/// The lead ids in `utm_content`, in `salesforce_uuid` and in the answers, in this order and
/// without duplicates.
fn named(payload: &Value) -> Vec<LeadId> {
    let tracking = payload.get("tracking").unwrap_or(&Value::Null);
    let tracked =
        ["utm_content", "salesforce_uuid"].into_iter().filter_map(|name| text(tracking, name));
    let mut named = Vec::new();
    for text in tracked.chain(answers(payload).map(|(_, answer)| answer)) {
        let words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
        for id in words.filter(|word| word.len() >= 32).filter_map(|word| LeadId::parse(word).ok())
        {
            if !named.contains(&id) && named.len() < NAMED_MAX {
                named.push(id);
            }
        }
    }
    named
}

/// The call, if its start is stated.
fn call(payload: &Value, booking: BookingId) -> Option<Call> {
    let scheduled = payload.get("scheduled_event").unwrap_or(&Value::Null);
    let starts_at = time(scheduled, "start_time")?;
    let event = text(scheduled, "uri").or_else(|| text(payload, "event"));
    let calendar_event =
        event.and_then(|uri| uri.rsplit('/').next()).and_then(|id| BookingId::parse(id).ok());
    let zone = text(payload, "timezone").filter(|zone| is_zone_name(zone));
    Some(Call {
        booking,
        calendar_event,
        title: text(scheduled, "name").map(|name| name.chars().take(TITLE_CHARS_MAX).collect()),
        starts_at,
        ends_at: time(scheduled, "end_time"),
        time_zone: zone.map(str::to_owned),
        place: place(scheduled.get("location").unwrap_or(&Value::Null)),
        cancel_url: link(payload, "cancel_url"),
        reschedule_url: link(payload, "reschedule_url"),
    })
}

/// Whether a text looks like the IANA name of a time zone. Whether the zone exists is checked when
/// it is used.
fn is_zone_name(text: &str) -> bool {
    text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-' | b'+'))
}

/// Where the call takes place. Conferences have a `join_url` and the `status` of its creation.
/// Other locations have a free text, which may be the address of the host's own room.
fn place(location: &Value) -> Place {
    let url = link(location, "join_url");
    let kind = text(location, "type").unwrap_or_default();
    match (text(location, "status"), url) {
        (Some("initiated" | "processing"), url) => Place::BeingMade { url },
        (_, Some(url)) => Place::Link { url },
        (None, None) if kind.ends_with("conference") || kind == "zoom" => {
            Place::BeingMade { url: None }
        }
        (_, None) => {
            match (link(location, "location"), personal(location, "location", WORDS_CHARS_MAX)) {
                (Some(url), _) => Place::Link { url },
                (None, Some(words)) => Place::Words { words },
                (None, None) => Place::Unsaid,
            }
        }
    }
}

/// The trimmed text of a field. Absent, null and blank fields are `None`.
fn text<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

fn time(object: &Value, name: &str) -> Option<Timestamp> {
    text(object, name)?.parse().ok()
}

fn cut(text: &str, chars_max: usize) -> Text {
    Text::new(text.chars().take(chars_max).collect())
}

fn personal(object: &Value, name: &str, chars_max: usize) -> Option<Text> {
    text(object, name).map(|text| cut(text, chars_max))
}

/// An http or https address of at most [`URL_CHARS_MAX`] bytes.
fn link(object: &Value, name: &str) -> Option<Text> {
    let text = text(object, name)?;
    let is_link = text.starts_with("https://") || text.starts_with("http://");
    (is_link && text.len() <= URL_CHARS_MAX && !text.contains(char::is_whitespace))
        .then(|| text.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::CallEvent;

    const KEY: &str = "5mEzn9C-I28UtwOjZJtFoob0sAAFZ95GbZkqj4y3i0I";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Calendly publishes no test vector. This one was computed as `docs/providers.md` ("Calendly")
    /// describes.
    #[test]
    fn a_signature_is_verified_within_its_tolerance_and_no_variation_is() {
        let body = r#"{"created_at":"2020-11-23T17:51:19.000000Z","event":"invitee.created","payload":{"email":"test@example.com","name":"João"}}"#.as_bytes();
        let hex = "e386fbc64bb70a9bd0ddfbdae0de13498673111eeef16b8358efa2f1e11bbd2f";
        let keys = [Secret::new("the next one"), Secret::new(KEY)];
        let header = format!("t=1700000000,v1={hex}");
        let verify = |header: &str, now| verify(body, Some(header), &keys, at(now)).map(drop);
        assert_eq!(sign(body, &keys[1], at(1_700_000_000)), header);
        for now in [1_700_000_000, 1_700_000_180, 1_699_999_820] {
            assert_eq!(verify(&header, now), Ok(()), "{now}");
        }
        for now in [1_700_000_181, 1_699_999_819, 0] {
            assert_eq!(verify(&header, now), Err(NotSigned), "{now}");
        }
        let other = "0".repeat(64);
        for (header, expected) in [
            (format!("t=1700000000, v1={other}, v1={hex}"), Ok(())),
            (format!("v1={hex},t=1700000000"), Ok(())),
            (format!("t=1700000001,v1={hex}"), Err(NotSigned)),
            (format!("t=1700000000,v1={other}"), Err(NotSigned)),
            (format!("t=1700000000,v0={hex}"), Err(NotSigned)),
            (format!("t=,v1={hex}"), Err(NotSigned)),
            (format!("v1={hex}"), Err(NotSigned)),
            (String::new(), Err(NotSigned)),
        ] {
            assert_eq!(verify(&header, 1_700_000_000), expected, "{header}");
        }
        assert_eq!(super::verify(body, None, &keys, at(1_700_000_000)).map(drop), Err(NotSigned));
        let changed = [body, b" "].concat();
        let changed = super::verify(&changed, Some(&header), &keys, at(1_700_000_000));
        assert_eq!(changed.map(drop), Err(NotSigned));
    }

    fn body(event: &str, more: &Value) -> Value {
        let mut payload = json!({
            "uri": "https://api.calendly.com/scheduled_events/EV1/invitees/INV1",
            "email": "Ana@Example.com", "name": "Ana Exemplo", "timezone": "America/Sao_Paulo",
            "created_at": "2031-05-05T11:59:00.000000Z", "text_reminder_number": null,
            "questions_and_answers": null, "tracking": null, "cancellation": null,
            "scheduled_event": {
                "uri": "https://api.calendly.com/scheduled_events/EV1",
                "name": "Chamada", "start_time": "2031-05-08T17:00:00.000000Z",
                "end_time": "2031-05-08T17:45:00.000000Z", "location": null,
            },
        });
        for (name, value) in more.as_object().unwrap() {
            payload[name] = value.clone();
        }
        json!({"event": event, "created_at": "2031-05-05T11:59:01.000000Z", "payload": payload})
    }

    fn read(body: &Value) -> Result<Parsed, NotUnderstood> {
        parse(Verified(body.to_string().as_bytes()))
    }

    fn notice(event: &str, more: &Value) -> BookingUpdate {
        match read(&body(event, more)).unwrap() {
            Parsed::Booking(notice) => *notice,
            Parsed::Other(name) => panic!("{name}"),
        }
    }

    fn booked(more: &Value) -> CallBooked {
        let EventData::Call(CallEvent::Booked(booked)) = notice("invitee.created", more).data
        else {
            panic!()
        };
        *booked
    }

    #[test]
    fn a_booking_is_parsed() {
        let notice = notice("invitee.created", &json!({}));
        let id = "calendly:invitee.created:INV1:2031-05-05T11:59:01Z";
        assert_eq!(notice.id.as_str(), id);
        assert_eq!(notice.named, []);
        let booked = booked(
            &json!({"old_invitee": "https://api.calendly.com/scheduled_events/E/invitees/OLD"}),
        );
        assert_eq!(booked.instead_of.unwrap().as_str(), "OLD");
        assert_eq!(booked.call.calendar_event.unwrap().as_str(), "EV1");
        assert_eq!(booked.invitee.email.unwrap().as_str(), "ana@example.com");
        assert_eq!(booked.booked_at.to_string(), "2031-05-05T11:59:00Z");
        assert_eq!(booked.call.starts_at.to_string(), "2031-05-08T17:00:00Z");
        assert_eq!(booked.call.time_zone.as_deref(), Some("America/Sao_Paulo"));
    }

    #[test]
    fn an_event_type_is_known_by_its_uri_alone() {
        let id = "AAAAAAAAAAAAAAAA";
        let uri = format!("https://api.calendly.com/event_types/{id}");
        assert_eq!(EventType::parse(&uri), BookingId::parse(id).ok().map(EventType));
        let more = json!({"scheduled_event": {
            "start_time": "2031-05-08T17:00:00.000000Z", "event_type": &uri}});
        assert_eq!(notice("invitee.created", &more).event_type, EventType::parse(&uri));
        assert_eq!(notice("invitee.created", &json!({})).event_type, None);
        for text in [
            "",
            id,
            "https://calendly.com/ana/conversa",
            "https://api.calendly.com/event_types/",
            "https:///event_types/AAAA",
            "https://api.calendly.com/event_types/AAAA/more",
            "https://api.calendly.com/event_types/AA AA",
            "api.calendly.com/event_types/AAAA",
        ] {
            assert_eq!(EventType::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_kind_of_place_is_parsed() {
        let link = |url: &str| Place::Link { url: url.into() };
        let made = |url: Option<&str>| Place::BeingMade { url: url.map(Text::from) };
        let text = |text: &str| Place::Words { words: text.into() };
        let meet = "https://meet.example.com/abc";
        for (location, expected) in [
            (json!(null), Place::Unsaid),
            (json!({"type": "custom", "location": null}), Place::Unsaid),
            (
                json!({"type": "physical", "location": "Rua das Flores 12"}),
                text("Rua das Flores 12"),
            ),
            (
                json!({"type": "outbound_call", "location": "+55 11 98765-4321"}),
                text("+55 11 98765-4321"),
            ),
            (json!({"type": "custom", "location": meet}), link(meet)),
            (json!({"type": "zoom", "status": "pushed", "join_url": meet}), link(meet)),
            (json!({"type": "zoom", "join_url": meet}), link(meet)),
            (
                json!({"type": "google_conference", "status": "processing", "join_url": meet}),
                made(Some(meet)),
            ),
            (json!({"type": "google_conference", "status": "initiated"}), made(None)),
            (json!({"type": "zoom"}), made(None)),
            (json!({"type": "zoom", "status": "failed"}), Place::Unsaid),
        ] {
            let more = json!({"scheduled_event": {"start_time": "2031-05-08T17:00:00Z", "location": location}});
            assert!(booked(&more).call.place == expected, "{location}");
        }
    }

    #[test]
    fn lead_ids_are_taken_from_tracking_and_from_answers() {
        let [one, other, third] =
            [1, 2, 3].map(|n| format!("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b1{n}"));
        let notice = notice(
            "invitee.created",
            &json!({
                "tracking": {"utm_content": one.to_uppercase(), "salesforce_uuid": other},
                "questions_and_answers": [
                    {"question": "Código", "answer": format!("https://x.example/?lead={third}&a=1"), "position": 0},
                    {"question": "De novo", "answer": one, "position": 1},
                    {"question": "Vazio", "answer": null},
                ],
            }),
        );
        let named: Vec<_> = notice.named.iter().map(ToString::to_string).collect();
        assert_eq!(named, [one, other, third]);
    }

    #[test]
    fn a_phone_is_the_reminder_number_or_the_answer_to_a_question_for_one() {
        let answer = |question: &str, answer: &str| json!({"questions_and_answers": [{"question": question, "answer": answer}]});
        for (more, expected) in [
            (json!({"text_reminder_number": "+1 404-555-1234"}), Some("+14045551234")),
            (answer("Seu WhatsApp", "(11) 98765-4321"), Some("+5511987654321")),
            (answer("Outro", "+55 11 98765-4321"), Some("+5511987654321")),
            (answer("CPF", "11987654321"), None),
            (answer("Telefone", "depois"), None),
        ] {
            let phone = booked(&more).invitee.phone;
            assert_eq!(phone.as_ref().map(Phone::as_str), expected, "{more}");
        }
    }

    #[test]
    fn a_cancellation_and_a_reschedule_differ() {
        let canceled = |more: &Value| {
            let EventData::Call(CallEvent::Canceled(canceled)) =
                notice("invitee.canceled", more).data
            else {
                panic!("{more}")
            };
            *canceled
        };
        let by_invitee =
            canceled(&json!({"cancellation": {"canceler_type": "invitee", "reason": "Viagem"}}));
        assert_eq!(by_invitee.withdrawal, Withdrawal::Canceled);
        assert_eq!(by_invitee.by.as_deref(), Some("invitee"));
        assert!(by_invitee.of.call().is_some());
        assert_eq!(canceled(&json!({"rescheduled": true})).withdrawal, Withdrawal::Rescheduled);
    }

    #[test]
    fn a_cancellation_needs_no_more_than_its_invitees_uri() {
        let bare = json!({"uri": "https://api.calendly.com/scheduled_events/EV1/invitees/INV1"});
        let body = json!({"event": "invitee.canceled", "created_at": "2031-05-05T12:10:00Z",
            "payload": bare});
        let Ok(Parsed::Booking(notice)) = read(&body) else { panic!("{body}") };
        let EventData::Call(CallEvent::Canceled(canceled)) = notice.data else { panic!("{body}") };
        assert_eq!(canceled.of, Canceled::Booking(BookingId::parse("INV1").unwrap()));
        assert_eq!((canceled.invitee, canceled.booked_at), (Invitee::default(), None));
        assert_eq!(canceled.withdrawal, Withdrawal::Canceled);
    }

    #[test]
    fn a_no_show_is_parsed_in_both_formats() {
        let address = "https://api.calendly.com/scheduled_events/EV1/invitees/INV1";
        let own =
            json!({"uri": "https://api.calendly.com/invitee_no_shows/NS1", "invitee": address});
        for payload in [own, json!({"uri": address, "email": "ana@example.com"})] {
            for (name, attendance) in [
                ("invitee_no_show.created", Attendance::Missed),
                ("invitee_no_show.deleted", Attendance::MissedTakenBack),
            ] {
                let body = json!({"event": name, "created_at": "2031-05-08T18:00:00Z", "payload": payload});
                let Ok(Parsed::Booking(notice)) = read(&body) else { panic!("{body}") };
                let booking = BookingId::parse("INV1").unwrap();
                assert_eq!(notice.data, CallMissed { booking, attendance }.into());
                assert_eq!(notice.invitee.email.is_some(), payload.get("email").is_some());
                assert_eq!(notice.booked_at, None);
            }
        }
    }

    #[test]
    fn unknown_events_are_named_and_malformed_webhooks_are_not_understood() {
        let other = json!({"event": "routing_form_submission.created", "payload": {}});
        assert_eq!(read(&other), Ok(Parsed::Other("routing_form_submission.created".to_owned())));
        let strange = json!({"event": "ana@example.com <b>\n"});
        assert_eq!(read(&strange), Ok(Parsed::Other("anaexample.comb".to_owned())));
        assert_eq!(parse(Verified(b"{")), Err(NotUnderstood("invalid_json")));
        let without = |name: &str| {
            let mut body = body("invitee.created", &json!({}));
            body["payload"][name] = Value::Null;
            read(&body)
        };
        for (name, expected) in
            [("uri", "without_invitee"), ("scheduled_event", "without_start_time")]
        {
            assert_eq!(without(name), Err(NotUnderstood(expected)));
        }
        for name in ["timezone", "created_at", "email"] {
            assert!(without(name).is_ok(), "{name}");
        }
        let mut body = body("invitee.created", &json!({}));
        body["created_at"] = "yesterday".into();
        assert_eq!(read(&body), Err(NotUnderstood("without_created_at")));
        assert_eq!(read(&json!([])), Err(NotUnderstood("without_event")));
    }
}
