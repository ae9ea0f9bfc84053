//! What may be wrong with a field, with its code for programs and its message for people.
//!
//! No error repeats what the person sent. This module must not know how a field is parsed.

use std::borrow::Cow;
use std::fmt;

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
    /// The box is not ticked.
    Consent,
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
    /// The value is not a date in the future.
    FutureDate,
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
            Self::Consent => "consent_required",
            Self::Email => "invalid_email",
            Self::Phone => "invalid_phone",
            Self::Uuid => "invalid_uuid",
            Self::OutOfRange(..) => "out_of_range",
            Self::Time => "invalid_time",
            Self::FutureDate => "no_future_date",
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
            (Self::Consent, Locale::En) => "Tick this box to go on.".into(),
            (Self::Consent, Locale::PtBr) => "Marque esta caixa para continuar.".into(),
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
            (Self::FutureDate, Locale::En) => {
                "Send a date in the future, such as 2026-12-01 or 2026-12-01T15:00.".into()
            }
            (Self::FutureDate, Locale::PtBr) => {
                "Envie uma data futura, como 2026-12-01 ou 2026-12-01T15:00.".into()
            }
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

pub(super) const TEXT: &str = "a text";
pub(super) const NUMBER: &str = "a number";
pub(super) const FLAG: &str = "true or false";
pub(super) const OBJECT: &str = "an object";
pub(crate) const LIST: &str = "a list";

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

#[cfg(test)]
mod tests {
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
}
