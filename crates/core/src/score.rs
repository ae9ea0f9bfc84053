//! Scores by rules that are data: bands of points for the answers to a form's questions.
//!
//! Owns what an answer is and how it falls into a band. Must not know any particular rules.

pub mod amanda;
pub mod readiness;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An answer as the form sent it: a number, or one of the form's options.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// `12`
    Number(i64),
    /// `10000-30000`
    Text(String),
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[pii]")
    }
}

impl Answer {
    /// The answer as text, for destinations.
    pub fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    /// The number in it, if it is one: `12`, `12h`, `R$ 15.000,00`.
    fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => {
                let text = text.trim().trim_start_matches("R$").trim_end_matches('h').trim();
                let whole = text.split(',').next().unwrap_or_default();
                let mut groups = whole.split('.');
                let first = groups.next().unwrap_or_default();
                // Dots part thousands only where three digits follow each; else they part decimals.
                if groups.clone().all(|group| group.len() == 3) {
                    whole.replace('.', "").parse().ok()
                } else {
                    first.parse().ok()
                }
            }
        }
    }
}

/// One question and its bands.
pub struct Criterion {
    /// The field of the form.
    pub field: &'static str,
    /// From best to worst; what matches none takes no points.
    pub bands: &'static [Band],
}

/// Points for the answers that fall into it.
pub struct Band {
    /// What it is worth.
    pub points: u8,
    /// The form's options that fall into it.
    pub options: &'static [&'static str],
    /// Numbers from here on fall into it.
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
    /// The most that it is worth.
    pub fn points_max(&self) -> u8 {
        self.bands.first().map_or(0, |best| best.points)
    }

    /// The points of an answer. Unknown answers and missing ones take none.
    pub(crate) fn points(&self, answer: Option<&Answer>) -> u8 {
        let Some(answer) = answer else { return 0 };
        let option = plain(&answer.text());
        let number = answer.number();
        let matching = self.bands.iter().find(|band| {
            band.options.contains(&option.as_str())
                || band.at_least.zip(number).is_some_and(|(least, number)| number >= least)
        });
        matching.map_or(0, |band| band.points)
    }
}

/// Points per question, by the field of the form.
pub type Breakdown = BTreeMap<String, u8>;

/// Points for each question, given how to find its answer.
pub(crate) fn breakdown<'c, 'a>(
    criteria: impl IntoIterator<Item = &'c Criterion>,
    answer: impl Fn(&str) -> Option<&'a Answer>,
) -> Breakdown {
    let points = |criterion: &Criterion| criterion.points(answer(criterion.field));
    criteria.into_iter().map(|criterion| (criterion.field.to_owned(), points(criterion))).collect()
}

/// Trimmed, in lower case and without accents, as the options are written.
pub(crate) fn plain(text: &str) -> String {
    let lower = text.trim().to_lowercase();
    let accented = "áàâãäéèêíóôõöúüç";
    let without = "aaaaaeeeioooouuc";
    lower
        .chars()
        .map(|c| {
            let position = accented.chars().position(|known| known == c);
            position.and_then(|position| without.chars().nth(position)).unwrap_or(c)
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod documented {
    //! The rules as the documents show them.

    use std::fmt::Write as _;

    use super::Criterion;

    /// The version and the table of all bands.
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
