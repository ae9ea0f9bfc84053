//! Personal data as a type of its own.
//!
//! [`Pii`] prints `[pii]` and implements neither `Display` nor `Serialize`, so it cannot reach a
//! log, a metric or an error by accident. A field is written to the table only if it names
//! [`stored`]: `#[serde(with = "pii::stored")]`. See `docs/design.md` ("Personal data"). This
//! module must not know what the data means.

use std::fmt;

use icu_normalizer::DecomposingNormalizerBorrowed;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that is personal data. Call [`Pii::expose`] only at the place that needs the value.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Pii<T>(T);

/// Free text that came from a person or their browser.
pub type Text = Pii<String>;

impl<T> Pii<T> {
    /// Wraps a value as personal data.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. The caller is responsible for not logging or leaking it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<T> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[pii]")
    }
}

/// The digits of a Brazilian number with its area code; a CPF has one more.
const PERSONAL_DIGITS: usize = 10;

/// How an `@` is written in HTML and in JSON.
const AT_SIGNS: [&str; 4] = ["&#64;", "&#x40;", "&commat;", "\\u0040"];

/// How many times a text may be percent-encoded before it counts as personal itself: no honest one is.
const ENCODED_MAX: usize = 4;

/// Whether a text looks as if it held an e-mail, a phone number or a CPF. For texts that are nobody's, such as
/// the name of a product, before they go to where personal data may not.
pub fn looks_personal(text: &str) -> bool {
    let mut text = text.to_owned();
    for _ in 0..ENCODED_MAX {
        let lower = text.to_ascii_lowercase();
        if holds_personal(&text) || AT_SIGNS.iter().any(|written| lower.contains(written)) {
            return true;
        }
        let decoded = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if decoded == text {
            return false;
        }
        text = decoded;
    }
    true
}

/// Whether a part of the path of a page looks personal. Its parts stand alone: a date in it is nobody's number.
pub fn path_looks_personal(path: &str) -> bool {
    path.split('/').any(looks_personal)
}

/// A letter ends a number; whatever else stands in it is how somebody wrote it.
fn holds_personal(text: &str) -> bool {
    let mut digits = 0;
    for c in DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(text.chars()) {
        match c {
            '@' => return true,
            _ if c.is_numeric() => digits += 1,
            _ if c.is_alphabetic() => digits = 0,
            _ => {}
        }
        if digits >= PERSONAL_DIGITS {
            return true;
        }
    }
    false
}

/// Personal data that can be written to the table. Used through [`stored`].
pub trait Stored: Sized {
    /// Serialises the exposed value.
    fn store<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    /// Deserialises a value that [`Stored::store`] wrote.
    fn load<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

impl<T: Serialize + for<'a> Deserialize<'a>> Stored for Pii<T> {
    fn store<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }

    fn load<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

impl<T: Stored> Stored for Option<T> {
    fn store<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.store(serializer),
            None => serializer.serialize_none(),
        }
    }

    fn load<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Loaded<T>(T);
        impl<'de, T: Stored> Deserialize<'de> for Loaded<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                T::load(deserializer).map(Self)
            }
        }
        Ok(Option::<Loaded<T>>::deserialize(deserializer)?.map(|loaded| loaded.0))
    }
}

/// For `#[serde(with = "pii::stored")]`: marks a personal field that is written to the table.
pub mod stored {
    use super::{Deserializer, Serializer, Stored};

    /// Serialises the exposed value.
    pub fn serialize<T: Stored, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.store(serializer)
    }

    /// Deserialises what [`serialize`] wrote.
    pub fn deserialize<'de, T: Stored, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        T::load(d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_personal_is_told_from_the_name_of_a_product() {
        for (text, expected) in [
            ("Mentoria Individual", false),
            ("mentoria-2026-11", false),
            ("price_1QbZ8h2eZvKYlo2C", false),
            ("Plano 12 x 199,90", false),
            ("ana@example.com", true),
            ("Ana (11) 98765-4321", true),
            ("+55 11 98765 4321", true),
            ("CPF 529.982.247-25", true),
            ("52998224725", true),
            ("Aula de 30/11/2026", false),
            ("50% de desconto", false),
            ("ana%40example.com", true),
            ("ana&#64;example.com", true),
            ("ana&commat;example.com", true),
            ("ana\\u0040example.com", true),
            ("ana%2540example.com", true),
            ("ana%252525252540example.com", true),
            ("ana\u{ff20}example.com", true),
            ("\u{ff11}\u{ff11}98765\u{ff14}321", true),
            ("11_98765_4321", true),
            ("11,98765,4321", true),
            ("11\u{a0}98765\u{2011}4321", true),
            ("11 9 8 7 6 5 4 3 2 1", true),
        ] {
            assert_eq!(looks_personal(text), expected, "{text}");
        }
        assert!(!path_looks_personal("/blog/2026/11/30/10-dicas"));
        assert!(
            path_looks_personal("/u/ana%40example.com/x") && path_looks_personal("/u/52998224725")
        );
    }

    #[test]
    fn debug_never_shows_the_value() {
        assert_eq!(format!("{:?}", Text::from("ana@example.com")), "[pii]");
        assert_eq!(format!("{:?}", Some(Pii::new(42))), "Some([pii])");
    }

    #[test]
    fn a_field_marked_stored_survives_a_round_trip() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Item {
            #[serde(with = "stored")]
            name: Text,
            #[serde(default, skip_serializing_if = "Option::is_none", with = "stored")]
            note: Option<Text>,
        }
        for note in [None, Some(Text::from("n"))] {
            let item = Item { name: Text::from("Ana"), note };
            let json = serde_json::to_string(&item).unwrap();
            assert!(json.contains("Ana"));
            assert_eq!(serde_json::from_str::<Item>(&json).unwrap(), item);
        }
    }
}
