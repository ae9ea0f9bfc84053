//! What Meta's APIs share: the version in the path and the form of errors (`docs/providers.md`,
//! "Meta and Graph").
//!
//! Knows no request.

use serde_json::Value;

use crate::check::{Finding, refusal};
use crate::delivery::exchange::Response;
use crate::delivery::{Outcome, Reason};
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

/// The error in a response's body, whatever its HTTP status.
pub(super) struct Error {
    /// What Graph branches by.
    pub(super) code: u32,
    subcode: Option<u32>,
    is_transient: bool,
}

impl Error {
    /// Reads the error of a response's body. `None` where it has none of Graph's form.
    pub(super) fn of(body: &Value) -> Option<Self> {
        let error = body.get("error")?;
        let number = |name: &str| u32::try_from(error.get(name)?.as_u64()?).ok();
        Some(Self {
            code: number("code")?,
            subcode: number("error_subcode"),
            is_transient: error.get("is_transient").and_then(Value::as_bool).unwrap_or_default(),
        })
    }

    /// Judges what means the same in all of Graph's APIs. `None` for the codes of one API alone.
    pub(super) fn judged(&self, retry_after_s: Option<u32>) -> Option<Outcome> {
        let reason = Reason::Failed(self.code);
        match (self.code, self.subcode) {
            // The token, its permissions, the id in the path, or a block for a breach of Meta's
            // rules: a person has to correct them.
            (0 | 3 | 10 | 190 | 200..=299 | 368, _) | (100, Some(33)) => {
                Some(Outcome::Blocked(reason))
            }
            // It fails, or too much was asked of it.
            (1 | 2 | 4 | 17 | 32 | 613 | 80_000..=80_014, _) => {
                Some(outage(self.code, retry_after_s))
            }
            _ if self.is_transient => Some(outage(self.code, retry_after_s)),
            (100, _) => Some(Outcome::Rejected(reason)),
            _ => None,
        }
    }
}

/// The API takes nothing at the moment, whatever is sent.
pub(super) const fn outage(code: u32, retry_after_s: Option<u32>) -> Outcome {
    Outcome::Retry { reason: Reason::Outage(code), retry_after_s }
}

/// What is wrong by the response to a request of a check. `None` where Graph took the token and the id,
/// though it may have refused the request for what it lacks (code 100).
pub(super) fn finding(
    subject: &'static str,
    (token, id): (&str, &str),
    response: &Response,
) -> Option<Finding> {
    let Some(error) = Error::of(&response.json()) else {
        return refusal(subject, token, response);
    };
    let code = error.code;
    match error.judged(None) {
        Some(Outcome::Rejected(_)) => None,
        Some(Outcome::Blocked(_)) => Some(Finding::failed(
            subject,
            format!(
                "Meta refuses {token} with code {code}: it is wrong, has expired, or has no right to \
                 {id}. Look at both in the business's settings."
            ),
        )),
        Some(_) => Some(Finding::warning(
            subject,
            format!(
                "Meta responds with code {code}: it does not work at the moment. Check again later."
            ),
        )),
        None => Some(Finding::failed(
            subject,
            format!("Meta responds with code {code}. See that {token} and {id} are right."),
        )),
    }
}
