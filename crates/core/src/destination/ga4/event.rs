//! What GA4 takes of each event: its name and parameters, which are an allow-list.
//!
//! Must not know how they are sent.

use serde_json::{Value, json};

use super::lead::{digits, option};
use crate::contact::attribution::Attribution;
use crate::event::{
    CallEvent, EventData, FormEvent, PaymentEvent, PaymentFailed, Purchase, SiteFormKind,
    TransactionId,
};
use crate::money::Money;
use crate::pii::looks_personal;

/// Our names of the events.
pub(in super::super) const EVENTS: [&str; 9] = [
    "generate_lead",
    "questionnaire_completed",
    "newsletter_signup",
    "call_scheduled",
    "call_canceled",
    "call_no_show",
    "purchase",
    "refund",
    "payment_failed",
];

/// What GA4 takes of an event.
pub(super) struct Taken<'e> {
    /// Our name of the event, which is GA4's too unless `GA4_EVENT_NAMES` says another.
    pub(super) name: &'static str,
    pub(super) params: Vec<(&'static str, Value)>,
    /// The visit in which it happened. `None` if it happened later: then the browser is that of the
    /// first touch, and there is no session.
    pub(super) visit: Option<&'e Attribution>,
    /// What of the lead goes along.
    pub(super) of_lead: OfLead,
    /// What GA4 does with a second request.
    pub(super) repeated: Repeated,
}

/// What of the lead goes along with an event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OfLead {
    Nothing,
    /// The traffic source.
    Source,
    /// What led to a payment: traffic source, campaign, session, and the days that it took.
    Conversion,
}

/// What GA4 does with a second request of the same event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeated {
    /// It counts the event twice.
    Counted,
    /// It knows the transaction again: `docs/providers.md` ("GA4").
    Recognised,
}

pub(super) fn taken(event: &EventData) -> Option<Taken<'_>> {
    use EventData::{Call, Consent, Deal, Form, Operation, Payment, Visit};

    match event {
        Form(event) => generate_lead(event)
            .or_else(|| questionnaire_completed(event))
            .or_else(|| site_form(event)),
        Call(event) => match event {
            CallEvent::Booked(booked) => Some(call(
                "call_scheduled",
                vec![
                    ("booking_kind", booked.kind().into()),
                    ("days_ahead", booked.days_ahead().into()),
                ],
            )),
            CallEvent::Canceled(canceled) if event.is_lost_call() => {
                let by = canceled.by.as_deref().unwrap_or("unknown");
                Some(call("call_canceled", vec![("canceled_by", by.into())]))
            }
            CallEvent::Missed(_) if event.is_lost_call() => Some(call("call_no_show", vec![])),
            CallEvent::Canceled(_)
            | CallEvent::Missed(_)
            | CallEvent::BookedElsewhere(_)
            | CallEvent::ChangeRequested(_) => None,
        },
        Payment(event) => payment(event),
        Deal(_) | Consent(_) | Operation(_) | Visit(_) => None,
    }
}

fn payment(event: &PaymentEvent) -> Option<Taken<'_>> {
    match event {
        PaymentEvent::Succeeded(paid) => {
            let params = money_moved(&paid.transaction, paid.counted?, &paid.purchase);
            let taken = Taken { repeated: Repeated::Recognised, ..conversion("purchase", params) };
            Some(taken)
        }
        PaymentEvent::Refunded(refund) => {
            let params = money_moved(&refund.transaction, refund.counted?, &refund.purchase);
            Some(conversion("refund", params))
        }
        PaymentEvent::Disputed(dispute) => {
            let lost = dispute.counted?;
            let mut params = money_moved(&dispute.transaction, lost, &Purchase::default());
            params.push(("refund_reason", "dispute_lost".into()));
            Some(conversion("refund", params))
        }
        PaymentEvent::Failed(failed) => Some(conversion("payment_failed", failure(failed))),
        PaymentEvent::SubscriptionStarted(_) | PaymentEvent::CheckoutCompleted(_) => None,
    }
}

/// An event of money that came or went.
fn money_moved(
    transaction: &TransactionId,
    money: Money,
    purchase: &Purchase,
) -> Vec<(&'static str, Value)> {
    let mut params = vec![
        ("transaction_id", transaction.as_str().into()),
        ("value", money.number()),
        ("currency", money.currency.as_str().into()),
        ("items", json!([item(money, purchase)])),
    ];
    if let Some(coupon) = of_site(purchase.coupon.as_ref()) {
        params.push(("coupon", coupon.into()));
    }
    params
}

/// What was bought, as GA4's item, which needs an id or a name.
fn item(money: Money, purchase: &Purchase) -> Value {
    let mut item = json!({"price": money.number(), "quantity": 1});
    for (name, value) in [
        ("item_id", &purchase.service_id),
        ("item_name", &purchase.service_name),
        ("item_category", &purchase.service_type),
        ("item_variant", &purchase.pricing_tier),
    ] {
        if let Some(value) = of_site(value.as_ref()) {
            item[name] = value.into();
        }
    }
    if item.get("item_id").or(item.get("item_name")).is_none() {
        item["item_name"] = "payment".into();
    }
    item
}

/// What the site wrote into the payment, unless it looks personal, which GA4 forbids.
fn of_site(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !looks_personal(text))
}

/// A payment that failed has no value: GA4 adds up the values of all events.
fn failure(failed: &PaymentFailed) -> Vec<(&'static str, Value)> {
    let codes = [("failure_code", &failed.code), ("decline_code", &failed.decline_code)];
    let codes = codes.into_iter().filter_map(|(name, code)| Some((name, code.as_deref()?.into())));
    [("transaction_id", failed.transaction.as_str().into())].into_iter().chain(codes).collect()
}

fn conversion(name: &'static str, params: Vec<(&'static str, Value)>) -> Taken<'static> {
    Taken { name, params, visit: None, of_lead: OfLead::Conversion, repeated: Repeated::Counted }
}

fn questionnaire_completed(event: &FormEvent) -> Option<Taken<'_>> {
    let FormEvent::QuestionnaireCompleted(completed) = event else { return None };
    Some(Taken {
        name: "questionnaire_completed",
        params: vec![
            ("transformation_score", completed.score.total.into()),
            ("next_step", completed.next_step.name().into()),
        ],
        visit: None,
        of_lead: OfLead::Nothing,
        repeated: Repeated::Counted,
    })
}

fn generate_lead(event: &FormEvent) -> Option<Taken<'_>> {
    let FormEvent::LeadSubmitted(submitted) = event else { return None };
    let form = &submitted.form;
    let optional = [
        ("session_id", session_id(&form.attribution)),
        ("lead_source", option(form.traffic_source.as_ref())),
        ("source_section", option(form.source_section.as_ref())),
        ("business_type", option(Some(&form.business_type))),
    ];
    let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?.into())));
    let scores = [
        ("amanda_match_score", submitted.score.total.into()),
        ("amanda_tier", submitted.score.tier.name().into()),
    ];
    Some(Taken {
        name: "generate_lead",
        params: scores.into_iter().chain(optional).collect(),
        visit: Some(&form.attribution),
        of_lead: OfLead::Nothing,
        repeated: Repeated::Counted,
    })
}

/// One of the site's forms: a lead, or a sign-up for the newsletter.
fn site_form(event: &FormEvent) -> Option<Taken<'_>> {
    let submission = event.of_site()?;
    let attribution = &submission.origin.attribution;
    let score = submission.consultation.map(|wanted| &wanted.score);
    let location = submission.origin.location();
    let optional = [
        ("session_id", session_id(attribution).map(Value::from)),
        ("form_type", option(submission.origin.form_type.as_ref()).map(Value::from)),
        ("form_location", location.map(Value::from)),
        ("service_interest", option(submission.service_interest).map(Value::from)),
        ("lead_source", option(attribution.utm.source.as_ref()).map(Value::from)),
        ("consultation_score", score.map(|score| score.total.into())),
        ("consultation_tier", score.map(|score| score.tier.name().into())),
    ];
    Some(Taken {
        name: match submission.form.kind() {
            SiteFormKind::Inquiry => "generate_lead",
            SiteFormKind::SignUp => "newsletter_signup",
        },
        params: optional.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        visit: Some(attribution),
        of_lead: OfLead::Nothing,
        repeated: Repeated::Counted,
    })
}

fn session_id(attribution: &Attribution) -> Option<&str> {
    let session = attribution.ga_session_id.as_ref().filter(|id| digits(id))?;
    Some(session.expose())
}

/// An event of a booked call.
fn call(name: &'static str, params: Vec<(&'static str, Value)>) -> Taken<'static> {
    Taken { name, params, visit: None, of_lead: OfLead::Source, repeated: Repeated::Counted }
}
