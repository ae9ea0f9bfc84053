//! The Amanda score: how well a lead fits the mentoring programme, 0 to 100.
//!
//! Its rules are a file with a version, so that a score can be explained to the person (LGPD art. 20):
//! `docs/amanda-score.md` shows the built-in ones. This module must not know how a form is parsed.

use serde::{Deserialize, Serialize};

use super::rules::Rules;
use super::{Answer, TieredScore};

/// The answers to the four questions that are scored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// `businessType`: the line of business.
    pub business_type: Option<Answer>,
    /// `monthlyRevenue`: in reais, or one of the form's ranges.
    pub monthly_revenue: Option<Answer>,
    /// `workHoursDaily`: hours worked a day, or one of the form's ranges.
    pub work_hours_daily: Option<Answer>,
    /// `mainStruggle`: the biggest problem.
    pub main_struggle: Option<Answer>,
}

impl Answers {
    /// The answer to the question with this field.
    pub fn to(&self, field: &str) -> Option<&Answer> {
        let answer = match field {
            "businessType" => &self.business_type,
            "monthlyRevenue" => &self.monthly_revenue,
            "workHoursDaily" => &self.work_hours_daily,
            "mainStruggle" => &self.main_struggle,
            _ => &None,
        };
        answer.as_ref()
    }
}

/// Scores the answers by these rules.
pub fn score(rules: &Rules, answers: &Answers) -> TieredScore {
    rules.tiered(|field| answers.to(field).cloned())
}

/// By how many points the score that the page computed may differ from ours.
pub const CLIENT_DIFFERENCE_MAX: u8 = 15;

/// The score that the page computed, compared with ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientScore {
    /// It differs from ours by at most [`CLIENT_DIFFERENCE_MAX`].
    Agrees(u8),
    /// It differs by more: the page has other rules, or somebody changed the value.
    Differs(u8),
}

impl ClientScore {
    /// Compares the page's score with ours.
    pub const fn compare(client: u8, ours: u8) -> Self {
        if client.abs_diff(ours) > CLIENT_DIFFERENCE_MAX {
            Self::Differs(client)
        } else {
            Self::Agrees(client)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tier;
    use super::super::rules::AMANDA;
    use super::*;

    fn score(answers: &Answers) -> TieredScore {
        super::score(&AMANDA.built_in().unwrap(), answers)
    }

    #[expect(clippy::unnecessary_wraps, reason = "answers are optional")]
    fn text(text: &str) -> Option<Answer> {
        Some(Answer::Text(text.to_owned()))
    }

    #[test]
    fn the_best_answers_score_100_and_no_answers_score_0() {
        let best = Answers {
            business_type: text("Serviços "),
            monthly_revenue: Some(Answer::Number(250_000)),
            work_hours_daily: text("14h"),
            main_struggle: text("tempo"),
        };
        assert_eq!(score(&best).total, 100);
        assert_eq!(score(&best).tier, Tier::High);
        assert_eq!(score(&Answers::default()).total, 0);
        assert_eq!(score(&Answers::default()).tier, Tier::Low);
    }

    #[test]
    fn unknown_answers_get_no_points() {
        let unknown = Answers {
            business_type: text("astrologia"),
            monthly_revenue: text("muito"),
            work_hours_daily: Some(Answer::Number(-3)),
            main_struggle: text(""),
        };
        assert_eq!(score(&unknown).total, 0);
    }

    #[test]
    fn an_option_and_a_number_in_its_range_get_the_same_points() {
        for (answer, expected) in [
            (text("10000-30000"), 18),
            (Some(Answer::Number(10_000)), 18),
            (Some(Answer::Number(29_999)), 18),
            (text("R$ 15.000,00"), 18),
            (text("15000"), 18),
            (text("10000.00"), 18),
            (text("1.250.000"), 35),
            (Some(Answer::Number(9_999)), 10),
            (text("ate-5000"), 0),
        ] {
            let answers = Answers { monthly_revenue: answer.clone(), ..Answers::default() };
            assert_eq!(score(&answers).total, expected, "{:?}", answer.map(|a| a.text()));
        }
    }

    #[test]
    fn the_tier_changes_at_50_and_80_points() {
        let rules = AMANDA.built_in().unwrap();
        assert_eq!(
            [0, 49, 50, 79, 80, 100].map(|total| rules.tier(total).name()),
            ["low", "low", "medium", "medium", "high", "high"]
        );
    }

    #[test]
    fn a_client_score_differs_from_16_points_on() {
        assert_eq!(ClientScore::compare(65, 50), ClientScore::Agrees(65));
        assert_eq!(ClientScore::compare(66, 50), ClientScore::Differs(66));
        assert_eq!(ClientScore::compare(34, 50), ClientScore::Differs(34));
    }
}
