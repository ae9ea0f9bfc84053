//! The circuit breaker of a destination: when to stop sending, and when to try again
//! (`docs/design.md`, "Breaker").
//!
//! There is one record for each destination, shared by all workers. It is written when something
//! changes, not for each delivery. How it is stored is not known here.

use jiff::Timestamp;

use crate::delivery::{BLOCKED_S, Outcome, Reason};

/// How many failures in a row open the breaker.
pub const FAILURES_TO_OPEN: u64 = 5;
/// How long a breaker that failures opened waits before one worker may probe, in seconds.
pub const PROBE_AFTER_S: i64 = 60;
/// While the breaker is closed and nothing failed, a success is noted at most this often, in seconds.
pub const SUCCESS_NOTED_S: i64 = 300;

/// What all workers know about a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row.
    pub failures: u64,
    /// Present while the breaker is open and nothing is sent.
    pub open: Option<Open>,
    /// When a delivery last went through, exact to [`SUCCESS_NOTED_S`].
    pub last_success: Option<Timestamp>,
    /// When a delivery last failed.
    pub last_failure: Option<Timestamp>,
}

/// An open breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// When it opened.
    pub since: Timestamp,
    /// The reason of the last failure.
    pub reason: String,
    /// When one worker may probe.
    pub probe_at: Timestamp,
}

/// What a worker may do at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Deliveries may be sent, because the breaker is closed.
    Send,
    /// The worker may try to become the one that sends a probe.
    Probe,
    /// Nothing may be sent; only what needs no request is settled.
    Wait,
}

/// The condition of a breaker, as it is shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The destination works, so deliveries are sent.
    Closed,
    /// The destination failed, so nothing is sent until the next probe.
    Open,
    /// The next worker sends one delivery as a probe.
    Probing,
}

impl Condition {
    /// The name in responses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Probing => "probing",
        }
    }
}

impl Breaker {
    /// The condition at `now`.
    pub fn condition(&self, now: Timestamp) -> Condition {
        match self.permit(now) {
            Permit::Send => Condition::Closed,
            Permit::Probe => Condition::Probing,
            Permit::Wait => Condition::Open,
        }
    }

    /// What a worker may do at `now`.
    pub fn permit(&self, now: Timestamp) -> Permit {
        match &self.open {
            None => Permit::Send,
            Some(open) if open.probe_at <= now => Permit::Probe,
            Some(_) => Permit::Wait,
        }
    }

    /// Whether a success has to be written: because it closes the breaker or ends a row of failures, or
    /// because the last one was written long ago.
    pub fn wants_success(&self, now: Timestamp) -> bool {
        let old = |at: &Timestamp| now.as_second() - at.as_second() >= SUCCESS_NOTED_S;
        self.failures > 0 || self.open.is_some() || self.last_success.as_ref().is_none_or(old)
    }
}

/// What an outcome says about the health of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It responds as it should.
    Well,
    /// It failed, for this reason.
    Failing(Reason),
    /// It refuses us as a whole, for this reason.
    Blocked(Reason),
    /// Nothing: no request was made, or the outcome is not the provider's doing.
    NoEvidence,
}

/// What an outcome says about the health of its destination.
pub const fn health(outcome: &Outcome) -> Health {
    match outcome {
        // A destination that refuses one message responds as it should, whether it says so by a
        // status or by a code of its own.
        Outcome::Delivered
        | Outcome::Rejected(Reason::Status(_) | Reason::Failed(_))
        | Outcome::Retry { reason: Reason::Failed(_), .. } => Health::Well,
        Outcome::Retry { reason, .. } | Outcome::Unknown(reason) if is_providers(*reason) => {
            Health::Failing(*reason)
        }
        Outcome::Blocked(reason) => Health::Blocked(*reason),
        Outcome::Retry { .. }
        | Outcome::Unknown(_)
        | Outcome::Rejected(_)
        | Outcome::Skipped(_)
        | Outcome::Expired
        | Outcome::Released { .. } => Health::NoEvidence,
    }
}

/// Whether this reason is a failure of the provider.
const fn is_providers(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Status(_)
            | Reason::Outage(_)
            | Reason::Connect
            | Reason::Timeout
            | Reason::Transport
            | Reason::UnexpectedResponse(_)
    )
}

/// How long an open breaker waits before a probe, in seconds.
pub const fn probe_after_s(health: Health) -> i64 {
    match health {
        Health::Blocked(_) => BLOCKED_S,
        Health::Well | Health::Failing(_) | Health::NoEvidence => PROBE_AFTER_S,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    #[test]
    fn an_open_breaker_waits_and_then_lets_one_probe() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.permit(at(0)), Permit::Send);
        let reason = "http_503".to_owned();
        breaker.open = Some(Open { since: at(0), reason, probe_at: at(60) });
        assert_eq!(breaker.permit(at(59)), Permit::Wait);
        assert_eq!(breaker.permit(at(60)), Permit::Probe);
        let shown = |breaker: &Breaker, second| breaker.condition(at(second)).name();
        assert_eq!(shown(&Breaker::default(), 0), "closed");
        assert_eq!([shown(&breaker, 59), shown(&breaker, 60)], ["open", "probing"]);
    }

    #[test]
    fn a_success_is_written_after_failures_or_when_the_last_one_is_old() {
        let mut breaker = Breaker { last_success: Some(at(0)), ..Breaker::default() };
        assert!(!breaker.wants_success(at(SUCCESS_NOTED_S - 1)));
        assert!(breaker.wants_success(at(SUCCESS_NOTED_S)));
        breaker.failures = 1;
        assert!(breaker.wants_success(at(1)));
        assert!(Breaker::default().wants_success(at(0)));
    }

    #[test]
    fn an_outcome_says_whether_the_destination_is_healthy() {
        let retry = |reason| Outcome::Retry { reason, retry_after_s: None };
        for (outcome, expected) in [
            (Outcome::Delivered, Health::Well),
            (Outcome::Rejected(Reason::Status(422)), Health::Well),
            (Outcome::Rejected(Reason::Failed(131_026)), Health::Well),
            (retry(Reason::Failed(131_056)), Health::Well),
            (retry(Reason::Outage(131_016)), Health::Failing(Reason::Outage(131_016))),
            (Outcome::Unknown(Reason::Status(504)), Health::Failing(Reason::Status(504))),
            (Outcome::Rejected(Reason::KillsItsWorker), Health::NoEvidence),
            (retry(Reason::Status(503)), Health::Failing(Reason::Status(503))),
            (retry(Reason::Timeout), Health::Failing(Reason::Timeout)),
            (retry(Reason::NoTimeLeft), Health::NoEvidence),
            (Outcome::Unknown(Reason::Timeout), Health::Failing(Reason::Timeout)),
            (Outcome::Unknown(Reason::MayHaveBeenSent), Health::NoEvidence),
            (Outcome::Blocked(Reason::Status(401)), Health::Blocked(Reason::Status(401))),
            (Outcome::Skipped(Reason::Unsubscribed), Health::NoEvidence),
            (Outcome::Expired, Health::NoEvidence),
        ] {
            assert_eq!(health(&outcome), expected, "{outcome:?}");
        }
    }
}
