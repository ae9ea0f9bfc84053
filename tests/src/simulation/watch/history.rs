//! How the history is written: one line for each request as it took effect.
//!
//! It must not know what any request means.

use serde_json::{Map, Value};

/// A text within a value, empty where there is none.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What a request to the table reads or writes.
pub(super) fn summary(operation: &str, request: &Value) -> String {
    let key = |key: &Value| format!("{}/{}", text(key, "/pk/S"), text(key, "/sk/S"));
    match operation {
        "TransactWriteItems" => {
            let writes = request["TransactItems"].as_array().into_iter().flatten();
            let keys = writes.map(|write| {
                ["/Put/Item", "/Update/Key", "/ConditionCheck/Key", "/Delete/Key"]
                    .into_iter()
                    .find_map(|pointer| write.pointer(pointer))
                    .map(key)
                    .unwrap_or_default()
            });
            keys.collect::<Vec<_>>().join(" ")
        }
        "BatchGetItem" => {
            let tables = request["RequestItems"].as_object().into_iter().flatten();
            let keys = tables.filter_map(|(_, table)| table["Keys"].as_array()).flatten();
            keys.map(key).collect::<Vec<_>>().join(" ")
        }
        "Query" => request["ExpressionAttributeValues"].to_string(),
        "PutItem" => key(&request["Item"]),
        _ => format!(
            "{} {} {}",
            key(&request["Key"]),
            text(request, "/UpdateExpression"),
            request["ExpressionAttributeValues"]
        ),
    }
}

/// How a request to the table ended.
pub(super) fn result(operation: &str, status: u16, response: &Value) -> String {
    if status != 200 {
        let kind = text(response, "/__type").rsplit('#').next().unwrap_or_default().to_owned();
        let reasons = response["CancellationReasons"].as_array().into_iter().flatten();
        let reasons: Vec<&str> = reasons.map(|reason| text(reason, "/Code")).collect();
        return format!("{kind} {}", reasons.join(" "));
    }
    match operation {
        "Query" => format!("{} items", response["Items"].as_array().map_or(0, Vec::len)),
        _ => "done".to_owned(),
    }
}

/// The attributes of an item (`{"name": {"S": "x"}}`) as plain JSON (`{"name": "x"}`).
pub(super) fn plain(item: &Value) -> Value {
    let members = item.as_object().into_iter().flatten();
    Value::Object(members.map(|(name, value)| (name.clone(), attribute(value))).collect())
}

fn attribute(value: &Value) -> Value {
    let Some((kind, value)) = value.as_object().and_then(|typed| typed.iter().next()) else {
        return Value::Null;
    };
    match (kind.as_str(), value) {
        ("N", Value::String(number)) => serde_json::from_str(number).unwrap_or_default(),
        ("M", _) => plain(value),
        ("L", Value::Array(items)) => items.iter().map(attribute).collect(),
        ("NULL", _) => Value::Null,
        _ => value.clone(),
    }
}

/// Every UUID in a text.
pub(super) fn ids_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    words.filter(|word| word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4)
}

/// The body without what may differ when a request is repeated: the person's present consent, which GA4
/// is sent.
pub(super) fn without_consent(body: &Value) -> Value {
    let members = body.as_object().cloned().unwrap_or_default();
    Value::Object(members.into_iter().filter(|(name, _)| name != "consent").collect::<Map<_, _>>())
}
