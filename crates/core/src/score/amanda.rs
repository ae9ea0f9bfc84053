//! The Amanda score: how well a lead fits the mentoring programme, 0 to 100.
//!
//! The rules are data with a version, so that a person can be told how they were scored (LGPD art.
//! 20). `docs/amanda-score.md` shows them; a test keeps the two equal. Knows nothing of forms.

use serde::{Deserialize, Serialize};

use crate::score::{self, Answer, Breakdown, Criterion, band};

/// What a lead answered to the four questions that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// `businessType`
    pub business_type: Option<Answer>,
    /// `monthlyRevenue`, in reais
    pub monthly_revenue: Option<Answer>,
    /// `workHoursDaily`
    pub work_hours_daily: Option<Answer>,
    /// `mainStruggle`
    pub main_struggle: Option<Answer>,
}

impl Answers {
    /// The answer to a question, by the field of the form.
    fn to(&self, field: &str) -> Option<&Answer> {
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

/// The version of [`CRITERIA`], kept with every score.
pub const VERSION: &str = "amanda-2026-11";

/// The rules. Unknown answers and missing ones take the lowest band: no points.
pub const CRITERIA: [Criterion; 4] = [
    Criterion {
        field: "businessType",
        bands: &[
            band(20, &["servicos", "consultoria", "saude", "educacao", "mentoria"], None),
            band(15, &["beleza", "tecnologia", "advocacia", "arquitetura"], None),
            band(10, &["comercio", "ecommerce", "alimentacao", "imobiliaria"], None),
        ],
    },
    Criterion {
        field: "monthlyRevenue",
        bands: &[
            band(35, &["acima-100000"], Some(100_000)),
            band(30, &["50000-100000"], Some(50_000)),
            band(25, &["30000-50000"], Some(30_000)),
            band(18, &["10000-30000"], Some(10_000)),
            band(10, &["5000-10000"], Some(5_000)),
        ],
    },
    Criterion {
        field: "workHoursDaily",
        bands: &[
            band(25, &["acima-14"], Some(14)),
            band(22, &["12-14"], Some(12)),
            band(18, &["10-12"], Some(10)),
            band(10, &["8-10"], Some(8)),
        ],
    },
    Criterion {
        field: "mainStruggle",
        bands: &[
            band(20, &["tempo"], None),
            band(18, &["equipe"], None),
            band(15, &["processos"], None),
            band(10, &["vendas", "financeiro", "marketing"], None),
        ],
    },
];

/// How promising a lead is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// 80 and more.
    High,
    /// 50 to 79.
    Medium,
    /// Below 50.
    Low,
}

impl Tier {
    const fn of(total: u8) -> Self {
        match total {
            80.. => Self::High,
            50..=79 => Self::Medium,
            0..=49 => Self::Low,
        }
    }

    /// The name in answers and tags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// A score with everything needed to explain it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmandaScore {
    /// 0 to 100.
    pub total: u8,
    /// The band of the total.
    pub tier: Tier,
    /// Points per question, by the field of the form.
    pub breakdown: Breakdown,
    /// The rules that made it.
    pub rules: String,
}

/// Scores the answers by [`CRITERIA`].
pub fn score(answers: &Answers) -> AmandaScore {
    let breakdown = score::breakdown(&CRITERIA, |field| answers.to(field));
    let total = breakdown.values().sum();
    AmandaScore { total, tier: Tier::of(total), breakdown, rules: VERSION.to_owned() }
}

/// By how much a client's own score may differ from ours before it is flagged.
pub const CLIENT_DIFFERENCE_MAX: u8 = 15;

/// Whether the client's own score agrees with ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientScore {
    /// Within [`CLIENT_DIFFERENCE_MAX`] of ours.
    Agrees(u8),
    /// Further away: the page computes by other rules, or somebody tampered.
    Differs(u8),
}

impl ClientScore {
    /// Compares a client's score with ours.
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
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "answers are optional")]
    fn text(text: &str) -> Option<Answer> {
        Some(Answer::Text(text.to_owned()))
    }

    #[test]
    fn the_best_answers_make_one_hundred_and_none_make_zero() {
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
    fn unknown_answers_take_the_lowest_band() {
        let unknown = Answers {
            business_type: text("astrologia"),
            monthly_revenue: text("muito"),
            work_hours_daily: Some(Answer::Number(-3)),
            main_struggle: text(""),
        };
        assert_eq!(score(&unknown).total, 0);
    }

    #[test]
    fn options_and_numbers_fall_into_the_same_bands() {
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
    fn tiers_part_at_50_and_80() {
        assert_eq!(
            [0, 49, 50, 79, 80, 100].map(|total| Tier::of(total).name()),
            ["low", "low", "medium", "medium", "high", "high"]
        );
    }

    #[test]
    fn a_client_score_is_flagged_from_sixteen_points_on() {
        assert_eq!(ClientScore::compare(65, 50), ClientScore::Agrees(65));
        assert_eq!(ClientScore::compare(66, 50), ClientScore::Differs(66));
        assert_eq!(ClientScore::compare(34, 50), ClientScore::Differs(34));
    }

    #[test]
    fn the_document_shows_these_rules() {
        let document = include_str!("../../../../docs/amanda-score.md");
        let rows = score::documented::rules(VERSION, &CRITERIA);
        assert!(document.contains(&rows), "docs/amanda-score.md should hold:\n\n{rows}");
    }
}
