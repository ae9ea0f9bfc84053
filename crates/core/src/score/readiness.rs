//! The transformation-readiness score: how ready a lead is to start the programme now, 0 to 100.
//!
//! The questions and the rules are data with a version, so that a score can be explained to the
//! person (LGPD art. 20). `docs/readiness-score.md` shows the same rules; a test compares the two.
//! This module must not know how a form is parsed.

use serde::{Deserialize, Serialize};

use crate::score::{self, Answer, Breakdown, Criterion, band};

/// A question of the questionnaire.
pub struct Question {
    /// The name of its field, and the points for its answers.
    pub criterion: Criterion,
    /// The kind of answer that it takes.
    pub takes: Takes,
}

/// The kind of answer that a question takes. Any other answer is a field error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A whole number between these two, inclusive.
    Number(i64, i64),
    /// One of the options of the question's bands.
    Option,
    /// A text of at most this many characters.
    Text(usize),
}

impl Question {
    /// The name of its field in the form.
    pub const fn field(&self) -> &'static str {
        self.criterion.field
    }

    /// Its options. Empty for a question that takes a number or text.
    pub fn options(&self) -> impl Iterator<Item = &'static str> {
        self.criterion.bands.iter().flat_map(|band| band.options).copied()
    }
}

/// The version of [`QUESTIONS`], stored with every score.
pub const VERSION: &str = "readiness-2026-11";

/// The known questions. A question without an answer gets no points.
pub const QUESTIONS: [Question; 7] = [
    Question {
        takes: Takes::Number(1, 10),
        criterion: Criterion {
            field: "commitment",
            bands: &[
                band(30, &[], Some(9)),
                band(22, &[], Some(7)),
                band(12, &[], Some(5)),
                band(5, &[], Some(3)),
            ],
        },
    },
    Question {
        takes: Takes::Option,
        criterion: Criterion {
            field: "urgency",
            bands: &[
                band(20, &["imediata"], None),
                band(15, &["30-dias"], None),
                band(8, &["90-dias"], None),
                band(0, &["sem-pressa"], None),
            ],
        },
    },
    Question {
        takes: Takes::Option,
        criterion: Criterion {
            field: "investmentRange",
            bands: &[
                band(20, &["acima-10000"], None),
                band(16, &["5000-10000"], None),
                band(10, &["2000-5000"], None),
                band(4, &["ate-2000"], None),
                band(0, &["nenhum"], None),
            ],
        },
    },
    Question {
        takes: Takes::Number(0, 80),
        criterion: Criterion {
            field: "weeklyHours",
            bands: &[
                band(15, &[], Some(8)),
                band(10, &[], Some(5)),
                band(6, &[], Some(3)),
                band(2, &[], Some(1)),
            ],
        },
    },
    Question {
        takes: Takes::Option,
        criterion: Criterion {
            field: "decisionMaker",
            bands: &[
                band(10, &["eu"], None),
                band(6, &["eu-e-outra-pessoa"], None),
                band(0, &["outra-pessoa"], None),
            ],
        },
    },
    Question {
        takes: Takes::Option,
        criterion: Criterion {
            field: "previousAttempts",
            bands: &[
                band(5, &["mentoria", "curso"], None),
                band(3, &["sozinha", "sozinho"], None),
                band(1, &["nenhuma"], None),
            ],
        },
    },
    Question { takes: Takes::Text(2000), criterion: Criterion { field: "mainGoal", bands: &[] } },
];

/// A score with everything needed to explain it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadinessScore {
    /// The sum of the points, from 0 to 100.
    pub total: u8,
    /// The points for each question that is scored, by the name of its field.
    pub breakdown: Breakdown,
    /// The [`VERSION`] of the rules that were applied.
    pub rules: String,
}

/// The questions that are scored, which are those that have bands.
pub fn criteria() -> impl Iterator<Item = &'static Criterion> {
    const { &QUESTIONS }
        .iter()
        .map(|question| &question.criterion)
        .filter(|criterion| !criterion.bands.is_empty())
}

/// Scores the answers by [`QUESTIONS`]. `answer` finds the answer to the question with this field.
pub fn score<'a>(answer: impl Fn(&str) -> Option<&'a Answer>) -> ReadinessScore {
    let breakdown = score::breakdown(criteria(), answer);
    ReadinessScore { total: breakdown.values().sum(), breakdown, rules: VERSION.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn the_best_answers_score_100_and_no_answers_score_0() {
        let best: u8 = criteria().map(Criterion::points_max).sum();
        assert_eq!(best, 100);
        assert_eq!(score(|_| None).total, 0);
        let whatever = Answer::Text("whatever".to_owned());
        assert_eq!(score(|_| Some(&whatever)).total, 0, "an unknown answer gets no points");
    }

    #[test]
    fn a_number_gets_the_points_of_its_band() {
        for (commitment, expected) in [(1, 0), (3, 5), (6, 12), (8, 22), (9, 30), (10, 30)] {
            let commitment = Answer::Number(commitment);
            let score = score(|field| (field == "commitment").then_some(&commitment));
            assert_eq!((score.total, score.breakdown["commitment"]), (expected, expected));
        }
    }

    #[test]
    fn the_bands_of_every_question_fit_its_kind_of_answer() {
        for question in &QUESTIONS {
            let bands = question.criterion.bands;
            let fits = match question.takes {
                Takes::Number(least, most) => bands
                    .iter()
                    .all(|band| band.at_least.is_some_and(|from| (least..=most).contains(&from))),
                Takes::Option => bands.iter().all(|band| !band.options.is_empty()),
                Takes::Text(_) => bands.is_empty(),
            };
            assert!(fits, "{}", question.field());
            assert!(
                bands.is_sorted_by(|one, next| one.points > next.points),
                "bands go from most to fewest points"
            );
        }
    }

    #[test]
    fn the_document_shows_the_questions_and_the_rules() {
        let document = include_str!("../../../../docs/readiness-score.md");
        let mut questions = "| question | takes |\n|---|---|\n".to_owned();
        for question in &QUESTIONS {
            let takes = match question.takes {
                Takes::Number(least, most) => format!("a whole number from {least} to {most}"),
                Takes::Option => question.options().collect::<Vec<_>>().join(", "),
                Takes::Text(most) => format!("text of at most {most} characters; not scored"),
            };
            writeln!(questions, "| `{}` | {takes} |", question.field()).unwrap();
        }
        let rules = score::documented::rules(VERSION, criteria());
        for part in [questions, rules] {
            assert!(document.contains(&part), "docs/readiness-score.md should hold:\n\n{part}");
        }
    }
}
