//! Faults at each request to the table on a booked call's way: a call is booked, every destination gets
//! it, and its messages are sent; another call is canceled; then the person opts out. Whatever fails or
//! dies, everything arrives once, and no message is sent after the end of its booking or the opt-out was
//! accepted.
//!
//! As in [`super::table`], one walk breaks the n-th table request of every stage. Calendly and Meta send
//! again what was not accepted.

use funil_core::contact::consent::Decision;
use funil_core::destination;
use funil_core::provider::{calendly as calendly_provider, whatsapp};
use funil_core::settings::Secret;
use funil_delivery::Patience;
use funil_dev::simulated::whatsapp_inbound;
use futures::StreamExt as _;
use http::Method;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::everywhere;
use super::table::{Fault, Walk, a_minute_of_dispatch};
use crate::calendly::{canceled, created_through_link, send_signed};
use crate::proxy::Break;
use crate::world::{
    CALENDLY_KEY, Deployment, LEAD, Response, WHATSAPP_APP_SECRET, World, lead, lead_body,
};

/// The phone number of [`lead_body`], as WhatsApp writes it.
const NUMBER: &str = "5511987654321";
/// How often a provider sends what was not accepted.
const SENT_MAX: usize = 10;

/// What a provider sends us.
#[derive(Clone, Copy, Debug)]
pub(super) enum Update {
    Booked(&'static str),
    Canceled(&'static str),
    OptOut,
}

impl Update {
    /// Sends it to one process, signed now.
    pub(super) async fn send(self, world: &World, to: &Deployment) -> Response {
        let calendar = async |body: Value| {
            let body = body.to_string();
            let key = Secret::new(CALENDLY_KEY);
            let signature = calendly_provider::sign(body.as_bytes(), &key, world.now());
            send_signed(to, &signature, body.as_bytes()).await
        };
        match self {
            Self::Booked(invitee) => calendar(created_through_link(invitee)).await,
            Self::Canceled(invitee) => calendar(canceled(invitee)).await,
            Self::OptOut => {
                let body = whatsapp_inbound(NUMBER, "PARAR", world.now().as_second()).to_string();
                let key = Secret::new(WHATSAPP_APP_SECRET);
                let signature = whatsapp::sign(&key, body.as_bytes());
                let headers = [
                    ("content-type", "application/json"),
                    (whatsapp::SIGNATURE_HEADER, &*signature),
                ];
                to.send("whatsapp-webhook", Method::POST, &headers, body.as_bytes()).await
            }
        }
    }

    /// Sends it again to other processes until it is accepted.
    pub(super) async fn until_accepted(self, world: &World, first: Option<Response>, title: &str) {
        let mut response = first;
        for _ in 0..SENT_MAX {
            match &response {
                Some(response) if response.status == 200 => return,
                Some(response) => assert_eq!(response.status, 503, "{title}: {self:?}"),
                None => {}
            }
            world.pass(20);
            response = Some(self.send(world, &world.deployment(&[])).await);
        }
        panic!("{title}: {self:?} is never accepted");
    }
}

/// How a walk ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    /// How many table requests each stage had.
    requests: Vec<usize>,
    /// In how many stages something broke.
    broken: usize,
    /// How many deliveries may have been sent, and nobody knows.
    unknown: usize,
}

/// Walks the whole way with a fault at one request of each stage.
async fn walk(at: usize, fault: Fault) -> Ended {
    let title = format!("request {at} of each stage, {fault:?}");
    let (mut walk, world) = Walk::begin(at, fault, everywhere()).await;
    let mut form = lead_body();
    form["consent"]["ads"] = Value::Bool(true);
    world.submit(&form).await;
    world.advance(SignedDuration::from_mins(10)).await;

    update_stage(&mut walk, &world, Update::Booked("OFF"), &title).await;
    walk.stage(a_minute_of_dispatch(&world)).await;
    for destination in destination::ALL {
        let worker = world.worker(destination.name);
        walk.stage(worker.drain(Patience::None, world.stop_at())).await;
    }
    world.advance(SignedDuration::from_mins(30)).await;
    update_stage(&mut walk, &world, Update::Canceled("OFF"), &title).await;
    world.advance(SignedDuration::from_mins(30)).await;

    Update::Booked("ON").until_accepted(&world, None, &title).await;
    world.advance(SignedDuration::from_hours(12)).await;
    // The call begins 77 hours after the world.
    world.pass(42 * 3600);
    let worker = world.worker("whatsapp");
    walk.stage(worker.drain(Patience::None, world.stop_at())).await;
    world.advance(SignedDuration::from_mins(30)).await;
    update_stage(&mut walk, &world, Update::OptOut, &title).await;
    world.advance(SignedDuration::from_hours(30)).await;
    let unknown = arrived_once(world, &title).await;
    Ended { requests: walk.requests, broken: walk.broken, unknown }
}

/// A stage in which a provider sends something, until it is accepted.
async fn update_stage(walk: &mut Walk, world: &World, update: Update, title: &str) {
    let process = world.deployment(&[]);
    let response = walk.stage(update.send(world, &process)).await;
    update.until_accepted(world, response, title).await;
    // A provider that got no response, or a slow one, sends it once more.
    let again = update.send(world, &world.deployment(&[])).await;
    assert_eq!(again.status, 200, "{title}: {update:?}");
}

/// Checks what must hold at the end; returns how many deliveries may have been sent, and nobody knows.
async fn arrived_once(world: World, title: &str) -> usize {
    for destination in destination::ALL {
        world.looks_at(destination.name);
    }
    let journey = world.journey(lead()).await;
    let events: Vec<&str> = journey.events.iter().map(|event| event.data.name()).collect();
    assert_eq!(
        events,
        ["lead_submitted", "call_booked", "call_canceled", "call_booked"],
        "{title}"
    );
    let revoked = journey.lead.consents.whatsapp.map(|grant| grant.decision);
    assert_eq!(revoked, Some(Decision::Denied), "{title}");
    let messages = world.providers.whatsapp_messages();
    let mut unknown = 0;
    for delivery in &journey.deliveries {
        let (destination, slot) = (delivery.destination.as_str(), delivery.slot.as_str());
        let reason = delivery.reason_text().unwrap_or_default();
        let name = format!("{LEAD}/{}", delivery.id);
        let sent =
            messages.iter().filter(|message| message.callback_data.as_ref() == Some(&name)).count();
        let booking = delivery.booking.as_ref().map_or("", |booking| booking.as_str());
        let shown = format!("{destination}/{slot} {} {reason}", delivery.state.name());
        let is_unknown = reason == "may_have_been_sent";
        let expected = match (destination, slot, booking) {
            ("whatsapp", "reminder_24h" | "reminder_2h", "OFF") => "skipped booking_canceled",
            ("whatsapp", "reminder_2h", "ON") => "skipped no_consent_whatsapp",
            ("whatsapp", _, _) if is_unknown => "dead may_have_been_sent",
            ("ga4", _, _) if is_unknown => "unknown may_have_been_sent",
            _ => "delivered ",
        };
        assert_eq!(shown, format!("{destination}/{slot} {expected}"), "{title}");
        unknown += usize::from(is_unknown);
        if destination == "whatsapp" {
            let was_sent = expected == "delivered ";
            let fits = if is_unknown { sent <= 1 } else { sent == usize::from(was_sent) };
            assert!(fits, "{title}: {sent} messages of {shown}");
        }
    }
    let of = |name: &str| journey.deliveries.iter().filter(|d| d.destination == name).count();
    for destination in destination::ALL {
        let planned: usize =
            journey.events.iter().map(|event| (destination.plan)(event).len()).sum();
        assert_eq!(of(destination.name), planned, "{title}: {}", destination.name);
    }
    assert_eq!(world.providers.meta_events().len(), of("meta"), "{title}");
    let segment = world.providers.segment_messages().len();
    assert_eq!(segment, 2 * of("segment"), "{title}");
    assert!(world.providers.ga4_events().len() + unknown >= of("ga4"), "{title}");
    assert!(world.providers.ga4_events().len() <= of("ga4"), "{title}");
    assert_eq!(world.providers.crm_triggers(LEAD).values().sum::<u32>(), 1, "{title}");
    let contact = world.providers.crm_contact(LEAD).unwrap();
    assert_eq!(contact["custom_fields"]["call_status"], "booked", "{title}");
    world.finish().await;
    unknown
}

/// How many table requests each stage has when nothing breaks.
async fn stages() -> &'static [usize] {
    static STAGES: OnceCell<Vec<usize>> = OnceCell::const_new();
    let counted = STAGES.get_or_init(|| async {
        let Ended { requests, broken, unknown } = walk(0, Fault::none()).await;
        // Three updates of providers, a minute of dispatch, one drain each, and the reminder's.
        assert_eq!((requests.len(), broken, unknown), (5 + destination::ALL.len(), 0, 0));
        requests
    });
    counted.await
}

/// Breaks the first `requests` table requests of each stage; returns how many deliveries in all may have
/// been sent, and nobody knows.
async fn first_requests(requests: usize, fault: Fault) -> usize {
    let stages = stages().await;
    let walks = (0..requests).map(|at| walk(at, fault));
    let ends: Vec<Ended> =
        futures::stream::iter(walks).buffer_unordered(fault.side_by_side()).collect().await;
    let broken: usize = ends.iter().map(|end| end.broken).sum();
    assert!(broken >= stages.iter().map(|stage| requests.min(*stage)).sum(), "{fault:?}");
    ends.iter().map(|end| end.unknown).sum()
}

/// Breaks every table request of the way.
async fn every_request(fault: Fault) -> usize {
    first_requests(stages().await.iter().copied().max().unwrap(), fault).await
}

#[tokio::test]
async fn a_table_that_refuses_the_first_try_of_every_request_loses_no_booking() {
    for how in [Break::BeforeEffect, Break::Exceeded, Break::Throttled, Break::InProgress] {
        let Ended { requests, broken, unknown } = walk(0, Fault::every_first_try(how)).await;
        assert_eq!((broken, unknown), (requests.len(), 0), "{how:?}");
    }
}

#[tokio::test]
async fn one_lost_response_duplicates_no_message() {
    for how in [Break::AfterEffect, Break::HangAfter] {
        assert_eq!(every_request(Fault::once(how)).await, 0, "{how:?}");
    }
}

/// The harmful requests of a walk: GA4's event, the welcome and the reminder.
const HARMFUL: usize = 3;
/// How many of them read the table once more between their mark and their request: the two
/// messages.
const LOOKED_AT: usize = 2;

#[tokio::test]
async fn a_table_that_is_gone_at_any_step_loses_no_booking() {
    for how in [Break::BeforeEffect, Break::HangBefore] {
        let unknown = every_request(Fault::lasting(how)).await;
        assert_eq!(unknown, 0, "what was not sent is not unknown: {how:?}");
    }
}

#[tokio::test]
async fn a_table_whose_responses_are_lost_at_any_step_duplicates_no_message() {
    for how in [Break::AfterEffect, Break::HangAfter] {
        let unknown = every_request(Fault::lasting(how)).await;
        assert_eq!(unknown, 0, "what was not sent is not unknown: {how:?}");
    }
}

#[tokio::test]
async fn a_conflict_at_any_step_loses_no_booking() {
    let unknown = every_request(Fault::once(Break::Conflict)).await;
    assert_eq!(unknown, 0, "a write that merely met a transaction is sent again");
    let unknown = every_request(Fault::lasting(Break::Conflict)).await;
    assert_eq!(unknown, 0, "what was not sent is not unknown");
}

#[tokio::test]
async fn a_table_that_stays_busy_loses_no_booking() {
    // To a worker, a busy table is a table that is gone; only the updates' transactions tell them apart.
    let updates = stages().await[0];
    for how in [Break::Exceeded, Break::Throttled, Break::InProgress] {
        let unknown = first_requests(updates, Fault::lasting(how)).await;
        assert!(unknown <= HARMFUL + LOOKED_AT, "{how:?}: {unknown}");
    }
}

#[tokio::test]
async fn a_process_may_die_at_any_request_on_a_bookings_way() {
    let unknown = every_request(Fault::dies_before()).await;
    assert_eq!(unknown, HARMFUL + LOOKED_AT, "where it may have been sent and was not settled");
    let unknown = every_request(Fault::dies_after()).await;
    assert_eq!(unknown, HARMFUL + LOOKED_AT, "where it is marked and was not sent");
}
