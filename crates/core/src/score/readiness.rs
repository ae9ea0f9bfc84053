//! The transformation-readiness score: how ready a lead is to start the programme now, 0 to 100.
//!
//! Its questions and rules are a file with a version, so that a score can be explained to the person (LGPD
//! art. 20): `docs/readiness-score.md` shows the built-in ones. This module must not know how a form is
//! parsed.

use serde::{Deserialize, Serialize};

use super::rules::Rules;
use super::{Answer, Breakdown};

/// A score with everything needed to explain it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadinessScore {
    /// The sum of the points, from 0 to 100.
    pub total: u8,
    /// The points for each question that is scored, by the name of its field.
    pub breakdown: Breakdown,
    /// The version of the rules that were applied.
    pub rules: String,
}

/// Scores the answers by these rules. `answer` finds the answer to the question with this field.
pub fn score<'a>(rules: &Rules, answer: impl Fn(&str) -> Option<&'a Answer>) -> ReadinessScore {
    let breakdown = rules.breakdown(|field| answer(field).cloned());
    ReadinessScore { total: breakdown.values().sum(), breakdown, rules: rules.version.clone() }
}

#[cfg(test)]
mod tests {
    use super::super::rules::READINESS;
    use super::*;

    #[test]
    fn no_answers_and_unknown_ones_score_0() {
        let rules = READINESS.built_in().unwrap();
        assert_eq!(score(&rules, |_| None).total, 0);
        let whatever = Answer::Text("whatever".to_owned());
        assert_eq!(score(&rules, |_| Some(&whatever)).total, 0);
    }

    #[test]
    fn a_number_gets_the_points_of_its_band() {
        let rules = READINESS.built_in().unwrap();
        for (commitment, expected) in [(1, 0), (3, 5), (6, 12), (8, 22), (9, 30), (10, 30)] {
            let commitment = Answer::Number(commitment);
            let score = score(&rules, |field| (field == "commitment").then_some(&commitment));
            assert_eq!((score.total, score.breakdown["commitment"]), (expected, expected));
        }
    }
}
