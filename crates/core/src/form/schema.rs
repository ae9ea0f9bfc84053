//! What a parser takes, as it says itself when it runs without a body: its fields, their types and limits.
//! So the documentation of a form cannot differ from what is parsed.
//!
//! This module must not know any particular form, nor how a schema is written down.

use super::fault::Fault;

/// The fields that a parser asks for, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// Every field that the parser asked for.
    pub fields: Vec<Field>,
    /// The only names that are taken, where others are refused.
    pub only: Option<Vec<String>>,
}

/// A field that a parser asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the body.
    pub name: String,
    /// Whether a body without it is refused.
    pub need: Need,
    /// The type of its value, with its limits.
    pub takes: Takes,
}

/// Whether a field may be left out. `null` and empty text count as left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A body without the field is accepted.
    Optional,
    /// A body without the field is refused.
    Required,
}

/// What a field takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Text of at most so many characters.
    Text(usize),
    /// Text that is cut to so many characters.
    CutText(usize),
    /// Text with a letter or a digit, of at most so many characters.
    Name(usize),
    /// An e-mail address.
    Email,
    /// A phone number, as text or as a number.
    Phone,
    /// A UUID.
    LeadId,
    /// A number, or text of at most so many characters.
    Answer(usize),
    /// A whole number from the one to the other, or its digits as text.
    Number(i64, i64),
    /// A boolean, or what HTML forms send for one.
    Flag,
    /// A boolean that is true, or what HTML forms send for a ticked box.
    Ticked,
    /// A time in RFC 3339, or in milliseconds since 1970.
    Moment,
    /// `true`, and nothing else.
    True,
    /// Text that is refused with this fault.
    Parsed(Fault),
    /// One of these texts.
    OneOf(Vec<String>),
    /// At most so many texts, each refused with this fault.
    List(usize, Fault),
    /// A list of keys of deliveries. An element that is no such key is ignored.
    Deliveries,
    /// A value as the inner type describes it. Any other value is dropped, and the body is not refused.
    OrDropped(Box<Self>),
    /// Anything: it tells robots from people, as this text says, and is never refused.
    SpamField(&'static str),
    /// An object with these fields.
    Object(Schema),
    /// An object with these fields, of which 1 to so many are filled in.
    Filled(Schema, usize),
}

impl Schema {
    /// Notes a field, or says more of one that was noted before.
    pub(super) fn note(&mut self, name: &str, takes: Takes) {
        let Some(known) = self.fields.iter_mut().find(|field| field.name == name) else {
            let (name, need) = (name.to_owned(), Need::Optional);
            return self.fields.push(Field { name, need, takes });
        };
        // Any text is the least that can be said.
        if !matches!(takes, Takes::Text(_)) {
            known.takes = takes;
        }
    }

    /// Notes that what a field does not take is dropped.
    pub(super) fn drop_others(&mut self, name: &str) {
        if let Some(field) = self.fields.iter_mut().find(|field| field.name == name) {
            field.takes = Takes::OrDropped(Box::new(field.takes.clone()));
        }
    }

    /// Notes that a field may not be left out.
    pub(super) fn require(&mut self, name: &str) {
        if let Some(field) = self.fields.iter_mut().find(|field| field.name == name) {
            field.need = Need::Required;
        }
    }
}
