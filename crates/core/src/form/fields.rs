//! Parsing the fields of one JSON object.
//!
//! All errors of a form are collected. This module must not know any particular form.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::fault::{FLAG, Fault, FieldError, FieldErrors, LIST, NUMBER, OBJECT, TEXT};
use super::schema::{Schema, Takes};
use super::site::is_ticked;
use crate::contact::consent::{Decision, FormConsent, Purpose};
use crate::contact::{Email, Phone};
use crate::id::LeadId;
use crate::pii::Text;
use crate::score::Answer;

/// The longest e-mail address, in characters.
pub const EMAIL_CHARS_MAX: usize = 320;
/// What HTML forms send for a ticked box.
pub const YES: [&str; 5] = ["true", "on", "1", "yes", "sim"];
/// What HTML forms send for one that is not.
pub const NO: [&str; 6] = ["false", "off", "0", "no", "nao", "não"];

/// Parses the fields of one JSON object and collects every fault. `null` and empty text count as
/// absent, unknown fields are ignored, and text is trimmed.
///
/// The methods return `None` for an absent field and for one with a fault. A fault is recorded.
pub struct Fields<'v> {
    object: Option<&'v Map<String, Value>>,
    prefix: String,
    errors: Vec<FieldError>,
    /// The names of the fields that were dropped.
    dropped: Vec<String>,
    /// What was asked for, where that is all that is wanted.
    recorded: Option<Box<Schema>>,
}

impl<'v> Fields<'v> {
    /// Starts with a body. In a body that is not an object all required fields are missing.
    pub fn of(body: &'v Value) -> Self {
        Self {
            object: body.as_object(),
            prefix: String::new(),
            errors: Vec::new(),
            dropped: Vec::new(),
            recorded: None,
        }
    }

    /// What a parser asks for.
    pub fn schema<T>(read: impl FnOnce(&mut Self) -> T) -> Schema {
        let mut fields = Self {
            object: None,
            prefix: String::new(),
            errors: Vec::new(),
            dropped: Vec::new(),
            recorded: Some(Box::default()),
        };
        read(&mut fields);
        fields.recorded.map(|schema| *schema).unwrap_or_default()
    }

    fn note(&mut self, name: &str, takes: impl FnOnce() -> Takes) {
        if let Some(schema) = &mut self.recorded {
            schema.note(name, takes());
        }
    }

    fn value(&self, name: &str) -> Option<&'v Value> {
        self.object?.get(name).filter(|value| !value.is_null())
    }

    fn fail<T>(&mut self, name: &str, fault: Fault) -> Option<T> {
        if let Some(schema) = &mut self.recorded
            && fault == Fault::Required
        {
            schema.require(name);
        }
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
        self.note(name, || Takes::Text(chars_max));
        let text = self.raw_text(name)?;
        if text.chars().count() > chars_max {
            return self.fail(name, Fault::TooLong(chars_max));
        }
        Some(Text::from(text))
    }

    /// Text that is cut to `chars_max` characters. A lead must not be refused for a long campaign
    /// name.
    pub fn text_cut(&mut self, name: &str, chars_max: usize) -> Option<Text> {
        self.note(name, || Takes::CutText(chars_max));
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
        self.note(name, || Takes::Name(chars_max));
        let text = self.required_text(name, chars_max)?;
        if text.expose().chars().any(char::is_alphanumeric) {
            Some(text)
        } else {
            self.fail(name, Fault::Required)
        }
    }

    /// A required e-mail address.
    pub fn required_email(&mut self, name: &str) -> Option<Email> {
        self.note(name, || Takes::Email);
        let text = self.required_text(name, EMAIL_CHARS_MAX)?;
        match Email::parse(text.expose()) {
            Ok(email) => Some(email),
            Err(_) => self.fail(name, Fault::Email),
        }
    }

    /// A phone number, as text or as a JSON number.
    pub fn phone(&mut self, name: &str) -> Option<Phone> {
        self.note(name, || Takes::Phone);
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

    /// A lead id: a UUID. One that cannot be parsed is a field error.
    pub fn lead_id(&mut self, name: &str) -> Option<LeadId> {
        self.note(name, || Takes::LeadId);
        let text = self.raw_text(name)?;
        match LeadId::parse(text) {
            Ok(id) => Some(id),
            Err(_) => self.fail(name, Fault::Uuid),
        }
    }

    /// A lead id that has to be there.
    pub fn required_lead_id(&mut self, name: &str) -> Option<LeadId> {
        self.note(name, || Takes::LeadId);
        self.required_text(name, 100)?;
        self.lead_id(name)
    }

    /// An answer that may be a number or a text of at most `chars_max` characters.
    pub fn answer(&mut self, name: &str, chars_max: usize) -> Option<Answer> {
        self.note(name, || Takes::Answer(chars_max));
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
        self.note(name, || Takes::Number(min, max));
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
        self.note(name, || Takes::Flag);
        let text = match self.value(name)? {
            Value::Bool(flag) => return Some(*flag),
            Value::String(text) => text.trim().to_ascii_lowercase(),
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return self.fail(name, Fault::WrongType(FLAG));
            }
        };
        match text.as_str() {
            "" => None,
            word if YES.contains(&word) => Some(true),
            word if NO.contains(&word) => Some(false),
            _ => self.fail(name, Fault::WrongType(FLAG)),
        }
    }

    /// A box that must be ticked.
    pub fn required_tick(&mut self, name: &str) -> Option<()> {
        self.note(name, || Takes::Ticked);
        let is_ticked = self.value(name).is_some_and(is_ticked);
        if let Some(schema) = &mut self.recorded {
            schema.require(name);
        }
        if is_ticked { Some(()) } else { self.fail(name, Fault::Consent) }
    }

    /// A time: in RFC 3339, or the milliseconds since 1970 that a browser's clock gives.
    pub fn moment(&mut self, name: &str) -> Option<Timestamp> {
        self.note(name, || Takes::Moment);
        let value = self.value(name)?;
        let moment = match value {
            Value::Number(number) => {
                number.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok())
            }
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => {
                let text = text.trim();
                let milliseconds = text.parse().ok().map(Timestamp::from_millisecond);
                milliseconds.unwrap_or_else(|| text.parse()).ok()
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        moment.or_else(|| self.fail(name, Fault::Time))
    }

    /// Text that `parse` accepts; otherwise the field has this fault.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        fault: Fault,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.note(name, || Takes::Parsed(fault));
        let text = self.raw_text(name)?;
        parse(text).or_else(|| self.fail(name, fault))
    }

    /// One of these options, as `find` understands it.
    pub fn one_of<T>(
        &mut self,
        name: &str,
        options: impl IntoIterator<Item = impl Into<String>>,
        find: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.note(name, || Takes::OneOf(options.into_iter().map(Into::into).collect()));
        let text = self.raw_text(name)?;
        find(text).or_else(|| self.fail(name, Fault::Choice))
    }

    /// One of the form's options. `find` returns the option in its canonical spelling.
    pub fn choice(
        &mut self,
        name: &str,
        options: impl IntoIterator<Item = impl Into<String>>,
        find: impl FnOnce(&str) -> Option<String>,
    ) -> Option<Answer> {
        self.one_of(name, options, find).map(Answer::Text)
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
        self.note(name, || Takes::List(most, fault));
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

    /// A list as [`each`](Self::each) takes it, or one text with commas between the entries, as a plain HTML
    /// form sends it.
    pub fn listed<T>(
        &mut self,
        name: &str,
        most: usize,
        fault: Fault,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let Some(Value::String(text)) = self.value(name) else {
            return self.each(name, most, fault, parse);
        };
        let entries: Vec<&str> =
            text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        if entries.len() > most {
            return self.fail(name, Fault::TooMany(most)).unwrap_or_default();
        }
        let read = entries.into_iter().enumerate().filter_map(|(index, entry)| {
            parse(entry).or_else(|| self.fail(&format!("{name}.{index}"), fault))
        });
        read.collect()
    }

    /// Refuses every field except these. For requests in which a misspelt filter, if it were
    /// ignored, would select more than was intended.
    pub fn only(&mut self, names: &[&str]) {
        if let Some(schema) = &mut self.recorded {
            schema.only = Some(names.iter().map(|name| (*name).to_owned()).collect());
        }
        let Some(object) = self.object else { return };
        for name in object.keys().filter(|name| !names.contains(&name.as_str())) {
            self.fail::<()>(&name.chars().take(50).collect::<String>(), Fault::Unexpected);
        }
    }

    /// A nested object, parsed by `read`.
    pub fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Fields<'v>) -> T) -> Option<T> {
        if self.recorded.is_some() {
            self.note(name, || Takes::Object(Fields::schema(read)));
            return None;
        }
        let Value::Object(object) = self.value(name)? else {
            return self.fail(name, Fault::WrongType(OBJECT));
        };
        let mut nested = Fields {
            object: Some(object),
            prefix: format!("{}{name}.", self.prefix),
            errors: Vec::new(),
            dropped: Vec::new(),
            recorded: None,
        };
        let value = read(&mut nested);
        self.errors.append(&mut nested.errors);
        self.dropped.append(&mut nested.dropped);
        Some(value)
    }

    /// A required nested object, parsed by `read`.
    pub fn required_part<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Fields<'v>) -> T,
    ) -> Option<T> {
        let is_there = self.value(name).is_some();
        let part = self.object(name, read);
        if is_there { part } else { self.fail(name, Fault::Required) }
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
        let Some(value) = self.value(name) else {
            if self.recorded.is_some() {
                self.note(name, || Takes::Filled(Fields::schema(read), most));
            }
            return self.fail(name, Fault::Required);
        };
        match value.as_object().map(|object| object.values().filter(|v| filled(v)).count()) {
            Some(0) => self.fail(name, Fault::Required),
            Some(count) if count > most => self.fail(name, Fault::TooMany(most)),
            Some(_) | None => self.object(name, read),
        }
    }

    /// A field that no person typed, read by `read`. A value that it refuses is dropped: a lead must not be
    /// refused for it.
    pub fn or_dropped<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str) -> Option<T>,
    ) -> Option<T> {
        let errors_before = self.errors.len();
        let value = read(self, name);
        if let Some(schema) = &mut self.recorded {
            schema.drop_others(name);
        }
        if self.errors.len() == errors_before {
            return value;
        }
        self.errors.truncate(errors_before);
        self.dropped.push(format!("{}{name}", self.prefix));
        None
    }

    /// The names of the fields that were dropped so far.
    pub fn dropped(&self) -> Vec<String> {
        self.dropped.clone()
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
    use crate::form::{Field, Need};

    #[test]
    fn a_parser_without_a_body_says_what_it_asks_for() {
        let schema = Fields::schema(|fields| {
            fields.only(&["id", "size", "utm", "old"]);
            fields.required_lead_id("id");
            if fields.phone("phone").is_none() {
                fields.required_text("phone", 9);
            }
            fields.one_of("size", ["s", "l"], |text| Some(text.to_owned()));
            fields.required_object("utm", 3, |utm| utm.text_cut("source", 5));
        });
        let field = |name: &str, need, takes| Field { name: name.to_owned(), need, takes };
        let source = field("source", Need::Optional, Takes::CutText(5));
        let utm = Schema { fields: vec![source], only: None };
        assert_eq!(
            schema.fields,
            [
                field("id", Need::Required, Takes::LeadId),
                field("phone", Need::Required, Takes::Phone),
                field("size", Need::Optional, Takes::OneOf(vec!["s".to_owned(), "l".to_owned()])),
                field("utm", Need::Required, Takes::Filled(utm, 3)),
            ]
        );
        assert_eq!(schema.only.unwrap(), ["id", "size", "utm", "old"]);
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
    fn what_no_person_typed_is_dropped_and_noted() {
        let body = json!({"id": "no", "utm": {"source": 7, "medium": "cpc"}, "kept": "x"});
        let mut fields = Fields::of(&body);
        assert_eq!(fields.or_dropped("id", Fields::lead_id), None);
        let utm = fields.object("utm", |utm| {
            let source = utm.or_dropped("source", |utm, name| utm.text_cut(name, 9));
            (source, utm.or_dropped("medium", |utm, name| utm.text_cut(name, 9)))
        });
        assert_eq!(utm, Some((None, Some(Text::from("cpc")))));
        assert_eq!(fields.or_dropped("absent", Fields::lead_id), None);
        assert!(fields.or_dropped("kept", |fields, name| fields.text(name, 9)).is_some());
        assert_eq!(fields.dropped(), ["id", "utm.source"]);
        assert_eq!(fields.finish(Some(())), Ok(()));
        let schema = Fields::schema(|fields| fields.or_dropped("id", Fields::lead_id));
        assert_eq!(schema.fields[0].takes, Takes::OrDropped(Box::new(Takes::LeadId)));
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
