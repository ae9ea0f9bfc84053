//! What everything behind Meta's Graph API shares: its version in the path, and its error's code.
//!
//! Must not know what is sent there.

use serde_json::Value;

use crate::settings::Settings;

/// The version of a variable, which is part of every path; Meta serves each for about two years
/// (`provider-apis.md` §5 and §7).
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

/// The code of the error in an answer, whatever its HTTP status.
pub(super) fn error_code(answer: &Value) -> Option<u32> {
    answer.pointer("/error/code")?.as_u64().and_then(|code| u32::try_from(code).ok())
}

/// Whether the error says of itself that it passes.
pub(super) fn is_transient(answer: &Value) -> bool {
    answer.pointer("/error/is_transient").and_then(Value::as_bool).unwrap_or_default()
}
