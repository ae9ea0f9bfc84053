//! Contact data, parsed once: e-mail and phone.
//!
//! Owns what counts as the same address or number (case, the Brazilian ninth digit). Must not know
//! forms, messages or consent.

pub mod attribution;
pub mod consent;

use std::str::FromStr;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};
use serde::{Deserialize, Deserializer, Serializer};

use crate::hash::HashKey;
use crate::id::LeadId;
use crate::pii::{Pii, Stored};

/// Not an address or number of the kind asked for. It never carries what was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid contact")]
pub struct InvalidContact;

/// An e-mail address, trimmed and in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Email(Pii<String>);

impl Email {
    /// The longest address accepted, in bytes (RFC 5321 §4.5.3.1.3: a path of 256 with its brackets).
    pub const BYTES_MAX: usize = 254;

    /// Reads an address: the crate checks its form, we ask for a domain with a dot, because a lead
    /// with `ana@gmail` cannot be reached.
    pub fn parse(text: &str) -> Result<Self, InvalidContact> {
        let text = text.trim();
        if text.len() > Self::BYTES_MAX || text.contains(|c: char| c.is_control() || c == '"') {
            return Err(InvalidContact);
        }
        let address = email_address::EmailAddress::from_str(text).map_err(|_| InvalidContact)?;
        if !address.display_part().is_empty() {
            return Err(InvalidContact);
        }
        let domain = address.domain();
        let last_label = domain.rsplit('.').next().unwrap_or_default();
        if !domain.contains('.') || last_label.len() < 2 || domain.starts_with('[') {
            return Err(InvalidContact);
        }
        Ok(Self(Pii::new(text.to_lowercase())))
    }

    /// The address. The caller answers for where it goes.
    pub fn as_str(&self) -> &str {
        self.0.expose()
    }
}

/// A phone number in E.164: `+5511987654321`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Phone(Pii<String>);

impl Phone {
    /// Reads a number as Brazilians and others write it; without a country code it is Brazilian.
    ///
    /// A Brazilian mobile in its old form of eight digits (first digit 6 to 9) gets its ninth digit
    /// (`provider-apis.md` §13: the numbering plan's, which libphonenumber does not apply).
    pub fn parse(text: &str) -> Result<Self, InvalidContact> {
        if text.len() > 64 || text.contains(char::is_alphabetic) {
            return Err(InvalidContact);
        }
        // The prefix of a collect call, which libphonenumber reads as part of the number.
        // Marks of direction and width come along when a number is copied from a contact list.
        let marks = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        let text: String = text.chars().filter(|c| !marks(*c)).collect();
        let text = text.trim();
        let text = text.strip_prefix("9090").unwrap_or(text);
        let number = PHONE_NUMBER_UTIL.parse(text, Some(Region::BR)).map_err(|_| InvalidContact)?;
        let national = number.get_national_significant_number();
        if number.country_code == 55 {
            // Before validity: `11 7xxx-xxxx` is still valid to the library, as an old trunk number.
            if let Some(with_ninth) = with_ninth_digit(&national) {
                let number = PHONE_NUMBER_UTIL
                    .parse(format!("+55{with_ninth}"), None)
                    .map_err(|_| InvalidContact)?;
                return Self::from_valid(&number);
            }
        }
        Self::from_valid(&number)
    }

    fn from_valid(number: &rlibphonenumber::PhoneNumber) -> Result<Self, InvalidContact> {
        if !number.is_valid() {
            return Err(InvalidContact);
        }
        let mut plain = number.clone();
        plain.extension = None;
        Ok(Self(Pii::new(plain.format_as(PhoneNumberFormat::E164).into_owned())))
    }

    /// The number in E.164, with its `+`. The caller answers for where it goes.
    pub fn as_str(&self) -> &str {
        self.0.expose()
    }

    /// What is hashed for an alias: a Brazilian mobile loses its ninth digit, because WhatsApp
    /// knows some numbers without it.
    pub fn alias_text(&self) -> String {
        let text = self.as_str();
        match text.strip_prefix("+55") {
            Some(national) if national.len() == 11 && national.as_bytes()[2] == b'9' => {
                format!("+55{}{}", &national[..2], &national[3..])
            }
            _ => text.to_owned(),
        }
    }
}

/// `1187654321` (area code and an old mobile of eight digits) as `11987654321`.
fn with_ninth_digit(national: &str) -> Option<String> {
    let old_mobile = national.len() == 10 && matches!(national.as_bytes()[2], b'6'..=b'9');
    old_mobile.then(|| format!("{}9{}", &national[..2], &national[2..]))
}

macro_rules! stored_as_text {
    ($type:ident) => {
        impl Stored for $type {
            fn store<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }

            fn load<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // What the table holds was parsed when it was accepted.
                String::deserialize(deserializer).map(|text| Self(Pii::new(text)))
            }
        }
    };
}
stored_as_text!(Email);
stored_as_text!(Phone);

impl LeadId {
    /// The id of somebody known only by e-mail: the same each time, and not guessable without the
    /// site's key (UUIDv8, RFC 9562).
    pub fn from_email(key: &HashKey, email: &Email) -> Self {
        Self::derived(key.id_bytes("email", email.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn emails_are_read_trimmed_and_lower_case() {
        let email = Email::parse("  Ana.Silva+Teste@Exemplo.COM.br ").unwrap();
        assert_eq!(email.as_str(), "ana.silva+teste@exemplo.com.br");
    }

    #[test]
    fn what_is_not_an_email_is_refused() {
        for text in [
            "",
            "ana",
            "ana@",
            "@example.com",
            "ana@localhost",
            "ana@example.c",
            "ana@ex ample.com",
            "Ana <ana@example.com>",
            "ana@[127.0.0.1]",
            "ana@example.com\r\nBcc: x@example.com",
            &format!("{}@example.com", "a".repeat(65)),
        ] {
            assert_eq!(Email::parse(text), Err(InvalidContact), "{text}");
        }
    }

    /// The table of `provider-apis.md` §13, with the ninth digit added by our own rule.
    #[test]
    fn phones_are_read_to_e164() {
        for (text, expected) in [
            ("11987654321", "+5511987654321"),
            ("(11) 98765-4321", "+5511987654321"),
            ("+55 11 98765-4321", "+5511987654321"),
            ("5511987654321", "+5511987654321"),
            ("011 98765-4321", "+5511987654321"),
            ("0 15 11 98765-4321", "+5511987654321"),
            ("1187654321", "+5511987654321"),
            ("11 8765-4321", "+5511987654321"),
            ("551187654321", "+5511987654321"),
            ("11 7765-4321", "+5511977654321"),
            ("1133334444", "+551133334444"),
            ("0800 123 4567", "+558001234567"),
            ("+1 650 555 1234", "+16505551234"),
            ("\u{202d}11 98765-4321\u{202c}", "+5511987654321"),
            ("+351 912 345 678", "+351912345678"),
        ] {
            assert_eq!(
                Phone::parse(text).map(|p| p.as_str().to_owned()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_a_phone_is_refused() {
        for text in [
            "",
            "abc",
            "----------",
            "(20) 98765-4321",
            "987654321",
            "+55 11 88765-4321",
            "123",
            "55",
        ] {
            assert_eq!(Phone::parse(text), Err(InvalidContact), "{text}");
        }
    }

    #[test]
    fn an_alias_ignores_the_ninth_digit_of_brazilian_mobiles_only() {
        let alias = |text: &str| Phone::parse(text).unwrap().alias_text();
        assert_eq!(alias("11987654321"), "+551187654321");
        assert_eq!(alias("1133334444"), "+551133334444");
        assert_eq!(alias("+1 650 555 1234"), "+16505551234");
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in ".{0,80}") {
            drop(Email::parse(&text));
            drop(Phone::parse(&text));
        }

        #[test]
        fn a_parsed_phone_parses_to_itself(text in "[+()0-9 -]{8,20}") {
            if let Ok(phone) = Phone::parse(&text) {
                prop_assert_eq!(Phone::parse(phone.as_str()), Ok(phone.clone()));
            }
        }
    }

    #[test]
    fn an_id_derived_from_an_email_is_a_stable_uuid_v8() {
        let key = HashKey::new("0123456789abcdef").unwrap();
        let email = Email::parse("Ana@Example.com").unwrap();
        let id = LeadId::from_email(&key, &email);
        assert_eq!(id, LeadId::from_email(&key, &Email::parse("ana@example.com").unwrap()));
        assert!(id.is_derived());
    }
}
