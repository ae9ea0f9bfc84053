//! A delivery's conversation with an adapter, shown for the snapshot tests of the destinations.
//!
//! Must not know any event.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::booking::Booking;
use crate::delivery::exchange::{Request, Response};
use crate::delivery::{Delivery, KeptReply};
use crate::destination::{Adapter, Context, Known, Step, connector, find};
use crate::event::Event;
use crate::lead::Lead;
use crate::pii::Text;
use crate::settings::Env;

/// An adapter of `destination`, configured by `variables`.
pub(in crate::destination) fn adapter(
    destination: &str,
    variables: &[(&str, &str)],
) -> Box<dyn Adapter> {
    let env: Env = variables.iter().copied().chain([("SITE_URL", "https://example.com")]).collect();
    let mut settings = env.settings();
    let adapter = (connector(destination).unwrap().connect)(&mut settings);
    settings.finish(adapter).unwrap()
}

/// A response with this body; an empty one for `null`.
pub(in crate::destination) fn response(status: u16, body: &Value) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Response { status, retry_after_s: None, body: Text::new(body) }
}

/// Runs a delivery of `event` through `adapter` with these responses, and shows every request and
/// the outcome, for a snapshot.
pub(in crate::destination) fn conversation(
    adapter: &dyn Adapter,
    slot: (&str, &str),
    event: &Event,
    lead: &Lead,
    responses: &[Response],
) -> String {
    conversation_with(&[], adapter, slot, event, lead, responses)
}

/// [`conversation`] for a lead with bookings.
pub(in crate::destination) fn conversation_with(
    bookings: &[Booking],
    adapter: &dyn Adapter,
    slot: (&str, &str),
    event: &Event,
    lead: &Lead,
    responses: &[Response],
) -> String {
    conversation_known((bookings, Known::NotLately), adapter, slot, event, lead, responses)
}

/// [`conversation`] for a lead with bookings that the destination confirmed lately, or not.
pub(in crate::destination) fn conversation_known(
    (bookings, known): (&[Booking], Known),
    adapter: &dyn Adapter,
    (destination, slot): (&str, &str),
    event: &Event,
    lead: &Lead,
    responses: &[Response],
) -> String {
    let registered = find(destination).unwrap();
    let delivery = Delivery::planned(event, destination, slot);
    let slot = registered.slot(slot).unwrap();
    let context = Context {
        lead,
        revocations: &[],
        event,
        bookings,
        delivery: &delivery,
        slot,
        oldest: None,
        elder: None,
        known,
        kept: &[],
    };
    converse(adapter, context, &mut Vec::new(), responses)
}

/// Runs a delivery with what is kept of earlier ones, and keeps what it wants kept.
pub(in crate::destination) fn converse(
    adapter: &dyn Adapter,
    context: Context<'_>,
    kept: &mut Vec<KeptReply>,
    responses: &[Response],
) -> String {
    let mut shown = String::new();
    let (mut from, mut count) = (0, 0);
    loop {
        let step = adapter.next(&Context { kept, ..context }, &responses[from..count]);
        match step {
            Step::Done(outcome) => {
                assert_eq!(count, responses.len(), "it ended before all responses were read");
                let reason = outcome.reason().map(|reason| reason.to_string());
                write!(shown, "=> {} {}", outcome.name(), reason.unwrap_or_default()).unwrap();
                return shown.trim_end().to_owned();
            }
            Step::Send(request) => {
                show(&mut shown, &request);
                let Some(response) = responses.get(count) else {
                    write!(shown, "<- ?").unwrap();
                    return shown;
                };
                writeln!(shown, "<- {}\n", response.status).unwrap();
                count += 1;
            }
            Step::Keep(reply) => {
                let fields = reply.fields.expose();
                writeln!(shown, "keep {} {}\n", reply.step, json!(fields)).unwrap();
                from = count;
                kept.push(KeptReply {
                    step: reply.step.clone(),
                    at: context.event.accepted_at,
                    by: context.delivery.id,
                    fields: reply.fields,
                });
            }
        }
    }
}

fn show(out: &mut String, request: &Request) {
    writeln!(out, "{} {} ({:?})", request.method.name(), request.url, request.repeat).unwrap();
    for (name, value) in &request.headers {
        writeln!(out, "{name}: {}", value.expose()).unwrap();
    }
    if let Some(body) = &request.body {
        writeln!(out, "{}", serde_json::to_string_pretty(body).unwrap()).unwrap();
    }
}
