//! The transformation-readiness score: how ready a lead is to start the programme now, 0 to 100.
//!
//! The questions and the rules are data with a version, so that a person can be told how they were
//! scored (LGPD art. 20). `docs/readiness-score.md` shows them; a test keeps the two equal. Knows
//! nothing of forms.

use serde::{Deserialize, Serialize};

use crate::score::{self, Answer, Breakdown, Criterion, band};

/// A question of the questionnaire.
pub struct Question {
    /// Its field, and what its answers are worth.
    pub criterion: Criterion,
    /// What may be answered.
    pub takes: Takes,
}

/// What a question takes as an answer; anything else is a field error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A whole number between these two, both included.
    Number(i64, i64),
    /// One of the options of its bands.
    Option,
    /// Text of at most so many characters.
    Text(usize),
}

impl Question {
    /// Its field.
    pub const fn field(&self) -> &'static str {
        self.criterion.field
    }

    /// Its options, where it has any.
    pub fn options(&self) -> impl Iterator<Item = &'static str> {
        self.criterion.bands.iter().flat_map(|band| band.options).copied()
    }
}

/// The version of [`QUESTIONS`], kept with every score.
pub const VERSION: &str = "readiness-2026-11";

/// The questions that are known. One that was not answered takes no points.
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
    /// 0 to 100.
    pub total: u8,
    /// Points per question that counts, by its field.
    pub breakdown: Breakdown,
    /// The rules that made it.
    pub rules: String,
}

/// The rules of the questions that count.
pub fn criteria() -> impl Iterator<Item = &'static Criterion> {
    const { &QUESTIONS }
        .iter()
        .map(|question| &question.criterion)
        .filter(|criterion| !criterion.bands.is_empty())
}

/// Scores the answers, given how to find them, by [`QUESTIONS`].
pub fn score<'a>(answer: impl Fn(&str) -> Option<&'a Answer>) -> ReadinessScore {
    let breakdown = score::breakdown(criteria(), answer);
    ReadinessScore { total: breakdown.values().sum(), breakdown, rules: VERSION.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn the_best_answers_make_one_hundred_and_none_make_zero() {
        let best: u8 = criteria().map(Criterion::points_max).sum();
        assert_eq!(best, 100);
        assert_eq!(score(|_| None).total, 0);
        let whatever = Answer::Text("whatever".to_owned());
        assert_eq!(score(|_| Some(&whatever)).total, 0, "what is not known counts nothing");
    }

    #[test]
    fn numbers_fall_into_bands() {
        for (commitment, expected) in [(1, 0), (3, 5), (6, 12), (8, 22), (9, 30), (10, 30)] {
            let commitment = Answer::Number(commitment);
            let score = score(|field| (field == "commitment").then_some(&commitment));
            assert_eq!((score.total, score.breakdown["commitment"]), (expected, expected));
        }
    }

    #[test]
    fn every_question_has_the_bands_that_it_needs() {
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
            assert!(bands.is_sorted_by(|one, next| one.points > next.points), "from best to worst");
        }
    }

    #[test]
    fn the_document_shows_these_questions_and_rules() {
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
