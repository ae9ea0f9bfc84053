//! The site's contact form.
//!
//! Owns its fields and their limits, and what makes two submissions the same. It must not know HTTP or the
//! table.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::site::{Layout, Origin, marketing_box};
use crate::contact::consent::{Decision, FormConsent};
use crate::contact::{Email, Phone};
use crate::form::{FieldErrors, Fields, Schema, fingerprint};
use crate::pii::{self, Text};

/// The longest message, in characters.
pub(super) const MESSAGE_CHARS_MAX: usize = 5000;

/// A valid submission of the contact form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactForm {
    /// What came along.
    pub origin: Origin,
    /// The person's name, as they wrote it.
    #[serde(with = "pii::stored")]
    pub name: Text,
    /// The person's e-mail address.
    #[serde(with = "pii::stored")]
    pub email: Email,
    /// The person's phone number.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub phone: Option<Phone>,
    /// The company that they write for.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub company: Option<Text>,
    /// The service that they ask about.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub service_interest: Option<Text>,
    /// The message, as they wrote it.
    #[serde(with = "pii::stored")]
    pub message: Text,
    /// The box for marketing, if the form sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marketing: Option<Decision>,
}

impl ContactForm {
    /// Parses a body. The error has all faults.
    pub fn parse(body: &Value) -> Result<Self, FieldErrors> {
        let mut fields = Fields::of(body);
        let form = Self::read(&mut fields, Layout::of(body));
        fields.finish(form)
    }

    /// The fields that a body may have, in both layouts.
    pub fn schemas() -> Vec<Schema> {
        Layout::schemas(Self::read)
    }

    fn read(fields: &mut Fields<'_>, layout: Layout) -> Option<Self> {
        let origin = Origin::read(fields);
        layout.typed(fields, |fields| {
            let name = fields.required_name("name", 200);
            let email = fields.required_email("email");
            let phone = fields.phone("phone");
            let company = fields.text("company", 200);
            let service_interest = fields.text("service_interest", 200);
            let message = fields.required_text("message", MESSAGE_CHARS_MAX);
            let marketing = marketing_box(fields);
            name.zip(email).zip(message).map(|((name, email), message)| Self {
                origin,
                name,
                email,
                phone,
                company,
                service_interest,
                message,
                marketing,
            })
        })
    }

    /// What the form decides about consent.
    pub fn consent(&self) -> Option<FormConsent> {
        self.origin.consent_with(self.marketing)
    }

    /// A digest of the submission. Two submissions with the same fingerprint are the same request.
    pub fn fingerprint(&self) -> String {
        fingerprint(&Self { origin: self.origin.without_circumstances(), ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contact::consent::Purpose;
    use crate::form::from_urlencoded;

    fn body() -> Value {
        json!({
            "form_type": "contact", "lead_id": "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11",
            "utm_params": {"utm_source": "ig", "campaign": "liberdade"},
            "page_url": "https://example.com/contato?x=1", "timestamp": "2026-11-21T09:00:00-03:00",
            "data": {
                "name": " Ana Exemplo ", "email": "Ana@Example.com", "phone": "(11) 98765-4321",
                "company": "Exemplo Ltda", "service_interest": "mentoria",
                "message": "Olá <b>!</b>\nQuero saber mais.", "marketing_consent": true,
            },
        })
    }

    #[test]
    fn a_complete_form_is_parsed_and_its_text_is_kept_as_written() {
        let form = ContactForm::parse(&body()).unwrap();
        assert_eq!(form.name.expose(), "Ana Exemplo");
        assert_eq!(form.message.expose(), "Olá <b>!</b>\nQuero saber mais.");
        assert_eq!(form.origin.sent_at.unwrap().to_string(), "2026-11-21T12:00:00Z");
        let parameters: Vec<_> = form.origin.attribution.utm.parameters().collect();
        assert_eq!(parameters, [("utm_source", "ig"), ("utm_campaign", "liberdade")]);
        assert_eq!(form.origin.location().unwrap(), "/contato");
        assert_eq!(form.origin.dropped, Vec::<String>::new());
        assert!(!form.consent().unwrap().denies(Purpose::MarketingEmail));
    }

    #[test]
    fn a_plain_html_form_has_everything_side_by_side() {
        let body = b"form_type=contact&name=Ana&email=ana%40example.com&message=Oi&utm_source=ig&marketing_consent=on";
        let flat = ContactForm::parse(&from_urlencoded(body)).unwrap();
        assert_eq!(flat.origin.attribution.utm.source, Some(Text::from("ig")));
        assert_eq!(flat.marketing, Some(Decision::Granted));
        let body = b"data[name]=Ana&data[email]=ana%40example.com&data[message]=Oi";
        let nested = ContactForm::parse(&from_urlencoded(body)).unwrap();
        assert_eq!(nested.marketing, None, "a browser sends no unticked box");
        assert_eq!(nested.consent(), None);
    }

    #[test]
    fn what_no_person_typed_never_refuses_the_form() {
        let mut body = body();
        for (name, value) in [
            ("timestamp", json!("yesterday")),
            ("page_url", json!("javascript:alert(1)")),
            ("utm_params", json!("x")),
            ("lead_id", json!(7)),
            ("form_type", json!({})),
        ] {
            body[name] = value;
        }
        let form = ContactForm::parse(&body).unwrap();
        let mut dropped = form.origin.dropped;
        dropped.sort();
        assert_eq!(dropped, ["form_type", "lead_id", "page_url", "timestamp", "utm_params"]);
        assert_eq!(form.origin.attribution, crate::contact::attribution::Attribution::default());
    }

    #[test]
    fn what_a_person_typed_is_checked_and_every_fault_is_named() {
        let mut body = body();
        body["data"] = json!({
            "name": "!", "email": "ana", "phone": "12", "company": "x".repeat(201),
            "service_interest": 7, "message": "m".repeat(5001), "marketing_consent": "maybe",
        });
        let errors = ContactForm::parse(&body).unwrap_err().0;
        let found: Vec<_> = errors.iter().map(|e| (e.field.as_str(), e.fault.code())).collect();
        assert_eq!(
            found,
            [
                ("data.name", "required"),
                ("data.email", "invalid_email"),
                ("data.phone", "invalid_phone"),
                ("data.company", "too_long"),
                ("data.service_interest", "wrong_type"),
                ("data.message", "too_long"),
                ("data.marketing_consent", "wrong_type"),
            ]
        );
    }

    #[test]
    fn the_box_counts_for_marketing_alone_and_over_the_consent_object() {
        let mut body = body();
        body["consent"] = json!({"marketing": true, "ads": false, "policyVersion": "2026-01"});
        body["data"]["marketing_consent"] = json!(false);
        let consent = ContactForm::parse(&body).unwrap().consent().unwrap();
        assert!(consent.denies(Purpose::MarketingEmail) && consent.denies(Purpose::Ads));
        assert_eq!(consent.answers.len(), 2);
        assert_eq!(consent.policy_version.unwrap(), "2026-01");
    }

    #[test]
    fn a_repetition_has_the_same_fingerprint_at_another_time() {
        let form = |change: &dyn Fn(&mut Value)| {
            let mut body = body();
            change(&mut body);
            ContactForm::parse(&body).unwrap().fingerprint()
        };
        let first = form(&|_| ());
        assert_eq!(first, form(&|body| body["timestamp"] = json!(1_764_000_000_000_i64)));
        assert_ne!(first, form(&|body| body["data"]["message"] = json!("Outra")));
    }
}
