//! Segment by its HTTP Tracking API: `docs/providers.md` ("Segment").
//!
//! An event destination: one batch of `identify` and `track`. The message ids are made from the
//! delivery's id, so Segment drops repetitions. Who the person is comes from the lead, what
//! happened from the event.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use url::Url;

use super::repetition::ReplayPolicy;
use super::{Adapter, Connector, Context, Destination, Kind, Slot, Step, Whose};
use crate::booking::Call;
use crate::check::{Finding, Probe, refusal};
use crate::contact::attribution::{Attribution, Utm};
use crate::contact::consent::Purpose;
use crate::delivery::exchange::{Method, Request, Response, endpoint};
use crate::delivery::{Outcome, Reason, WhenUnknown, judge};
use crate::event::{
    CallBooked, CallCanceled, CallEvent, Canceled, EventData, FormEvent, PaymentEvent,
    PaymentSucceeded, Purchase, TransactionId,
};
use crate::money::Money;
use crate::pii::Text;
use crate::settings::{Secret, Settings};

static EVENT: Slot = Slot::new("event", Purpose::Analytics);

/// Segment: who a lead is, and their events.
pub static DESTINATION: Destination = Destination {
    name: "segment",
    function: "segment-sync",
    provider: "segment",
    kind: Kind::Event,
    whose: Whose::Leads,
    deadline_h: 14 * 24,
    when_unknown: WhenUnknown::Never,
    replay: ReplayPolicy::RECOGNISED,
    person_pause_s: None,
    keyed_by_email: false,
    keeps_replies: false,
    follows_bookings: false,
    page_event: None,
    daily_per_number: None,
    requests_per_minute: None,
    base_url_variable: "SEGMENT_BASE_URL",
    local_path: "/v1",
    other_base_urls: &[],
    local_credentials: &[("SEGMENT_WRITE_KEY", "local-segment")],
    local_settings: &[],
    slots: &[EVENT],
    plan: |event| taken(&event.data).map(|_| (&EVENT).into()).into_iter().collect(),
};

/// What makes its adapter. Only the function that delivers to it links this.
pub static CONNECTOR: Connector = Connector {
    destination: &DESTINATION,
    connect: |settings| Some(Box::new(Segment::connect(settings)?)),
};

/// What Segment takes of an event.
struct Taken {
    /// The event's name in Segment.
    name: Cow<'static, str>,
    properties: Map<String, Value>,
    /// Campaign and page of the visit in which it happened, as Segment's `context`.
    visit: Option<Value>,
}

fn taken(event: &EventData) -> Option<Taken> {
    use EventData::{Call, Consent, Deal, Form, Operation, Payment, Visit};

    match event {
        Form(event) => lead_submitted(event)
            .or_else(|| questionnaire_completed(event))
            .or_else(|| site_form(event)),
        Call(event) => match event {
            CallEvent::Booked(booked) => Some(call_scheduled(booked)),
            CallEvent::Canceled(canceled) if event.is_lost_call() => Some(call_canceled(canceled)),
            CallEvent::Missed(missed) if event.is_lost_call() => {
                let properties = present([("bookingId", Some(missed.booking.as_str().into()))]);
                Some(Taken { name: "Call No-Show".into(), properties, visit: None })
            }
            CallEvent::Canceled(_)
            | CallEvent::Missed(_)
            | CallEvent::BookedElsewhere(_)
            | CallEvent::ChangeRequested(_) => None,
        },
        Payment(event) => payment(event),
        Deal(_) | Consent(_) | Operation(_) | Visit(_) => None,
    }
}

/// Money that came or went, by the names of Segment's own e-commerce events and properties. A subscription
/// is sent without its price: its invoices bring the money.
fn payment(event: &PaymentEvent) -> Option<Taken> {
    match event {
        PaymentEvent::Succeeded(paid) => Some(order_completed(paid, paid.counted?)),
        PaymentEvent::Refunded(refund) => {
            Some(order_refunded(&refund.transaction, refund.counted?, Some(&refund.purchase)))
        }
        PaymentEvent::Disputed(dispute) => {
            let mut refunded = order_refunded(&dispute.transaction, dispute.counted?, None);
            refunded.properties.insert("reason".to_owned(), "dispute_lost".into());
            Some(refunded)
        }
        PaymentEvent::SubscriptionStarted(started) => {
            let properties = present([
                ("subscription_id", Some(started.subscription.as_str().into())),
                ("plan", started.plan.as_deref().map(Value::from)),
                ("pricing_tier", started.purchase.pricing_tier.as_deref().map(Value::from)),
            ]);
            Some(Taken { name: "Subscription Started".into(), properties, visit: None })
        }
        PaymentEvent::Failed(_) | PaymentEvent::CheckoutCompleted(_) => None,
    }
}

fn order_completed(paid: &PaymentSucceeded, amount: Money) -> Taken {
    let purchase = &paid.purchase;
    let mut properties = order(&paid.transaction, amount);
    properties.extend(present([
        ("revenue", Some(amount.number())),
        ("coupon", purchase.coupon.as_deref().map(Value::from)),
        ("payment_method", paid.method.as_deref().map(Value::from)),
        ("products", product(purchase, amount).map(|product| json!([product]))),
    ]));
    let is_known = purchase.utm != Utm::default();
    let visit = is_known.then(|| json!({"campaign": campaign(&purchase.utm)}));
    Taken { name: "Order Completed".into(), properties, visit }
}

fn order_refunded(
    transaction: &TransactionId,
    amount: Money,
    purchase: Option<&Purchase>,
) -> Taken {
    let mut properties = order(transaction, amount);
    if let Some(product) = purchase.and_then(|purchase| product(purchase, amount)) {
        properties.insert("products".to_owned(), json!([product]));
    }
    Taken { name: "Order Refunded".into(), properties, visit: None }
}

fn order(transaction: &TransactionId, amount: Money) -> Map<String, Value> {
    present([
        ("order_id", Some(transaction.as_str().into())),
        ("total", Some(amount.number())),
        ("currency", Some(amount.currency.as_str().into())),
    ])
}

/// What was bought; `None` where the site did not say it.
fn product(purchase: &Purchase, amount: Money) -> Option<Value> {
    let product = present([
        ("product_id", purchase.service_id.as_deref().map(Value::from)),
        ("name", purchase.service_name.as_deref().map(Value::from)),
        ("category", purchase.service_type.as_deref().map(Value::from)),
        ("variant", purchase.pricing_tier.as_deref().map(Value::from)),
    ]);
    if product.is_empty() {
        return None;
    }
    let sold = present([("price", Some(amount.number())), ("quantity", Some(1.into()))]);
    Some(Value::Object(product.into_iter().chain(sold).collect()))
}

fn lead_submitted(event: &FormEvent) -> Option<Taken> {
    let FormEvent::LeadSubmitted(submitted) = event else { return None };
    let form = &submitted.form;
    let properties = present([
        ("amandaScore", Some(Value::from(submitted.score.total))),
        ("tier", Some(Value::from(submitted.score.tier.name()))),
        ("businessType", text(Some(&form.business_type))),
        ("monthlyRevenue", form.monthly_revenue.as_ref().map(|answer| Value::from(answer.text()))),
        ("workHoursDaily", form.work_hours_daily.as_ref().map(|answer| Value::from(answer.text()))),
        ("mainStruggle", text(form.main_struggle.as_ref())),
        ("sourceSection", text(form.source_section.as_ref())),
        ("trafficSource", text(form.traffic_source.as_ref())),
    ]);
    Some(Taken { name: "Lead Submitted".into(), properties, visit: Some(visit(&form.attribution)) })
}

/// Campaign and page of a visit, as Segment's `context`.
fn visit(touch: &Attribution) -> Value {
    let page = present([
        ("url", text(touch.page_url.as_ref())),
        ("referrer", text(touch.referrer.as_ref())),
    ]);
    json!({"campaign": campaign(&touch.utm), "page": page})
}

/// One of the site's forms. What a person wrote freely is for the CRM alone.
fn site_form(event: &FormEvent) -> Option<Taken> {
    let submission = event.of_site()?;
    let wanted = submission.consultation;
    let budget = wanted.and_then(|wanted| wanted.form.budget_range.as_ref());
    let properties = present([
        ("formType", Some(submission.form_type().into())),
        ("formLocation", submission.origin.location().map(Value::from)),
        ("company", text(submission.company)),
        ("serviceInterest", text(submission.service_interest)),
        ("consultationScore", wanted.map(|wanted| wanted.score.total.into())),
        ("tier", wanted.map(|wanted| wanted.score.tier.name().into())),
        ("nextStep", wanted.map(|wanted| wanted.next_step.name().into())),
        ("budgetRange", budget.map(|answer| answer.text().into())),
    ]);
    let name = titled(event.name()).into();
    Some(Taken { name, properties, visit: Some(visit(&submission.origin.attribution)) })
}

/// The name of an event as Segment's own events are named: `contact_submitted` is `Contact Submitted`.
fn titled(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A campaign by Segment's names.
fn campaign(utm: &Utm) -> Map<String, Value> {
    present([
        ("name", text(utm.campaign.as_ref())),
        ("source", text(utm.source.as_ref())),
        ("medium", text(utm.medium.as_ref())),
        ("term", text(utm.term.as_ref())),
        ("content", text(utm.content.as_ref())),
    ])
}

/// Only the answers that are scored go along. What a person wrote freely is for the CRM alone.
fn questionnaire_completed(event: &FormEvent) -> Option<Taken> {
    let FormEvent::QuestionnaireCompleted(completed) = event else { return None };
    let mut properties = present([
        ("transformationScore", Some(Value::from(completed.score.total))),
        ("nextStep", Some(Value::from(completed.next_step.name()))),
    ]);
    for field in completed.score.breakdown.keys() {
        if let Some(answer) = completed.form.answer(field) {
            properties.insert(field.clone(), json!(answer));
        }
    }
    Some(Taken { name: "Questionnaire Completed".into(), properties, visit: None })
}

fn call_scheduled(booked: &CallBooked) -> Taken {
    let mut properties = call(&booked.call);
    properties.insert("bookingKind".to_owned(), booked.kind().into());
    properties.insert("daysAhead".to_owned(), booked.days_ahead().into());
    Taken { name: "Call Scheduled".into(), properties, visit: None }
}

/// The reason that the person gave stays out of analytics.
fn call_canceled(canceled: &CallCanceled) -> Taken {
    let mut properties = match &canceled.of {
        Canceled::Call(described) => call(described),
        Canceled::Booking(booking) => present([("bookingId", Some(booking.as_str().into()))]),
    };
    if let Some(by) = &canceled.by {
        properties.insert("canceledBy".to_owned(), by.as_str().into());
    }
    Taken { name: "Call Canceled".into(), properties, visit: None }
}

fn call(call: &Call) -> Map<String, Value> {
    present([
        ("bookingId", Some(call.booking.as_str().into())),
        ("title", call.title.as_deref().map(Value::from)),
        ("startsAt", Some(json!(call.starts_at))),
        ("timeZone", call.time_zone.as_deref().map(Value::from)),
    ])
}

/// The largest item of a batch that Segment takes, in bytes; a larger one is dropped.
const ITEM_BYTES_MAX: usize = 32 * 1024;

struct Segment {
    base: Url,
    write_key: Secret,
}

impl Segment {
    fn connect(settings: &mut Settings<'_>) -> Option<Self> {
        let base = settings.url("SEGMENT_BASE_URL", Some("https://api.segment.io/v1"));
        let write_key = settings.secret("SEGMENT_WRITE_KEY");
        Some(Self { base: base?, write_key: write_key? })
    }

    fn batch(&self, items: &[Value]) -> Request {
        let credentials = BASE64.encode(format!("{}:", self.write_key.expose()));
        let body = json!({"batch": items});
        Request::safe(Method::Post, endpoint(&self.base, &["batch"]), Some(body))
            .header("authorization", format!("Basic {credentials}"))
    }
}

impl Adapter for Segment {
    fn next(&self, context: &Context<'_>, so_far: &[Response]) -> Step {
        if let Some(response) = so_far.first() {
            // Segment responds 200 to nearly everything; a refusal may be in the body.
            if response.succeeded() && response.json().get("success") == Some(&Value::Bool(false)) {
                return Step::unreadable("without_success");
            }
            return Step::Done(judged(response));
        }
        let Some(taken) = taken(&context.event.data) else {
            return Step::Done(Outcome::Rejected(Reason::NotUnderstood));
        };
        let items = [identify(context), track(context, taken)];
        if items.iter().any(|item| item.to_string().len() > ITEM_BYTES_MAX) {
            return Step::Done(Outcome::Rejected(Reason::Limit("item_too_large")));
        }
        Step::send(self.batch(&items))
    }

    fn requests_max(&self, _slot: &Slot) -> usize {
        1
    }

    /// A batch without messages. Segment responds 200 to nearly every key, so only a refusal says
    /// something of it.
    fn probes(&self) -> Vec<Probe<'_>> {
        const SUBJECT: &str = "credentials";

        vec![Probe::ask(SUBJECT, self.batch(&[]), |response| {
            let says = "Segment is there, and does not say whether SEGMENT_WRITE_KEY is right. Submit a \
                        test form, and look into the source's Debugger.";
            // It may refuse a batch that has nothing in it.
            let refused = refusal(SUBJECT, "SEGMENT_WRITE_KEY", response);
            let refused = refused.filter(|_| response.status != 400);
            vec![refused.unwrap_or_else(|| Finding::unchecked(SUBJECT, says))]
        })]
    }
}

/// Judges by the status as the official SDK does (`docs/providers.md`, "Segment"), which retries 410
/// and 460 and gives up on 501, 505 and 511.
fn judged(response: &Response) -> Outcome {
    let reason = Reason::Status(response.status);
    match response.status {
        410 | 460 => Outcome::Retry { reason, retry_after_s: response.retry_after_s },
        501 | 505 | 511 => Outcome::Rejected(reason),
        _ => judge(response),
    }
}

fn identify(context: &Context<'_>) -> Value {
    let latest = &context.lead.latest;
    let traits = present([
        ("email", latest.email.as_ref().map(|email| Value::from(email.as_str()))),
        ("name", text(latest.name.as_ref())),
        ("phone", latest.phone.as_ref().map(|phone| Value::from(phone.as_str()))),
        ("stage", Some(Value::from(context.lead.stage().name()))),
    ]);
    json!({
        "type": "identify",
        "messageId": format!("{}:identify", context.delivery.id),
        "userId": context.lead.id,
        "timestamp": context.event.occurred_at,
        "traits": traits,
    })
}

fn track(context: &Context<'_>, taken: Taken) -> Value {
    let mut item = json!({
        "type": "track",
        "event": taken.name,
        "messageId": format!("{}:track", context.delivery.id),
        "userId": context.lead.id,
        "timestamp": context.event.occurred_at,
        "properties": taken.properties,
    });
    if let Some(visit) = taken.visit {
        item["context"] = visit;
    }
    item
}

fn text(text: Option<&Text>) -> Option<Value> {
    text.map(|text| Value::from(text.expose().as_str()))
}

fn present<const N: usize>(entries: [(&str, Option<Value>); N]) -> Map<String, Value> {
    entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{
        adapter, booked, canceled, consultation, contacted, conversation, lead, missed,
        moves_money, newsletter, paying, payment, payments, qualified, questionnaire, response,
        submitted,
    };
    use super::*;
    use crate::event::{Attendance, Event};

    fn talk(responses: &[Response]) -> String {
        let segment = adapter("segment", &[("SEGMENT_WRITE_KEY", "abc123")]);
        conversation(&*segment, ("segment", "event"), &submitted(), &lead(), responses)
    }

    #[test]
    fn a_submission_is_identify_and_track_in_one_batch() {
        assert_snapshot!(talk(&[response(200, &json!({"success": true}))]));
    }

    #[test]
    fn the_sites_forms_are_tracked_without_what_was_written_freely() {
        let segment = adapter("segment", &[("SEGMENT_WRITE_KEY", "abc123")]);
        let responses = [response(200, &json!({"success": true}))];
        for event in [contacted(), newsletter(), consultation()] {
            let shown = conversation(&*segment, ("segment", "event"), &event, &lead(), &responses);
            assert!(!shown.contains("Quero saber"), "{shown}");
            assert_snapshot!(event.data.name(), shown);
        }
    }

    #[test]
    fn a_questionnaire_is_tracked_with_its_scored_answers() {
        let segment = adapter("segment", &[("SEGMENT_WRITE_KEY", "abc123")]);
        let slot = ("segment", "event");
        let responses = [response(200, &json!({"success": true}))];
        let shown = conversation(&*segment, slot, &questionnaire(), &qualified(), &responses);
        assert_snapshot!(shown);
    }

    #[test]
    fn a_status_is_judged_as_the_official_sdk_does() {
        for (status, expected) in [
            (408, "retry"),
            (410, "retry"),
            (429, "retry"),
            (460, "retry"),
            (400, "rejected"),
            (404, "rejected"),
            (500, "retry"),
            (501, "rejected"),
            (503, "retry"),
            (505, "rejected"),
            (511, "rejected"),
        ] {
            let shown = talk(&[response(status, &Value::Null)]);
            assert!(shown.ends_with(&format!("=> {expected} http_{status}")), "{shown}");
        }
    }

    #[test]
    fn what_becomes_of_a_call_is_tracked() {
        let segment = adapter("segment", &[("SEGMENT_WRITE_KEY", "abc123")]);
        let talk = |event: &Event| {
            let responses = [response(200, &json!({"success": true}))];
            conversation(&*segment, ("segment", "event"), event, &lead(), &responses)
        };
        assert_snapshot!("call_scheduled", talk(&booked()));
        assert_snapshot!("call_canceled", talk(&canceled()));
        assert_snapshot!("call_no_show", talk(&missed(Attendance::Missed)));
        assert_eq!((DESTINATION.plan)(&missed(Attendance::MissedTakenBack)), []);
    }

    #[test]
    fn a_payment_is_an_order_and_a_subscription_has_no_revenue() {
        let segment = adapter("segment", &[("SEGMENT_WRITE_KEY", "abc123")]);
        for data in payments() {
            let event = payment(data);
            if taken(&event.data).is_none() {
                assert!(!moves_money(&event.data), "{}", event.data.name());
                continue;
            }
            let responses = [response(200, &json!({"success": true}))];
            let slot = ("segment", "event");
            let shown = conversation(&*segment, slot, &event, &paying(), &responses);
            assert_snapshot!(event.data.name(), shown);
        }
    }

    #[test]
    fn every_kind_of_response_is_judged() {
        for (response, expected) in [
            (response(200, &Value::Null), "=> delivered"),
            (response(200, &json!({"success": false})), "=> retry answer_without_success"),
            (response(400, &Value::Null), "=> rejected http_400"),
            (response(429, &Value::Null), "=> retry http_429"),
        ] {
            assert!(talk(std::slice::from_ref(&response)).ends_with(expected), "{response:?}");
        }
    }
}
