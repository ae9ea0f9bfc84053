//! The limit of a destination that takes only so many requests a minute (`docs/design.md`,
//! "Limiter"). Pure; how it is shared by all workers is not known here.
//!
//! A window, not a bucket that fills up: a bucket of one minute's requests lets nearly twice as many
//! pass within a minute, and a smaller one leaves most of the rate unused where a worker comes by
//! once a minute.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::clock::after;

/// The time over which requests are counted, in seconds.
const WINDOW_S: i64 = 60;
/// How long a token may be used, in seconds, rounded down to the end of a second.
const TOKEN_S: i64 = 2;

/// The right to make one request, until this time. It counts as used until a minute after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    until_s: i64,
}

impl Token {
    /// Whether it may still be used.
    pub fn is_valid(self, now: Timestamp) -> bool {
        now.as_second() < self.until_s
    }
}

/// The tokens that were granted and still count, by the second until which each may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestWindow(pub BTreeMap<i64, i64>);

impl RequestWindow {
    /// Grants at most `most` tokens, as many as `per_minute` leaves, or none where that is less than
    /// `least`.
    pub fn grant(
        &mut self,
        (least, most): (i64, i64),
        per_minute: i64,
        now: Timestamp,
    ) -> Vec<Token> {
        self.forget(now);
        let left = per_minute - self.counted();
        if left < least {
            return Vec::new();
        }
        let granted = left.min(most).max(0);
        let until_s = now.as_second() + TOKEN_S;
        *self.0.entry(until_s).or_default() += granted;
        (0..granted).map(|_| Token { until_s }).collect()
    }

    /// Takes back tokens that were not used.
    pub fn take_back(&mut self, unused: &[Token]) {
        for token in unused {
            if let Some(count) = self.0.get_mut(&token.until_s) {
                *count -= 1;
            }
        }
        self.0.retain(|_, count| *count > 0);
    }

    /// When `tokens` can be granted, if nobody takes any until then.
    pub fn next_at(&self, tokens: i64, per_minute: i64, now: Timestamp) -> Timestamp {
        let mut left = per_minute - self.counted();
        for (until_s, count) in &self.0 {
            if left >= tokens {
                break;
            }
            left += count;
            if left >= tokens {
                let free_at = Timestamp::from_second(until_s + WINDOW_S);
                return free_at.unwrap_or(now).max(now);
            }
        }
        if left >= tokens { now } else { after(now, WINDOW_S) }
    }

    /// Whether no token counts any more.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many tokens count, those included that have not been dropped yet.
    pub fn counted(&self) -> i64 {
        self.0.values().sum()
    }

    /// Drops what no longer counts.
    fn forget(&mut self, now: Timestamp) {
        self.0 = self.0.split_off(&(now.as_second() - WINDOW_S + 1));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_790_000_000_000 + ms).unwrap()
    }

    #[test]
    fn the_whole_rate_is_granted_and_then_nothing_until_it_counts_no_more() {
        let mut window = RequestWindow::default();
        assert_eq!(window.grant((1, 4), 10, at(0)).len(), 4);
        assert_eq!(window.grant((1, 10), 10, at(500)).len(), 6);
        assert_eq!(window.grant((1, 10), 10, at(1_000)), []);
        assert_eq!(window.next_at(1, 10, at(1_000)), at(62_000));
        assert_eq!(window.grant((1, 10), 10, at(61_999)), []);
        assert_eq!(window.grant((1, 10), 10, at(62_000)).len(), 10);
    }

    #[test]
    fn fewer_than_the_least_are_not_granted() {
        let mut window = RequestWindow::default();
        assert_eq!(window.grant((1, 9), 10, at(0)).len(), 9);
        assert_eq!(window.grant((2, 3), 10, at(1_000)), []);
        assert_eq!(window.next_at(2, 10, at(1_000)), at(62_000));
        assert_eq!(window.next_at(1, 10, at(1_000)), at(1_000));
        assert_eq!(window.grant((1, 3), 10, at(1_000)).len(), 1);
    }

    #[test]
    fn what_is_taken_back_can_be_granted_again() {
        let mut window = RequestWindow::default();
        let tokens = window.grant((1, 10), 10, at(0));
        window.take_back(&tokens[..7]);
        assert_eq!(window.grant((1, 10), 10, at(100)).len(), 7);
        window.take_back(&tokens);
        assert!(window.is_empty());
    }

    proptest! {
        #[test]
        fn no_minute_sees_more_requests_than_the_rate(
            steps in prop::collection::vec((0_i64..15_000, 0_i64..12, 0_i64..2_500, 0_usize..4), 1..80),
            per_minute in 1_i64..40,
        ) {
            let (mut window, mut now_ms) = (RequestWindow::default(), 0);
            let mut sent: Vec<i64> = Vec::new();
            for (wait_ms, wanted, later_ms, unused) in steps {
                now_ms += wait_ms;
                let tokens = window.grant((1, wanted), per_minute, at(now_ms));
                prop_assert!(tokens.len() <= usize::try_from(wanted).unwrap());
                let (back, used) = tokens.split_at(unused.min(tokens.len()));
                window.take_back(back);
                // A token is used at any time while it is valid, or never.
                let used = used.iter().filter(|token| token.is_valid(at(now_ms + later_ms)));
                sent.extend(used.map(|_| now_ms + later_ms));
            }
            sent.sort_unstable();
            for from in &sent {
                let within = sent.iter().filter(|at| (*from..from + 60_000).contains(*at)).count();
                prop_assert!(i64::try_from(within).unwrap() <= per_minute, "{} in a minute", within);
            }
        }
    }
}
