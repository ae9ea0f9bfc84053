//! JSON from outside, read strictly.
//!
//! `serde_json` keeps the last of two equal keys; two readers that keep different ones disagree on
//! what was sent. Here a duplicate key, or nesting deeper than [`DEPTH_MAX`], is an error. Also owns
//! the canonical order that fingerprints are made of. Knows no field.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep arrays and objects may nest.
pub const DEPTH_MAX: usize = 32;

/// Why bytes are not acceptable JSON. Carries no part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all, or not UTF-8.
    #[error("the body is not valid JSON")]
    Syntax,
    /// One object names a key twice.
    #[error("the body names a key twice")]
    DuplicateKey,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("the body nests too deeply")]
    TooDeep,
}

/// Reads bytes as JSON.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let fault = Cell::new(JsonError::Syntax);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0, fault: &fault }
        .deserialize(&mut deserializer)
        .map_err(|_| fault.get())?;
    deserializer.end().map_err(|_| JsonError::Syntax)?;
    Ok(value)
}

/// The value as bytes that are equal for equal values, whatever the order of their keys.
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
    fn faults_are_told_apart() {
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
    fn the_canonical_form_ignores_the_order_of_keys() {
        let one = parse(br#"{"b":[1,{"y":1,"x":2}],"a":"1"}"#).unwrap();
        let two = parse(br#"{"a":"1","b":[1,{"x":2,"y":1}]}"#).unwrap();
        assert_eq!(canonical(&one), canonical(&two));
        assert_ne!(canonical(&json!({"a":"1"})), canonical(&json!({"a":1})));
        assert_ne!(canonical(&json!(["a", "b"])), canonical(&json!(["a,b"])));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&bytes));
        }
    }
}
