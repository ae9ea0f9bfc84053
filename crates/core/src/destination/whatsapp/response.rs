//! What the Cloud API's response to a message means: `docs/providers.md` ("WhatsApp").
//!
//! Knows no message.

use serde_json::Value;

use super::super::graph;
use crate::delivery::exchange::Response;
use crate::delivery::{Outcome, Reason, judge};

/// The pause after a message that one of Meta's experiments held back, in seconds.
const MUCH_LATER_S: u32 = 6 * 60 * 60;
/// The pause that WhatsApp asks for after it held back a message to protect its users, in seconds.
const NEXT_DAY_S: u32 = 24 * 60 * 60;
/// The pause after the pair rate limit (too many messages to one number), in seconds.
const PAIR_S: u32 = 6;

/// Judges by the API's own error code, or by the status if there is none.
pub(super) fn judged(response: &Response) -> Outcome {
    let body = response.json();
    if let Some(error) = graph::Error::of(&body) {
        return by_code(&error, response);
    }
    let id = body.pointer("/messages/0/id").and_then(Value::as_str);
    match id {
        Some(id) if response.succeeded() && !id.is_empty() => Outcome::Delivered,
        // It was accepted by something, so sending it again could be a second message.
        Some(_) | None if response.succeeded() => {
            Outcome::Unknown(Reason::UnexpectedResponse("without_message_id"))
        }
        // A gateway between us and WhatsApp says this, and it may have passed the message on.
        Some(_) | None if matches!(response.status, 408 | 500..) => {
            Outcome::Unknown(Reason::Status(response.status))
        }
        Some(_) | None => judge(response),
    }
}

/// Judges by the error code, as the documentation asks: titles and HTTP statuses vary.
fn by_code(error: &graph::Error, response: &Response) -> Outcome {
    let reason = Reason::Failed(error.code);
    let retry = |at_least_s: u32| Outcome::Retry {
        reason,
        retry_after_s: response.retry_after_s.max(Some(at_least_s)),
    };
    match error.code {
        130_429 | 131_000 | 131_016 | 131_057 | 133_004 => {
            return graph::outage(error.code, response.retry_after_s);
        }
        131_056 => return retry(PAIR_S),
        131_049 => return retry(NEXT_DAY_S),
        130_472 => return retry(MUCH_LATER_S),
        33 | 131_005 | 131_031 | 131_037 | 131_042 | 131_045 | 131_048 | 133_010 => {
            return Outcome::Blocked(reason);
        }
        _ => {}
    }
    if let Some(outcome) = error.judged(response.retry_after_s) {
        return outcome;
    }
    match error.code {
        130_497
        | 131_008
        | 131_009
        | 131_026
        | 131_047
        | 131_050..=131_053
        | 132_000
        | 132_001
        | 132_005
        | 132_007
        | 132_012
        | 132_015
        | 132_016
        | 132_068
        | 132_069 => Outcome::Rejected(reason),
        // An unlisted code says less than the status.
        _ => match judge(response) {
            Outcome::Rejected(_) => Outcome::Rejected(reason),
            judged @ (Outcome::Retry { .. } | Outcome::Blocked(_)) => judged,
            Outcome::Delivered
            | Outcome::Skipped(_)
            | Outcome::Expired
            | Outcome::Unknown(_)
            | Outcome::Released { .. } => Outcome::Unknown(reason),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::samples::response;
    use super::*;

    #[test]
    fn a_response_is_judged_by_the_apis_own_code() {
        let classes: [(&[u32], &str, &str); 5] = [
            (
                &[1, 2, 4, 17, 613, 80_007, 80_008, 130_429, 131_000, 131_016, 131_057, 133_004],
                "retry",
                "outage",
            ),
            (&[131_049, 131_056, 130_472], "retry", "failed"),
            (
                &[
                    0, 3, 10, 190, 200, 299, 33, 368, 131_005, 131_031, 131_037, 131_042, 131_045,
                    131_048, 133_010,
                ],
                "blocked",
                "failed",
            ),
            (
                &[
                    100, 130_497, 131_008, 131_009, 131_026, 131_047, 131_050, 131_051, 131_052,
                    131_053, 132_000, 132_001, 132_005, 132_007, 132_012, 132_015, 132_016,
                    132_068, 132_069,
                ],
                "rejected",
                "failed",
            ),
            (&[999_999], "rejected", "failed"),
        ];
        for (codes, expected, kind) in classes {
            for code in codes {
                let body = json!({"error": {"code": code, "error_data": {"details": "x"}}});
                // The status does not matter.
                let outcome = judged(&response(400, &body));
                let reason = format!("{kind}_{code}");
                assert_eq!(outcome.name(), expected, "{code}");
                assert_eq!(outcome.reason().map(|why| why.to_string()), Some(reason));
            }
        }
        let more = |code: u32, name: &str, value: Value| {
            let body = json!({"error": {"code": code, name: value}});
            judged(&response(400, &body)).name()
        };
        assert_eq!(more(100, "error_subcode", 33.into()), "blocked");
        assert_eq!(more(100, "error_subcode", 34.into()), "rejected");
        assert_eq!(more(100, "is_transient", true.into()), "retry");
        assert_eq!(more(131_026, "is_transient", true.into()), "retry");
        assert_eq!(more(190, "is_transient", true.into()), "blocked");
        let wait = |code: u32, asked: Option<u32>| {
            let body = json!({"error": {"code": code}});
            let outcome = judged(&Response { retry_after_s: asked, ..response(400, &body) });
            let Outcome::Retry { retry_after_s, .. } = outcome else { panic!("{outcome:?}") };
            retry_after_s
        };
        assert_eq!(wait(131_049, None), Some(24 * 3600));
        assert_eq!(wait(131_056, Some(2)), Some(6));
        assert_eq!(wait(130_429, Some(90)), Some(90));
        assert_eq!(wait(130_472, None), Some(6 * 3600));
    }

    #[test]
    fn only_a_response_with_a_message_id_is_a_success() {
        for (status, body, expected) in [
            (
                200,
                json!({"messages": [{"id": "wamid.x", "message_status": "accepted"}]}),
                "delivered",
            ),
            (200, json!({"messages": [{"id": ""}]}), "unknown"),
            (200, json!({"messages": []}), "unknown"),
            (200, json!({}), "unknown"),
            (200, json!({"error": {"code": 131_056}}), "retry"),
            (400, json!({}), "rejected"),
            (401, json!({}), "blocked"),
            (408, json!({}), "unknown"),
            (500, json!({}), "unknown"),
            (504, json!("<html>"), "unknown"),
            (503, json!({"error": {"code": 999_999}}), "retry"),
            (429, Value::Null, "retry"),
        ] {
            assert_eq!(judged(&response(status, &body)).name(), expected, "{status} {body}");
        }
    }
}
