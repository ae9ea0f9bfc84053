//! The lead in the bodies of the CRM's request formats.
//!
//! Knows no event and no step of the conversation.

use serde_json::{Map, Value, json};

use super::super::Context;
use super::super::names::Names;
use crate::booking::{self, Booking};
use crate::contact::consent::{Decision, Purpose, permits};
use crate::contact::{Email, Phone};
use crate::event::{EventData, FormEvent};
use crate::form::questionnaire::Responses;
use crate::lead::Lead;
use crate::pii::Text;
use crate::score::readiness::QUESTIONS;

/// Our names of the custom fields.
pub(in crate::destination) const FIELDS: [&str; 20] = [
    "amanda_match_score",
    "amanda_score_breakdown",
    "amanda_score_rules",
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
];

/// The lead in the formats `webhook` and `contacts`.
pub(super) fn contact(context: &Context<'_>, base_tags: &[String], names: &Names) -> Value {
    let lead = context.lead;
    let latest = &lead.latest;
    without_nulls(json!({
        "external_id": lead.id,
        "name": text(latest.name.as_ref()),
        "email": latest.email.as_ref().map(Email::as_str),
        "phone": latest.phone.as_ref().map(Phone::as_str),
        "source": text(latest.traffic_source.as_ref()),
        "custom_fields": fields(context, names),
        "tags": tags(lead, base_tags),
    }))
}

/// The lead in the format `leads`.
pub(super) fn lead(context: &Context<'_>, base_tags: &[String], names: &Names) -> Value {
    let lead = context.lead;
    let latest = &lead.latest;
    let mut attribution = Map::new();
    if let Some(touch) = &lead.facts.first_touch {
        for (name, value) in touch.utm.parameters() {
            attribution.insert(name.to_owned(), Value::from(value));
        }
        attribution.insert("page_url".to_owned(), json!(text(touch.page_url.as_ref())));
        attribution.insert("referrer".to_owned(), json!(text(touch.referrer.as_ref())));
    }
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
        "form_type": "lead",
        "service_interest": text(latest.business_type.as_ref()),
        "message": text(latest.main_struggle.as_ref()),
        "marketing_consent": marketing,
        "attribution": attribution,
        "custom_fields": fields(context, names),
        "tags": tags(lead, base_tags),
        "metadata": {"submitted_at": lead.facts.submitted_at, "stage": lead.stage().name()},
    }))
}

fn tags(lead: &Lead, base_tags: &[String]) -> Vec<String> {
    let mut tags = base_tags.to_vec();
    if let Some(score) = &lead.latest.amanda_score {
        tags.push(format!("amanda_score_{}", score.tier.name()));
    }
    if let Some(section) = &lead.latest.source_section {
        tags.push(format!("source_{}", section.expose()));
    }
    tags
}

/// The number of a form that may not say who the person is, where it is not the lead's.
fn claimed_phone<'e>(context: &Context<'e>) -> Option<&'e str> {
    let EventData::Form(FormEvent::LeadSubmitted(submitted)) = &context.event.data else {
        return None;
    };
    let claimed = submitted.form.phone.as_ref().filter(|_| context.lead.id.is_derived())?;
    (context.lead.latest.phone.as_ref() != Some(claimed)).then(|| claimed.as_str())
}

fn fields(context: &Context<'_>, names: &Names) -> Map<String, Value> {
    let mut fields = custom_fields(context.lead, context.bookings);
    fields["phone_claimed"] = json!(claimed_phone(context));
    match fields {
        Value::Object(fields) => names.rename(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

fn custom_fields(lead: &Lead, bookings: &[Booking]) -> Value {
    let latest = &lead.latest;
    let booking = booking::current(bookings);
    let call = booking.and_then(|booking| booking.call.as_ref());
    json!({
        "amanda_match_score": latest.amanda_score.as_ref().map(|score| score.total),
        "amanda_score_breakdown": latest.amanda_score.as_ref().map(|score| &score.breakdown),
        "amanda_score_rules": latest.amanda_score.as_ref().map(|score| &score.rules),
        "business_type": text(latest.business_type.as_ref()),
        "monthly_revenue": text(latest.monthly_revenue.as_ref()),
        "work_hours_daily": text(latest.work_hours_daily.as_ref()),
        "main_struggle": text(latest.main_struggle.as_ref()),
        "source_section": text(latest.source_section.as_ref()),
        "transformation_readiness": latest.readiness_score.as_ref().map(|score| score.total),
        "transformation_score_breakdown": latest.readiness_score.as_ref().map(|score| &score.breakdown),
        "transformation_score_rules": latest.readiness_score.as_ref().map(|score| &score.rules),
        "detailed_responses": latest.responses.as_ref().map(all_responses),
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
/// sent into what it has, and an answer that the score did not count must not stay.
fn all_responses(responses: &Responses) -> Map<String, Value> {
    let unanswered =
        QUESTIONS.iter().map(|question| (question.field().to_owned(), Value::from("")));
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
        let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
        names.push("phone_claimed");
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
