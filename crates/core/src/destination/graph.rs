//! What Meta's APIs share: the version in the path and the form of errors (`docs/providers.md`,
//! "Meta and Graph").
//!
//! Knows no request.

use serde_json::Value;

use crate::settings::Settings;

/// Reads the API's version, which is part of every path, from the variable `name`.
pub(super) fn version<'e>(settings: &mut Settings<'e>, name: &str) -> Option<&'e str> {
    let version = settings.optional(name).unwrap_or("v25.0");
    let number = version.strip_prefix('v').unwrap_or_default();
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain && number.starts_with(|c: char| c.is_ascii_digit()) {
        Some(version)
    } else {
        settings.problem(format!("{name} must be a version such as v25.0."))
    }
}

/// The error code in a response's body, whatever its HTTP status.
pub(super) fn error_code(body: &Value) -> Option<u32> {
    body.pointer("/error/code")?.as_u64().and_then(|code| u32::try_from(code).ok())
}

/// Whether the error says that it is transient.
pub(super) fn is_transient(body: &Value) -> bool {
    body.pointer("/error/is_transient").and_then(Value::as_bool).unwrap_or_default()
}
