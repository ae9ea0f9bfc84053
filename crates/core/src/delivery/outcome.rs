//! Outcomes: how a try at a delivery ends, and what the status of a response means.

use crate::delivery::attempt::AttemptOutcome;
use crate::delivery::exchange::Response;
use crate::delivery::reason::Reason;

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination took it.
    Delivered,
    /// It failed; try again later.
    Retry {
        /// Why the try failed.
        reason: Reason,
        /// The wait that the provider asks for, in seconds.
        retry_after_s: Option<u32>,
    },
    /// The provider will never take it.
    Rejected(Reason),
    /// The destination refuses us as a whole: credentials, payment, configuration.
    Blocked(Reason),
    /// It must not or need not be sent.
    Skipped(Reason),
    /// The time by which it had to be delivered passed before it was.
    Expired,
    /// It may have been sent.
    Unknown(Reason),
    /// It was not tried, and is due again later.
    Released {
        /// What stood in the way.
        reason: Reason,
        /// When it is due again, in seconds from now.
        after_s: i64,
    },
}

impl Outcome {
    /// The name in logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retry",
            Self::Rejected(_) => "rejected",
            Self::Blocked(_) => "blocked",
            Self::Skipped(_) => "skipped",
            Self::Expired => "expired",
            Self::Unknown(_) => "unknown",
            Self::Released { .. } => "released",
        }
    }

    /// The outcome as an attempt keeps it, under the same name.
    pub const fn of_attempt(&self) -> AttemptOutcome {
        match self {
            Self::Delivered => AttemptOutcome::Delivered,
            Self::Retry { .. } => AttemptOutcome::Retry,
            Self::Rejected(_) => AttemptOutcome::Rejected,
            Self::Blocked(_) => AttemptOutcome::Blocked,
            Self::Skipped(_) => AttemptOutcome::Skipped,
            Self::Expired => AttemptOutcome::Expired,
            Self::Unknown(_) => AttemptOutcome::Unknown,
            Self::Released { .. } => AttemptOutcome::Released,
        }
    }

    /// The reason; a delivery needs none.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Delivered => None,
            Self::Expired => Some(Reason::DeadlinePassed),
            Self::Retry { reason, .. }
            | Self::Released { reason, .. }
            | Self::Rejected(reason)
            | Self::Blocked(reason)
            | Self::Skipped(reason)
            | Self::Unknown(reason) => Some(*reason),
        }
    }
}

/// Judges a response by its status (`docs/design.md`, "Outcomes and retries"). A destination looks at
/// the body first where a success may hide a failure.
pub fn judge(response: &Response) -> Outcome {
    let reason = Reason::Status(response.status);
    match response.status {
        // No API of ours responds with a page: it comes from a proxy, a login or a parked domain.
        200..=299 if is_page(response.body.expose()) => {
            Outcome::Retry { reason: Reason::UnexpectedResponse("is_a_page"), retry_after_s: None }
        }
        200..=299 => Outcome::Delivered,
        401..=403 => Outcome::Blocked(reason),
        408 | 425 | 429 | 500..=599 => {
            Outcome::Retry { reason, retry_after_s: response.retry_after_s }
        }
        400..=499 => Outcome::Rejected(reason),
        // Redirects are not followed, and an unexpected status is no reason to lose a lead.
        _ => Outcome::Retry { reason, retry_after_s: response.retry_after_s },
    }
}

fn is_page(body: &str) -> bool {
    let start: String = body.trim_start().chars().take(9).collect();
    let start = start.to_ascii_lowercase();
    start.starts_with("<!doctype") || start.starts_with("<html")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pii::Text;

    fn response(status: u16) -> Response {
        Response { status, retry_after_s: None, body: Text::default() }
    }

    #[test]
    fn responses_are_judged_by_status() {
        for (status, expected) in [
            (200, "delivered"),
            (204, "delivered"),
            (301, "retry"),
            (400, "rejected"),
            (401, "blocked"),
            (402, "blocked"),
            (403, "blocked"),
            (404, "rejected"),
            (408, "retry"),
            (409, "rejected"),
            (422, "rejected"),
            (425, "retry"),
            (429, "retry"),
            (500, "retry"),
            (503, "retry"),
            (599, "retry"),
            (600, "retry"),
        ] {
            let judged = judge(&response(status));
            assert_eq!(judged.name(), expected, "{status}");
            assert_eq!(judged.of_attempt().as_str(), expected);
        }
        let page = Response { body: Text::from(" <!DOCTYPE html><p>Sign in"), ..response(200) };
        assert_eq!(judge(&page).name(), "retry");
    }
}
