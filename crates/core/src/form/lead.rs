//! The form of the landing page.
//!
//! Owns its fields, their limits, and which of them are compared to recognise a repeated
//! submission. It must not know HTTP or the table.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::contact::attribution::{Attribution, Utm};
use crate::contact::consent::FormConsent;
use crate::contact::{Email, Phone};
use crate::form::{FieldErrors, Fields, Schema, fingerprint};
use crate::id::LeadId;
use crate::pii::{self, Text};
use crate::score::Answer;
use crate::score::amanda::Answers;

/// A valid submission of the form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadForm {
    /// The lead id that the browser sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_id: Option<LeadId>,
    /// The person's name, as they wrote it.
    #[serde(with = "pii::stored")]
    pub name: Text,
    /// The person's e-mail address.
    #[serde(with = "pii::stored")]
    pub email: Email,
    /// The person's phone number.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub phone: Option<Phone>,
    /// The line of business.
    #[serde(with = "pii::stored")]
    pub business_type: Text,
    /// The monthly revenue, in reais or as one of the form's ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_revenue: Option<Answer>,
    /// The hours worked a day, as a number or as one of the form's ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_hours_daily: Option<Answer>,
    /// The biggest problem.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub main_struggle: Option<Text>,
    /// The score that the page computed, from 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_score: Option<u8>,
    /// The section of the page from which the form was opened.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub source_section: Option<Text>,
    /// Where the visit came from, in the site's own terms.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub traffic_source: Option<Text>,
    /// The campaign, the page and the browser's ids.
    pub attribution: Attribution,
    /// The consent object, if the form has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<FormConsent>,
    /// The names of fields that no person typed, and that were dropped because they could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

pub(super) const UTM_CHARS_MAX: usize = 200;
pub(super) const URL_CHARS_MAX: usize = 1000;
pub(super) const BROWSER_ID_CHARS_MAX: usize = 200;

impl LeadForm {
    /// Parses a body. The error has all faults.
    pub fn parse(body: &Value) -> Result<Self, FieldErrors> {
        let mut fields = Fields::of(body);
        let form = Self::read(&mut fields);
        fields.finish(form)
    }

    /// The fields that a body may have.
    pub fn schema() -> Schema {
        Fields::schema(Self::read)
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let lead_id = fields.or_dropped("leadId", Fields::lead_id);
        let name = fields.required_name("name", 200);
        let email = fields.required_email("email");
        let phone = fields.phone("phone");
        let business_type = fields.required_text("businessType", 100);
        let monthly_revenue = fields.answer("monthlyRevenue", 100);
        let work_hours_daily = fields.answer("workHoursDaily", 100);
        let main_struggle = fields.text("mainStruggle", 2000);
        let client_score =
            fields.number("amandaScore", 0, 100).and_then(|score| u8::try_from(score).ok());
        let source_section = fields.text_cut("sourceSection", 100);
        let traffic_source = fields.text_cut("trafficSource", 100);
        let attribution = Self::attribution(fields);
        let consent = fields.consent("consent");
        let dropped = fields.dropped();
        name.zip(email).zip(business_type).map(|((name, email), business_type)| Self {
            lead_id,
            name,
            email,
            phone,
            business_type,
            monthly_revenue,
            work_hours_daily,
            main_struggle,
            client_score,
            source_section,
            traffic_source,
            attribution,
            consent,
            dropped,
        })
    }

    fn attribution(fields: &mut Fields<'_>) -> Attribution {
        let campaign = |utm: &mut Fields<'_>| Utm {
            source: utm.text_cut("source", UTM_CHARS_MAX),
            medium: utm.text_cut("medium", UTM_CHARS_MAX),
            campaign: utm.text_cut("campaign", UTM_CHARS_MAX),
            term: utm.text_cut("term", UTM_CHARS_MAX),
            content: utm.text_cut("content", UTM_CHARS_MAX),
        };
        let first_utm = fields.or_dropped("firstUtm", |fields, name| fields.object(name, campaign));
        Attribution {
            utm: fields.object("utm", campaign).unwrap_or_default(),
            first_utm: first_utm.filter(|utm| *utm != Utm::default()),
            page_url: fields.text_cut("pageUrl", URL_CHARS_MAX).filter(is_web_address),
            referrer: fields.text_cut("referrer", URL_CHARS_MAX).filter(is_web_address),
            ga_client_id: fields.text_cut("gaClientId", BROWSER_ID_CHARS_MAX),
            ga_session_id: fields.answer("gaSessionId", 100).map(|id| Text::new(id.text())),
            fbp: fields.text_cut("fbp", BROWSER_ID_CHARS_MAX),
            fbc: fields.text_cut("fbc", BROWSER_ID_CHARS_MAX),
        }
    }

    /// The answers that the Amanda score is computed from.
    pub fn answers(&self) -> Answers {
        let text = |text: &Text| Answer::Text(text.expose().clone());
        Answers {
            business_type: Some(text(&self.business_type)),
            monthly_revenue: self.monthly_revenue.clone(),
            work_hours_daily: self.work_hours_daily.clone(),
            main_struggle: self.main_struggle.as_ref().map(text),
        }
    }

    /// A digest of the submission. Two submissions with the same fingerprint are the same request.
    /// The honeypot is not part of it, nor is the GA session id, which changes by itself.
    pub fn fingerprint(&self) -> String {
        let mut form = self.clone();
        form.attribution.ga_session_id = None;
        fingerprint(&form)
    }
}

/// Whether a text is the address of a web page. Anything else, such as `javascript:`, is left out: the
/// address is shown as a link in the tools that get it.
pub(super) fn is_web_address(text: &Text) -> bool {
    Url::parse(text.expose()).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contact::consent::Purpose;

    fn body() -> Value {
        json!({
            "leadId": "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11", "name": " Ana Exemplo ",
            "email": "Ana@Example.com", "phone": "(11) 8765-4321", "businessType": "consultoria",
            "monthlyRevenue": "10000-30000", "workHoursDaily": 12, "mainStruggle": "tempo",
            "amandaScore": 0, "utm": {"source": "ig"}, "gaSessionId": 1_763_675_000,
            "consent": {"marketing": true, "ads": false, "policyVersion": "2026-01"},
            "unknown": {"is": "ignored"}
        })
    }

    #[test]
    fn a_complete_form_is_parsed() {
        let form = LeadForm::parse(&body()).unwrap();
        assert_eq!(form.name.expose(), "Ana Exemplo");
        assert_eq!(form.email.as_str(), "ana@example.com");
        assert_eq!(form.phone.unwrap().as_str(), "+5511987654321");
        assert_eq!(form.client_score, Some(0));
        assert_eq!(form.attribution.ga_session_id.unwrap().expose(), "1763675000");
        let consent = form.consent.unwrap();
        assert!(consent.denies(Purpose::Ads));
        assert!(!consent.denies(Purpose::MarketingEmail));
        assert!(
            !consent.denies(Purpose::Analytics),
            "a box that the form does not have denies nothing"
        );
    }

    #[test]
    fn only_the_address_of_a_web_page_is_one() {
        for (address, kept) in [
            ("https://example.com/?utm_source=ig", true),
            ("http://example.com", true),
            ("javascript:alert(1)", false),
            ("data:text/html,x", false),
            ("/pagina", false),
            ("example.com", false),
        ] {
            let mut body = body();
            body["pageUrl"] = json!(address);
            body["referrer"] = json!(address);
            let touch = LeadForm::parse(&body).unwrap().attribution;
            assert_eq!(
                (touch.page_url.is_some(), touch.referrer.is_some()),
                (kept, kept),
                "{address}"
            );
        }
    }

    #[test]
    fn all_faults_are_in_one_error() {
        let errors = LeadForm::parse(&json!({
            "leadId": "no", "email": "no", "phone": "no", "amandaScore": 101,
            "consent": {"marketing": "perhaps"}, "utm": 7
        }))
        .unwrap_err();
        let fields: Vec<_> = errors.0.iter().map(|error| error.field.as_str()).collect();
        let expected =
            ["name", "email", "phone", "businessType", "amandaScore", "utm", "consent.marketing"];
        assert_eq!(fields, expected);
        assert!(LeadForm::parse(&json!([1])).is_err(), "the body is not an object");
    }

    #[test]
    fn an_id_that_is_none_is_dropped_and_noted() {
        let mut body = body();
        body["leadId"] = json!("no");
        let form = LeadForm::parse(&body).unwrap();
        assert_eq!((form.lead_id, form.dropped), (None, vec!["leadId".to_owned()]));
    }

    #[test]
    fn the_campaign_of_the_first_visit_is_no_reason_to_refuse_a_form() {
        let first = |sent: Value| {
            let mut body = body();
            body["firstUtm"] = sent;
            let form = LeadForm::parse(&body).unwrap();
            (form.attribution.first_utm.and_then(|utm| utm.source), form.dropped)
        };
        let dropped = vec!["firstUtm".to_owned()];
        assert_eq!(first(json!({"source": "ig"})), (Some(Text::from("ig")), vec![]));
        assert_eq!(first(json!({})), (None, vec![]));
        assert_eq!(first(json!("ig")), (None, dropped.clone()));
        assert_eq!(first(json!({"source": ["ig"]})), (None, dropped));
    }

    #[test]
    fn the_fingerprint_ignores_letter_case_unknown_fields_and_the_session() {
        let one = LeadForm::parse(&body()).unwrap().fingerprint();
        let mut same = body();
        same["email"] = json!("ana@example.com");
        same["gaSessionId"] = json!("1763679999");
        same["website"] = json!("");
        same["unknown"] = json!(1);
        assert_eq!(LeadForm::parse(&same).unwrap().fingerprint(), one);
        let mut other = body();
        other["mainStruggle"] = json!("equipe");
        assert_ne!(LeadForm::parse(&other).unwrap().fingerprint(), one);
    }

    #[test]
    fn a_form_survives_a_round_trip_through_json() {
        let form = LeadForm::parse(&body()).unwrap();
        let kept = serde_json::to_value(&form).unwrap();
        assert_eq!(serde_json::from_value::<LeadForm>(kept).unwrap(), form);
    }
}
