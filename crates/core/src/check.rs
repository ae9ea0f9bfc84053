//! What a check of a deployment finds, and the harmless requests by which a destination checks its account.
//!
//! A check changes nothing. What it says is read by a person, so it names what to do, and holds neither a
//! credential nor personal data. Must not know who asks, nor how a request is sent.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::delivery::exchange::{Request, Response};

/// How far two clocks may be apart before a person hears of it, in seconds. Signatures of webhooks are
/// refused when they are three minutes off.
pub const CLOCKS_DIFFER_S: i64 = 60;

/// What a check found out about something that it looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing has to be done.
    Ok,
    /// Nobody can find out without changing something, or without what is not configured.
    Unchecked,
    /// It works, and a person should look at it.
    Warning,
    /// It does not work.
    Failed,
}

impl Verdict {
    /// All verdicts, from the best to the worst.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Unchecked, Self::Warning, Self::Failed];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unchecked => "unchecked",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at: `table`, `credentials`, `template welcome`.
    pub subject: Cow<'static, str>,
    /// Whether it works, and whether somebody has to act.
    pub verdict: Verdict,
    /// What was found and, unless all is well, what to do.
    pub says: String,
}

impl Finding {
    fn new(
        subject: impl Into<Cow<'static, str>>,
        verdict: Verdict,
        says: impl Into<String>,
    ) -> Self {
        Self { subject: subject.into(), verdict, says: says.into() }
    }

    /// Nothing has to be done; `says` is what was found.
    pub fn ok(subject: impl Into<Cow<'static, str>>, says: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Ok, says)
    }

    /// It cannot be checked.
    pub fn unchecked(subject: impl Into<Cow<'static, str>>, says: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Unchecked, says)
    }

    /// It works, and a person should look at it.
    pub fn warning(subject: impl Into<Cow<'static, str>>, says: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Warning, says)
    }

    /// It does not work.
    pub fn failed(subject: impl Into<Cow<'static, str>>, says: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Failed, says)
    }
}

/// What a function found about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The function's name.
    pub function: String,
    /// The time by its clock.
    pub at: Timestamp,
    /// One finding for each thing that the function looked at.
    pub findings: Vec<Finding>,
}

/// Reads what a response to a check's request says.
type Read<'a> = dyn Fn(&Response) -> Vec<Finding> + Send + Sync + 'a;

/// One thing that a destination checks.
pub enum Probe<'a> {
    /// It is known without a request.
    Known(Finding),
    /// It takes a harmless request.
    Ask {
        /// What is looked at.
        subject: &'static str,
        /// The request to the provider, which changes nothing there.
        request: Box<Request>,
        /// What its response says.
        read: Box<Read<'a>>,
    },
}

impl<'a> Probe<'a> {
    /// A probe by a harmless request.
    pub fn ask(
        subject: &'static str,
        request: Request,
        read: impl Fn(&Response) -> Vec<Finding> + Send + Sync + 'a,
    ) -> Self {
        Self::Ask { subject, request: Box::new(request), read: Box::new(read) }
    }
}

impl fmt::Debug for Probe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(finding) => f.debug_tuple("Known").field(finding).finish(),
            Self::Ask { subject, request, .. } => {
                f.debug_struct("Ask").field("subject", subject).field("request", request).finish()
            }
        }
    }
}

/// What a response means that is no success, with every provider alike. `None` for a success.
pub fn refusal(subject: &'static str, credential: &str, response: &Response) -> Option<Finding> {
    let status = response.status;
    match status {
        200..=299 => None,
        401 | 403 => Some(Finding::failed(
            subject,
            format!(
                "responds {status} to {credential}: it is wrong, was withdrawn, or lacks a right. Make \
                 a new one, and set it."
            ),
        )),
        408 | 429 | 500..=599 => Some(Finding::warning(
            subject,
            format!(
                "responds {status}: it does not work at the moment. Check again in some minutes."
            ),
        )),
        _ => Some(Finding::failed(
            subject,
            format!("responds {status}. See that its address and the ids in it are right."),
        )),
    }
}

/// A member of an object as text, whether it is a text or a number.
pub fn member(object: &Value, name: &str) -> Option<String> {
    match object.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What the address of a provider does that is another's, or a proxy's.
pub fn not_itself(subject: &'static str, variable: &str, provider: &str) -> Finding {
    Finding::failed(
        subject,
        format!("{variable} does not respond as {provider} does. See that it is right."),
    )
}
