//! Outcomes that need no response: the bounds of a try, bookings that do not stand, and inputs that are
//! missing. Pure.

use funil_core::booking::{Booking, BookingStatus};
use funil_core::clock::after;
use funil_core::delivery::exchange::Response;
use funil_core::delivery::{BLOCKED_S, Delivery, Outcome, Reason};
use funil_core::event::Event;
use funil_core::lead::Lead;
use funil_core::pii::Text;
use funil_store::Found;
use jiff::Timestamp;
use url::{Url, form_urlencoded};

/// No request starts with less time than this left of the lease or of the function, in seconds.
pub(crate) const REQUEST_NEEDS_S: i64 = 12;
/// How much of the function's time is kept for settling after the last request, in seconds.
pub(crate) const SETTLING_NEEDS_S: i64 = 2;
/// How much of a response that was no success the attempt keeps, in characters.
const DETAIL_CHARS_MAX: usize = 300;

/// Only parameters of an address that have at least so many bytes are hidden: shorter ones are words, not credentials.
const HIDDEN_BYTES_MIN: usize = 6;

/// The outcome of a try that may make no further request, after so many requests of the most that it
/// may make.
pub(crate) fn bound(
    (requests, most): (usize, usize),
    ends: Timestamp,
    stop_at: Timestamp,
    now: Timestamp,
) -> Option<Outcome> {
    if requests >= most {
        return Some(Outcome::Retry { reason: Reason::TooManyRequests, retry_after_s: None });
    }
    let too_late = after(now, REQUEST_NEEDS_S) > stop_at || now >= ends;
    let reason = Reason::NoTimeLeft;
    too_late.then_some(match requests {
        0 => Outcome::Released { reason, after_s: 1 },
        _ => Outcome::Retry { reason, retry_after_s: None },
    })
}

/// The outcome of a delivery about a booking that does not stand.
pub(crate) const fn withdrawn(delivery: &Delivery, booking: &Found<Booking>) -> Option<Outcome> {
    if delivery.booking.is_none() {
        return None;
    }
    match booking {
        Found::There(booking) if booking.status.stands() => None,
        Found::There(booking) => Some(Outcome::Skipped(Reason::Withdrawn(booking.status))),
        // A booking is written together with its deliveries, so one that is missing was deleted.
        Found::Missing => Some(Outcome::Skipped(Reason::Withdrawn(BookingStatus::Canceled))),
        Found::NotUnderstood => {
            Some(Outcome::Released { reason: Reason::NotUnderstood, after_s: BLOCKED_S })
        }
    }
}

/// The outcome of a delivery whose lead or event is missing or cannot be read.
pub(crate) const fn without_inputs(lead: &Found<Lead>, event: &Found<Event>) -> Outcome {
    match (lead, event) {
        (Found::Missing, _) => Outcome::Rejected(Reason::Missing("lead")),
        (_, Found::Missing) => Outcome::Rejected(Reason::Missing("event")),
        (Found::There(_) | Found::NotUnderstood, Found::There(_) | Found::NotUnderstood) => {
            Outcome::Released { reason: Reason::NotUnderstood, after_s: BLOCKED_S }
        }
    }
}

/// The beginning of a response that was no success, for the person who looks for the cause. A provider may repeat
/// what the address of the request had as parameters, among them a credential or a CPF, so their values are left out.
pub(crate) fn detail(response: &Response, asked: &Url) -> Option<Text> {
    let mut text = response.body.expose().trim().to_owned();
    for (_, value) in asked.query_pairs() {
        let encoded: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        for secret in [value.as_ref(), &encoded] {
            if secret.len() >= HIDDEN_BYTES_MIN {
                text = text.replace(secret, "[hidden]");
            }
        }
    }
    (!text.is_empty()).then(|| Text::new(text.chars().take(DETAIL_CHARS_MAX).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_repeats_no_parameter_of_the_address() {
        let url = Url::parse("https://x.example/api?token=s3cr%2Bt-t0ken&modulo=cpf&c=52998224725");
        let body = "bad token s3cr+t-t0ken (s3cr%2Bt-t0ken) for cpf 52998224725";
        let response = Response { status: 400, retry_after_s: None, body: Text::from(body) };
        let shown = detail(&response, &url.unwrap()).unwrap();
        assert_eq!(shown.expose(), "bad token [hidden] ([hidden]) for cpf [hidden]");
    }

    #[test]
    fn a_try_is_bounded_in_requests_and_in_time() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (requests, ends_s, stops_s, expected) in [
            (7, 1, 12, None),
            (8, 1, 12, Some("too_many_requests")),
            (0, 0, 12, Some("no_time_left")),
            (0, 1, 11, Some("no_time_left")),
        ] {
            let outcome = bound((requests, 8), after(now, ends_s), after(now, stops_s), now);
            let reason = outcome.and_then(|outcome| outcome.reason()).map(|why| why.to_string());
            assert_eq!(reason.as_deref(), expected, "{requests} {ends_s} {stops_s}");
        }
    }
}
