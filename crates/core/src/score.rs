//! Scoring by rules that are data: for each question, bands of points for its answers.
//!
//! Owns what an answer is and which band it falls into. It must not know any particular rules;
//! those are in [`amanda`] and [`readiness`].

pub mod amanda;
pub mod readiness;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::plain;

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

/// A question and the points for its answers.
pub struct Criterion {
    /// The name of the question's field in the form.
    pub field: &'static str,
    /// The bands, from most to fewest points. An answer that is in none of them gets no points.
    pub bands: &'static [Band],
}

/// A number of points and the answers that get it.
pub struct Band {
    /// The points of an answer in this band.
    pub points: u8,
    /// The form's options that are in this band.
    pub options: &'static [&'static str],
    /// Numbers of at least this value are in this band.
    pub at_least: Option<i64>,
}

pub(crate) const fn band(
    points: u8,
    options: &'static [&'static str],
    at_least: Option<i64>,
) -> Band {
    Band { points, options, at_least }
}

impl Criterion {
    /// The highest number of points that an answer can get.
    pub fn points_max(&self) -> u8 {
        self.bands.first().map_or(0, |best| best.points)
    }

    /// The points of an answer. A missing or unknown answer gets none.
    pub(crate) fn points(&self, answer: Option<&Answer>) -> u8 {
        let Some(answer) = answer else { return 0 };
        let option = plain(answer.text().trim());
        let number = answer.number();
        let matching = self.bands.iter().find(|band| {
            band.options.contains(&option.as_str())
                || band.at_least.zip(number).is_some_and(|(least, number)| number >= least)
        });
        matching.map_or(0, |band| band.points)
    }
}

/// The points for each question, by the name of its field.
pub type Breakdown = BTreeMap<String, u8>;

/// The points for each question. `answer` finds the answer to the question with this field.
pub(crate) fn breakdown<'c, 'a>(
    criteria: impl IntoIterator<Item = &'c Criterion>,
    answer: impl Fn(&str) -> Option<&'a Answer>,
) -> Breakdown {
    let points = |criterion: &Criterion| criterion.points(answer(criterion.field));
    criteria.into_iter().map(|criterion| (criterion.field.to_owned(), points(criterion))).collect()
}

#[cfg(test)]
pub(crate) mod documented {
    //! The rules as the tables in `docs/` show them.

    use std::fmt::Write as _;

    use super::Criterion;

    /// The version and the table of all bands, in Markdown.
    pub(crate) fn rules<'c>(
        version: &str,
        criteria: impl IntoIterator<Item = &'c Criterion>,
    ) -> String {
        let mut rows = format!("Rules version: `{version}`\n\n");
        rows.push_str("| question | points | options | or a number from |\n|---|---|---|---|\n");
        for criterion in criteria {
            for band in criterion.bands {
                let from = band.at_least.map_or_else(|| "-".to_owned(), |least| least.to_string());
                let options = if band.options.is_empty() { "-" } else { &band.options.join(", ") };
                writeln!(rows, "| `{}` | {} | {options} | {from} |", criterion.field, band.points)
                    .unwrap();
            }
            writeln!(rows, "| `{}` | 0 | anything else | - |", criterion.field).unwrap();
        }
        rows
    }
}
