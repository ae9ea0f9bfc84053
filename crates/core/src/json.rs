//! Strict parsing of JSON from outside, and the canonical form used for fingerprints.
//!
//! `serde_json` silently keeps the last of two equal keys. Another reader may keep the first, and
//! the two would then disagree on what was sent. So a duplicate key is an error here, and so is
//! nesting deeper than [`DEPTH_MAX`]. See `docs/design.md` ("Intake rules"). This module must not
//! know any particular field.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// The maximum nesting depth of arrays and objects.
pub const DEPTH_MAX: usize = 32;

/// Why a body was refused as JSON. It contains no part of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The body is not JSON, or not UTF-8.
    #[error("the body is not valid JSON")]
    Syntax,
    /// An object has the same key twice.
    #[error("the body has a duplicate key")]
    DuplicateKey,
    /// The nesting is deeper than [`DEPTH_MAX`].
    #[error("the body is nested too deeply")]
    TooDeep,
}

/// Parses the bytes of one JSON document.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let fault = Cell::new(JsonError::Syntax);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0, fault: &fault }
        .deserialize(&mut deserializer)
        .map_err(|_| fault.get())?;
    deserializer.end().map_err(|_| JsonError::Syntax)?;
    Ok(value)
}

/// The number or text at a place of a document as it is written there, which a number that was read is not: `0.1` and
/// `90071992547409.93` are no floats. A text is without its quotes. `None` for anything else.
pub fn literal(bytes: &[u8], path: &[&str]) -> Option<String> {
    let mut at: &str = std::str::from_utf8(bytes).ok()?;
    for name in path {
        let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(at).ok()?;
        at = members.get(*name)?.get();
    }
    match serde_json::from_str::<Value>(at).ok()? {
        Value::String(text) => Some(text),
        Value::Number(_) => Some(at.to_owned()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Serialises a value so that equal values give equal bytes, whatever the order of their keys. The
/// result is meant for hashing and is not valid JSON.
pub fn canonical(value: &Value) -> Vec<u8> {
    fn write(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                out.push(b'{');
                for (key, value) in entries {
                    out.extend(Value::from(key.as_str()).to_string().bytes());
                    out.push(b':');
                    write(value, out);
                    out.push(b',');
                }
                out.push(b'}');
            }
            Value::Array(items) => {
                out.push(b'[');
                for item in items {
                    write(item, out);
                    out.push(b',');
                }
                out.push(b']');
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                out.extend(value.to_string().bytes());
            }
        }
    }
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

#[derive(Clone, Copy)]
struct Strict<'f> {
    depth: usize,
    fault: &'f Cell<JsonError>,
}

impl Strict<'_> {
    fn fail<E: Error>(&self, fault: JsonError) -> E {
        self.fault.set(fault);
        E::custom(fault)
    }

    fn deeper<E: Error>(mut self) -> Result<Self, E> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(self.fail(JsonError::TooDeep)) } else { Ok(self) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| self.fail(JsonError::Syntax))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if map.insert(key, value).is_some() {
                return Err(self.fail(JsonError::DuplicateKey));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_of_invalid_json_has_its_own_error() {
        let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        for (text, expected) in [
            (
                "{\"a\":1,\"b\":[null,true,-2,1.5,\"x\"]}",
                Ok(json!({"a":1,"b":[null,true,-2,1.5,"x"]})),
            ),
            ("{\"a\":1,\"a\":2}", Err(JsonError::DuplicateKey)),
            ("{\"x\":[{\"a\":1,\"a\":1}]}", Err(JsonError::DuplicateKey)),
            ("{\"a\":1", Err(JsonError::Syntax)),
            ("{} {}", Err(JsonError::Syntax)),
            ("", Err(JsonError::Syntax)),
            (&deep(DEPTH_MAX + 1), Err(JsonError::TooDeep)),
            (&deep(5000), Err(JsonError::TooDeep)),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text:.40}");
        }
        assert!(parse(deep(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(parse(b"{\"a\":\"\xff\"}"), Err(JsonError::Syntax));
    }

    #[test]
    fn the_canonical_form_does_not_depend_on_the_order_of_keys() {
        let one = parse(br#"{"b":[1,{"y":1,"x":2}],"a":"1"}"#).unwrap();
        let two = parse(br#"{"a":"1","b":[1,{"x":2,"y":1}]}"#).unwrap();
        assert_eq!(canonical(&one), canonical(&two));
        assert_ne!(canonical(&json!({"a":"1"})), canonical(&json!({"a":1})));
        assert_ne!(canonical(&json!(["a", "b"])), canonical(&json!(["a,b"])));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&bytes));
        }
    }
}
