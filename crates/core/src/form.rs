//! The forms: what their bodies may say, and what makes two submissions the same.
//!
//! Owns how the body of a plain HTML form becomes the same tree as JSON. This module must not know any
//! particular form.

pub mod consultation;
pub mod contact;
mod fault;
mod fields;
pub mod lead;
pub mod newsletter;
pub mod questionnaire;
mod schema;
pub mod site;
pub mod spam;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::hash::sha256_hex;
use crate::json::canonical;

pub(crate) use fault::LIST;
pub use fault::{Fault, FieldError, FieldErrors, Locale};
pub use fields::{EMAIL_CHARS_MAX, Fields, NO, YES};
pub use schema::{Field, Need, Schema, Takes};
pub use spam::{Caught, Honeypot, SpamFields, SpamSign, Token};

/// Converts a form-encoded body (of a plain HTML form) to the tree that JSON would have:
/// `utm[source]` and `utm.source` become the member `source` of the object `utm`. Of two equal
/// names the last one counts.
pub fn from_urlencoded(bytes: &[u8]) -> Value {
    let mut root = Map::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        if let Some(name) = name.strip_suffix("[]") {
            // One of several inputs, of which some may be left empty.
            let list = root.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list
                && !value.trim().is_empty()
            {
                list.push(Value::String(value.into_owned()));
            }
            continue;
        }
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

/// The fingerprint of a form: the SHA-256 of its fields in canonical order.
pub(crate) fn fingerprint(form: &impl Serialize) -> String {
    let value = serde_json::to_value(form).unwrap_or(Value::Object(Map::new()));
    sha256_hex(&canonical(&value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plain_form_becomes_the_same_tree_as_json() {
        let tree = from_urlencoded(b"name=Ana+Exemplo&utm%5Bsource%5D=ig&consent.ads=on&name2=");
        assert_eq!(
            tree,
            json!({"name": "Ana Exemplo", "utm": {"source": "ig"}, "consent": {"ads": "on"}, "name2": ""})
        );
        assert_eq!(from_urlencoded(b"utm=x&utm[source]=ig"), json!({"utm": "x"}));
        assert_eq!(from_urlencoded(b"d%5B%5D=1&d[]=&d[]=+2"), json!({"d": ["1", " 2"]}));
    }
}
