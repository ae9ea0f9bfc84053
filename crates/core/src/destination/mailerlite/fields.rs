//! The fields of a subscriber: what each slot writes into them.
//!
//! Must not know groups or requests.

use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value};

use super::{MailerLite, QUESTIONNAIRE, is_oldest, of_site};
use crate::booking;
use crate::clock::after;
use crate::defaults;
use crate::delivery::exchange::endpoint;
use crate::destination::Context;
use crate::pii::Text;

/// Our names of the fields, of which every account has [`BUILT_IN`](super::account::BUILT_IN).
pub const FIELDS: [&str; 24] = [
    "name",
    "phone",
    "lead_id",
    "booking_url",
    "amanda_match_score",
    "business_type",
    "traffic_source",
    "signup_date",
    "transformation_stage",
    "questionnaire_completed",
    "transformation_readiness",
    "call_date",
    "call_status",
    "questionnaire_url",
    "questionnaire_deadline",
    "user_id",
    "pricing_tier",
    "transaction_amount",
    "purchase_date",
    "utm_source",
    "utm_campaign",
    "company",
    "form_type",
    "service_interest",
];

impl MailerLite {
    /// What MailerLite is sent of the lead, whatever the slot, under our names.
    pub(super) fn profile(context: &Context<'_>) -> Map<String, Value> {
        let lead = context.lead;
        let latest = &lead.latest;
        let text = |text: Option<&Text>| text.map(|text| text.expose().clone());
        let mut fields = Map::new();
        let mut put = |name: &'static str, value: Option<String>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value.into());
            }
        };
        if is_oldest(context) {
            put("name", text(latest.name.as_ref()));
            put("phone", latest.phone.as_ref().map(|phone| phone.as_str().to_owned()));
            put("lead_id", Some(lead.id.to_string()));
            put("booking_url", lead.booking_field());
        }
        put(
            "amanda_match_score",
            latest.amanda_score.as_ref().map(|score| score.total.to_string()),
        );
        put("business_type", text(latest.business_type.as_ref()));
        put("traffic_source", text(latest.traffic_source.as_ref()));
        put("signup_date", lead.facts.submitted_at.map(local_time));
        put("transformation_stage", Some(lead.stage().name().to_owned()));
        put("questionnaire_completed", lead.facts.questionnaire_at.map(|_| "yes".to_owned()));
        let readiness = latest.readiness_score.as_ref();
        put("transformation_readiness", readiness.map(|score| score.total.to_string()));
        let booking = booking::current(context.bookings);
        // The date of a withdrawn booking is emptied, so that no automation counts back from it.
        put(
            "call_date",
            booking.map(|booking| {
                let call = booking.call.as_ref().filter(|_| booking.status.stands());
                call.map(|call| field_time(&call.local_start())).unwrap_or_default()
            }),
        );
        put("call_status", booking.map(|booking| booking.status.name().to_owned()));
        if let Some(purchase) = &lead.payments.purchase {
            let bought = &purchase.bought;
            let touch = lead.facts.first_touch.as_ref();
            let source = bought.utm.source.as_ref();
            let source = source.or_else(|| touch.and_then(|touch| touch.utm.source.as_ref()));
            let campaign = bought.utm.campaign.as_ref();
            let campaign = campaign.or_else(|| touch.and_then(|touch| touch.utm.campaign.as_ref()));
            // What the newest payment does not say is emptied, so that nothing of an older one stays.
            let or_empty = |text: Option<String>| Some(text.unwrap_or_default());
            put("user_id", bought.user_id.clone());
            put("pricing_tier", or_empty(bought.pricing_tier.clone()));
            put("transaction_amount", Some(purchase.amount.decimal()));
            put("purchase_date", Some(local_time(purchase.at)));
            put("utm_source", or_empty(text(source)));
            put("utm_campaign", or_empty(text(campaign)));
        }
        fields
    }

    pub(super) fn fields(&self, context: &Context<'_>) -> Value {
        let mut fields = Self::profile(context);
        if context.slot == &QUESTIONNAIRE {
            if is_oldest(context) {
                let mut url = endpoint(&self.site, &[defaults::QUESTIONNAIRE_PAGE]);
                url.query_pairs_mut().append_pair("lead_id", &context.lead.id.to_string());
                fields.insert("questionnaire_url".to_owned(), url.to_string().into());
            }
            let deadline = after(context.event.occurred_at, defaults::QUESTIONNAIRE_H * 3600);
            fields.insert("questionnaire_deadline".to_owned(), local_time(deadline).into());
        }
        if let Some(submission) = of_site(&context.event.data)
            && is_oldest(context)
            && context.lead.heeds(submission.form, context.event)
        {
            let utm = &submission.origin.attribution.utm;
            let latest = &context.lead.latest;
            let told = [
                ("company", latest.company.as_ref().map(|text| text.expose().as_str())),
                (
                    "service_interest",
                    latest.service_interest.as_ref().map(|text| text.expose().as_str()),
                ),
                ("form_type", Some(submission.form_type())),
                ("utm_source", utm.source.as_ref().map(|text| text.expose().as_str())),
                ("utm_campaign", utm.campaign.as_ref().map(|text| text.expose().as_str())),
            ];
            let told = told.into_iter().filter_map(|(name, text)| Some((name, text?)));
            fields.extend(told.map(|(name, text)| (name.to_owned(), text.into())));
        }
        self.account.fields.rename(fields).into()
    }
}

/// A time for the reader of an e-mail whose zone is not known.
fn local_time(at: Timestamp) -> String {
    field_time(&at.to_zoned(defaults::time_zone()))
}

/// A time in the form of MailerLite's date fields.
fn field_time(at: &Zoned) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
