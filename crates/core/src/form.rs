//! Parsing the fields of a form.
//!
//! Owns the field errors with their codes and messages, and how the body of a plain HTML form
//! becomes the same tree as JSON. All errors of a form are collected, and no error repeats what the
//! person sent. This module must not know any particular form.

pub mod lead;
pub mod questionnaire;

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::contact::consent::{Decision, FormConsent, Purpose};
use crate::contact::{Email, Phone};
use crate::hash::sha256_hex;
use crate::id::LeadId;
use crate::json::canonical;
use crate::pii::Text;
use crate::score::Answer;

/// The language of error messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Locale {
    /// English.
    #[default]
    En,
    /// Brazilian Portuguese.
    PtBr,
}

impl Locale {
    /// Chooses the language from the `Accept-Language` header: Portuguese if the header gives it at
    /// least the weight of English.
    pub fn from_accept_language(header: Option<&str>) -> Self {
        let weight = |language: &str| {
            header.unwrap_or_default().split(',').fold(-1, |best, entry| {
                let mut parts = entry.split(';').map(str::trim);
                let tag = parts.next().unwrap_or_default().to_ascii_lowercase();
                if tag != language && !tag.starts_with(&format!("{language}-")) {
                    return best;
                }
                let q = parts.find_map(|part| part.strip_prefix("q=")).unwrap_or("1");
                best.max(thousandths(q))
            })
        };
        let portuguese = weight("pt");
        if portuguese > 0 && portuguese >= weight("en") { Self::PtBr } else { Self::En }
    }
}

/// A weight (RFC 9110 §12.4.2) in thousandths: `0.8` is 800.
fn thousandths(q: &str) -> i32 {
    let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let whole: i32 = whole.parse().unwrap_or(0);
    whole.saturating_mul(1000).saturating_add(digits.parse().unwrap_or(0)).clamp(0, 1000)
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The field is missing or empty.
    Required,
    /// The value has another JSON type than this one.
    WrongType(&'static str),
    /// The text has more characters than this.
    TooLong(usize),
    /// The value is not an e-mail address.
    Email,
    /// The value is not a phone number.
    Phone,
    /// The value is not a UUID, or is the nil or the max UUID.
    Uuid,
    /// The number is not between these two, inclusive.
    OutOfRange(i64, i64),
    /// The value is not an RFC 3339 time.
    Time,
    /// The value is not the IANA name of a time zone.
    TimeZone,
    /// The value is not an http or https address.
    Url,
    /// The value is not 1 to 64 letters, digits, `-` and `_`.
    BookingId,
    /// The value is not one of the documented options.
    Choice,
    /// The value is not `<lead>/<delivery>`.
    DeliveryName,
    /// The list or object has more entries than this.
    TooMany(usize),
    /// The form has no such field.
    Unexpected,
}

impl Fault {
    /// The stable code for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::WrongType(_) => "wrong_type",
            Self::TooLong(_) => "too_long",
            Self::Email => "invalid_email",
            Self::Phone => "invalid_phone",
            Self::Uuid => "invalid_uuid",
            Self::OutOfRange(..) => "out_of_range",
            Self::Time => "invalid_time",
            Self::TimeZone => "unknown_time_zone",
            Self::Url => "invalid_url",
            Self::BookingId => "invalid_booking_id",
            Self::Choice => "unknown_choice",
            Self::DeliveryName => "invalid_delivery",
            Self::TooMany(_) => "too_many",
            Self::Unexpected => "unexpected_field",
        }
    }

    /// The message for people.
    pub fn message(self, locale: Locale) -> Cow<'static, str> {
        match (self, locale) {
            (Self::Required, Locale::En) => "Fill in this field.".into(),
            (Self::Required, Locale::PtBr) => "Preencha este campo.".into(),
            (Self::WrongType(expected), Locale::En) => format!("Send {expected}.").into(),
            (Self::WrongType(expected), Locale::PtBr) => {
                let expected = match expected {
                    TEXT => "um texto",
                    NUMBER => "um número",
                    FLAG => "verdadeiro ou falso",
                    LIST => "uma lista",
                    _ => "um objeto",
                };
                format!("Envie {expected}.").into()
            }
            (Self::TooLong(max), Locale::En) => format!("Use at most {max} characters.").into(),
            (Self::TooLong(max), Locale::PtBr) => format!("Use no máximo {max} caracteres.").into(),
            (Self::Email, Locale::En) => "Enter a valid e-mail address.".into(),
            (Self::Email, Locale::PtBr) => "Informe um e-mail válido.".into(),
            (Self::Phone, Locale::En) => {
                "Enter a valid phone number with its area code, such as (11) 98765-4321.".into()
            }
            (Self::Phone, Locale::PtBr) => {
                "Informe um telefone válido com DDD, como (11) 98765-4321.".into()
            }
            (Self::Uuid, Locale::En) => "Send a UUID.".into(),
            (Self::Uuid, Locale::PtBr) => "Envie um UUID.".into(),
            (Self::OutOfRange(min, max), Locale::En) => {
                format!("Enter a number from {min} to {max}.").into()
            }
            (Self::OutOfRange(min, max), Locale::PtBr) => {
                format!("Informe um número de {min} a {max}.").into()
            }
            (Self::Time, Locale::En) => "Send a time such as 2026-11-21T12:00:00Z.".into(),
            (Self::Time, Locale::PtBr) => "Envie um horário como 2026-11-21T12:00:00Z.".into(),
            (Self::TimeZone, Locale::En) => "Send a time zone such as America/Sao_Paulo.".into(),
            (Self::TimeZone, Locale::PtBr) => "Envie um fuso como America/Sao_Paulo.".into(),
            (Self::Url, Locale::En) => "Send an http or https address.".into(),
            (Self::Url, Locale::PtBr) => "Envie um endereço http ou https.".into(),
            (Self::BookingId, Locale::En) => "Use 1 to 64 letters, digits, - and _.".into(),
            (Self::BookingId, Locale::PtBr) => "Use de 1 a 64 letras, dígitos, - e _.".into(),
            (Self::Choice, Locale::En) => "Use one of the documented values.".into(),
            (Self::Choice, Locale::PtBr) => "Use um dos valores documentados.".into(),
            (Self::DeliveryName, Locale::En) => "Send <lead>/<delivery>.".into(),
            (Self::DeliveryName, Locale::PtBr) => "Envie <lead>/<entrega>.".into(),
            (Self::TooMany(max), Locale::En) => format!("Send at most {max}.").into(),
            (Self::TooMany(max), Locale::PtBr) => format!("Envie no máximo {max}.").into(),
            (Self::Unexpected, Locale::En) => "Leave out this field.".into(),
            (Self::Unexpected, Locale::PtBr) => "Retire este campo.".into(),
        }
    }
}

const TEXT: &str = "a text";
const NUMBER: &str = "a number";
const FLAG: &str = "true or false";
const OBJECT: &str = "an object";
const LIST: &str = "a list";

/// A fault and the field that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path of the field in the body: `email`, `consent.marketing`.
    pub field: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// All faults of a form. The list is never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fields are not valid", self.0.len())
    }
}

impl std::error::Error for FieldErrors {}

/// Converts a form-encoded body (of a plain HTML form) to the tree that JSON would have:
/// `utm[source]` and `utm.source` become the member `source` of the object `utm`. Of two equal
/// names the last one counts.
pub fn from_urlencoded(bytes: &[u8]) -> Value {
    let mut root = Map::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        let name = name.replace('[', ".").replace(']', "");
        let value = Value::String(value.into_owned());
        match name.split_once('.') {
            None => drop(root.insert(name, value)),
            Some((outer, inner)) => {
                let nested =
                    root.entry(outer.to_owned()).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(nested) = nested {
                    nested.insert(inner.to_owned(), value);
                }
            }
        }
    }
    Value::Object(root)
}

/// Parses the fields of one JSON object and collects every fault. `null` and empty text count as
/// absent, unknown fields are ignored, and text is trimmed.
///
/// The methods return `None` for an absent field and for one with a fault. A fault is recorded.
pub struct Fields<'v> {
    object: Option<&'v Map<String, Value>>,
    prefix: String,
    errors: Vec<FieldError>,
}

impl<'v> Fields<'v> {
    /// Starts with a body. In a body that is not an object all required fields are missing.
    pub fn of(body: &'v Value) -> Self {
        Self { object: body.as_object(), prefix: String::new(), errors: Vec::new() }
    }

    fn value(&self, name: &str) -> Option<&'v Value> {
        self.object?.get(name).filter(|value| !value.is_null())
    }

    fn fail<T>(&mut self, name: &str, fault: Fault) -> Option<T> {
        self.errors.push(FieldError { field: format!("{}{name}", self.prefix), fault });
        None
    }

    fn raw_text(&mut self, name: &str) -> Option<&'v str> {
        match self.value(name)? {
            Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => self.fail(name, Fault::WrongType(TEXT)),
        }
    }

    /// Text of at most `chars_max` characters.
    pub fn text(&mut self, name: &str, chars_max: usize) -> Option<Text> {
        let text = self.raw_text(name)?;
        if text.chars().count() > chars_max {
            return self.fail(name, Fault::TooLong(chars_max));
        }
        Some(Text::from(text))
    }

    /// Text that is cut to `chars_max` characters. A lead must not be refused for a long campaign
    /// name.
    pub fn text_cut(&mut self, name: &str, chars_max: usize) -> Option<Text> {
        let text = self.raw_text(name)?;
        Some(Text::new(text.chars().take(chars_max).collect()))
    }

    /// Required text of at most `chars_max` characters.
    pub fn required_text(&mut self, name: &str, chars_max: usize) -> Option<Text> {
        let errors_before = self.errors.len();
        let text = self.text(name, chars_max);
        if text.is_none() && self.errors.len() == errors_before {
            return self.fail(name, Fault::Required);
        }
        text
    }

    /// A required name of a person: text with at least one letter or digit.
    pub fn required_name(&mut self, name: &str, chars_max: usize) -> Option<Text> {
        let text = self.required_text(name, chars_max)?;
        if text.expose().chars().any(char::is_alphanumeric) {
            Some(text)
        } else {
            self.fail(name, Fault::Required)
        }
    }

    /// A required e-mail address.
    pub fn required_email(&mut self, name: &str) -> Option<Email> {
        let text = self.required_text(name, 320)?;
        match Email::parse(text.expose()) {
            Ok(email) => Some(email),
            Err(_) => self.fail(name, Fault::Email),
        }
    }

    /// A phone number, as text or as a JSON number.
    pub fn phone(&mut self, name: &str) -> Option<Phone> {
        let text = match self.value(name)? {
            Value::Number(number) => number.to_string(),
            Value::Null
            | Value::Bool(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => self.raw_text(name)?.to_owned(),
        };
        match Phone::parse(&text) {
            Ok(phone) => Some(phone),
            Err(_) => self.fail(name, Fault::Phone),
        }
    }

    /// A lead id.
    pub fn lead_id(&mut self, name: &str) -> Option<LeadId> {
        let text = self.raw_text(name)?;
        match LeadId::parse(text) {
            Ok(id) => Some(id),
            Err(_) => self.fail(name, Fault::Uuid),
        }
    }

    /// A required lead id.
    pub fn required_lead_id(&mut self, name: &str) -> Option<LeadId> {
        self.required_text(name, 100)?;
        self.lead_id(name)
    }

    /// An answer that may be a number or a text of at most `chars_max` characters.
    pub fn answer(&mut self, name: &str, chars_max: usize) -> Option<Answer> {
        match self.value(name)? {
            Value::Number(number) => Some(Answer::Number(whole(number))),
            Value::Null
            | Value::Bool(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                let text = self.text(name, chars_max)?;
                Some(Answer::Text(text.expose().clone()))
            }
        }
    }

    /// A whole number from `min` to `max`. Text with digits is accepted, because plain HTML forms
    /// send it; decimals are cut off.
    pub fn number(&mut self, name: &str, min: i64, max: i64) -> Option<i64> {
        let number = match self.value(name)? {
            Value::Number(number) if is_outside(number, min, max) => {
                return self.fail(name, Fault::OutOfRange(min, max));
            }
            Value::Number(number) => Some(whole(number)),
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        match number {
            None => self.fail(name, Fault::WrongType(NUMBER)),
            Some(number) if !(min..=max).contains(&number) => {
                self.fail(name, Fault::OutOfRange(min, max))
            }
            Some(number) => Some(number),
        }
    }

    /// A checkbox: a JSON boolean, or text that HTML forms send for one.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        let text = match self.value(name)? {
            Value::Bool(flag) => return Some(*flag),
            Value::String(text) => text.trim().to_ascii_lowercase(),
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return self.fail(name, Fault::WrongType(FLAG));
            }
        };
        match text.as_str() {
            "" => None,
            "true" | "on" | "1" | "yes" | "sim" => Some(true),
            "false" | "off" | "0" | "no" | "nao" | "não" => Some(false),
            _ => self.fail(name, Fault::WrongType(FLAG)),
        }
    }

    /// Text that `parse` accepts; otherwise the field has this fault.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        fault: Fault,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.raw_text(name)?;
        parse(text).or_else(|| self.fail(name, fault))
    }

    /// One of the form's options. `find` returns the option in its canonical spelling.
    pub fn choice(
        &mut self,
        name: &str,
        find: impl FnOnce(&str) -> Option<&'static str>,
    ) -> Option<Answer> {
        self.parsed(name, Fault::Choice, find).map(|option| Answer::Text(option.to_owned()))
    }

    /// An answer of any type: whole numbers as numbers, everything else as text that is cut to
    /// `chars_max` characters.
    pub fn anything(&self, name: &str, chars_max: usize) -> Option<Answer> {
        let value = self.value(name)?;
        if let Some(number) = value.as_i64() {
            return Some(Answer::Number(number));
        }
        let text = value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned());
        (!text.is_empty()).then(|| Answer::Text(text.chars().take(chars_max).collect()))
    }

    /// The names of all fields.
    pub fn names(&self) -> impl Iterator<Item = &'v String> + use<'v> {
        self.object.into_iter().flat_map(Map::keys)
    }

    /// A list of at most `most` texts that `parse` accepts. Each text that it refuses has this
    /// fault. Empty if the field is absent.
    pub fn each<T>(
        &mut self,
        name: &str,
        most: usize,
        fault: Fault,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let Some(entries) = value.as_array() else {
            return self.fail(name, Fault::WrongType(LIST)).unwrap_or_default();
        };
        if entries.len() > most {
            return self.fail(name, Fault::TooMany(most)).unwrap_or_default();
        }
        let read = entries.iter().enumerate().filter_map(|(index, entry)| {
            let parsed = entry.as_str().and_then(&parse);
            parsed.or_else(|| self.fail(&format!("{name}.{index}"), fault))
        });
        read.collect()
    }

    /// Refuses every field except these. For requests in which a misspelt filter, if it were
    /// ignored, would select more than was intended.
    pub fn only(&mut self, names: &[&str]) {
        let Some(object) = self.object else { return };
        for name in object.keys().filter(|name| !names.contains(&name.as_str())) {
            self.fail::<()>(&name.chars().take(50).collect::<String>(), Fault::Unexpected);
        }
    }

    /// A nested object, parsed by `read`.
    pub fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Fields<'v>) -> T) -> Option<T> {
        let Value::Object(object) = self.value(name)? else {
            return self.fail(name, Fault::WrongType(OBJECT));
        };
        let mut nested = Fields {
            object: Some(object),
            prefix: format!("{}{name}.", self.prefix),
            errors: Vec::new(),
        };
        let value = read(&mut nested);
        self.errors.append(&mut nested.errors);
        Some(value)
    }

    /// A required nested object, in which 1 to `most` fields are filled in.
    pub fn required_object<T>(
        &mut self,
        name: &str,
        most: usize,
        read: impl FnOnce(&mut Fields<'v>) -> T,
    ) -> Option<T> {
        let filled = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => true,
        };
        let Some(value) = self.value(name) else { return self.fail(name, Fault::Required) };
        match value.as_object().map(|object| object.values().filter(|v| filled(v)).count()) {
            Some(0) => self.fail(name, Fault::Required),
            Some(count) if count > most => self.fail(name, Fault::TooMany(most)),
            Some(_) | None => self.object(name, read),
        }
    }

    /// The consent object of a form.
    pub fn consent(&mut self, name: &str) -> Option<FormConsent> {
        self.object(name, |fields| {
            let boxes = [
                ("marketing", Purpose::MarketingEmail),
                ("analytics", Purpose::Analytics),
                ("ads", Purpose::Ads),
                ("whatsapp", Purpose::Whatsapp),
            ];
            let answers = boxes
                .into_iter()
                .filter_map(|(name, purpose)| {
                    let ticked = fields.flag(name)?;
                    Some((purpose, if ticked { Decision::Granted } else { Decision::Denied }))
                })
                .collect();
            let policy_version =
                fields.text("policyVersion", 100).map(|text| text.expose().clone());
            FormConsent { answers, policy_version }
        })
    }

    /// Returns the form if no field had a fault, otherwise all faults.
    pub fn finish<T>(self, form: Option<T>) -> Result<T, FieldErrors> {
        match form {
            Some(form) if self.errors.is_empty() => Ok(form),
            Some(_) | None => Err(FieldErrors(self.errors)),
        }
    }
}

/// The fingerprint of a form: the SHA-256 of its fields in canonical order.
pub(crate) fn fingerprint(form: &impl Serialize) -> String {
    let value = serde_json::to_value(form).unwrap_or(Value::Object(Map::new()));
    sha256_hex(&canonical(&value))
}

/// Whether a number is outside the range, decimals included: 100.9 is more than 100.
fn is_outside(number: &serde_json::Number, min: i64, max: i64) -> bool {
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "ranges of forms are far below 2^53"
    )]
    let (min, max) = (min as f64, max as f64);
    number.as_f64().is_some_and(|number| number < min || number > max)
}

/// A JSON number rounded towards zero.
fn whole(number: &serde_json::Number) -> i64 {
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "from a float `as` truncates and saturates, which is what is wanted"
    )]
    number.as_i64().unwrap_or_else(|| number.as_f64().unwrap_or_default() as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_locale_follows_the_weights_of_accept_language() {
        for (header, expected) in [
            (None, Locale::En),
            (Some("pt-BR,pt;q=0.9,en;q=0.8"), Locale::PtBr),
            (Some("pt"), Locale::PtBr),
            (Some("en-US,en;q=0.9,pt;q=0.8"), Locale::En),
            (Some("en;q=0.5, pt-br;q=0.7"), Locale::PtBr),
            (Some("pt;q=0"), Locale::En),
            (Some("ptx"), Locale::En),
            (Some("*"), Locale::En),
            (Some("pt;q=99999999999"), Locale::En),
        ] {
            assert_eq!(Locale::from_accept_language(header), expected, "{header:?}");
        }
    }

    #[test]
    fn a_plain_form_becomes_the_same_tree_as_json() {
        let tree = from_urlencoded(b"name=Ana+Exemplo&utm%5Bsource%5D=ig&consent.ads=on&name2=");
        assert_eq!(
            tree,
            json!({"name": "Ana Exemplo", "utm": {"source": "ig"}, "consent": {"ads": "on"}, "name2": ""})
        );
        assert_eq!(from_urlencoded(b"utm=x&utm[source]=ig"), json!({"utm": "x"}));
    }

    #[test]
    fn all_faults_of_a_form_are_collected() {
        let body =
            json!({"a": 1, "n": 101, "u": "x", "o": {"f": "maybe"}, "long": "ççç", "e": "no"});
        let mut fields = Fields::of(&body);
        fields.required_text("a", 9);
        fields.required_text("missing", 9);
        fields.number("n", 0, 100);
        fields.lead_id("u");
        fields.object("o", |nested| nested.flag("f"));
        fields.text("long", 2);
        fields.required_email("e");
        let errors = fields.finish(Some(())).unwrap_err().0;
        let found: Vec<_> =
            errors.iter().map(|error| (error.field.as_str(), error.fault.code())).collect();
        assert_eq!(
            found,
            [
                ("a", "wrong_type"),
                ("missing", "required"),
                ("n", "out_of_range"),
                ("u", "invalid_uuid"),
                ("o.f", "wrong_type"),
                ("long", "too_long"),
                ("e", "invalid_email"),
            ]
        );
    }

    #[test]
    fn zero_is_a_number_and_blank_is_absent() {
        let body = json!({"zero": 0, "text": " 7 ", "blank": " ", "null": null});
        let mut fields = Fields::of(&body);
        assert_eq!(fields.number("zero", 0, 100), Some(0));
        assert_eq!(fields.number("text", 0, 100), Some(7));
        assert_eq!(fields.number("blank", 0, 100), None);
        assert_eq!(fields.text("null", 5), None);
        let body = json!({"n": 100.9, "m": -0.5, "k": 99.5});
        let mut outside = Fields::of(&body);
        assert_eq!(
            [outside.number("n", 0, 100), outside.number("m", 0, 100), outside.number("k", 0, 100)],
            [None, None, Some(99)]
        );
        assert!(fields.finish(Some(())).is_ok());
    }
}
