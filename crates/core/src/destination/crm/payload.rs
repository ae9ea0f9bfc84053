//! The lead in the bodies of the CRM's request formats.
//!
//! Knows no event and no step of the conversation.

use serde_json::{Map, Value, json};

use super::super::Context;
use super::super::names::Names;
use crate::booking::{self, Booking};
use crate::contact::attribution::{Attribution, Utm};
use crate::contact::consent::{Decision, Purpose, permits};
use crate::contact::{Email, Phone};
use crate::event::{EmailStatus, Event, EventData, FormEvent, PaymentSucceeded, SiteSubmission};
use crate::form::questionnaire::Responses;
use crate::lead::{Lead, Stage};
use crate::money::{Currency, Money};
use crate::pii::Text;
use crate::score::readiness::ReadinessScore;
use crate::score::rules::READINESS;
use crate::text::words;

/// Our names of the custom fields.
pub(in crate::destination) const FIELDS: [&str; 51] = [
    "amanda_match_score",
    "amanda_score_breakdown",
    "amanda_score_rules",
    "email_status",
    "company",
    "service_interest",
    "consultation_score",
    "consultation_score_breakdown",
    "consultation_score_rules",
    "budget_range",
    "preferred_dates",
    "business_type",
    "monthly_revenue",
    "work_hours_daily",
    "main_struggle",
    "source_section",
    "transformation_readiness",
    "transformation_score_breakdown",
    "transformation_score_rules",
    "detailed_responses",
    "questionnaire_complete",
    "booking_url",
    "call_scheduled",
    "call_datetime",
    "calendly_event_id",
    "call_status",
    "stage",
    "phone_claimed",
    "spam_signs",
    "lifecycle_stage",
    "customer_since",
    "days_to_payment",
    "total_spent",
    "total_spent_currency",
    "last_transaction_id",
    "last_transaction_date",
    "last_transaction_amount",
    "last_transaction_currency",
    "last_transaction_left",
    "last_payment_method",
    "pricing_tier",
    "service_type",
    "service_name",
    "user_id",
    "last_refund_date",
    "last_refund_amount",
    "dispute_status",
    "dispute_amount",
    "dispute_reason",
    "subscription_plan",
    "subscription_since",
];

/// How a CRM's account names and counts what it is sent.
pub(super) struct Account<'a> {
    /// Tags that every lead gets.
    pub(super) base_tags: &'a [String],
    /// The currency of the sum that a lead has paid.
    pub(super) currency: Currency,
    /// Its names of our fields.
    pub(super) fields: &'a Names,
}

/// The lead in the formats `webhook` and `contacts`.
pub(super) fn contact(context: &Context<'_>, account: &Account<'_>) -> Value {
    let lead = context.lead;
    let latest = &lead.latest;
    without_nulls(json!({
        "external_id": lead.id,
        "name": text(latest.name.as_ref()),
        "email": latest.email.as_ref().map(Email::as_str),
        "phone": latest.phone.as_ref().map(Phone::as_str),
        "source": text(latest.traffic_source.as_ref()),
        "custom_fields": fields(context, account),
        "tags": tags(lead, account.base_tags),
    }))
}

/// The lead in the format `leads`.
pub(super) fn lead(context: &Context<'_>, account: &Account<'_>) -> Value {
    let lead = context.lead;
    let latest = &lead.latest;
    let touch = lead.facts.first_touch.as_ref();
    let site = of_site(&context.event.data).filter(|site| lead.heeds(site.form, context.event));
    let service = site.as_ref().and_then(|site| site.service_interest);
    let message = site.as_ref().and_then(|site| site.message);
    let marketing =
        permits(Purpose::MarketingEmail, &lead.consents, context.revocations) == Decision::Granted;
    without_nulls(json!({
        "lead_id": lead.id,
        "submission_id": context.event.id,
        "contact": {
            "email": latest.email.as_ref().map(Email::as_str),
            "name": text(latest.name.as_ref()),
            "phone": latest.phone.as_ref().map(Phone::as_str),
        },
        "lead_source": text(latest.traffic_source.as_ref()),
        "form_type": site.as_ref().map_or("lead", SiteSubmission::form_type),
        "service_interest": text(service.or(latest.service_interest.as_ref()).or(latest.business_type.as_ref())),
        "message": text(message.or(latest.main_struggle.as_ref())),
        "marketing_consent": marketing,
        "attribution": attribution(touch, touch.map(|touch| &touch.utm)),
        "custom_fields": fields(context, account),
        "tags": tags(lead, account.base_tags),
        "metadata": {"submitted_at": lead.facts.submitted_at, "stage": lead.stage().name()},
    }))
}

/// A purchase in the format `leads`. The campaign is the payment's, where it names one, else that of the first
/// visit, which is set once and so the same for every try.
pub(super) fn purchase(lead: &Lead, paid: &PaymentSucceeded) -> Value {
    let bought = &paid.purchase;
    let touch = lead.facts.first_touch.as_ref();
    let utm = Some(&bought.utm).filter(|utm| **utm != Utm::default());
    without_nulls(json!({
        "lead_id": lead.id,
        "transaction": {
            "id": paid.transaction,
            "value": paid.amount.number(),
            "currency": paid.amount.currency,
            "service_type": bought.service_type,
            "payment_method": paid.method,
            "purchased_at": paid.paid_at,
        },
        "stage": Stage::Customer.name(),
        "attribution": attribution(touch, utm.or(touch.map(|touch| &touch.utm))),
    }))
}

fn attribution(touch: Option<&Attribution>, utm: Option<&Utm>) -> Map<String, Value> {
    let mut attribution = Map::new();
    for (name, value) in utm.into_iter().flat_map(Utm::parameters) {
        attribution.insert(name.to_owned(), Value::from(value));
    }
    if let Some(touch) = touch {
        for (name, value) in touch.first_utm.iter().flat_map(Utm::parameters) {
            attribution.insert(format!("first_{name}"), Value::from(value));
        }
        attribution.insert("page_url".to_owned(), json!(text(touch.page_url.as_ref())));
        attribution.insert("referrer".to_owned(), json!(text(touch.referrer.as_ref())));
    }
    attribution
}

fn tags(lead: &Lead, base_tags: &[String]) -> Vec<String> {
    let mut tags = base_tags.to_vec();
    if let Some(score) = &lead.latest.amanda_score {
        tags.push(format!("amanda_score_{}", score.tier.name()));
    }
    if let Some(section) = &lead.latest.source_section {
        tags.push(format!("source_{}", section.expose()));
    }
    tags.extend(payment_tags(lead));
    tags
}

/// What the lead's newest payments say. A CRM keeps the tags that it has, so each is one that stays true.
fn payment_tags(lead: &Lead) -> Vec<String> {
    let payments = &lead.payments;
    let purchase = payments.purchase.as_ref();
    let tier = purchase.and_then(|purchase| purchase.bought.pricing_tier.as_deref());
    let method = purchase.and_then(|purchase| purchase.method.as_deref());
    let tags = [
        (lead.stage() == Stage::Customer).then(|| "customer".to_owned()),
        tier.map(|tier| format!("tier_{}", words(tier))),
        method.map(|method| format!("paid_by_{}", words(method))),
        payments.refund.as_ref().map(|_| "refunded".to_owned()),
        payments.dispute.as_ref().map(|_| "disputed".to_owned()),
    ];
    tags.into_iter().flatten().collect()
}

/// What the event says, if it is one of the site's forms.
fn of_site(event: &EventData) -> Option<SiteSubmission<'_>> {
    let EventData::Form(event) = event else { return None };
    event.of_site()
}

/// The number of a form that may not say who the person is, where it is not the lead's.
fn claimed_phone<'e>(context: &Context<'e>) -> Option<&'e str> {
    let event = &context.event.data;
    let claimed = if let EventData::Form(FormEvent::LeadSubmitted(submitted)) = event {
        submitted.form.phone.as_ref()
    } else {
        of_site(event)?.phone
    };
    let claimed = claimed.filter(|_| context.lead.id.is_derived())?;
    (context.lead.latest.phone.as_ref() != Some(claimed)).then(|| claimed.as_str())
}

/// What looked like spam about the form, by name, if anything did.
fn spam_signs(event: &Event) -> Option<String> {
    let names: Vec<&str> = event.signs.iter().map(|sign| sign.name()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn fields(context: &Context<'_>, account: &Account<'_>) -> Map<String, Value> {
    let mut fields = custom_fields(context.lead, context.bookings);
    fields["phone_claimed"] = json!(claimed_phone(context));
    fields["spam_signs"] = json!(spam_signs(context.event));
    let members = |fields| match fields {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    let mut fields = members(fields);
    fields.extend(members(payment_fields(context.lead, account.currency)));
    account.fields.rename(fields)
}

/// What the lead has paid in all, and the newest payment, refund, dispute and subscription.
fn payment_fields(lead: &Lead, currency: Currency) -> Value {
    let payments = &lead.payments;
    let is_customer = lead.stage() == Stage::Customer;
    let spent = lead.spent.get(&currency).copied();
    let spent = spent.or((is_customer || payments.purchase.is_some()).then_some(0));
    let spent = spent.map(|minor| Money { minor, currency });
    let purchase = payments.purchase.as_ref();
    let bought = purchase.map(|purchase| &purchase.bought);
    let refund = payments.refund.as_ref();
    let dispute = payments.dispute.as_ref();
    let subscription = payments.subscription.as_ref();
    json!({
        "lifecycle_stage": is_customer.then(|| Stage::Customer.name()),
        "customer_since": lead.customer_since(),
        "days_to_payment": lead.days_to_first_payment(),
        "total_spent": spent.map(|spent| spent.number()),
        "total_spent_currency": spent.map(|spent| spent.currency),
        "last_transaction_id": purchase.map(|purchase| &purchase.transaction),
        "last_transaction_date": purchase.map(|purchase| purchase.at),
        "last_transaction_amount": purchase.map(|purchase| purchase.amount.number()),
        "last_transaction_currency": purchase.map(|purchase| purchase.amount.currency),
        "last_transaction_left": purchase.map(|purchase| purchase.left.number()),
        "last_payment_method": purchase.map(|purchase| said(purchase.method.as_ref())),
        "pricing_tier": bought.map(|bought| said(bought.pricing_tier.as_ref())),
        "service_type": bought.map(|bought| said(bought.service_type.as_ref())),
        "service_name": bought.map(|bought| said(bought.service_name.as_ref())),
        "user_id": bought.and_then(|bought| bought.user_id.as_ref()),
        "last_refund_date": refund.map(|refund| refund.at),
        "last_refund_amount": refund.map(|refund| refund.refunded.number()),
        "dispute_status": dispute.map(|dispute| dispute.status.name()),
        "dispute_amount": dispute.map(|dispute| dispute.amount.number()),
        "dispute_reason": dispute.and_then(|dispute| dispute.reason.as_ref()),
        "subscription_plan": subscription.and_then(|subscription| subscription.plan.as_ref()),
        "subscription_since": subscription.map(|subscription| subscription.at),
    })
}

/// What the newest payment says, or an empty text, so that nothing of an older one stays beside it.
fn said(text: Option<&String>) -> &str {
    text.map(String::as_str).unwrap_or_default()
}

fn custom_fields(lead: &Lead, bookings: &[Booking]) -> Value {
    let latest = &lead.latest;
    let booking = booking::current(bookings);
    let call = booking.and_then(|booking| booking.call.as_ref());
    json!({
        "amanda_match_score": latest.amanda_score.as_ref().map(|score| score.total),
        "amanda_score_breakdown": latest.amanda_score.as_ref().map(|score| &score.breakdown),
        "amanda_score_rules": latest.amanda_score.as_ref().map(|score| &score.rules),
        "email_status": latest.email_status.map(EmailStatus::name),
        "company": text(latest.company.as_ref()),
        "service_interest": text(latest.service_interest.as_ref()),
        "consultation_score": latest.consultation_score.as_ref().map(|score| score.total),
        "consultation_score_breakdown": latest.consultation_score.as_ref().map(|score| &score.breakdown),
        "consultation_score_rules": latest.consultation_score.as_ref().map(|score| &score.rules),
        "budget_range": text(latest.budget_range.as_ref()),
        "preferred_dates": text(latest.preferred_dates.as_ref()),
        "business_type": text(latest.business_type.as_ref()),
        "monthly_revenue": text(latest.monthly_revenue.as_ref()),
        "work_hours_daily": text(latest.work_hours_daily.as_ref()),
        "main_struggle": text(latest.main_struggle.as_ref()),
        "source_section": text(latest.source_section.as_ref()),
        "transformation_readiness": latest.readiness_score.as_ref().map(|score| score.total),
        "transformation_score_breakdown": latest.readiness_score.as_ref().map(|score| &score.breakdown),
        "transformation_score_rules": latest.readiness_score.as_ref().map(|score| &score.rules),
        "detailed_responses": latest.responses.as_ref().map(|answers| all_responses(answers, latest.readiness_score.as_ref())),
        "questionnaire_complete": lead.facts.questionnaire_at.is_some(),
        "booking_url": lead.booking_field(),
        "call_scheduled": booking.map(|booking| booking.status.stands()),
        "call_datetime": call.map(|call| call.local_start().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()),
        "calendly_event_id": call.map(|call| call.calendar_event.as_ref().unwrap_or(&call.booking)),
        "call_status": booking.map(|booking| booking.status.name()),
        "stage": lead.stage().name(),
    })
}

/// The answers, and an empty text for each known question without one: a CRM may merge what it is
/// sent into what it has, and an answer that the score did not count must not stay. Known are the questions
/// that were scored, and all those of the built-in rules where those were applied.
fn all_responses(responses: &Responses, score: Option<&ReadinessScore>) -> Map<String, Value> {
    let scored = score.into_iter().flat_map(|score| score.breakdown.keys().cloned());
    let built_in = READINESS.built_in().ok();
    let built_in = built_in.filter(|rules| score.is_some_and(|score| score.rules == rules.version));
    let asked = built_in.into_iter().flat_map(|rules| rules.questions);
    let known = scored.chain(asked.map(|question| question.field));
    let unanswered = known.map(|field| (field, Value::from("")));
    let answered = responses.expose().iter().map(|(name, answer)| (name.clone(), json!(answer)));
    unanswered.chain(answered).collect()
}

fn text(text: Option<&Text>) -> Option<&str> {
    text.map(|text| text.expose().as_str())
}

/// Leaves absent fields out, so that the CRM keeps what it has.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            value
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::samples::{booked, bookings, canceled, lead, qualified};
    use super::*;

    #[test]
    fn the_fields_of_a_call_follow_its_booking() {
        let fields = custom_fields(&lead(), &bookings(&[&booked(), &canceled()]));
        assert_eq!(fields["call_scheduled"], false);
        assert_eq!(fields["call_status"], "canceled");
        assert_eq!(fields["call_datetime"], "2026-11-24T15:30:00-03:00");
        assert_eq!(custom_fields(&lead(), &[])["call_status"], Value::Null, "nothing was booked");
    }

    #[test]
    fn every_custom_field_can_be_renamed() {
        let Value::Object(fields) = custom_fields(&qualified(), &bookings(&[&booked()])) else {
            unreachable!()
        };
        let Value::Object(of_payments) = payment_fields(&qualified(), Currency::BRL) else {
            unreachable!()
        };
        let mut names: Vec<&str> =
            fields.keys().chain(of_payments.keys()).map(String::as_str).collect();
        names.push("phone_claimed");
        names.push("spam_signs");
        names.sort_unstable();
        let mut known = FIELDS;
        known.sort_unstable();
        assert_eq!(names, known);
    }

    #[test]
    fn a_link_that_is_no_longer_earned_is_emptied() {
        let mut lead = qualified();
        lead.latest.booking_url = None;
        assert_eq!(custom_fields(&lead, &[])["booking_url"], "");
        lead.latest.readiness_score = None;
        assert_eq!(custom_fields(&lead, &[])["booking_url"], Value::Null, "nobody was ever asked");
    }
}
