//! Whose journey to show: a lead by its id, or the leads of an e-mail.
//!
//! For the console and the commands. Must not know how a journey is shown.

use funil_core::contact::Email;
use funil_core::form::from_urlencoded;
use funil_core::hash::HashKey;
use funil_core::id::LeadId;
use funil_store::{Store, StoreError};
use serde_json::Value;

/// How many leads of an e-mail are found, beside the oldest.
const LEADS_MAX: usize = 25;

/// Whose journey to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The journey of the lead with this id.
    Lead(LeadId),
    /// The journey of all leads with this e-mail.
    Email(Email),
}

impl Whose {
    /// Reads a lead's id or an e-mail.
    pub fn parse(text: &str) -> Option<Self> {
        let email = || Email::parse(text).ok().map(Self::Email);
        LeadId::parse(text).ok().map(Self::Lead).or_else(email)
    }

    /// The first e-mail in the body of a form or of a webhook.
    pub fn of_body(body: &[u8]) -> Option<Self> {
        let body = serde_json::from_slice(body).unwrap_or_else(|_| from_urlencoded(body));
        Email::parse(first_email(&body)?).ok().map(Self::Email)
    }

    /// The leads, those that were linked last first.
    pub async fn leads(&self, store: &Store, hash: &HashKey) -> Result<Vec<LeadId>, StoreError> {
        let email = match self {
            Self::Lead(lead) => return Ok(vec![*lead]),
            Self::Email(email) => hash.digest("email", email.as_str()),
        };
        let mut leads = store.leads_of(("email", &email), LEADS_MAX).await?;
        let oldest = store.oldest_lead(&email).await?;
        leads.extend(oldest.filter(|oldest| !leads.contains(oldest)));
        Ok(leads)
    }
}

/// The first member of this name, at any depth.
fn first_email(value: &Value) -> Option<&str> {
    match value {
        Value::Object(members) => {
            let own = members.get("email").and_then(Value::as_str);
            own.or_else(|| members.values().find_map(first_email))
        }
        Value::Array(items) => items.iter().find_map(first_email),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_or_an_e_mail_says_whose_and_a_body_has_it_in_its_own_place() {
        let ana = || Some(Whose::Email(Email::parse("ana@example.com").unwrap()));
        assert_eq!(Whose::parse("Ana@Example.com"), ana());
        let id = "6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";
        assert_eq!(Whose::parse(id), LeadId::parse(id).ok().map(Whose::Lead));
        assert_eq!(Whose::parse("ana"), None);
        for body in [
            r#"{"email": "ana@example.com"}"#,
            r#"{"data": {"email": "ana@example.com"}}"#,
            r#"{"type": "x", "subscriber": {"email": "ana@example.com"}}"#,
            r#"{"events": [{"email": "ana@example.com"}]}"#,
            "name=Ana&email=ana%40example.com",
        ] {
            assert_eq!(Whose::of_body(body.as_bytes()), ana(), "{body}");
        }
        assert_eq!(Whose::of_body(b"{}"), None);
    }
}
