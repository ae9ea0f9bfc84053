//! The site's newsletter form.
//!
//! Owns its fields, and that nobody is signed up without saying that they want it. It must not know HTTP,
//! the table, or how a newsletter is sent.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::site::{Layout, Origin};
use crate::contact::Email;
use crate::contact::consent::{Decision, FormConsent};
use crate::form::{FieldErrors, Fields, Schema, fingerprint};
use crate::pii::{self, Text};

/// A valid sign-up for the newsletter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewsletterForm {
    /// What came along.
    pub origin: Origin,
    /// The person's e-mail address.
    #[serde(with = "pii::stored")]
    pub email: Email,
    /// The person's name, if the form asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "pii::stored")]
    pub name: Option<Text>,
}

impl NewsletterForm {
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
            let email = fields.required_email("email");
            let name = fields.text("name", 200);
            let agreed = fields.required_tick("marketing_consent");
            email.zip(agreed).map(|(email, ())| Self { origin, email, name })
        })
    }

    /// What the form decides about consent: marketing is granted.
    pub fn consent(&self) -> Option<FormConsent> {
        self.origin.consent_with(Some(Decision::Granted))
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

    #[test]
    fn nobody_is_signed_up_without_a_ticked_box() {
        let parse = |consent: Value| {
            NewsletterForm::parse(
                &json!({"email": "ana@example.com", "marketing_consent": consent}),
            )
        };
        for ticked in [json!(true), json!("on"), json!("Sim"), json!(" 1 ")] {
            let form = parse(ticked.clone()).unwrap();
            let granted = form.consent().unwrap().answers[&Purpose::MarketingEmail];
            assert_eq!(granted, Decision::Granted, "{ticked}");
        }
        for not in [json!(false), json!("off"), json!(""), Value::Null, json!(1), json!({})] {
            let errors = parse(not.clone()).unwrap_err().0;
            let found: Vec<_> = errors.iter().map(|e| (e.field.as_str(), e.fault.code())).collect();
            assert_eq!(found, [("marketing_consent", "consent_required")], "{not}");
        }
    }
}
