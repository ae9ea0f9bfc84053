//! Scoring by rules that are data: for each question, bands of points for its answers.
//!
//! Owns what an answer is, which band it falls into, and what the points add up to. It must not know any
//! particular rules: the [`rules`] of each score are a file, which a site may replace.

pub mod amanda;
pub mod readiness;
pub mod rules;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a person answered to a question: a number, or text such as one of the form's options.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// A number, such as `12`.
    Number(i64),
    /// A text, such as `10000-30000`.
    Text(String),
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[pii]")
    }
}

impl Answer {
    /// The answer as text, as destinations are sent it.
    pub fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    /// The answer as a whole number, if it can be read as one: `12`, `12h`, `R$ 15.000,00`.
    /// Decimals are cut off.
    fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => {
                let text = text.trim().trim_start_matches("R$").trim_end_matches('h').trim();
                let whole = text.split(',').next().unwrap_or_default();
                let mut groups = whole.split('.');
                let first = groups.next().unwrap_or_default();
                // A dot separates thousands if three digits follow every dot, else decimals.
                if groups.clone().all(|group| group.len() == 3) {
                    whole.replace('.', "").parse().ok()
                } else {
                    first.parse().ok()
                }
            }
        }
    }
}

/// The points for each question, by the name of its field.
pub type Breakdown = BTreeMap<String, u8>;

/// A score in tiers, with everything needed to explain it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TieredScore {
    /// The sum of the points, from 0 to 100.
    pub total: u8,
    /// The range that the total is in.
    pub tier: Tier,
    /// The points for each question, by the name of its field.
    pub breakdown: Breakdown,
    /// The version of the rules that were applied.
    pub rules: String,
}

/// The range that a total is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The range of the best totals.
    High,
    /// The range between the best and the rest.
    Medium,
    /// Every total below the other ranges.
    Low,
}

impl Tier {
    /// The name in responses and in the CRM's tags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}
