//! The JSON Schema of what an operation takes, made of the fields that its parser names.
//!
//! Must not know any endpoint.

use funil_core::form::{EMAIL_CHARS_MAX, Fault, Field, NO, Need, Schema, Takes, YES};
use serde_json::{Map, Value, json};

/// The JSON Schema of an object with these fields.
pub(super) fn object(schema: &Schema) -> Value {
    let mut properties: Map<String, Value> =
        schema.fields.iter().map(|field| (field.name.clone(), of_field(field))).collect();
    for name in schema.only.iter().flatten() {
        properties.entry(name.clone()).or_insert_with(|| json!({}));
    }
    let required = schema.fields.iter().filter(|field| field.need == Need::Required);
    let required: Vec<&str> = required.map(|field| field.name.as_str()).collect();
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    if schema.only.is_some() {
        object["additionalProperties"] = json!(false);
    }
    object
}

/// The JSON Schema of a field. `null` and blank text count as left out.
fn of_field(field: &Field) -> Value {
    let mut schema = of(&field.takes);
    match (field.need, &field.takes) {
        // Any text may be blank.
        (Need::Optional, Takes::Text(_) | Takes::CutText(_)) => {
            schema["type"] = json!(["string", "null"]);
            schema
        }
        // What anything may be needs no alternative.
        (Need::Optional, Takes::SpamField(_) | Takes::Deliveries | Takes::OrDropped(_)) => {
            json!({"description": schema["description"]})
        }
        (Need::Optional, Takes::List(..) | Takes::Object(_) | Takes::Filled(..)) => {
            json!({"anyOf": [schema, {"type": "null"}]})
        }
        (Need::Optional, _) => json!({"anyOf": [schema, blank()]}),
        (Need::Required, Takes::Text(_)) => {
            schema["pattern"] = json!("\\S");
            schema
        }
        (Need::Required, _) => schema,
    }
}

/// What counts as left out.
fn blank() -> Value {
    json!({"type": ["string", "null"], "pattern": "^\\s*$"})
}

fn of(takes: &Takes) -> Value {
    match takes {
        Takes::Text(most) => json!({"type": "string", "maxLength": most}),
        Takes::CutText(most) => {
            json!({"type": "string", "description": format!("Cut to {most} characters.")})
        }
        Takes::Name(most) => {
            json!({"type": "string", "maxLength": most, "pattern": "[\\p{L}\\p{N}]"})
        }
        Takes::Email => json!({"type": "string", "format": "email", "maxLength": EMAIL_CHARS_MAX}),
        Takes::Phone => json!({
            "type": "string",
            "format": "phone",
            "description": "Brazilian or international.",
            "examples": ["(11) 98765-4321", "+351 912 345 678"],
        }),
        Takes::LeadId => json!({"type": "string", "format": "uuid"}),
        Takes::Answer(most) => json!({"type": ["string", "number"], "maxLength": most}),
        Takes::Number(least, most) => json!({
            "anyOf": [
                {"type": "number", "minimum": least, "maximum": most},
                {"type": "string", "pattern": digits(*least, *most), "description": "Its digits."},
            ],
        }),
        Takes::Flag => json!({
            "anyOf": [
                {"type": "boolean"},
                {
                    "enum": (YES.iter().chain(&NO).collect::<Vec<_>>()),
                },
            ],
        }),
        Takes::True => json!({"const": true}),
        Takes::Ticked => {
            json!({"enum": (YES.iter().map(|yes| json!(yes)).chain([json!(true)]).collect::<Vec<_>>())})
        }
        Takes::Moment => json!({
            "type": ["string", "integer"],
            "format": "date-time",
            "description": "A time in RFC 3339, or in milliseconds since 1970.",
        }),
        Takes::Parsed(fault) => of_fault(*fault),
        Takes::OneOf(options) => json!({"enum": options}),
        // A plain HTML form sends dates as one text.
        Takes::List(most, fault @ Fault::FutureDate) => json!({
            "anyOf": [
                {"type": "array", "maxItems": most, "items": of_fault(*fault)},
                {"type": "string", "description": "The same, with commas between them."},
            ],
        }),
        Takes::List(most, fault) => {
            json!({"type": "array", "maxItems": most, "items": of_fault(*fault)})
        }
        Takes::Deliveries => json!({
            "type": "array",
            "description": "Deliveries, as `<lead>/<sort key>`. What is none is passed over.",
        }),
        Takes::OrDropped(otherwise) => {
            let is_id = **otherwise == Takes::LeadId;
            let what = if is_id { "A UUID" } else { "What no person types" };
            json!({"description": format!("{what}. Anything else is dropped, and noted on the event.")})
        }
        Takes::SpamField(what) => json!({"description": what}),
        Takes::Object(schema) => object(schema),
        Takes::Filled(schema, most) => {
            let mut filled = object(schema);
            filled["description"] = json!(format!("1 to {most} of them are filled in."));
            filled["not"] = json!({"additionalProperties": blank()});
            filled
        }
    }
}

/// A regular expression of the digits of a whole number from the one to the other, neither below 0.
fn digits(least: i64, most: i64) -> String {
    let mut alternatives = Vec::new();
    let mut number = least;
    while number <= most {
        if number % 10 == 0 && number + 9 <= most {
            let tens = if number == 0 { String::new() } else { (number / 10).to_string() };
            alternatives.push(format!("{tens}[0-9]"));
            number += 10;
        } else {
            alternatives.push(number.to_string());
            number += 1;
        }
    }
    format!("^\\s*\\+?0*({})\\s*$", alternatives.join("|"))
}

/// Text that is refused with a fault.
fn of_fault(fault: Fault) -> Value {
    match fault {
        Fault::Time => json!({"type": "string", "format": "date-time"}),
        Fault::Url => json!({"type": "string", "format": "iri", "pattern": "^https?://"}),
        Fault::Uuid => json!({
            "type": "string",
            "format": "uuid",
            "pattern": "^\\s*[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?7",
            "description": "A UUID of version 7.",
        }),
        Fault::BookingId => json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}),
        Fault::TimeZone => {
            json!({"type": "string", "format": "time-zone",
                "description": "The IANA name of a time zone.",
                "examples": ["America/Sao_Paulo"]})
        }
        Fault::FutureDate => json!({
            "type": "string",
            "pattern": "^\\s*[0-9]{4}-[0-9]{2}-[0-9]{2}",
            "description": "A day, or a time with its offset or in the time zone, in the future.",
            "examples": ["2026-12-01", "2026-12-01T15:00", "2026-12-01T15:00:00-03:00"],
        }),
        Fault::DeliveryName => {
            json!({"type": "string", "format": "delivery-name",
                "description": "A delivery, as `<lead>/<delivery>`."})
        }
        Fault::Required
        | Fault::Consent
        | Fault::WrongType(_)
        | Fault::TooLong(_)
        | Fault::Email
        | Fault::Phone
        | Fault::OutOfRange(..)
        | Fault::Choice
        | Fault::TooMany(_)
        | Fault::Unexpected => json!({"type": "string"}),
    }
}

/// A schema without `null`, which an HTML form cannot send.
pub(super) fn without_null(schema: Value) -> Value {
    match schema {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, without_null(value)));
            Value::Object(members.collect())
        }
        Value::Array(items) => {
            let is_null = |item: &Value| *item == "null" || *item == json!({"type": "null"});
            let items = items.into_iter().filter(|item| !is_null(item)).map(without_null);
            Value::Array(items.collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}
