//! `funil journey`: a lead's journey as text for the terminal, and as JSON for the console.
//!
//! It shows personal data, because it is meant for the person who runs the system. It must not know
//! how a journey is read from the table.

use std::fmt::Write as _;

use funil_core::booking::Booking;
use funil_core::contact::consent::Purpose;
use funil_core::delivery::{Attempt, Delivery, KeptReply, Progress};
use funil_core::event::{EventData, OperationEvent};
use funil_core::lead::Lead;
use funil_core::money::Money;
use funil_core::payment::Transaction;
use funil_core::pii::{Pii, Text};
use funil_core::score::Breakdown;
use funil_core::score::rules::{AMANDA, READINESS, Score};
use funil_store::Journey;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The journey as JSON, in the format that the console (`assets/stage.js`) expects.
pub fn to_json(journey: &Journey) -> Value {
    let mut entries = Vec::new();
    for event in &journey.events {
        let mut entry = json!({
            "kind": "event",
            "at": event.accepted_at,
            "eventId": event.id,
            "type": event.data.name(),
            "suppliedLeadId": event.supplied_lead_id,
            "signs": event.signs,
            "dropped": event.data.dropped(),
            "decision": decision(&event.data),
            "bookings": event.data.bookings().iter().map(|change| &change.id).collect::<Vec<_>>(),
        });
        if let Some(note) = note(&event.data) {
            entry["note"] = note.into();
        }
        if let EventData::Deal(_) = &event.data {
            let of_event = journey.deliveries.iter().filter(|one| one.event_id == event.id);
            entry["status"] = Progress::of(of_event).name().into();
        }
        entries.push(entry);
    }
    for consent in &journey.consents {
        let changes = consent.decisions.iter().map(|(purpose, grant)| {
            json!({"purpose": purpose, "decision": grant.decision, "how": grant.how})
        });
        entries.push(json!({
            "kind": "consent",
            "at": consent.at,
            "form": consent.form,
            "policyVersion": consent.policy_version,
            "changes": changes.collect::<Vec<_>>(),
        }));
    }
    entries.extend(journey.deliveries.iter().map(delivery));
    // The sort is stable: entries of the same time stay in the order event, consent, deliveries.
    entries.sort_by_key(|entry| entry["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok()));
    let bookings: Vec<_> = journey.bookings.iter().map(booking).collect();
    json!({
        "lead": lead(&journey.lead),
        "bookings": bookings,
        "payments": journey.transactions.iter().map(payment).collect::<Vec<_>>(),
        "replies": journey.replies.iter().map(reply).collect::<Vec<_>>(),
        "entries": entries,
        "unread": journey.unread,
        "more": journey.more,
    })
}

/// A payment, in major units.
fn payment(transaction: &Transaction) -> Value {
    let amount = |minor| Money { minor, currency: transaction.currency }.decimal();
    json!({
        "transaction": transaction.id,
        "mode": transaction.mode,
        "currency": transaction.currency,
        "paid": transaction.paid.map(amount),
        "refunded": amount(transaction.refunded),
        "net": amount(transaction.net()),
        "paidAt": transaction.paid_at,
        "disputes": transaction.disputes.values().map(|one| one.status).collect::<Vec<_>>(),
    })
}

/// What a destination found out about the lead, and keeps.
fn reply(reply: &KeptReply) -> Value {
    json!({
        "step": reply.step,
        "at": reply.at,
        "deliveryId": reply.by,
        "fields": reply.fields.expose(),
    })
}

fn booking(booking: &Booking) -> Value {
    let call = booking.call.as_ref();
    json!({
        "booking": booking.id,
        "status": booking.status,
        "startsAt": call.map(|call| call.starts_at),
        "timeZone": call.and_then(|call| call.time_zone.as_ref()),
        "bookedAt": booking.booked_at,
    })
}

/// What the tool that sends e-mails or a CRM reported, if the event is such a report.
fn note(data: &EventData) -> Option<String> {
    match data {
        EventData::Consent(event) => Some(event.note()),
        EventData::Deal(event) => Some(event.note()),
        EventData::Form(_)
        | EventData::Call(_)
        | EventData::Payment(_)
        | EventData::Operation(_)
        | EventData::Visit(_) => None,
    }
}

/// What a person decided about a delivery, if the event is such a decision.
fn decision(data: &EventData) -> Option<Value> {
    let EventData::Operation(operation) = data else { return None };
    match operation {
        OperationEvent::SequenceRequested(_)
        | OperationEvent::SequenceWithdrawn(_)
        | OperationEvent::SyncRequested(_) => None,
        OperationEvent::DeliveryReplayed(replayed) => Some(json!({
            "deliveryId": replayed.delivery_id,
            "destination": replayed.destination,
            "slot": replayed.slot,
            "by": replayed.by,
            "was": replayed.reason,
        })),
        OperationEvent::DeliverySettled(settled) => Some(json!({
            "deliveryId": settled.delivery_id,
            "destination": settled.destination,
            "slot": settled.slot,
            "by": settled.by,
            "was": settled.reason,
            "as": settled.verdict,
        })),
    }
}

fn delivery(delivery: &Delivery) -> Value {
    let mut entry = json!({
        "kind": "delivery",
        "at": delivery.accepted_at,
        "eventId": delivery.event_id,
        "deliveryId": delivery.id,
        "destination": delivery.destination,
        "slot": delivery.slot,
        "state": delivery.state.name(),
        "reason": delivery.reason_text(),
        "dueAt": delivery.due_at(),
        "deadline": delivery.deadline,
        "booking": delivery.booking,
        "message": delivery.message,
        "doubtfulSince": delivery.state.unknown_since(),
        "settledAt": delivery.settled_at(),
        "attempts": delivery.log.iter().map(attempt).collect::<Vec<_>>(),
    });
    if let Some(advice) = advice(delivery) {
        entry["advice"] = advice.into();
    }
    entry
}

/// What an operator can do about a sign-up that did not end in a subscription.
fn advice(delivery: &Delivery) -> Option<&'static str> {
    let is_newsletter = delivery.destination == "mailerlite" && delivery.slot == "newsletter";
    match delivery.reason_text()?.as_str() {
        "unsubscribed" if is_newsletter => Some(
            "They had left, and anybody can send this form. If they ask you for it, subscribe them in \
             MailerLite; or set MAILERLITE_CONFIRMATION to everybody, so that MailerLite asks who comes back.",
        ),
        "no_consent_marketing_email" if is_newsletter => Some(
            "They revoked e-mails, or never agreed to them in a form of their own, and anybody can send this \
             form. If they ask you for it, subscribe them in MailerLite: what they revoked ends when it reports \
             that they are active.",
        ),
        _ => None,
    }
}

fn attempt(attempt: &Attempt) -> Value {
    json!({
        "at": attempt.at,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "durationMs": attempt.duration_ms,
        "reason": attempt.reason,
        "detail": attempt.detail.as_ref().map(Text::expose),
    })
}

fn lead(lead: &Lead) -> Value {
    let latest = &lead.latest;
    let consent: Vec<_> = Purpose::ALL
        .into_iter()
        .filter_map(|purpose| {
            let grant = lead.consents.get(purpose)?;
            let (decision, how, at) = (grant.decision, grant.how, grant.at);
            Some(json!({"purpose": purpose, "decision": decision, "how": how, "at": at}))
        })
        .collect();
    json!({
        "leadId": lead.id,
        "name": latest.name.as_ref().map(Text::expose),
        "email": latest.email.as_ref().map(funil_core::contact::Email::as_str),
        "phone": latest.phone.as_ref().map(funil_core::contact::Phone::as_str),
        "stage": lead.stage().name(),
        "amandaScore": score(lead),
        "clientScore": latest.client_score,
        "readinessScore": readiness_score(lead),
        "daysToPayment": lead.days_to_first_payment(),
        "bookingUrl": lead.booking_field().filter(|link| !link.is_empty()),
        "consent": consent,
        "version": lead.version,
    })
}

fn score(lead: &Lead) -> Option<Value> {
    let latest = &lead.latest;
    let score = latest.amanda_score.as_ref()?;
    let breakdown = points(&AMANDA, &score.rules, &score.breakdown, |field| {
        let answer = match field {
            "businessType" => &latest.business_type,
            "monthlyRevenue" => &latest.monthly_revenue,
            "workHoursDaily" => &latest.work_hours_daily,
            _ => &latest.main_struggle,
        };
        answer.as_ref().map(|text| json!(text.expose()))
    });
    Some(json!({
        "total": score.total,
        "tier": score.tier,
        "rulesVersion": score.rules,
        "breakdown": breakdown,
    }))
}

fn readiness_score(lead: &Lead) -> Option<Value> {
    let score = lead.latest.readiness_score.as_ref()?;
    let responses = lead.latest.responses.as_ref().map(Pii::expose);
    let breakdown = points(&READINESS, &score.rules, &score.breakdown, |field| {
        responses.and_then(|responses| responses.get(field)).map(|answer| json!(answer))
    });
    Some(json!({
        "total": score.total,
        "rulesVersion": score.rules,
        "breakdown": breakdown,
        "responses": responses,
    }))
}

/// The points of each question with the answer to it, in the order of the built-in rules where those were
/// applied. How many points there could have been is known of those alone.
fn points(
    of: &'static Score,
    version: &str,
    breakdown: &Breakdown,
    answer: impl Fn(&str) -> Option<Value>,
) -> Vec<Value> {
    let row = |field: &str, max: Option<u8>| {
        json!({
            "criterion": field,
            "answer": answer(field),
            "points": breakdown.get(field),
            "max": max,
        })
    };
    match of.built_in().ok().filter(|rules| rules.version == version) {
        Some(rules) => {
            let rows = rules.scored().map(|one| row(&one.field, Some(one.points_max())));
            rows.collect()
        }
        None => breakdown.keys().map(|field| row(field, None)).collect(),
    }
}

/// A value as text; `null` as none.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// What is known of the lead now: scores, calls, payments, and what was found out.
fn summary(shown: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let lead = &shown["lead"];
    let score = &lead["amandaScore"];
    // A lead that a webhook created, such as that of a booked call, has no score.
    let score = if score.is_object() {
        format!("score {} ({})", text(&score["total"]), text(&score["tier"]))
    } else {
        String::new()
    };
    lines.push(format!("lead {}  stage {}  {score}", text(&lead["leadId"]), text(&lead["stage"])));
    let questionnaire = &lead["readinessScore"];
    if questionnaire.is_object() {
        let (total, booking) = (text(&questionnaire["total"]), text(&lead["bookingUrl"]));
        lines.push(format!("questionnaire score {total}  {booking}"));
    }
    for booking in shown["bookings"].as_array().into_iter().flatten() {
        let (id, status) = (text(&booking["booking"]), text(&booking["status"]));
        lines.push(format!("call {}  {status}  booking {id}", text(&booking["startsAt"])));
    }
    let days = text(&lead["daysToPayment"]);
    if !days.is_empty() {
        lines.push(format!("first payment {days} days after the first form or booking"));
    }
    for payment in shown["payments"].as_array().into_iter().flatten() {
        let (id, currency) = (text(&payment["transaction"]), text(&payment["currency"]));
        let (net, paid) = (text(&payment["net"]), text(&payment["paid"]));
        let (refunded, mode) = (text(&payment["refunded"]), text(&payment["mode"]));
        let disputes = payment["disputes"].as_array().into_iter().flatten();
        let disputes: Vec<String> =
            disputes.map(|one| format!(", dispute {}", text(one))).collect();
        lines.push(format!(
            "payment {id}  {net} {currency}  paid {paid}, refunded {refunded}{}  {mode}",
            disputes.concat()
        ));
    }
    for reply in shown["replies"].as_array().into_iter().flatten() {
        let (at, step) = (text(&reply["at"]), text(&reply["step"]));
        let fields = reply["fields"].as_object().into_iter().flatten();
        let fields: Vec<String> =
            fields.map(|(name, value)| format!("{name}={}", text(value))).collect();
        lines.push(format!("found  {at}  {step}  {}", fields.join(", ")));
    }
    lines
}

/// The journey as text for the terminal.
pub fn to_text(journey: &Journey) -> String {
    let shown = to_json(journey);
    let mut lines = String::new();
    let mut line = |line: String| {
        lines.push_str(line.trim_end());
        lines.push('\n');
    };
    summary(&shown).into_iter().for_each(&mut line);
    for entry in shown["entries"].as_array().into_iter().flatten() {
        let at = text(&entry["at"]);
        match entry["kind"].as_str() {
            Some("event") => {
                line(format!("{at}  {}  {}", text(&entry["type"]), text(&entry["eventId"])));
                let note = text(&entry["note"]);
                if !note.is_empty() {
                    let status = text(&entry["status"]);
                    let status = if status.is_empty() { status } else { format!("  [{status}]") };
                    line(format!("    {note}{status}"));
                }
                let supplied = text(&entry["suppliedLeadId"]);
                if !supplied.is_empty() {
                    line(format!("    carried the id of another lead: {supplied}"));
                }
                for name in entry["dropped"].as_array().into_iter().flatten() {
                    line(format!("    {} was no value that it can have, and dropped", text(name)));
                }
                for sign in entry["signs"].as_array().into_iter().flatten() {
                    line(format!("    sign of spam: {}", text(sign)));
                }
                let decision = &entry["decision"];
                if decision.is_object() {
                    let slot =
                        format!("{}/{}", text(&decision["destination"]), text(&decision["slot"]));
                    let (was, by) = (text(&decision["was"]), text(&decision["by"]));
                    line(format!(
                        "    {slot:<26} {:<10} was {was}, by {by}",
                        text(&decision["as"])
                    ));
                }
            }
            Some("consent") => {
                let mut changes = String::new();
                for change in entry["changes"].as_array().into_iter().flatten() {
                    let (purpose, decision) = (text(&change["purpose"]), text(&change["decision"]));
                    write!(changes, " {purpose}={decision} ({})", text(&change["how"]))
                        .expect("writing to a String cannot fail");
                }
                line(format!("{at}  consent {changes}"));
            }
            Some(_) | None => {
                let slot = format!("{}/{}", text(&entry["destination"]), text(&entry["slot"]));
                let (state, reason) = (text(&entry["state"]), text(&entry["reason"]));
                let due = match entry["state"].as_str() {
                    Some("pending" | "leased") => format!("due {} ", text(&entry["dueAt"])),
                    Some(_) | None => String::new(),
                };
                let message = text(&entry["message"]);
                line(format!("{at}  {slot:<26} {state:<10} {due}{reason} {message}"));
                if let Some(advice) = entry["advice"].as_str() {
                    line(format!("    {advice}"));
                }
                for attempt in entry["attempts"].as_array().into_iter().flatten() {
                    line(format!(
                        "    {}  {:<10} {:<4} {:>6} ms  {}",
                        text(&attempt["at"]),
                        text(&attempt["outcome"]),
                        text(&attempt["status"]),
                        text(&attempt["durationMs"]),
                        text(&attempt["reason"])
                    ));
                }
            }
        }
    }
    if journey.unread > 0 {
        line(format!("{} items could not be read", journey.unread));
    }
    if journey.more {
        line("there may be more than is shown here".to_owned());
    }
    lines
}
