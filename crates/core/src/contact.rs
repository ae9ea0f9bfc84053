//! Contact data: e-mail addresses, phone numbers and CPFs, parsed once.
//!
//! Owns which notations count as the same address or number (letter case, the ninth digit of
//! Brazilian mobiles). It must not know forms or messages.

pub mod attribution;
pub mod consent;
mod cpf;

use std::str::FromStr;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, PhoneNumberType, Region};
use serde::{Deserialize, Deserializer, Serializer};

pub use cpf::Cpf;

use crate::hash::HashKey;
use crate::id::LeadId;
use crate::pii::{Pii, Stored};

/// How many new leads one e-mail may have in a day. A further form is kept on the lead of the id that
/// is derived from the e-mail.
pub const NEW_LEADS_A_DAY: i64 = 5;
/// How many leads of one e-mail are read to see whether their numbers agree. More disagree.
pub const LEADS_COMPARED: usize = 25;

/// The text is not a valid e-mail address, phone number or CPF. It never contains that text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid contact")]
pub struct InvalidContact;

/// An e-mail address, trimmed and in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Email(Pii<String>);

impl Email {
    /// The maximum length of an address, in bytes. RFC 5321 §4.5.3.1.3 limits a path to 256, with
    /// two angle brackets.
    pub const BYTES_MAX: usize = 254;

    /// Parses an address without a display name. The syntax is checked by the crate
    /// `email_address`. In addition the domain must have a dot, because mail to `ana@gmail` does
    /// not arrive.
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

    /// The address. The caller is responsible for not logging it.
    pub fn as_str(&self) -> &str {
        self.0.expose()
    }
}

/// A phone number in E.164 format, such as `+5511987654321`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Phone(Pii<String>);

impl Phone {
    /// Parses a number in any usual notation. A number without a country code is Brazilian. Words
    /// that name a phone may stand beside it, and an extension; other words are refused, because a
    /// number in a sentence may be anything. Of two numbers with a slash the first mobile one counts,
    /// or else the first.
    ///
    /// A Brazilian mobile in its old form of eight digits (first digit 6 to 9) gets the ninth digit
    /// of today's numbering plan, which libphonenumber does not add. See `docs/providers.md`
    /// ("Brazilian phone numbers").
    pub fn parse(text: &str) -> Result<Self, InvalidContact> {
        if text.len() > 64 {
            return Err(InvalidContact);
        }
        // A number that was copied from a contact list may contain invisible characters for text
        // direction and width.
        let marks = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        let text: String = text.chars().filter(|c| !marks(*c)).collect();
        if let Ok(phone) = Self::parse_one(&text) {
            return Ok(phone);
        }
        // Two numbers with a slash between them: messages go to mobile numbers only.
        let numbers: Vec<Self> =
            text.split('/').filter_map(|text| Self::parse_one(text).ok()).collect();
        let mobile = numbers.iter().find(|phone| phone.may_be_mobile());
        mobile.or(numbers.first()).cloned().ok_or(InvalidContact)
    }

    fn parse_one(text: &str) -> Result<Self, InvalidContact> {
        let text = without_words(text).ok_or(InvalidContact)?;
        let text = text.trim();
        // libphonenumber takes `0055` for the code of a carrier.
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let abroad = digits.strip_prefix("00").filter(|_| !text.contains('+'));
        let brazilian =
            abroad.filter(|digits| digits.starts_with("55") && matches!(digits.len(), 12 | 13));
        if let Some(digits) = brazilian {
            return Self::parse_number(&format!("+{digits}"));
        }
        Self::parse_number(text)
            .or_else(|_| Self::parse_number(&format!("+{}", abroad.ok_or(InvalidContact)?)))
    }

    fn parse_number(text: &str) -> Result<Self, InvalidContact> {
        // `9090` starts a collect call. libphonenumber takes it for a part of the number.
        let text = text.strip_prefix("9090").unwrap_or(text);
        let number = PHONE_NUMBER_UTIL.parse(text, Some(Region::BR)).map_err(|_| InvalidContact)?;
        let national = number.get_national_significant_number();
        if number.country_code == 55 {
            // This comes before the validity check, because libphonenumber accepts `11 7xxx-xxxx`
            // as an old trunk number.
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

    /// Whether it may be a mobile number. In some countries mobile and fixed numbers look alike; in
    /// Brazil `0800`, `0300`, `0900`, `4004` and landlines are told apart.
    pub fn may_be_mobile(&self) -> bool {
        let parsed = PHONE_NUMBER_UTIL.parse(self.as_str(), None);
        parsed.is_ok_and(|number| {
            matches!(
                number.get_type(),
                PhoneNumberType::Mobile | PhoneNumberType::FixedLineOrMobile
            )
        })
    }

    /// The number in E.164 format, with the `+`. The caller is responsible for not logging it.
    pub fn as_str(&self) -> &str {
        self.0.expose()
    }

    /// The text whose digest is the number's alias. It has no ninth digit for a Brazilian mobile,
    /// because WhatsApp reports some numbers without it. An Argentine one always has the 9 of mobile
    /// numbers, which people leave out.
    pub fn alias_text(&self) -> String {
        let text = self.as_str();
        if let Some(national) = text.strip_prefix("+54")
            && national.len() == 10
        {
            return format!("+549{national}");
        }
        match text.strip_prefix("+55") {
            Some(national) if national.len() == 11 && national.as_bytes()[2] == b'9' => {
                format!("+55{}{}", &national[..2], &national[3..])
            }
            _ => text.to_owned(),
        }
    }
}

/// Words that people write beside a phone number.
const PHONE_WORDS: [&str; 14] = [
    "tel", "telefone", "fone", "cel", "celular", "whats", "whatsapp", "wats", "watsapp", "wpp",
    "wapp", "zap", "zapzap", "fixo",
];
/// Words before an extension, which is not kept.
const EXTENSION_WORDS: [&str; 3] = ["ramal", "ext", "extensao"];

/// The text without the words that may stand beside a number and without an extension. `None` where
/// it has other words.
fn without_words(text: &str) -> Option<String> {
    let mut rest = text;
    let mut kept = String::new();
    while let Some(start) = rest.find(char::is_alphabetic) {
        let (before, after) = rest.split_at(start);
        let end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (word, after) = after.split_at(end);
        kept.push_str(before);
        kept.push(' ');
        let word = word.to_lowercase();
        if EXTENSION_WORDS.contains(&word.as_str()) {
            let extension = after.trim_matches(|c: char| !c.is_alphanumeric());
            let is_extension = (1..=6).contains(&extension.len())
                && extension.bytes().all(|byte| byte.is_ascii_digit());
            return is_extension.then_some(kept);
        }
        if !PHONE_WORDS.contains(&word.as_str()) {
            return None;
        }
        rest = after;
    }
    kept.push_str(rest);
    Some(kept)
}

/// Adds the ninth digit to an area code and an old mobile number of eight digits: `1187654321`
/// becomes `11987654321`. `None` for other numbers.
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
                // A value in the table was parsed when it was accepted.
                String::deserialize(deserializer).map(|text| Self(Pii::new(text)))
            }
        }
    };
}
stored_as_text!(Email);
stored_as_text!(Phone);
stored_as_text!(Cpf);

impl LeadId {
    /// The id that is derived from an e-mail (UUIDv8, RFC 9562). It is always the same for the same
    /// e-mail, and nobody can compute it without the site's key.
    pub fn from_email(key: &HashKey, email: &Email) -> Self {
        Self::derived(key.id_bytes("email", email.as_str()))
    }

    /// The id that a robot gets in its response: it looks like the one that is derived from an e-mail, and is nobody's.
    pub fn for_robot(key: &HashKey, email: &Email) -> Self {
        Self::derived(key.id_bytes("robot", email.as_str()))
    }
}

impl Phone {
    /// Parses the digits by which WhatsApp knows a number. Of Mexican ones it may keep the 1 after the
    /// country's code, which the numbering plan dropped.
    pub fn of_whatsapp(digits: &str) -> Result<Self, InvalidContact> {
        Self::parse(&format!("+{digits}")).or_else(|invalid| {
            let national = digits.strip_prefix("521").filter(|national| national.len() == 10);
            national.map_or(Err(invalid), |national| Self::parse(&format!("+52{national}")))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_email_is_trimmed_and_made_lower_case() {
        let email = Email::parse("  Ana.Silva+Teste@Exemplo.COM.br ").unwrap();
        assert_eq!(email.as_str(), "ana.silva+teste@exemplo.com.br");
    }

    #[test]
    fn an_invalid_email_is_refused() {
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

    /// The examples of `docs/providers.md` ("Brazilian phone numbers"). The ninth digit is added by
    /// our own rule.
    #[test]
    fn a_phone_is_parsed_to_e164() {
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
            ("11 98765-4321 (whats)", "+5511987654321"),
            ("WhatsApp: (11) 98765-4321", "+5511987654321"),
            ("tel:+55-11-98765-4321", "+5511987654321"),
            ("tel:+551133334444;ext=12", "+551133334444"),
            ("0055 11 98765-4321", "+5511987654321"),
            ("0055 11 3333-4444", "+551133334444"),
            ("00351 912 345 678", "+351912345678"),
            ("11 3333-4444 ramal 12", "+551133334444"),
            ("(11) 3333-4444, ramal: 1234", "+551133334444"),
            ("11 3333-4444 / 11 98765-4321", "+5511987654321"),
            ("11 98765-4321/11 91234-5678", "+5511987654321"),
            ("11 3333-4444 / 11 2222-3333", "+551133334444"),
            ("11 3333-4444 ramal 12 / 11 98765-4321 (zap)", "+5511987654321"),
            ("98765-4321 / 11 3333-4444", "+551133334444"),
            ("11/98765-4321", "+5511987654321"),
        ] {
            assert_eq!(
                Phone::parse(text).map(|p| p.as_str().to_owned()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn an_invalid_phone_is_refused() {
        for text in [
            "",
            "abc",
            "----------",
            "(20) 98765-4321",
            "987654321",
            "+55 11 88765-4321",
            "123",
            "55",
            "CPF 11987654321",
            "meu cpf é 119.876.543-21",
            "liga no 11 98765-4321 depois das 18",
            "11 98765-4321 x 2",
            "11 3333-4444 ramal",
            "ramal 12",
            "11 3333-4444 ramal da Ana",
            "whats",
            "/",
        ] {
            assert_eq!(Phone::parse(text), Err(InvalidContact), "{text}");
        }
    }

    #[test]
    fn an_alias_has_no_ninth_digit_for_brazilian_mobiles_only() {
        let alias = |text: &str| Phone::parse(text).unwrap().alias_text();
        assert_eq!(alias("11987654321"), "+551187654321");
        assert_eq!(alias("1133334444"), "+551133334444");
        assert_eq!(alias("+1 650 555 1234"), "+16505551234");
        assert_eq!(alias("+54 9 11 2345-6789"), "+5491123456789");
        assert_eq!(alias("+54 11 2345-6789"), "+5491123456789");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,80}") {
            drop(Email::parse(&text));
            drop(Phone::parse(&text));
        }

        #[test]
        fn parsing_the_e164_form_gives_the_same_phone(text in "[+()0-9 -]{8,20}") {
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
